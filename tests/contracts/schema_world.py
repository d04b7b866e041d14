"""A small world for schema repairs: one warehouse, one dataset with its view, and the services around it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from contracts.bench import Bench
from mendline.config import Config
from mendline.incident import Classification, Declined, FailureType, LogExcerpt, LogLine, Plan
from mendline.ledger import Ledger
from mendline.snapshots import take_snapshot
from mendline.testing.memory_store import MemoryStore
from mendline.testing.values import NOON, an_incident
from mendline.tools.apply_schema_migration import ApplySchemaMigration
from mendline.tools.base import Services, ToolContext
from mendline.warehouses.base import Warehouse

DAY_ONE = """
SELECT (1000 + range)::INTEGER AS visit_id, 'P' || lpad((range * 7 % 300)::VARCHAR, 4, '0') AS patient_ref,
       (range * 37 % 900 / 10 + 10)::DECIMAL(10,2) AS fee, ['ward', 'clinic', 'home'][1 + (range % 3)] AS setting,
       (range % 12)::INTEGER AS quantity, CASE WHEN range % 4 = 0 THEN NULL ELSE 'remark ' || (range % 5) END AS remark,
       TIMESTAMP '2026-01-01 08:00:00' + INTERVAL (range) MINUTE AS seen_at,
       {'name': 'site ' || (range % 3), 'place': {'city': ['Bern', 'Basel', 'Chur'][1 + (range % 3)], 'zip': 3000 + range % 9}} AS site
FROM range(400)"""
EXPLICIT = (
    "SELECT visit_id, patient_ref, fee, setting, quantity AS qty, remark, seen_at, {city} AS city FROM raw.visits"
)
CITY = {"duckdb": "site.place.city", "postgres": "site -> 'place' ->> 'city'"}
STAR = "SELECT * FROM raw.visits"
COLUMNS: dict[str, dict[str, object]] = {
    "visit_id": {"logicalType": "integer", "required": True, "primaryKey": True, "primaryKeyPosition": 1},
    "patient_ref": {"logicalType": "string", "required": True},
    "fee": {"logicalType": "number", "physicalType": "DECIMAL(10,2)", "required": True},
    "setting": {"logicalType": "string", "required": True},
    "quantity": {"logicalType": "integer", "required": True},
    "remark": {"logicalType": "string"},
    "seen_at": {"logicalType": "timestamp", "required": True},
}


@dataclass
class World:
    """The parts, and short ways to use them."""

    services: Services
    bench: Bench
    context: ToolContext
    repair: ApplySchemaMigration

    @property
    def warehouse(self) -> Warehouse:
        return self.bench.warehouse

    def land(self, select: str) -> None:
        """A loader that replaces the table; where a view goes with it, it is gone."""
        self.bench.replace("raw.visits", select)

    def change(self, exclude_or_replace: str) -> None:
        """Land day one again with its columns changed: `* EXCLUDE (..)`, `* RENAME (..)`, `* REPLACE (..)`."""
        self.land(f"SELECT {exclude_or_replace} FROM ({DAY_ONE})")

    def reshape(self, exclude_or_replace: str = "*") -> None:
        """The same by a loader that alters the table that is there."""
        self.bench.reshape("raw.visits", f"SELECT {exclude_or_replace} FROM ({DAY_ONE})")

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        return self.bench.sql(statement)

    def landed(self) -> list[tuple[Any, ...]]:
        return sorted(self.sql("SELECT * FROM raw.visits"), key=repr)

    def view_sql(self) -> str | None:
        with self.warehouse.reading() as session:
            return session.view_sql("model.visits")

    def type_of(self, table: str, column: str) -> str:
        with self.warehouse.reading() as session:
            schema = session.schema(table)
        found = schema.column(column) if schema else None
        assert found is not None
        return found.logical_type

    def good_run(self, run_id: str = "good") -> None:
        snapshot = take_snapshot(self.services.config.datasets["visits"], run_id, self.warehouse)
        assert snapshot is not None
        self.services.store.save_snapshot(snapshot)

    def visible(self) -> list[tuple[Any, ...]]:
        return sorted(self.sql("SELECT * FROM model.visits"), key=repr)

    def plan(self) -> Plan:
        plan = self.repair.plan(self.context)
        assert isinstance(plan, Plan), plan
        return plan

    def declined(self) -> Declined:
        declined = self.repair.plan(self.context)
        assert isinstance(declined, Declined), declined
        return declined

    def fix(self) -> Plan:
        """Plan, apply and verify; every check must pass."""
        plan = self.plan()
        receipt = self.repair.apply(plan, self.context)
        failed = [check for check in self.repair.verify(plan, receipt, self.context) if not check.passed]
        assert not failed, failed
        return plan

    def hypothesis(self, **changes: Any) -> None:
        self.context = replace(self.context, classification=replace(self.context.classification, **changes))

    def failed_with(self, message: str) -> None:
        line = LogLine(number=1, text=message)
        self.context = replace(self.context, log=LogExcerpt(source="log", lines=(line,), total_count=1))

    def incident(self, number: str) -> None:
        self.context = replace(self.context, incident=replace(self.context.incident, id=number))


def make_world(
    directory: Path,
    bench: Bench,
    view: str = EXPLICIT,
    policy: Mapping[str, Any] | None = None,
    dataset: Mapping[str, Any] | None = None,
    contract: bool = True,
    *,
    properties: Mapping[str, Mapping[str, object] | None] | None = None,
    frozen: bool = False,
    day: str = DAY_ONE,
) -> World:
    """`properties` are added to (or change, or with None leave out) those of the contract; `day` is what has landed."""
    bench.replace("raw.visits", day)
    bench.sql(f"CREATE VIEW model.visits AS {view.replace('{city}', CITY[bench.engine])}")
    if contract:
        _write_contract(directory / "visits.odcs.yaml", properties or {}, frozen=frozen)
    body = {"pipeline": "p", "warehouse": "main", "landing": "raw.visits", "view": "model.visits", **(dataset or {})}
    if contract:
        body["contract"] = "visits.odcs.yaml"
    config = Config.model_validate(
        {
            "root": directory,
            "engines": {"e": {"kind": "dagster", "dagster_home": "d", "code": {"module": "m"}}},
            "pipelines": {"p": {"engine": "e"}},
            "warehouses": {"main": bench.entry},
            "datasets": {"visits": {"name": "visits", **body}},
            "policy": {"inferred_renames": "apply", **(policy or {})},
        }
    )
    store = MemoryStore()
    services = Services(
        config=config,
        engines={},
        warehouses={"main": bench.warehouse},
        store=store,
        ledger=Ledger(store=store, now=lambda: NOON),
    )
    context = ToolContext(
        services=services,
        incident=an_incident(incident_id="1"),
        log=LogExcerpt(source="log", lines=(LogLine(number=1, text="BinderException"),), total_count=1),
        classification=Classification(
            type=FailureType.SCHEMA_CHANGE,
            subtype="column_missing",
            confidence=0.95,
            evidence=(),
            recommended_next_step="inspect_schema_diff",
        ),
        datasets=(config.datasets["visits"],),
    )
    world = World(services=services, bench=bench, context=context, repair=ApplySchemaMigration())
    world.good_run()
    return world


def _write_contract(path: Path, properties: Mapping[str, Mapping[str, object] | None], *, frozen: bool) -> None:
    kept = [name for name in COLUMNS if properties.get(name, {}) is not None]
    columns = {
        name: {**COLUMNS.get(name, {}), **(properties.get(name) or {})} for name in dict.fromkeys([*kept, *properties])
    }
    columns = {name: body for name, body in columns.items() if properties.get(name, {}) is not None}
    document = {
        "version": "1.0.0",
        "kind": "DataContract",
        "apiVersion": "v3.1.0",
        "id": "visits",
        "name": "visits",
        "status": "active",
        "customProperties": [{"property": "frozen", "value": frozen}],
        "schema": [{"name": "visits", "properties": [{"name": name, **body} for name, body in columns.items()]}],
    }
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
