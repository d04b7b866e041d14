"""What every `Workflows` promises, over DBOS and over the fake; and what only a real kill -9 can show."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from mendline.durable import SCHEMA, Durable
from mendline.errors import ConfigError, InputError, JournalConflict, MendlineError, PluginError, Rejected, Unavailable
from mendline.incident import Check
from mendline.steps import Steps, WorkflowFunction, Workflows
from mendline.testing.direct_durable import DirectDurable, Journal, VirtualClock
from mendline.testing.waiting import wait_until
from postgres_server import PostgresServer

Restart = Callable[[WorkflowFunction], Workflows]


@pytest.fixture(scope="module")
def kept_url(postgres_server: PostgresServer) -> Iterator[str]:
    """One database for many tests: DBOS takes its time to make its tables."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


def emptied(url: str) -> str:
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename <> 'dbos_migrations'"
    with psycopg.connect(url) as connection:
        for (name,) in connection.execute(tables, [SCHEMA]).fetchall():
            connection.execute(f"TRUNCATE {SCHEMA}.{name} CASCADE".encode())
    return url


@pytest.fixture(params=["sqlite", "postgres", "direct"])
def restart(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Restart]:
    """Give a launched `Workflows` that runs one function as "incident"; each call is the next life of one process."""
    lives: list[Workflows] = []
    journal = Journal()
    url = emptied(request.getfixturevalue("kept_url")) if request.param == "postgres" else None

    def again(function: WorkflowFunction) -> Workflows:
        for life in lives:
            life.close()
        workflows: Workflows = (
            DirectDurable(journal, workers=2) if request.param == "direct" else Durable(tmp_path, url=url, workers=2)
        )
        lives.append(workflows)
        workflows.workflow("incident")(function)
        workflows.launch()
        return workflows

    yield again
    for life in lives:
        life.close()


def finish(workflows: Workflows, workflow_id: str = "one") -> None:
    wait_until(lambda: workflows.is_finished(workflow_id), what=f"the end of `{workflow_id}`")


def test_a_workflow_runs_with_its_arguments_and_id(restart: Restart) -> None:
    seen: list[object] = []

    def incident(steps: Steps, number: int, names: list[str]) -> None:
        seen.append((steps.workflow_id, number, names))

    workflows = restart(incident)
    assert not workflows.is_finished("one")
    workflows.start("incident", "one", 7, ["a", "b"])
    finish(workflows)
    assert seen == [("one", 7, ["a", "b"])]


def test_starting_an_id_again_runs_nothing(restart: Restart) -> None:
    seen: list[int] = []

    def incident(steps: Steps, number: int) -> None:
        steps.run("note", lambda: seen.append(number))

    workflows = restart(incident)
    for number in (1, 2, 3):
        workflows.start("incident", "one", number)
    finish(workflows)
    workflows.start("incident", "one", 4)
    workflows.start("incident", "two", 5)
    finish(workflows, "two")
    assert seen == [1, 5]


def test_an_unknown_workflow_name_is_refused(restart: Restart) -> None:
    workflows = restart(lambda steps: None)
    with pytest.raises(JournalConflict, match="`other` is not a registered workflow"):
        workflows.start("other", "one")


def test_an_answer_comes_back_as_the_value_it_was(restart: Restart) -> None:
    check = Check(name="rows", passed=True, detail="ünï \x00 '\"")
    seen: list[object] = []

    def incident(steps: Steps) -> None:
        seen.append(steps.run("one", lambda: check, Check))
        seen.append(steps.run("many", lambda: (check, check), tuple[Check, ...]))
        seen.append(steps.run("maybe", lambda: None, Check | None))
        seen.append(steps.run("nothing", lambda: None))

    workflows = restart(incident)
    workflows.start("incident", "one")
    finish(workflows)
    assert seen == [check, (check, check), None, None]


def test_finished_steps_are_not_repeated_in_the_next_life(restart: Restart) -> None:
    effects: list[str] = []
    is_holding = threading.Event()

    def incident(steps: Steps) -> None:
        steps.run("first", lambda: effects.append("first"))
        first_at = steps.now()
        with pytest.raises(Rejected):
            steps.run("fails", fail)
        is_holding.set()
        steps.wait("go on", 60)
        steps.run("last", lambda: effects.append("last"))
        assert steps.now() > first_at

    def fail() -> None:
        effects.append("fails")
        raise Rejected("`x` refused")

    workflows = restart(incident)
    workflows.start("incident", "one")
    assert is_holding.wait(20)
    is_holding.clear()
    workflows = restart(incident)
    assert is_holding.wait(20)
    assert not workflows.is_finished("one")
    workflows.send("one", "go on", True, "key")
    finish(workflows)
    assert effects == ["first", "fails", "last"]


def test_an_error_of_ours_keeps_type_and_fields_over_a_replay(restart: Restart) -> None:
    seen: list[tuple[type[MendlineError], str, str | None, str | None]] = []
    is_holding = threading.Event()

    def fail() -> None:
        raise Unavailable("`api` did not answer", system="api", run_id="r1")

    def incident(steps: Steps) -> None:
        try:
            steps.run("call", fail)
        except MendlineError as error:
            seen.append((type(error), str(error), error.system, error.run_id))
        is_holding.set()
        steps.wait("go on", 60)

    workflows = restart(incident)
    workflows.start("incident", "one")
    assert is_holding.wait(20)
    workflows = restart(incident)
    workflows.send("one", "go on", True, "key")
    finish(workflows)
    assert seen == [(Unavailable, "`api` did not answer", "api", "r1")] * 2


def test_an_unforeseen_error_of_a_step_is_the_same_plugin_error_over_a_replay(restart: Restart) -> None:
    seen: list[str] = []
    is_holding = threading.Event()

    def bug() -> object:
        return {"a": 1}["x"]

    def incident(steps: Steps) -> None:
        steps.run("not wanted", object)
        for name, function in (("bug", bug), ("wrong type", lambda: "text")):
            try:
                steps.run(name, function, int)
            except PluginError as error:
                seen.append(str(error))
        is_holding.set()
        steps.wait("go on", 60)

    workflows = restart(incident)
    workflows.start("incident", "one")
    assert is_holding.wait(20)
    workflows = restart(incident)
    workflows.send("one", "go on", True, "key")
    finish(workflows)
    assert len(seen) == 4
    assert seen[:2] == seen[2:]
    assert "step `bug` failed in an unforeseen way: KeyError: 'x'" in seen[0]
    assert "step `wrong type` failed" in seen[1]


def test_a_value_sent_is_taken_once_and_in_order(restart: Restart) -> None:
    seen: list[object] = []

    def incident(steps: Steps) -> None:
        seen.append(steps.wait("approval", 20))
        seen.append(steps.wait("approval", 20))
        seen.append(steps.wait("approval", 0.05))

    workflows = restart(incident)
    workflows.start("incident", "one")
    workflows.send("one", "other", "not this", "1")
    workflows.send("one", "approval", {"by": "ann"}, "1")
    workflows.send("one", "approval", {"by": "ann"}, "1")
    workflows.send("one", "approval", {"by": "bob"}, "2")
    finish(workflows)
    assert seen == [{"by": "ann"}, {"by": "bob"}, None]


def test_sending_to_no_workflow_is_an_input_error(restart: Restart) -> None:
    workflows = restart(lambda steps: None)
    with pytest.raises(InputError, match="no workflow `nine`"):
        workflows.send("nine", "approval", True, "1")


def test_sleep_takes_its_time_and_nothing_is_late_when_there_is_none(restart: Restart) -> None:
    times: list[datetime] = []

    def incident(steps: Steps) -> None:
        for seconds in (0.2, 0.0, -1.0):
            times.append(steps.now())
            steps.sleep(seconds)
        times.append(steps.now())

    workflows = restart(incident)
    workflows.start("incident", "one")
    finish(workflows)
    assert (times[1] - times[0]).total_seconds() >= 0.2
    assert (times[3] - times[1]).total_seconds() < 5
    assert times[0].tzinfo is UTC


def test_no_more_steps_run_at_once_than_there_are_workers(restart: Restart) -> None:
    lock, running, most = threading.Lock(), 0, 0
    both = threading.Barrier(2)

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait(20)  # breaks unless two run side by side
        with lock:
            running -= 1

    def incident(steps: Steps) -> None:
        steps.run("work", work)

    workflows = restart(incident)
    for number in range(6):
        workflows.start("incident", str(number))
    for number in range(6):
        finish(workflows, str(number))
    assert most == 2


def test_waiting_and_sleeping_hold_no_worker(restart: Restart) -> None:
    def incident(steps: Steps, is_waiting: bool) -> None:
        if is_waiting:
            steps.wait("go on", 60)
        steps.run("work", lambda: None)

    workflows = restart(incident)
    for number in range(4):
        workflows.start("incident", f"waiting {number}", True)
    workflows.start("incident", "one", False)
    finish(workflows)
    for number in range(4):
        workflows.send(f"waiting {number}", "go on", True, "1")
        finish(workflows, f"waiting {number}")


def test_a_workflow_that_raises_is_finished_and_harms_no_other(restart: Restart) -> None:
    def incident(steps: Steps, is_broken: bool) -> None:
        if is_broken:
            raise KeyError("a bug")

    workflows = restart(incident)
    workflows.start("incident", "broken", True)
    workflows.start("incident", "one", False)
    finish(workflows, "broken")
    finish(workflows)


def test_closing_while_a_workflow_sleeps_is_prompt_and_no_outcome(restart: Restart) -> None:
    seen: list[str] = []
    is_asleep = threading.Event()

    def sleeps_long(steps: Steps) -> None:
        steps.run("first", lambda: seen.append("first"))
        is_asleep.set()
        steps.wait("go on", 600)
        steps.run("last", lambda: seen.append("last"))

    workflows = restart(sleeps_long)
    workflows.start("incident", "one")
    assert is_asleep.wait(20)
    began_at = datetime.now(UTC)
    assert workflows.close()
    assert workflows.close()
    assert (datetime.now(UTC) - began_at).total_seconds() < 8
    workflows = restart(sleeps_long)
    workflows.send("one", "go on", True, "1")
    finish(workflows)
    assert seen == ["first", "last"]


def test_code_that_asks_for_other_steps_than_the_journal_has_is_told_so(restart: Restart) -> None:
    told: list[str] = []
    is_holding = threading.Event()

    def before(steps: Steps) -> None:
        steps.run("old", lambda: None)
        is_holding.set()
        steps.wait("go on", 60)

    def after(steps: Steps) -> None:
        try:
            steps.run("new", lambda: None)
        except JournalConflict as error:
            told.append(str(error))

    workflows = restart(before)
    workflows.start("incident", "one")
    assert is_holding.wait(20)
    workflows = restart(after)
    finish(workflows)
    assert len(told) == 1
    assert "`one`" in told[0]


class TestOnDisk:
    """What only the real journal has: files, processes, kill -9."""

    def test_a_second_process_in_one_directory_is_refused(self, tmp_path: Path) -> None:
        first, second = Durable(tmp_path), Durable(tmp_path)
        first.launch()
        try:
            with pytest.raises(JournalConflict, match="already runs workflows"):
                second.launch()
            code = "import sys; from pathlib import Path; from mendline.durable import Durable; Durable(Path(sys.argv[1])).launch()"
            other = subprocess.run(  # noqa: PLW1510 - the code is what is examined
                [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60
            )
        finally:
            first.close()
        assert other.returncode != 0
        assert "ConfigError" in other.stderr
        assert "is in use by another Mendline (process" in other.stderr

    def test_a_directory_that_cannot_be_made_is_a_config_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigError, match=r"`state\.directory`"):
            Durable(tmp_path / "file" / "state").launch()

    def test_nothing_in_the_journal_is_pickled_and_it_is_in_wal_mode(self, tmp_path: Path) -> None:
        durable = Durable(tmp_path)

        def incident(steps: Steps, number: int) -> None:
            steps.run("answer", lambda: Check(name="n", passed=True), Check)
            with pytest.raises(Unavailable):
                steps.run("error", lambda: (_ for _ in ()).throw(Unavailable("later")))

        durable.workflow("incident")(incident)
        durable.launch()
        durable.start("incident", "one", 1)
        finish(durable)
        durable.close()
        connection = sqlite3.connect(durable.database)
        kinds = {
            kind
            for table in ("workflow_status", "operation_outputs")
            for (kind,) in connection.execute(f"SELECT DISTINCT serialization FROM {table}")
        }
        errors = [text for (text,) in connection.execute("SELECT error FROM operation_outputs WHERE error IS NOT NULL")]
        mode = connection.execute("PRAGMA journal_mode").fetchone()
        connection.close()
        assert kinds == {"mendline_json_1"}
        assert len(errors) == 1
        assert '"type":"Unavailable"' in errors[0]
        assert mode == ("wal",)

    @pytest.mark.parametrize(
        ("stop_at", "kill_after", "expected"),
        [
            ("in a step", "second begins", ["first", "second begins", "second begins", "second ends", "last"]),
            ("between steps", "in the body", ["first", "in the body", "in the body", "last"]),
            ("in sleep", "asleep", ["first", "asleep", "woken on time", "last"]),
            ("in wait", "waiting", ["first", "waiting", "answered yes", "last"]),
        ],
    )
    def test_a_killed_process_goes_on_where_it_was(
        self, tmp_path: Path, stop_at: str, kill_after: str, expected: list[str]
    ) -> None:
        """Finished steps are not repeated; a step cut short is; a message sent to a dead worker arrives."""
        effects = tmp_path / "effects.txt"
        effects.touch()
        command = [sys.executable, str(Path(__file__).with_name("durable_process.py")), str(tmp_path), stop_at]
        with subprocess.Popen(command) as first:
            wait_until(lambda: kill_after in effects.read_text().splitlines(), 30, f"`{kill_after}`")
            if stop_at in ("in sleep", "in wait"):
                wait_until(lambda: _journaled_count(tmp_path) >= 3, 30, "the deadline in the journal")
            first.send_signal(signal.SIGKILL)
        (tmp_path / "was_killed").touch()
        if stop_at == "in wait":
            Durable(tmp_path).send("one", "approval", "yes", "1")
        assert subprocess.run(command, timeout=60, check=False).returncode == 0
        assert effects.read_text().splitlines() == expected


class TestCrashesOfTheFake:
    """The fake can be lost after any step, with its effect recorded or not."""

    @pytest.mark.parametrize("before_record", [False, True])
    @pytest.mark.parametrize("step_count", [1, 2, 3])
    def test_each_step_is_repeated_only_when_its_record_was_lost(self, step_count: int, before_record: bool) -> None:
        effects: list[str] = []

        def incident(steps: Steps) -> None:
            for name in ("a", "b", "c"):
                steps.run(name, lambda name=name: effects.append(name))  # type: ignore[misc]

        first = DirectDurable()
        first.workflow("incident")(incident)
        first.crash_after(step_count, before_record=before_record)
        first.start("incident", "one")
        wait_until(first.stopping.is_set)
        first.close()
        assert not first.is_finished("one")
        second = DirectDurable(first.journal)
        second.workflow("incident")(incident)
        second.launch()
        finish(second)
        repeated = ["a", "b", "c"][step_count - 1 : step_count] if before_record else []
        assert effects == ["a", "b", "c"][:step_count] + repeated + ["a", "b", "c"][step_count:]

    def test_a_virtual_clock_makes_long_sleeps_free(self) -> None:
        clock = VirtualClock()
        durable = DirectDurable(clock=clock)
        began_at = clock.now()
        durable.workflow("incident")(lambda steps: steps.sleep(86_400))
        durable.start("incident", "one")
        finish(durable)
        assert (clock.now() - began_at).total_seconds() == 86_400


def _journaled_count(directory: Path) -> int:
    connection = sqlite3.connect(directory / "workflows.db", timeout=30)
    try:
        (count,) = connection.execute("SELECT count(*) FROM operation_outputs").fetchone()
    finally:
        connection.close()
    return int(count)
