"""A small library's loans in a real warehouse: two datasets, their contracts, and the services around them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import yaml

from contracts.bench import Bench
from mendline.config import Config, load_config
from mendline.incident import Classification, FailureType, LogExcerpt, LogLine
from mendline.ledger import Ledger
from mendline.testing.memory_store import MemoryStore
from mendline.testing.values import an_incident
from mendline.tools.base import Services, ToolContext
from mendline.warehouses.base import Warehouse

NOW = datetime(2026, 3, 1, 8, 30, 0, 123456, tzinfo=UTC)
CONFIG = """
engines: {engine: {kind: dagster, dagster_home: home, code: {module: somewhere}}}
pipelines: {pipeline: {engine: engine}}
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
MEMBERS = """
CREATE TABLE raw.members AS SELECT 'M' || i AS "Member_ID" FROM {series}(0, {last}) AS t(i);
CREATE VIEW front.members AS SELECT "Member_ID" AS member_id FROM raw.members;
CREATE TABLE raw."Loans In" AS
SELECT CAST(i AS VARCHAR) AS "LOAN_ID", CAST((i * 1.25) AS VARCHAR) AS "Fee", 'M' || (i % 20) AS member,
       CAST(CAST(DATE '2026-01-01' + CAST(i AS INTEGER) AS DATE) AS VARCHAR) AS due_on,
       {odd}, 'out' AS state, '' AS copies, CAST(i AS BIGINT) AS _line_number
FROM {series}(0, {last_loan}) AS t(i);
CREATE VIEW front.loans AS
SELECT CAST(x."LOAN_ID" AS INTEGER) AS loan_id, x."Fee" AS fee, x.member, x.due_on, {shelf} AS shelf, state, copies
FROM raw."Loans In" AS x;
"""
CREATE = {
    "duckdb": MEMBERS.format(
        series="range",
        last=20,
        last_loan=100,
        shelf="x.place.shelf",
        odd="""{'shelf': 'A-' || i, 'codes': [i, NULL]} AS place, '\\xAA\\x00'::BLOB AS raw_bytes,
       '{"a" :  1}'::JSON AS doc, i / 3.0 AS weight, TIMESTAMPTZ '2026-01-01 00:00:00.000001+02' AS seen_at""",
    ),
    "postgres": MEMBERS.format(
        series="generate_series",
        last=19,
        last_loan=99,
        shelf='x."Shelf No"',
        odd="""'A-' || i AS "Shelf No", '\\xAA00'::bytea AS raw_bytes, '{"a" :  1}'::json AS doc, '{"b": [1, null]}'::jsonb AS more,
       i / 3.0::float8 AS weight, TIMESTAMPTZ '2026-01-01 00:00:00.000001+02' AS seen_at, ARRAY[i, NULL] AS codes,
       ARRAY['a"b', 'c,d', NULL, ''] AS words, 'x '::char(4) AS padded, INTERVAL '1 mon -2 days' AS term, 'NaN'::numeric AS odd,
       (i + 0.10)::numeric(9,2) AS price, '10.0.0.1/8'::inet AS host, int4range(i, i + 1) AS span, ROW(i, 'a')::raw.pair AS pair""",
    ),
}
SHELF = {
    "duckdb": "place = {{'shelf': '{}', 'codes': [3, NULL]}}",
    "postgres": "\"Shelf No\" = '{}'",
}


@dataclass(frozen=True, kw_only=True)
class Library:
    bench: Bench
    config: Config
    services: Services

    @property
    def warehouse(self) -> Warehouse:
        return self.services.warehouses["main"]

    def sql(self, text: str) -> list[tuple[object, ...]]:
        return self.bench.sql(text)

    def loans(self) -> list[str]:
        """Every row as text: a NaN is no equal of itself, and exactness is the point."""
        return sorted(repr(row) for row in self.sql('SELECT * FROM raw."Loans In"'))

    def copy(self, loan: str, **changes: str) -> None:
        """Land one loan again, with the SQL of some columns changed."""
        with self.warehouse.reading() as session:
            schema = session.schema('raw."Loans In"')
        names = [self.warehouse.quote(name) for name in schema.names] if schema else []
        values = [changes.get(name.strip('"'), name) for name in names]
        self.sql(
            f'INSERT INTO raw."Loans In" ({", ".join(names)}) SELECT {", ".join(values)} FROM raw."Loans In"'
            f" WHERE \"LOAN_ID\" = '{loan}' LIMIT 1"
        )

    def has(self, table: str) -> bool:
        with self.warehouse.reading() as session:
            return session.schema(table) is not None

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


def make_library(directory: Path, bench: Bench, *, config: str = CONFIG, contract: str = CONTRACT) -> Library:
    warehouses = yaml.safe_dump({"warehouses": {"main": bench.entry}})
    (directory / "mendline.yaml").write_text(f"{config}\n{warehouses}", encoding="utf-8")
    (directory / "loans.yaml").write_text(contract, encoding="utf-8")
    if bench.engine == "postgres":
        bench.sql("CREATE TYPE raw.pair AS (number integer, word text)")
    bench.sql(CREATE[bench.engine])
    loaded = load_config(directory / "mendline.yaml")
    store = MemoryStore()
    services = Services(
        config=loaded,
        engines={},
        warehouses={"main": bench.warehouse},
        store=store,
        ledger=Ledger(store=store, now=lambda: NOW),
    )
    return Library(bench=bench, config=loaded, services=services)
