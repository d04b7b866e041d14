"""Retries of a real pipeline: only what bears it is run again, and with other values only within their bounds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from contracts.bench import OFFLINE
from mendline.config import load_config
from mendline.hands import Hands
from mendline.incident import Attempt, FailureType, Outcome, OutcomeKind
from mendline.ledger import Ledger
from mendline.monitor.intake import Intake
from mendline.monitor.polling import Poller
from mendline.playbook import load_playbook
from mendline.redaction import Redactor
from mendline.report.markdown import render
from mendline.steps import Steps
from mendline.stores.base import existing
from mendline.testing.dagster_bench import DagsterBench
from mendline.testing.direct_durable import DirectDurable, VirtualClock
from mendline.testing.memory_store import MemoryStore
from mendline.testing.waiting import wait_until
from mendline.tools.base import Services
from mendline.tools.check_api_status import CheckApiStatus
from mendline.tools.inspect_schema_diff import InspectSchemaDiff
from mendline.tools.profile_failed_batch import ProfileFailedBatch
from mendline.tools.retry_with_backoff import RetryWithBackoff
from mendline.warehouses.duckdb import DuckDB
from mendline.workflow import handle_incident

CONFIG = """
engines: {{dagster: {{kind: dagster, dagster_home: home, code: {{module: somewhere}}, rerun_timeout_seconds: 60}}}}
pipelines:
  depot:
    engine: dagster
    adjustable: [{adjustable}]
warehouses: {{main: {{kind: duckdb, path: world/depot.duckdb}}}}
datasets: {{parcels: {{pipeline: depot, warehouse: main, landing: raw.parcels, loaded_by: load}}}}
policy: {{rules: [{{decision: auto}}{rules}]}}
retry: {{base_seconds: 5, max_attempts: 5}}
"""
HALVED = "{stage: load, path: ops.load.config.batch_size, on: [RESOURCE], multiply_by: 0.5, min: 150}"
RESOURCE_TOO = ", {type: RESOURCE, decision: auto}"
LARGE = {"ops": {"load": {"config": {"batch_size": 800}}}}


class Depot:
    """The bench's job `depot`, its table, and a Mendline that watches it."""

    def __init__(self, bench: DagsterBench, adjustable: str = HALVED, rules: str = RESOURCE_TOO) -> None:
        self.bench, self.database = bench, bench.world / "depot.duckdb"
        self.database.unlink(missing_ok=True)
        self.sql("CREATE SCHEMA raw; CREATE TABLE raw.parcels (id INTEGER, city VARCHAR)")
        file = bench.folder / "mendline.yaml"
        file.write_text(CONFIG.format(adjustable=adjustable, rules=rules), encoding="utf-8")
        store = MemoryStore()
        self.store = store
        self.services = Services(
            config=load_config(file),
            engines={"dagster": bench.engine},
            warehouses={"main": DuckDB("main", self.database, 10.0)},
            store=store,
            ledger=Ledger(store=store, now=lambda: datetime.now(UTC)),
        )
        self.hands = Hands(
            services=self.services,
            playbook=load_playbook(None),
            diagnostics={tool.name: tool for tool in (InspectSchemaDiff(), ProfileFailedBatch(), CheckApiStatus())},
            repairs={"retry_with_backoff": RetryWithBackoff()},
            redactor=Redactor(),
            deliver=lambda *_: "",
        )
        self.opened: list[str] = []
        intake = Intake(services=self.services, start=self.opened.append)
        self.poller = Poller(bench.engine, store, on_run=intake.on_run)
        self.poller.poll()

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.database), config=OFFLINE) as connection:
            return connection.execute(statement).fetchall()

    def tell(self, name: str, text: str = "") -> None:
        (self.bench.world / name).write_text(text)

    def day(self, number: int, config: dict[str, Any] | None = None) -> str:
        """Run the job for a day, with the monitor watching."""
        self.tell("day", str(number))
        run, _ = self.bench.launch("depot", config=config or {})
        self.poller.poll()
        return run.run_id

    def handle(self) -> Outcome:
        """Take the one incident to its end; what it waits takes no time."""
        durable = DirectDurable(clock=VirtualClock())

        @durable.workflow("incident")
        def _handle(steps: Steps, number: str) -> None:
            handle_incident(number, steps, self.hands)

        durable.launch()
        (number,) = set(self.opened)
        durable.start("incident", number, number)
        wait_until(lambda: durable.is_finished(number), 120, "the end")
        assert durable.close()
        assert durable.journal.errors[number] is None
        outcome = existing(self.store, number).outcome
        assert outcome is not None
        return outcome

    def report(self) -> str:
        return render(existing(self.store, self.opened[0]))

    def reruns(self, root: str) -> list[Any]:
        """The batch size of each run of a chain."""
        chain = self.bench.engine.run_chain(root)
        return [run.config["ops"]["load"]["config"]["batch_size"] for run in chain]

    def loads(self) -> int:
        return self.bench.calls().count("load")


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterBench]:
    made = DagsterBench(tmp_path_factory.mktemp("dagster"), Path(__file__).parent / "dagster_project")
    yield made
    made.close()


@pytest.fixture
def bench(shared_bench: DagsterBench) -> Iterator[DagsterBench]:
    yield shared_bench
    shared_bench.heal()
    (shared_bench.world / "memory").unlink(missing_ok=True)


def only(outcome: Outcome) -> Attempt:
    (attempt,) = outcome.attempts
    return attempt


def test_a_batch_too_large_for_the_memory_is_loaded_in_half_where_the_policy_names_it(bench: DagsterBench) -> None:
    depot = Depot(bench)
    depot.day(1, LARGE)
    depot.tell("memory", "600")
    failed = depot.day(2, LARGE)
    outcome = depot.handle()
    assert (outcome.classification.type, outcome.kind) == (FailureType.RESOURCE, OutcomeKind.RESOLVED)
    assert depot.reruns(failed) == [800, 400]
    assert depot.sql("SELECT min(id), count(*) FROM raw.parcels") == [(2000, 100)]
    assert "batch_size 800 -> 400 (for this re-run only)" in depot.report()
    assert "The next scheduled run has the old configuration again" in outcome.recommended
    assert "is as the last good run left it (100 rows): nothing was written" in depot.report()


def test_without_a_rule_that_names_it_nothing_runs_and_the_report_says_what_could(bench: DagsterBench) -> None:
    depot = Depot(bench, rules="")
    depot.day(1, LARGE)
    depot.tell("memory", "600")
    failed = depot.day(2, LARGE)
    outcome = depot.handle()
    assert (outcome.kind, only(outcome).decision) == (OutcomeKind.ESCALATED, "suggest")
    assert depot.reruns(failed) == [800]
    assert "no policy rule allows `retry_with_backoff` here" in outcome.recommended
    assert "batch_size 800 -> 400" in outcome.recommended


@pytest.mark.slow
def test_step_by_step_to_the_bound_and_no_further(bench: DagsterBench) -> None:
    depot = Depot(bench)
    depot.day(1, LARGE)
    depot.tell("memory", "10")
    failed = depot.day(2, LARGE)
    outcome = depot.handle()
    assert outcome.kind is OutcomeKind.ESCALATED
    assert depot.reruns(failed) == [800, 400, 200, 150]
    assert outcome.attempts[-1].decision == "declined"
    assert "`ops.load.config.batch_size` has reached its bound (150)" in outcome.recommended


@pytest.mark.slow
def test_without_an_adjustment_what_ran_out_is_waited_for(bench: DagsterBench) -> None:
    depot = Depot(bench, adjustable="")
    depot.day(1, LARGE)
    depot.tell("memory", "10")
    failed = depot.day(2, LARGE)
    (bench.world / "memory").unlink()
    outcome = depot.handle()
    assert (outcome.kind, only(outcome).plan and only(outcome).plan.changes) == (OutcomeKind.RESOLVED, ())
    assert depot.reruns(failed) == [800, 800]


@pytest.mark.slow
def test_a_place_that_the_job_does_not_have_is_refused_by_the_engine_and_not_tried_again(bench: DagsterBench) -> None:
    colour = "{stage: load, path: ops.load.config.colour, on: [RESOURCE], multiply_by: 2, max: 9, default: 1}"
    depot = Depot(bench, adjustable=colour)
    depot.day(1, LARGE)
    depot.tell("memory", "10")
    failed = depot.day(2, LARGE)
    outcome = depot.handle()
    assert outcome.kind is OutcomeKind.ESCALATED
    assert depot.reruns(failed) == [800]
    assert [attempt.decision for attempt in outcome.attempts] == ["auto", "declined"]
    assert outcome.attempts[0].verification is not None
    assert "does not accept the configuration of the re-run" in outcome.attempts[0].verification.summary


def test_a_loader_that_appends_and_has_failed_half_way_is_not_run_again(bench: DagsterBench) -> None:
    depot = Depot(bench)
    depot.tell("load.appends")
    depot.day(1)
    depot.tell("load.half")
    depot.day(2)
    (bench.world / "load.half").unlink()
    loads = depot.loads()
    outcome = depot.handle()
    assert (outcome.classification.type, outcome.kind) == (FailureType.API_FAILURE, OutcomeKind.ESCALATED)
    assert only(outcome).decision == "declined"
    assert (
        "the failed run has added 50 rows to `raw.parcels` (150 rows, 100 after the last good run"
        in only(outcome).reason
    )
    assert "Needed: the 50 rows taken out of `raw.parcels`" in outcome.recommended
    assert depot.loads() == loads
    assert depot.sql("SELECT count(*), count(DISTINCT id) FROM raw.parcels") == [(150, 150)]


def test_the_same_loader_where_it_replaces_is_run_again(bench: DagsterBench) -> None:
    depot = Depot(bench)
    depot.day(1)
    depot.day(2)
    depot.tell("load.half")
    depot.day(3)
    (bench.world / "load.half").unlink()
    outcome = depot.handle()
    assert outcome.kind is OutcomeKind.RESOLVED
    assert "`raw.parcels` is replaced as a whole by each load, as the good runs show" in str(only(outcome).plan)
    assert depot.sql("SELECT min(id), count(*), count(DISTINCT id) FROM raw.parcels") == [(3000, 100, 100)]


@pytest.mark.slow
@pytest.mark.parametrize("appends", [True, False], ids=["appends", "replaces"])
def test_a_load_whose_process_was_killed_half_way_is_repeated_only_where_it_replaces(
    bench: DagsterBench, appends: bool
) -> None:
    depot = Depot(bench)
    if appends:
        depot.tell("load.appends")
    depot.day(1, LARGE)
    depot.day(2, LARGE)
    depot.tell("load.die")
    depot.day(3, LARGE)
    wait_until(lambda: depot.poller.poll() or depot.opened, 30, "the lost run")
    (bench.world / "load.die").unlink()
    outcome = depot.handle()
    assert outcome.classification.type is FailureType.RESOURCE
    assert outcome.kind is (OutcomeKind.ESCALATED if appends else OutcomeKind.RESOLVED)
    wanted = (250, 250) if appends else (100, 100)
    assert depot.sql("SELECT count(*), count(DISTINCT id) FROM raw.parcels") == [wanted]


def test_the_log_that_is_kept_of_a_rerun_is_the_detailed_one(bench: DagsterBench) -> None:
    depot = Depot(bench)
    depot.day(1)
    depot.tell("load.half")
    failed = depot.day(2)
    incident = existing(depot.store, depot.opened[0]).incident
    run = bench.engine.rerun(incident.run, ("load",), key="d", tags={}, detailed_logging=True, timeout_s=60)
    said = depot.hands.keep_log(incident, run.run.run_id)
    assert depot.hands.keep_log(incident, run.run.run_id) == said
    (log,) = depot.store.kept_logs(incident.id)
    assert (log.run_id, run.root_run_id) == (run.run.run_id, failed)
    assert any("load in detail" in line for line in log.lines)
    assert any("503 Service Unavailable" in line for line in log.lines)
