"""One suite for every engine: what the protocol promises, tried on a real one and on the fake that tests use."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from mendline.engines.base import Engine, FinishedRun, RunState
from mendline.errors import Rejected
from mendline.incident import ConfigChange, FailureKind, RunRef
from mendline.reruns.adjusting import with_changes
from mendline.testing.dagster_bench import DagsterBench
from mendline.testing.memory_engine import MemoryEngine

UPSTREAM = {
    "seed": (),
    "left": ("seed",),
    "right": ("seed",),
    "join": ("left", "right"),
    "publish": ("join",),
}
TRIPLED = {"ops": {"seed": {"config": {"factor": 3}}}}


class Bench(Protocol):
    """An engine with the job `diamond` (see `UPSTREAM`), whose stages behave as told."""

    @property
    def engine(self) -> Engine: ...

    def run(self, config: dict[str, Any] | None = None) -> RunRef: ...

    def tell(self, stage: str, behaviour: str) -> None: ...

    def heal(self) -> None: ...

    def calls(self) -> list[str]: ...

    def restarted(self) -> Engine:
        """An adapter of another process, which knows nothing but the cursor."""
        ...


class MemoryBench:
    def __init__(self) -> None:
        accepted = {f"ops.{stage}.config.factor": int for stage in UPSTREAM}
        self.engine: MemoryEngine = MemoryEngine(upstream=UPSTREAM, job="diamond", accepted=accepted)

    def run(self, config: dict[str, Any] | None = None) -> RunRef:
        return self.engine.run(config)

    def tell(self, stage: str, behaviour: str) -> None:
        if behaviour == "fail":
            self.engine.failing[stage] = ("ValueError", "invalid literal for int() with base 10: 'twelve'")
        else:
            {"flaky": self.engine.flaky, "die": self.engine.dying}[behaviour].add(stage)

    def heal(self) -> None:
        self.engine.failing.clear()
        self.engine.flaky.clear()
        self.engine.dying.clear()

    def calls(self) -> list[str]:
        return list(self.engine.calls)

    def restarted(self) -> Engine:
        return self.engine


@pytest.fixture(scope="module")
def dagster_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterBench]:
    made = DagsterBench(tmp_path_factory.mktemp("dagster"), Path(__file__).parent / "dagster_project")
    yield made
    made.close()


@pytest.fixture(params=["dagster", "memory"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made: Bench = MemoryBench() if request.param == "memory" else request.getfixturevalue("dagster_bench")
    yield made
    made.heal()


def news(engine: Engine, cursor: str | None) -> tuple[tuple[FinishedRun, ...], str]:
    """What ended since the cursor, once there is something."""
    for _ in range(200):
        runs, following = engine.finished_runs(cursor)
        if runs:
            return runs, following
        threading.Event().wait(0.05)
    raise AssertionError("no run ended")


def test_watching_begins_now(bench: Bench) -> None:
    bench.run()
    runs, cursor = bench.engine.finished_runs(None)
    assert runs == ()
    assert bench.engine.finished_runs(cursor) == ((), cursor)


def test_every_end_is_reported_once_oldest_first_also_after_a_restart(bench: Bench) -> None:
    _, cursor = bench.engine.finished_runs(None)
    good = bench.run()
    bench.tell("join", "fail")
    bad = bench.run()
    first, cursor = bench.engine.finished_runs(cursor, limit=1)
    second, cursor = bench.restarted().finished_runs(cursor, limit=1)
    assert [(run.run, run.state) for run in (*first, *second)] == [(good, RunState.SUCCEEDED), (bad, RunState.FAILED)]
    assert first[0].failures == ()
    assert bench.engine.finished_runs(cursor)[0] == ()


def test_a_failure_says_stage_kind_and_first_cause(bench: Bench) -> None:
    _, cursor = bench.engine.finished_runs(None)
    bench.tell("join", "fail")
    bad = bench.run()
    (run,), _ = bench.engine.finished_runs(cursor)
    (failure,) = run.failures
    assert (failure.run, failure.root_run_id, failure.stage) == (bad, bad.run_id, "join")
    assert failure.kind is FailureKind.STAGE_FAILED
    assert failure.error_class == "ValueError"
    assert failure.message == "invalid literal for int() with base 10: 'twelve'"
    assert run.started_at <= failure.failed_at <= run.ended_at
    assert failure.failed_at.utcoffset() is not None


def test_independent_stages_that_fail_are_two_failures(bench: Bench) -> None:
    _, cursor = bench.engine.finished_runs(None)
    bench.tell("left", "fail")
    bench.tell("right", "fail")
    bench.run()
    (run,), _ = bench.engine.finished_runs(cursor)
    assert {failure.stage for failure in run.failures} == {"left", "right"}


def test_what_the_engine_retried_itself_is_no_failure(bench: Bench) -> None:
    _, cursor = bench.engine.finished_runs(None)
    bench.tell("left", "flaky")
    bench.run()
    (run,), _ = bench.engine.finished_runs(cursor)
    assert (run.state, run.failures, run.retried_stages) == (RunState.SUCCEEDED, (), ("left",))


def test_a_run_whose_process_died_is_reported_as_lost_once(bench: Bench) -> None:
    _, cursor = bench.engine.finished_runs(None)
    bench.tell("join", "die")
    gone = bench.run()
    (run,), cursor = news(bench.engine, cursor)
    assert (run.run, run.state) == (gone, RunState.LOST)
    assert [(failure.stage, failure.kind) for failure in run.failures] == [("join", FailureKind.RUN_LOST)]
    assert bench.engine.finished_runs(cursor) == ((), cursor)
    assert bench.restarted().finished_runs(cursor)[0] == ()
    assert bench.engine.describe(gone).state is RunState.LOST
    assert gone not in bench.engine.active_runs()


def test_the_log_of_a_stage_is_its_own_and_ends_in_its_error(bench: Bench) -> None:
    bench.tell("join", "fail")
    run = bench.run()
    own, whole = bench.engine.logs(run, "join"), bench.engine.logs(run, None)
    assert any("join begins" in line for line in own)
    assert not any("left begins" in line for line in own)
    assert any("ValueError: invalid literal for int() with base 10: 'twelve'" in line for line in own)
    assert not any("\n" in line for line in whole)
    assert any("left begins" in line for line in whole)
    assert not any("prints" in line for line in bench.engine.logs(run, "publish"))


def test_a_description_has_the_whole_graph_and_what_ran(bench: Bench) -> None:
    bench.tell("join", "fail")
    run = bench.run(TRIPLED)
    found = bench.engine.describe(run)
    assert {stage: set(parents) for stage, parents in found.upstream.items()} == {
        stage: set(parents) for stage, parents in UPSTREAM.items()
    }
    assert found.downstream(("left",)) == ("join", "publish")
    assert found.stage_states == {"seed": "succeeded", "left": "succeeded", "right": "succeeded", "join": "failed"}
    assert (found.root_run_id, found.parent_run_id, found.state) == (run.run_id, None, RunState.FAILED)
    assert found.config == TRIPLED


def test_a_run_that_does_not_exist_is_refused(bench: Bench) -> None:
    missing = RunRef(engine=bench.engine.name, pipeline="diamond", run_id=str(uuid.uuid4()))
    with pytest.raises(Rejected):
        bench.engine.describe(missing)
    with pytest.raises(Rejected):
        bench.engine.rerun(missing, ("join",), key="missing", tags={}, timeout_s=30)


def test_a_rerun_runs_exactly_the_stages_and_one_key_is_one_run(bench: Bench) -> None:
    bench.tell("join", "fail")
    parent = bench.run(TRIPLED)
    bench.heal()
    before = len(bench.calls())
    _, cursor = bench.engine.finished_runs(None)
    first = bench.engine.rerun(parent, ("publish", "join"), key="one", tags={"incident": "7"}, timeout_s=60)
    again = bench.restarted().rerun(parent, ("publish", "join"), key="one", tags={"incident": "7"}, timeout_s=60)
    assert bench.calls()[before:] == ["join", "publish"]
    assert again == first
    assert (first.state, first.parent_run_id, first.root_run_id) == (RunState.SUCCEEDED, parent.run_id, parent.run_id)
    assert first.stage_states == {"join": "succeeded", "publish": "succeeded"}
    assert first.config == TRIPLED
    assert first.tags["incident"] == "7"
    assert [run.run for run in bench.engine.run_chain(parent.run_id)] == [parent, first.run]
    assert bench.engine.latest_success("diamond") == first.run
    (ended,), _ = bench.engine.finished_runs(cursor)
    assert (ended.run, ended.root_run_id) == (first.run, parent.run_id)


def test_a_rerun_that_fails_says_so_and_the_next_one_builds_on_the_chain(bench: Bench) -> None:
    """`join` passes in the second run, `publish` fails; the third re-runs `publish` alone, on the second's output."""
    bench.tell("join", "fail")
    parent = bench.run()
    bench.heal()
    bench.tell("publish", "fail")
    second = bench.engine.rerun(parent, ("join", "publish"), key="chain-2", tags={}, timeout_s=60)
    bench.heal()
    third = bench.engine.rerun(parent, ("publish",), key="chain-3", tags={}, config=TRIPLED, timeout_s=60)
    assert (second.state, third.state) == (RunState.FAILED, RunState.SUCCEEDED)
    assert third.config == TRIPLED


@pytest.mark.parametrize(("wrong", "said"), [({"factor": "three"}, "factor"), ({"colour": 3}, "colour")])
def test_a_configuration_that_the_job_does_not_accept_is_refused_and_starts_nothing(
    bench: Bench, wrong: dict[str, Any], said: str
) -> None:
    parent, key = bench.run(), f"wrong {said}"
    calls = bench.calls()
    with pytest.raises(Rejected, match=said):
        bench.engine.rerun(
            parent, ("seed",), key=key, tags={}, config={"ops": {"seed": {"config": wrong}}}, timeout_s=60
        )
    assert bench.calls() == calls
    assert [run.run for run in bench.engine.run_chain(parent.run_id)] == [parent]
    found = bench.engine.rerun(parent, ("seed",), key=key, tags={}, config=TRIPLED, timeout_s=60)
    assert (found.state, found.config) == (RunState.SUCCEEDED, TRIPLED)


def test_a_place_of_the_runs_own_configuration_is_changed_for_one_rerun_alone(bench: Bench) -> None:
    parent = bench.run({"ops": {**TRIPLED["ops"], "left": {"config": {"factor": 5}}}})
    scheduled = bench.engine.describe(parent).config
    change = ConfigChange(stage="left", path="ops.left.config.factor", before=5, after=2)
    config = with_changes(scheduled, [change])
    changed = bench.engine.rerun(parent, ("left",), key="changed", tags={}, config=config, timeout_s=60)
    assert changed.config == {"ops": {**TRIPLED["ops"], "left": {"config": {"factor": 2}}}}
    after = bench.engine.rerun(changed.run, ("left",), key="as before", tags={}, config=scheduled, timeout_s=60)
    assert after.config == bench.engine.describe(parent).config == scheduled


def test_two_threads_with_one_key_start_one_run(bench: Bench) -> None:
    parent = bench.run()
    before = len(bench.calls())
    found: list[str] = []

    def rerun() -> None:
        found.append(bench.engine.rerun(parent, ("seed",), key="twice", tags={}, timeout_s=60).run.run_id)

    threads = [threading.Thread(target=rerun) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bench.calls()[before:] == ["seed"]
    assert len(set(found)) == 1
    assert len(found) == 3


def test_a_stage_that_the_job_does_not_have_is_refused(bench: Bench) -> None:
    with pytest.raises(Rejected, match="no stage moor"):
        bench.engine.rerun(bench.run(), ("moor",), key="moor", tags={}, timeout_s=60)


def test_a_job_without_a_success_has_none(bench: Bench) -> None:
    assert bench.engine.latest_success("no such job") is None
    assert bench.engine.latest_finished("no such job") is None


def test_the_run_that_ended_last_is_given_in_whatever_state(bench: Bench) -> None:
    bench.run()
    bench.tell("join", "fail")
    failed = bench.run()
    latest = bench.engine.latest_finished("diamond")
    assert latest is not None
    assert (latest.run, latest.state) == (failed, RunState.FAILED)
    assert [failure.stage for failure in latest.failures] == ["join"]


def test_the_engine_says_what_may_be_done(bench: Bench) -> None:
    assert any("re-runs" in sentence and "diamond" in sentence for sentence in bench.engine.check())
