"""What only Dagster has: asset jobs, partitions, executors, and the processes that Mendline keeps beside itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mendline.engines.base import RunDescription, RunState
from mendline.engines.dagster import Dagster, rerun_id
from mendline.errors import ConfigError, Rejected, Unavailable
from mendline.incident import FailureKind, RunRef
from mendline.testing.dagster_bench import DagsterBench
from mendline.testing.waiting import wait_until

PROJECT = Path(__file__).parent / "dagster_project"


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterBench]:
    made = DagsterBench(tmp_path_factory.mktemp("dagster"), PROJECT)
    yield made
    made.close()


@pytest.fixture
def bench(shared_bench: DagsterBench) -> Iterator[DagsterBench]:
    yield shared_bench
    shared_bench.heal()


class Later(threading.Thread):
    """A call on a thread of its own, as a worker makes it."""

    def __init__(self, engine: Dagster, parent: RunRef, stages: tuple[str, ...], key: str) -> None:
        super().__init__(daemon=True)
        self._call: Any = (engine, parent, stages, key)
        self.found: RunDescription | None = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        engine, parent, stages, key = self._call
        try:
            self.found = engine.rerun(parent, stages, key=key, tags={}, timeout_s=60)
        except Unavailable as error:
            self.error = error


def process_of(engine: Dagster, run_id: str) -> int:
    """The pid that executes one of our re-runs."""
    run = engine.describe(RunRef(engine="dagster", pipeline="", run_id=run_id))
    return int(run.tags["mendline/process"].split(":")[1])


def parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return None  # it ended meanwhile


def hang(bench: DagsterBench, stage: str, key: str, parent: RunRef) -> Later:
    bench.tell(stage, "hang")
    before = bench.calls().count(stage)
    later = Later(bench.engine, parent, (stage,), key)
    wait_until(lambda: bench.calls().count(stage) > before, 60, f"{stage} to begin")
    return later


def test_the_service_itself_never_imports_dagster() -> None:
    code = "import mendline.engines.dagster, sys; sys.exit('dagster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_asset_job_is_rerun_with_its_partition(bench: DagsterBench) -> None:
    _, cursor = bench.engine.finished_runs(None)
    bench.tell("pallets", "fail")
    parent, _ = bench.launch("assets", tags={"dagster/partition": "tue"})
    (run,), _ = bench.engine.finished_runs(cursor)
    assert [failure.stage for failure in run.failures] == ["pallets"]
    bench.heal()
    found = bench.engine.rerun(parent, ("pallets", "manifest"), key="assets", tags={}, timeout_s=60)
    assert (found.state, found.partition) == (RunState.SUCCEEDED, "tue")
    assert found.stage_states == {"pallets": "succeeded", "manifest": "succeeded"}
    assert found.upstream == {"raw__boxes": (), "pallets": ("raw__boxes",), "manifest": ("pallets",)}


def test_a_run_of_some_assets_knows_the_whole_graph_and_is_rerun_within_them(bench: DagsterBench) -> None:
    bench.launch("assets", tags={"dagster/partition": "mon"})
    parent, _ = bench.launch("assets", tags={"dagster/partition": "mon"}, assets=[["pallets"]])
    assert bench.engine.describe(parent).downstream(("pallets",)) == ("manifest",)
    found = bench.engine.rerun(parent, ("pallets",), key="subset", tags={}, timeout_s=60)
    assert (found.state, found.stage_states) == (RunState.SUCCEEDED, {"pallets": "succeeded"})


def test_a_run_that_fails_before_any_stage_is_a_failed_run(bench: DagsterBench) -> None:
    _, cursor = bench.engine.finished_runs(None)
    bench.tell("gate", "fail")
    parent, _ = bench.launch("gated")
    (run,), _ = bench.engine.finished_runs(cursor)
    (failure,) = run.failures
    assert (failure.stage, failure.kind) == (None, FailureKind.RUN_FAILED)
    assert (failure.error_class, failure.message) == ("ConnectionError", "the gate is closed")
    assert any("the gate is closed" in line for line in bench.engine.logs(parent, None))
    bench.heal()
    assert bench.engine.rerun(parent, ("enter",), key="gate", tags={}, timeout_s=60).state is RunState.SUCCEEDED


def test_runs_executed_inside_the_users_own_process_are_seen(bench: DagsterBench) -> None:
    _, cursor = bench.engine.finished_runs(None)
    bench.tell("right", "fail")
    ref, _ = bench.launch("diamond", in_process=True)
    (run,), _ = bench.engine.finished_runs(cursor)
    assert (run.run, [failure.stage for failure in run.failures]) == (ref, ["right"])


def test_a_stage_that_fans_out_is_one_stage(bench: DagsterBench) -> None:
    bench.tell("weigh", "fail")
    parent, _ = bench.launch("fan")
    bench.heal()
    before = len(bench.calls())
    found = bench.engine.rerun(parent, ("weigh", "total"), key="fan", tags={}, timeout_s=60)
    assert (found.state, bench.calls()[before:]) == (RunState.SUCCEEDED, ["weigh", "weigh", "total"])
    assert found.upstream == {"split": (), "weigh": ("split",), "total": ("weigh",)}
    again = bench.engine.rerun(parent, ("split", "weigh", "total"), key="fan-all", tags={}, timeout_s=60)
    assert again.state is RunState.SUCCEEDED


def test_detailed_logging_brings_debug_records(bench: DagsterBench) -> None:
    parent = bench.run()
    plain = bench.engine.rerun(parent, ("seed",), key="plain", tags={}, timeout_s=60)
    detailed = bench.engine.rerun(parent, ("seed",), key="detailed", tags={}, detailed_logging=True, timeout_s=60)
    assert not any("seed in detail" in line for line in bench.engine.logs(plain.run, "seed"))
    assert any("seed in detail" in line for line in bench.engine.logs(detailed.run, "seed"))


def test_what_stages_print_to_stderr_is_told_apart(bench: DagsterBench) -> None:
    run = bench.run()
    printed = [line for line in bench.engine.logs(run, "join") if "prints to stderr" in line]
    assert printed == ["join prints to stderr"]


def test_a_rerun_whose_process_is_killed_is_lost_and_is_not_started_again(bench: DagsterBench) -> None:
    parent = bench.run()
    later = hang(bench, "seed", "killed", parent)
    os.kill(process_of(bench.engine, rerun_id("dagster", "killed")), signal.SIGKILL)
    later.join(60)
    assert later.found is not None
    assert (later.found.state, later.found.stage_states) == (RunState.LOST, {"seed": "running"})
    bench.heal()
    calls = bench.calls()
    again = bench.engine.rerun(parent, ("seed",), key="killed", tags={}, timeout_s=60)
    assert (again.state, bench.calls()) == (RunState.LOST, calls)


def test_a_rerun_goes_on_when_mendline_is_gone_and_is_found_by_the_next(bench: DagsterBench) -> None:
    parent = bench.run()
    later = hang(bench, "seed", "orphan", parent)
    ref = RunRef(engine="dagster", pipeline="diamond", run_id=rerun_id("dagster", "orphan"))
    assert ref in bench.other.active_runs()
    bench.engine.close()
    bench.engine = bench.adapter()
    calls = bench.calls()
    bench.heal()
    found = bench.engine.rerun(parent, ("seed",), key="orphan", tags={}, timeout_s=60)
    assert (found.state, bench.calls()) == (RunState.SUCCEEDED, calls)
    later.join(60)
    assert later.error is not None or later.found is not None


@pytest.mark.parametrize("victim", ["host", "reader"])
def test_a_process_of_ours_that_dies_is_started_again_without_a_second_run(bench: DagsterBench, victim: str) -> None:
    parent = bench.run()
    later = hang(bench, "seed", victim, parent)
    run = process_of(bench.engine, rerun_id("dagster", victim))
    host = parent_of(run) or 0
    reader = next(
        int(p.name) for p in Path("/proc").glob("[0-9]*") if parent_of(int(p.name)) == host != int(p.name) != run
    )
    os.kill({"host": host, "reader": reader}[victim], signal.SIGKILL)
    calls = bench.calls()
    bench.heal()
    later.join(60)
    assert later.found is not None
    assert (later.found.state, bench.calls()) == (RunState.SUCCEEDED, calls)


def test_a_rerun_that_takes_too_long_is_unavailable_and_can_be_asked_for_again(bench: DagsterBench) -> None:
    parent = bench.run()
    later = hang(bench, "seed", "slow", parent)
    with pytest.raises(Unavailable, match="did not end in time"):
        bench.other.rerun(parent, ("seed",), key="slow", tags={}, timeout_s=0.5)
    bench.heal()
    later.join(60)
    assert later.found is not None
    assert later.found.state is RunState.SUCCEEDED


def copy_project(directory: Path, name: str) -> None:
    """Put the project's code beside others', its definitions under another name."""
    shutil.copy(PROJECT / "loading.py", directory)
    shutil.copy(PROJECT / "definitions.py", directory / name)


def test_code_that_does_not_load_is_said_and_starts_nothing(bench: DagsterBench, tmp_path: Path) -> None:
    parent = bench.run()
    (tmp_path / "broken.py").write_text("import no_such_module_anywhere\n")
    engine = bench.adapter(code={"python_file": tmp_path / "broken.py", "working_directory": tmp_path})
    try:
        with pytest.raises(ConfigError, match="no_such_module_anywhere"):
            engine.check()
        with pytest.raises(Unavailable, match="no_such_module_anywhere"):
            engine.rerun(parent, ("seed",), key="broken", tags={}, timeout_s=30)
        with pytest.raises(Rejected):
            engine.describe(RunRef(engine="dagster", pipeline="", run_id=rerun_id("dagster", "broken")))
        copy_project(tmp_path, "broken.py")
        found = engine.rerun(parent, ("seed",), key="broken", tags={}, timeout_s=30)
        assert found.state is RunState.SUCCEEDED
    finally:
        engine.close()


def test_two_definitions_without_a_name_are_refused_with_their_names(bench: DagsterBench, tmp_path: Path) -> None:
    text = "import dagster as dg\n\n@dg.job\ndef one(): ...\n\n@dg.job\ndef two(): ...\n"
    (tmp_path / "jobs.py").write_text(text)
    engine = bench.adapter(code={"python_file": tmp_path / "jobs.py"})
    try:
        with pytest.raises(ConfigError, match=r"one.*two"):
            engine.check()
    finally:
        engine.close()


def test_a_module_with_a_named_attribute_is_found(bench: DagsterBench, tmp_path: Path) -> None:
    copy_project(tmp_path, "cargo.py")
    engine = bench.adapter(code={"module": "cargo", "attribute": "defs", "working_directory": tmp_path})
    try:
        assert "diamond" in engine.check()[1]
    finally:
        engine.close()


def test_an_instance_that_nobody_has_used_is_left_untouched(tmp_path: Path, bench: DagsterBench) -> None:
    """Two processes that make Dagster's SQLite storage at once break it for good; the first run must be alone."""
    (tmp_path / "home").mkdir()
    engine = bench.adapter(dagster_home=tmp_path / "home")
    try:
        runs, cursor = engine.finished_runs(None)
        assert (runs, engine.active_runs(), engine.latest_success("diamond")) == ((), (), None)
        assert engine.finished_runs(cursor) == ((), cursor)
        assert "reads the 0 runs" in engine.check()[0]
        missing = RunRef(engine="dagster", pipeline="diamond", run_id="none")
        with pytest.raises(Rejected):
            engine.describe(missing)
        with pytest.raises(Rejected):
            engine.rerun(missing, ("seed",), key="none", tags={}, timeout_s=30)
        assert list((tmp_path / "home").iterdir()) == []
    finally:
        engine.close()


@pytest.mark.parametrize(("key", "value"), [("dagster_home", "nowhere"), ("python", "no/python")])
def test_a_wrong_path_names_its_key(bench: DagsterBench, key: str, value: str) -> None:
    engine = bench.adapter(**{key: value})
    with pytest.raises(ConfigError, match=rf"engines\.dagster\.{key}"):
        engine.check()
    engine.close()
    engine.close()


@pytest.mark.slow
def test_the_default_executor_reruns_in_processes_of_its_own(bench: DagsterBench) -> None:
    bench.tell("left", "fail")
    parent, _ = bench.launch("default_executor")
    bench.heal()
    found = bench.engine.rerun(parent, ("left",), key="default", tags={}, timeout_s=240)
    assert (found.state, found.stage_states) == (RunState.SUCCEEDED, {"left": "succeeded"})
    assert any("left prints to stdout" in line for line in bench.engine.logs(found.run, "left"))
    assert not any("seed" in line for line in bench.engine.logs(parent, "left") if "prints" in line)


@pytest.mark.slow
def test_a_stage_killed_in_its_own_process_is_a_failed_stage(bench: DagsterBench) -> None:
    _, cursor = bench.engine.finished_runs(None)
    bench.tell("left", "die")
    bench.launch("default_executor")
    (run,), _ = bench.engine.finished_runs(cursor)
    (failure,) = run.failures
    assert (failure.stage, failure.error_class) == ("left", "ChildProcessCrashException")
