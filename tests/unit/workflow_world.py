"""A small pipeline whose stages do real work in a real warehouse, and everything the workflow needs around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from contracts.bench import Bench, DuckDBBench
from mendline.config import Config, load_config
from mendline.engines.base import RunDescription
from mendline.errors import Unavailable
from mendline.hands import Hands
from mendline.incident import Incident, LogExcerpt, Outcome, RunRef
from mendline.ledger import Ledger
from mendline.monitor.intake import Intake
from mendline.monitor.polling import Poller
from mendline.playbook import load_playbook
from mendline.redaction import Redactor
from mendline.snapshots import take_snapshot
from mendline.steps import Steps
from mendline.stores.base import IncidentRecord, Store
from mendline.testing.direct_durable import DirectDurable, Journal, VirtualClock
from mendline.testing.memory_engine import MemoryEngine
from mendline.testing.memory_store import MemoryStore
from mendline.testing.values import NOON
from mendline.testing.waiting import wait_until
from mendline.tools.apply_quality_filter import ApplyQualityFilter
from mendline.tools.apply_schema_migration import ApplySchemaMigration
from mendline.tools.base import Services
from mendline.tools.check_api_status import CheckApiStatus
from mendline.tools.inspect_schema_diff import InspectSchemaDiff
from mendline.tools.profile_failed_batch import ProfileFailedBatch
from mendline.tools.retry_with_backoff import RetryWithBackoff
from mendline.workflow import handle_incident
from unit.mortal_parts import Fate, MortalClock, WatchedSteps, mortal_engine, mortal_store, mortal_warehouse

UPSTREAM = {"ship": (), "weigh": ("ship",), "bill": ("weigh",)}
CONFIG = """
engines: {memory: {kind: dagster, dagster_home: home, code: {module: somewhere}}}
pipelines: {freight: {engine: memory, job: job}}
warehouses: {main: {kind: duckdb, path: freight.duckdb, lock_timeout_seconds: 5}}
datasets:
  parcels:
    pipeline: freight
    warehouse: main
    landing: raw.parcels
    view: front.parcels
    contract: parcels.yaml
    loaded_by: ship
    read_by: [weigh]
    quality: {max_failing_fraction: 0.1}
policy:
  inferred_renames: apply
  rules: [{decision: auto}]
retry: {base_seconds: 5, max_attempts: 5}
"""
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: parcels
version: 1.0.0
status: active
schema:
- name: parcels
  properties:
  - {name: parcel_id, logicalType: integer, primaryKey: true, required: true}
  - {name: sender, logicalType: string, required: true}
  - {name: weight, logicalType: number, physicalType: "DECIMAL(10,2)", required: true}
  - {name: city, logicalType: string}
"""
PARCELS = """
SELECT (100 + range)::INTEGER AS parcel_id, 'sender ' || (range % 40) AS sender,
       (range * 37 % 900 / 10 + 1)::DECIMAL(10,2) AS weight, ['Bern', 'Basel', 'Chur'][1 + (range % 3)] AS city
FROM range(200)"""
VIEW = "SELECT parcel_id, sender, weight, city FROM raw.parcels"
CREATE = f"""
CREATE VIEW front.parcels AS {VIEW};
CREATE TABLE model.weighed (parcel_id INTEGER, sender VARCHAR NOT NULL, weight DECIMAL(10,2), city VARCHAR);
"""
WEIGH = "BEGIN; DELETE FROM model.weighed; INSERT INTO model.weighed SELECT * FROM front.parcels; COMMIT"
ON_DUCKDB = "{kind: duckdb, path: freight.duckdb, lock_timeout_seconds: 5}"
IN_ORDER = {"duckdb": "ALL", "postgres": "t"}
Work = Callable[[], None]


@dataclass
class WorkingEngine(MemoryEngine):
    """A memory engine whose stages call a function each; what it raises is the stage's error."""

    work: dict[str, Work] = field(default_factory=dict)
    away_from: str = ""  # the call from which on it does not answer any more
    is_away: bool = False
    busy: tuple[RunRef, ...] = ()
    is_rerun_by_hand: bool = False

    def rerun_by_hand(self) -> None:
        """Run the whole job again as a re-execution of its first run, as a person would."""
        with self._lock:
            origin = self._find("run-1").description
            self._execute("by-hand", tuple(self.upstream), origin, {}, {})

    def _execute(
        self, run_id: str, stages: tuple[str, ...], parent: RunDescription | None, config: Any, tags: Any
    ) -> RunDescription:
        self.failing.clear()
        barred: set[str] = set()
        for stage in (name for name in self.upstream if name in stages):
            if set(self.upstream[stage]) & {*self.failing, *barred}:
                barred.add(stage)
            else:
                self._work(stage)
        return super()._execute(run_id, stages, parent, config, tags)

    def _work(self, stage: str) -> None:
        try:
            self.work.get(stage, lambda: None)()
        except Exception as error:  # noqa: BLE001 - whatever a stage raises is its failure
            self.failing[stage] = (type(error).__name__, str(error))

    def describe(self, run: RunRef) -> RunDescription:
        self._reach("describe")
        return super().describe(run)

    def run_chain(self, root_run_id: str) -> tuple[RunDescription, ...]:
        self._reach("run_chain")
        return super().run_chain(root_run_id)

    def logs(self, run: RunRef, stage: str | None) -> tuple[str, ...]:
        self._reach("logs")
        return super().logs(run, stage)

    def rerun(self, *args: Any, **options: Any) -> RunDescription:
        self._reach("rerun")
        return super().rerun(*args, **options)

    def active_runs(self) -> tuple[RunRef, ...]:
        return self.busy

    def _reach(self, call: str) -> None:
        self.is_away = self.is_away or call == self.away_from
        if self.is_away:
            raise Unavailable("the engine is away", system=self.name)


class Freight:
    """The world: warehouse, engine, store and journal outlive every crash; hands and threads do not."""

    def __init__(
        self,
        directory: Path,
        *,
        config: str = CONFIG,
        store: Store | None = None,
        bench: Bench | None = None,
        fate: Fate | None = None,
    ) -> None:
        """Begin anew, or go on with the file and the store of an earlier world in the same directory.

        On a `bench` (a file of DuckDB by default) the world is a new one. With a `fate`, Mendline works with mortal parts;
        those of the world itself can always be looked at.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "freight.duckdb"
        is_new = bench is not None or not self.path.exists()
        self.bench = bench or DuckDBBench(self.path)
        self.warehouse = self.bench.warehouse
        (directory / "mendline.yaml").write_text(config.replace(ON_DUCKDB, _flow(self.bench.entry)), encoding="utf-8")
        (directory / "parcels.yaml").write_text(CONTRACT, encoding="utf-8")
        if is_new:
            self.land(PARCELS)
            self.sql(CREATE)
        self.config: Config = load_config(directory / "mendline.yaml")
        self.engine = WorkingEngine(upstream=UPSTREAM)
        self.engine.work["weigh"] = self.weigh
        self.store: Store = store or MemoryStore()
        self.fate = fate or Fate()
        self.journal = Journal()
        self.clock = VirtualClock() if fate is None else MortalClock(fate)
        self.delivered: list[str] = []
        self.services = self._services(is_mortal=fate is not None)
        snapshot = take_snapshot(self.config.datasets["parcels"], "good", self.warehouse)
        assert snapshot is not None
        self.store.save_snapshot(replace(snapshot, taken_at=NOON))

    def _services(self, *, is_mortal: bool) -> Services:
        fate = self.fate
        store = mortal_store(self.store, fate) if is_mortal else self.store
        return Services(
            config=self.config,
            engines={"memory": mortal_engine(self.engine, fate) if is_mortal else self.engine},
            warehouses={"main": mortal_warehouse(self.warehouse, fate) if is_mortal else self.warehouse},
            store=store,
            ledger=Ledger(store=store, now=lambda: NOON),
        )

    def hands(self) -> Hands:
        return Hands(
            services=self.services,
            playbook=load_playbook(None),
            diagnostics={t.name: t for t in (InspectSchemaDiff(), ProfileFailedBatch(), CheckApiStatus())},
            repairs={t.name: t for t in (ApplySchemaMigration(), ApplyQualityFilter(), RetryWithBackoff())},
            redactor=Redactor(),
            deliver=self._deliver,
        )

    def _deliver(self, incident: Incident, log: LogExcerpt, outcome: Outcome) -> str:
        self.fate.reach("before deliver")
        self.delivered.append(outcome.kind.value)
        self.fate.reach("after deliver")
        return f"report of {incident.id} over {len(log.lines)} lines"

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        return self.bench.sql(statement)

    def table(self, name: str, columns: str = "*") -> list[tuple[Any, ...]]:
        """The rows of a table, in an order of their own; none without the table."""
        with self.warehouse.reading() as session:
            if session.schema(name) is None:
                return []
        return self.sql(f"SELECT {columns} FROM {name} AS t ORDER BY {IN_ORDER[self.bench.engine]}")

    def land(self, select: str) -> None:
        """A loader that makes its table anew: on some engines, the view goes with the old one."""
        self.bench.replace("raw.parcels", select)

    def load(self, select: str) -> None:
        """A loader that fills the table that is there."""
        self.bench.reshape("raw.parcels", select)

    def weigh(self) -> None:
        """The work of the stage that reads the parcels."""
        self.sql(WEIGH)

    def fail(self) -> str:
        """Run the pipeline once, with the monitor watching; the id of the one incident that it opens."""
        opened: list[str] = []
        poller = Poller(self.engine, self.store, on_run=Intake(services=self.services, start=opened.append).on_run)
        poller.poll()
        self.engine.run()
        poller.poll()
        assert len(set(opened)) == 1, opened
        return opened[0]

    def begin(
        self,
        incident_id: str,
        crash: tuple[int, bool] | None = None,
        hands: Hands | None = None,
        meanwhile: Callable[[DirectDurable], None] = lambda _: None,
    ) -> bool:
        """Start (or, after a crash, start again) the process that handles an incident; whether it came to the end.

        `meanwhile` is called again and again until then.
        """
        fate, parts, records = self.fate, hands or self.hands(), self.journal.steps[incident_id]

        def around_record(name: str) -> None:
            fate.turn(str(len(records)))
            fate.reach(f"record of {name}")

        durable = DirectDurable(self.journal, clock=self.clock, around_record=around_record)
        fate.begin(durable.kill)

        @durable.workflow("incident")
        def _handle(steps: Steps, number: str) -> None:
            handle_incident(number, WatchedSteps(steps, fate, lambda: len(records)), parts)

        if crash is not None:
            durable.crash_after(crash[0], before_record=crash[1])
        durable.launch()
        durable.start("incident", incident_id, incident_id)

        def is_over() -> bool:
            meanwhile(durable)
            return durable.is_finished(incident_id) or durable.stopping.is_set()

        wait_until(is_over, what="the end or the crash")
        assert durable.close()
        return durable.is_finished(incident_id)

    def handle(self, incident_id: str) -> IncidentRecord:
        """Handle an incident without a crash; it must not end with an error."""
        assert self.begin(incident_id)
        assert self.journal.errors[incident_id] is None
        record = self.store.incident(incident_id)
        assert record is not None
        return record

    def outcome(self, incident_id: str) -> Outcome:
        record = self.store.incident(incident_id)
        assert record is not None
        assert record.outcome is not None
        return record.outcome

    def data(self) -> Mapping[str, object]:
        """What stands in the warehouse, but for the times at which Mendline wrote."""
        with self.warehouse.reading() as session:
            view = session.view_sql("front.parcels")
        return {
            "landing": self.table("raw.parcels"),
            "view": view,
            "target": self.table("model.weighed"),
            "aside": self.table("raw.parcels__quarantine", "payload, check_names, state, left_count"),
        }

    def state(self, incident_id: str) -> Mapping[str, object]:
        """Everything that an interrupted and an uninterrupted handling must agree on."""
        outcome = replace(self.outcome(incident_id), ended_at=NOON, seconds={})
        kept = self.store.accommodation("parcels")
        undone = [(intent.key, intent.undone_at is not None) for intent in self.store.intents(incident_id)]
        return {
            **self.data(),
            "outcome": _timeless(outcome),
            "calls": list(self.engine.calls),
            "configurations": [run.config for run in self.engine.run_chain("run-1")],
            "accommodation": kept and (kept.base_sql, kept.current_sql, kept.mappings),
            "intents": undone,
            "logs": [(log.run_id, log.lines) for log in self.store.kept_logs(incident_id)],
            "ledger": self.table("_mendline.ledger", "key, undone_at IS NOT NULL AS is_undone"),
            "time": self.clock.now(),
            "snapshots": [snapshot.run_id for snapshot in self.store.snapshots("parcels")],
        }


def _flow(entry: Mapping[str, Any]) -> str:
    return yaml.safe_dump({**entry}, default_flow_style=True, width=1000).strip()


def _timeless(outcome: Outcome) -> Outcome:
    """The same outcome with every receipt's time set to noon."""
    attempts = tuple(
        replace(attempt, receipt=replace(attempt.receipt, applied_at=NOON)) if attempt.receipt else attempt
        for attempt in outcome.attempts
    )
    return replace(outcome, attempts=attempts)
