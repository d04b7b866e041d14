"""Dagster copies a run's tags into its re-executions: what a person starts from our re-run is not ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mendline.engines.base import RunState
from mendline.testing.dagster_bench import DagsterBench
from mendline.testing.waiting import wait_until

PROJECT = Path(__file__).parent / "dagster_project"
OURS = {"mendline/incident": "1", "mendline/attempt": "1"}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[DagsterBench]:
    made = DagsterBench(tmp_path, PROJECT)
    yield made
    made.close()


def test_a_run_started_from_our_rerun_by_a_person_is_neither_ours_nor_lost(bench: DagsterBench) -> None:
    parent = bench.run()
    rerun = bench.engine.rerun(parent, ("join",), key="tags", tags=OURS, timeout_s=60)
    assert OURS.items() <= rerun.tags.items()
    _, cursor = bench.engine.finished_runs(None)
    bench.tell("left", "hang")
    begun = bench.calls().count("left")
    by_hand, _ = bench.launch("diamond", tags=dict(rerun.tags), wait=False)
    wait_until(lambda: bench.calls().count("left") > begun, 60, "the stage to begin")
    assert bench.engine.describe(by_hand).state is RunState.RUNNING
    assert by_hand in bench.engine.active_runs()
    bench.heal()
    wait_until(lambda: bench.engine.describe(by_hand).state is RunState.SUCCEEDED, 60, "the run to end")
    runs, _ = bench.engine.finished_runs(cursor)
    (found,) = (run for run in runs if run.run == by_hand)
    assert not [name for name in found.tags if name.startswith("mendline/")]
    assert not [name for name in bench.engine.describe(by_hand).tags if name.startswith("mendline/")]
