"""A small library's loans on a real DuckDB file: two datasets, their contracts, and the services around them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from mendline.config import Config, load_config
from mendline.incident import Classification, FailureType, LogExcerpt, LogLine
from mendline.ledger import Ledger
from mendline.testing.memory_store import MemoryStore
from mendline.testing.values import an_incident
from mendline.tools.base import Services, ToolContext
from mendline.warehouses.duckdb import DuckDB

NOW = datetime(2026, 3, 1, 8, 30, 0, 123456, tzinfo=UTC)
OFFLINE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
CONFIG = """
engines: {engine: {kind: dagster, dagster_home: home, code: {module: somewhere}}}
pipelines: {pipeline: {engine: engine}}
warehouses: {main: {kind: duckdb, path: library.duckdb}}
datasets:
  members: {pipeline: pipeline, warehouse: main, landing: raw.members, view: front.members}
  loans:
    pipeline: pipeline
    warehouse: main
    landing: raw."Loans In"
    view: front.loans
    contract: loans.yaml
    loaded_by: load_loans
    read_by: [stage]
    quality: {max_failing_fraction: 0.1, checks: {"range:Fee": 0.05}}
"""
CONTRACT = """
apiVersion: v3.0.2
kind: DataContract
schema:
- name: loans
  properties:
  - {name: loan_id, logicalType: integer, primaryKey: true}
  - {name: fee, logicalType: number, physicalType: "DECIMAL(8,2)", required: true, logicalTypeOptions: {minimum: 0}}
  - {name: member, logicalType: string, relationships: [{type: foreignKey, to: members.member_id}]}
  - {name: due_on, logicalType: date}
  - {name: shelf, logicalType: string, logicalTypeOptions: {pattern: '^[A-Z]-[0-9]+$', maxLength: 6}}
  - {name: state, logicalType: string, quality: [{metric: invalidValues, arguments: {validValues: [out, back]}, mustBe: 0}]}
  - {name: copies, logicalType: integer}
  - {name: gone_column, logicalType: string, required: true}
  quality:
  - {metric: rowCount, mustBeGreaterThan: 0}
  - {type: custom, engine: mendline, name: fee_when_back, implementation: {check: "state <> 'back' OR Fee < 500"}}
"""
CREATE = """
CREATE SCHEMA raw; CREATE SCHEMA front;
CREATE TABLE raw.members AS SELECT 'M' || i AS "Member_ID" FROM range(20) AS t(i);
CREATE VIEW front.members AS SELECT "Member_ID" AS member_id FROM raw.members;
CREATE TABLE raw."Loans In" AS
SELECT CAST(i AS VARCHAR) AS "LOAN_ID", CAST((i * 1.25) AS VARCHAR) AS "Fee", 'M' || (i % 20) AS member,
       CAST(DATE '2026-01-01' + CAST(i AS INTEGER) AS VARCHAR) AS due_on,
       {'shelf': 'A-' || i, 'codes': [i, NULL]} AS place, 'out' AS state, '' AS copies,
       i AS _line_number, '\\xAA\\x00'::BLOB AS raw_bytes, '{"a" :  1}'::JSON AS doc, i / 3.0 AS weight,
       TIMESTAMPTZ '2026-01-01 00:00:00.000001+02' AS seen_at
FROM range(100) AS t(i);
CREATE VIEW front.loans AS
SELECT CAST(x."LOAN_ID" AS INTEGER) AS loan_id, x."Fee" AS fee, x.member, x.due_on, x.place.shelf AS shelf, state, copies
FROM raw."Loans In" AS x;
"""


@dataclass(frozen=True, kw_only=True)
class Library:
    path: Path
    config: Config
    services: Services

    @property
    def warehouse(self) -> DuckDB:
        found = self.services.warehouses["main"]
        assert isinstance(found, DuckDB)
        return found

    def sql(self, text: str) -> list[tuple[object, ...]]:
        with duckdb.connect(str(self.path), config=OFFLINE) as connection:
            cursor = connection.execute(text)
            return cursor.fetchall() if cursor.description else []

    def loans(self) -> list[tuple[object, ...]]:
        return sorted(self.sql('FROM raw."Loans In"'), key=repr)

    def context(self, *lines: str, subtype: str = "", columns: tuple[str, ...] = (), attempt: int = 1) -> ToolContext:
        log = LogExcerpt(
            source="log",
            lines=tuple(LogLine(number=n, text=line) for n, line in enumerate(lines, start=1)),
            total_count=len(lines),
        )
        belief = Classification(
            type=FailureType.DATA_QUALITY,
            subtype=subtype,
            confidence=0.9,
            evidence=(),
            recommended_next_step="profile_failed_batch",
            entities={"column": columns} if columns else {},
        )
        return ToolContext(
            services=self.services,
            incident=replace(an_incident(), id="7"),
            log=log,
            classification=belief,
            datasets=(self.config.datasets["loans"],),
            attempt=attempt,
        )


def make_library(directory: Path, *, config: str = CONFIG, contract: str = CONTRACT) -> Library:
    (directory / "mendline.yaml").write_text(config, encoding="utf-8")
    (directory / "loans.yaml").write_text(contract, encoding="utf-8")
    path = directory / "library.duckdb"
    with duckdb.connect(str(path), config=OFFLINE) as connection:
        connection.execute(CREATE)
    loaded = load_config(directory / "mendline.yaml")
    store = MemoryStore()
    services = Services(
        config=loaded,
        engines={},
        warehouses={"main": DuckDB("main", path, 5.0)},
        store=store,
        ledger=Ledger(store=store, now=lambda: NOW),
    )
    return Library(path=path, config=loaded, services=services)
