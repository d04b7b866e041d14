"""The table of what engines can alter, held against the engines: what it allows goes through, what they refuse it knows."""

from __future__ import annotations

from typing import get_args

import pytest

from contracts.bench import Bench
from mendline.errors import MendlineError
from mendline.warehouses.ddl import TABLE, Change, ddl

PLAIN = "CREATE TABLE raw.t (a INTEGER, b INTEGER NOT NULL)"
TABLES = {
    "plain": PLAIN,
    "a key": "CREATE TABLE raw.t (a INTEGER, b INTEGER PRIMARY KEY)",
    "a key elsewhere": "CREATE TABLE raw.t (a INTEGER PRIMARY KEY, b INTEGER NOT NULL)",
    "unique": "CREATE TABLE raw.t (a INTEGER, b INTEGER NOT NULL UNIQUE)",
    "a check": "CREATE TABLE raw.t (a INTEGER, b INTEGER NOT NULL CHECK (b > 0))",
    "an index": f"{PLAIN}; CREATE INDEX by_b ON raw.t (b)",
    "an index elsewhere": f"{PLAIN}; CREATE INDEX by_a ON raw.t (a)",
    "referred to": "CREATE TABLE raw.t (a INTEGER PRIMARY KEY, b INTEGER NOT NULL);"
    "CREATE TABLE raw.u (a INTEGER REFERENCES raw.t (a))",
    "referring": "CREATE TABLE raw.u (b INTEGER PRIMARY KEY);"
    "CREATE TABLE raw.t (a INTEGER, b INTEGER NOT NULL REFERENCES raw.u (b))",
    "a view": f"{PLAIN}; CREATE VIEW raw.v AS SELECT b FROM raw.t",
}
STATEMENTS: dict[Change, tuple[str, str]] = {
    "widen_column": ("b", "ALTER TABLE raw.t ALTER COLUMN b SET DATA TYPE BIGINT"),
    "add_column": ("c", "ALTER TABLE raw.t ADD COLUMN c INTEGER"),
    "drop_column": ("b", "ALTER TABLE raw.t DROP COLUMN b"),
    "drop_not_null": ("b", "ALTER TABLE raw.t ALTER COLUMN b DROP NOT NULL"),
}


@pytest.mark.parametrize("change", STATEMENTS)
@pytest.mark.parametrize("table", TABLES)
def test_nothing_is_refused_that_the_table_of_capabilities_allows(bench: Bench, table: str, change: Change) -> None:
    bench.sql(TABLES[table])
    column, statement = STATEMENTS[change]
    with bench.warehouse.reading() as session:
        obstacle = session.obstacle_to(change, "raw.t", column)
    try:
        with bench.warehouse.writing() as session:
            session.execute(statement)
    except MendlineError:
        assert obstacle
    else:
        assert not obstacle or table != "plain"


def test_every_engine_has_one_row_with_a_source_for_every_change() -> None:
    engines = {row.engine for row in TABLE}
    rows = [(row.engine, row.change) for row in TABLE]
    assert sorted(rows) == sorted((engine, change) for engine in engines for change in get_args(Change))
    assert all(ddl(engine, change).source for engine, change in rows)


def test_a_table_takes_no_more_columns_than_the_engine_says(bench: Bench) -> None:
    most = ddl(bench.engine, "add_column").most_columns
    if most is None:
        pytest.skip(f"never: no limit is known of {bench.engine}")
    listed = ", ".join(f"c{number} INTEGER" for number in range(most))
    bench.sql(f"CREATE TABLE raw.t ({listed})")
    with pytest.raises(MendlineError), bench.warehouse.writing() as session:
        session.execute("ALTER TABLE raw.t ADD COLUMN one_more INTEGER")
