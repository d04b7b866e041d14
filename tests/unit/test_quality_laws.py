"""Laws of checks and quarantine, against a model in Python, on DuckDB in memory."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from math import floor
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendline.config import Config, Dataset
from mendline.quality.checks import Checks, build_checks
from mendline.quality.expectations import Contract, ContractColumn, RowRule
from mendline.quality.landing import open_landing
from mendline.quality.measure import Measurement, measure
from mendline.quality.quarantine import restore, set_aside
from mendline.warehouses.base import Column, TableSchema
from mendline.warehouses.duckdb import DuckDB
from mendline.warehouses.types import logical_type

DATASET = Dataset.model_validate({"name": "d", "pipeline": "p", "warehouse": "w", "landing": "raw.t", "view": "raw.v"})
CONFIG = Config.model_validate({"engines": {}, "pipelines": {}})
CONTRACT = Contract(
    name="d",
    columns=(
        ContractColumn(name="id", logical_type="bigint", is_primary_key=True, is_required=True),
        ContractColumn(name="amount", logical_type="bigint", minimum="0", maximum="9"),
        ContractColumn(name="word", logical_type="string", pattern="^[ab]*$", max_length=3),
    ),
    row_rules=(RowRule(name="small", kind="custom", expression="amount < 9 OR word = 'a'"),),
)
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(0, 8).map(str)),
        st.one_of(st.none(), st.sampled_from(["-1", "0", "5", "9", "10", "1.5", "x", "", " ", "7 "])),
        st.one_of(st.none(), st.text(alphabet="abé'\"\\", max_size=5)),
    ),
    max_size=12,
)


class Session:
    """The one connection in memory, emptied."""

    shared = duckdb.connect(config={"threads": 1})

    def __init__(self, rows: Sequence[tuple[str | None, ...]] = ()) -> None:
        self.connection = self.shared
        self.execute("DROP SCHEMA IF EXISTS raw CASCADE")
        self.execute("CREATE SCHEMA raw")
        self.execute('CREATE TABLE raw.t ("ID" VARCHAR, amount VARCHAR, word VARCHAR)')
        if rows:
            self.connection.executemany("INSERT INTO raw.t VALUES (?, ?, ?)", [list(row) for row in rows])

    def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, parameters or None).fetchall()

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> int:
        self.connection.execute(sql, parameters or None)
        return -1

    def schema(self, table: str) -> TableSchema | None:
        try:
            described = self.rows(f"DESCRIBE {table}")
        except duckdb.CatalogException:
            return None
        columns = (
            Column(name=n, type=t, logical_type=logical_type(t, "duckdb"), is_nullable=True, position=i)
            for i, (n, t, *_) in enumerate(described, start=1)
        )
        return TableSchema(table=table, columns=tuple(columns))

    def lock(self, table: str) -> None:
        """Nobody else is here."""

    def address(self, table: str) -> str:
        return "rowid"

    def obstacle_to_moving(self, table: str) -> str:
        return ""

    def view_sql(self, view: str) -> str | None:
        rows = self.rows("SELECT sql FROM duckdb_views() WHERE schema_name || '.' || view_name = ?", [view])
        return rows[0][0].split(" AS ", 1)[1].rstrip(";\n") if rows else None


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> DuckDB:
    return DuckDB("w", tmp_path_factory.mktemp("unused") / "none.duckdb")


def examined(session: Session, warehouse: DuckDB, contract: Contract = CONTRACT) -> tuple[Checks, Measurement]:
    landing = open_landing(DATASET, session, warehouse)
    assert landing is not None
    checks = build_checks(DATASET, contract, session, landing, CONFIG)
    return checks, measure(checks, session)


def whole(value: str | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def model(rows: Sequence[tuple[str | None, ...]]) -> dict[str, int]:
    """What the contract says, in plain Python."""
    casts = {"range:amount": 0, "type_castable:amount": 0, "small": 0}
    for _, amount, word in rows:
        number = whole(amount)
        as_integer = None if number is None else floor(number + 0.5)  # DuckDB rounds the text 1.5 to 2
        casts["type_castable:amount"] += (number is None and bool((amount or "").strip())) or (
            number is not None and number != int(number)
        )
        casts["range:amount"] += as_integer is not None and not 0 <= as_integer <= 9
        casts["small"] += as_integer is not None and as_integer >= 9 and word is not None and word != "a"
    groups = Counter(row[0] for row in rows if row[0] is not None)
    kinds = {key: len({row for row in rows if row[0] == key}) for key in groups}
    copies = Counter(row for row in rows if row[0] is not None)
    return {
        **casts,
        "not_null:id": sum(row[0] is None for row in rows),
        "pattern:word": sum(row[2] is not None and bool(set(row[2]) - {"a", "b"}) for row in rows),
        "length:word": sum(row[2] is not None and len(row[2]) > 3 for row in rows),
        "unique:id": sum(count - 1 for count in copies.values()),
        "conflict:id": sum(count for key, count in groups.items() if kinds[key] > 1),
    }


@settings(max_examples=30, deadline=None)
@given(rows=ROWS)
def test_every_check_counts_what_the_contract_says(warehouse: DuckDB, rows: list[tuple[str | None, ...]]) -> None:
    session = Session(rows)
    checks, measured = examined(session, warehouse)
    found = {count.check.name: count.failing_count for count in measured.counts}
    found.pop("type_castable:id", None)
    assert found == model(rows)
    assert measured.batch_count == len(rows)
    flags = ", ".join(f"{check.failing_sql} IS NULL" for check in checks.rows)
    assert not any(any(row) for row in session.rows(f"SELECT {flags} FROM raw.t"))


@settings(max_examples=10, deadline=None)
@given(rows=ROWS, seed=st.integers())
def test_the_order_of_rows_changes_no_count(warehouse: DuckDB, rows: list[tuple[str | None, ...]], seed: int) -> None:
    shuffled = random.Random(seed).sample(rows, len(rows))
    one = examined(Session(rows), warehouse)[1]
    other = examined(Session(shuffled), warehouse)[1]
    assert [c.failing_count for c in one.counts] == [c.failing_count for c in other.counts]
    assert (one.failing_count, one.conflicting_key_count) == (other.failing_count, other.conflicting_key_count)


@settings(max_examples=20, deadline=None)
@given(rows=ROWS)
def test_setting_aside_leaves_no_failing_row_and_restoring_brings_each_back(
    warehouse: DuckDB, rows: list[tuple[str | None, ...]]
) -> None:
    session = Session(rows)
    checks, measured = examined(session, warehouse)
    before = Counter(session.rows("FROM raw.t"))
    moved = set_aside(
        session,
        warehouse,
        "raw.t",
        checks.failing_sql,
        incident_id="1",
        batch_id="b",
        check_names=[check.name for check in checks.rows],
        reason="law",
    )
    assert moved == measured.failing_count
    left = examined(session, warehouse)[1]
    assert left.failing_count == 0
    assert left.batch_count == len(rows) - moved
    assert restore(session, warehouse, "raw.t", incident_id="1") == moved
    assert Counter(session.rows("FROM raw.t")) == before


def put_aside(session: Session, warehouse: DuckDB, where: str, incident: str) -> int:
    return set_aside(
        session, warehouse, "raw.t", where, incident_id=incident, batch_id="b", check_names=["c"], reason="law"
    )


@pytest.mark.parametrize("second", ["1", "2"])
def test_copies_of_one_row_set_aside_in_two_steps_are_all_kept(warehouse: DuckDB, second: str) -> None:
    session = Session([("1", "5", "a")] * 3 + [("2", "5", "b")])
    first_copies = "rowid IN (SELECT rowid FROM raw.t WHERE \"ID\" = '1' ORDER BY rowid LIMIT 2)"
    assert put_aside(session, warehouse, first_copies, "1") == 2
    assert put_aside(session, warehouse, "\"ID\" = '1'", second) == 1
    assert session.rows("SELECT count(*), count(DISTINCT ordinal) FROM raw.t__quarantine") == [(3, 3)]
    restored = [restore(session, warehouse, "raw.t", incident_id=incident) for incident in dict.fromkeys(["1", second])]
    assert sum(restored) == 3
    assert session.rows("SELECT count(*) FROM raw.t") == [(4,)]


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from("SRL"), st.integers(1, 3), st.sampled_from("12")), max_size=8))
def test_copies_loaded_once_or_again_are_never_more_nor_fewer_than_were_loaded(
    warehouse: DuckDB, steps: list[tuple[str, int, str]]
) -> None:
    """S sets some of the copies aside, L loads the batch again and then sets some aside, R restores one incident's."""
    batch: list[tuple[str | None, ...]] = [("1", "5", "a")] * 4
    session = Session(batch)
    for step, count, incident in steps:
        if step == "R":
            restore(session, warehouse, "raw.t", incident_id=incident)
        else:
            if step == "L":
                session.execute("DELETE FROM raw.t")
                session.connection.executemany("INSERT INTO raw.t VALUES (?, ?, ?)", [list(row) for row in batch])
            some = f"rowid IN (SELECT rowid FROM raw.t ORDER BY rowid LIMIT {count})"
            put_aside(session, warehouse, some, incident)
        held = 0
        if session.schema("raw.t__quarantine") is not None:
            ((held,),) = session.rows("SELECT count(*) FROM raw.t__quarantine")
        ((loaded,),) = session.rows("SELECT count(*) FROM raw.t")
        assert held + loaded == len(batch)


VIEWS: dict[str, dict[str, str | None]] = {
    "SELECT x.a.b AS word, ID AS id FROM raw.t AS x": {"word": "a.b"},
    "SELECT CAST(t.other AS VARCHAR) AS word FROM raw.t": {"word": "other"},
    "SELECT * FROM (SELECT * EXCLUDE (other), other AS word FROM raw.t) AS inner_one": {"word": "other"},
    "WITH c AS (SELECT other AS w FROM raw.t) SELECT w AS word FROM c": {"word": "other"},
    "SELECT coalesce(other, '') AS word FROM raw.t": {"word": "other"},
    "SELECT upper(other) AS word FROM raw.t": {"word": None},
    "SELECT t.other AS word FROM raw.t JOIN raw.u USING (other)": {"word": None},
    "SELECT max(other) AS word FROM raw.t GROUP BY ID": {"word": None},
}


@pytest.mark.parametrize("sql", sorted(VIEWS))
def test_a_column_is_found_through_plain_references_of_the_view_only(warehouse: DuckDB, sql: str) -> None:
    session = Session()
    session.execute("CREATE OR REPLACE TABLE raw.t AS SELECT '1' AS \"ID\", '2' AS other, {'b': 3} AS a")
    session.execute("CREATE TABLE raw.u AS SELECT '2' AS other")
    session.execute(f"CREATE VIEW raw.v AS {sql}")
    landing = open_landing(DATASET, session, warehouse)
    assert landing is not None
    for name, path in VIEWS[sql].items():
        place = landing.find(name)
        assert (place.path if place else None) == path
    found = landing.find("id")
    assert found is not None and found.sql == '"ID"'
