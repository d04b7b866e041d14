"""One suite for every warehouse: what the protocol promises, tried on a real one."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mendline.errors import ConfigError, NotSupported, Rejected, Unavailable
from mendline.quality.checks import text
from mendline.warehouses.base import Warehouse
from mendline.warehouses.duckdb import DuckDB
from mendline.warehouses.names import name_parts, relation, with_suffix
from mendline.warehouses.postgres import Postgres
from mendline.warehouses.types import logical_type
from postgres_server import PostgresServer

Make = Callable[[pytest.FixtureRequest, Path], Warehouse]


def make_duckdb(request: pytest.FixtureRequest, directory: Path) -> Warehouse:
    path = directory / "ware house.duckdb"
    duckdb.connect(str(path)).close()
    return DuckDB("main", path, 10.0)


def make_postgres(request: pytest.FixtureRequest, directory: Path) -> Warehouse:
    return Postgres("main", request.getfixturevalue("postgres_url"), 10.0)


MAKERS: dict[str, Make] = {"duckdb": make_duckdb, "postgres": make_postgres}
PLACES = {  # how each nests a value, and reads a part of it
    "duckdb": ('STRUCT(city VARCHAR, "post code" VARCHAR)', "{'city': 'X', 'post code': '1'}", "place.city", "struct"),
    "postgres": ("jsonb", """'{"city": "X", "post code": "1"}'""", "place ->> 'city'", "json"),
}


@pytest.fixture(params=sorted(MAKERS))
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    made = MAKERS[request.param](request, tmp_path)
    kind, value, city, _ = PLACES[made.dialect]
    with made.writing() as session:
        session.execute("CREATE SCHEMA raw")
        session.execute(f'CREATE TABLE raw."Mixed Case" (id INTEGER NOT NULL, "Note" VARCHAR, place {kind})')
        session.execute(f"""INSERT INTO raw."Mixed Case" VALUES (1, 'a', {value}), (2, NULL, NULL)""")
        session.execute(f'CREATE VIEW raw.seen AS SELECT id, {city} AS city FROM raw."Mixed Case" WHERE id > 0')
    yield made
    made.close()


def test_a_schema_has_names_types_and_nullability_in_order(warehouse: Warehouse) -> None:
    with warehouse.reading() as session:
        schema = session.schema('raw."Mixed Case"')
    assert schema is not None
    assert [(c.name, c.logical_type, c.is_nullable, c.position) for c in schema.columns] == [
        ("id", "integer", False, 1),
        ("Note", "string", True, 2),
        ("place", PLACES[warehouse.dialect][3], True, 3),
    ]


def test_what_is_not_there_has_no_schema_and_no_view(warehouse: Warehouse) -> None:
    with warehouse.reading() as session:
        assert session.schema("raw.nothing") is None
        assert session.view_sql("raw.nothing") is None
        assert session.view_sql('raw."Mixed Case"') is None


def test_a_view_gives_its_select_and_it_runs(warehouse: Warehouse) -> None:
    with warehouse.reading() as session:
        select = session.view_sql("raw.seen")
        assert select is not None
        assert select.upper().startswith("SELECT")
        assert session.rows(select) == session.rows("SELECT * FROM raw.seen")


def test_a_view_with_a_column_list_gives_its_select(warehouse: Warehouse) -> None:
    with warehouse.writing() as session:
        city = PLACES[warehouse.dialect][2]
        session.execute(f'CREATE VIEW raw."as (odd)" ("a b", c) AS SELECT id, {city} FROM raw."Mixed Case"')
        select = session.view_sql('raw."as (odd)"')
        assert select is not None
        assert select.upper().startswith("SELECT")


def test_a_view_that_no_longer_binds_is_rejected_and_one_that_cannot_unbind_follows(warehouse: Warehouse) -> None:
    with warehouse.writing() as session:
        session.execute('ALTER TABLE raw."Mixed Case" RENAME COLUMN id TO key')
    with warehouse.reading() as session:
        if warehouse.idiom.is_view_text:
            with pytest.raises(Rejected):
                session.schema("raw.seen")
            return
        schema = session.schema("raw.seen")
        assert schema is not None
        assert schema.names == ("id", "city")


def test_a_select_says_what_it_gives_or_why_it_does_not_bind(warehouse: Warehouse) -> None:
    with warehouse.reading() as session:
        given = session.outputs('SELECT id, CAST(1.5 AS DECIMAL(10,2)) AS "A b" FROM raw."Mixed Case"')
        assert [(name, logical_type(kind, warehouse.dialect)) for name, kind in given] == [
            ("id", "integer"),
            ("A b", "decimal(10,2)"),
        ]
        with pytest.raises(Rejected, match="nothing"):
            session.outputs('SELECT nothing FROM raw."Mixed Case"')


def test_a_view_is_redefined_by_its_statements_also_with_other_columns(warehouse: Warehouse) -> None:
    with warehouse.writing() as session:
        for sql in ("SELECT id + 1 AS id, 'y' AS city FROM raw.\"Mixed Case\"", 'SELECT "Note" FROM raw."Mixed Case"'):
            for statement in session.view_statements("raw.seen", sql):
                session.execute(statement)
    with warehouse.reading() as session:
        assert sorted(session.rows("SELECT * FROM raw.seen"), key=repr) == [("a",), (None,)]


def test_a_question_mark_in_quotes_is_no_parameter(warehouse: Warehouse) -> None:
    with warehouse.reading() as session:
        assert session.rows("SELECT '?', 5 % 3, ? AS \"a?\" WHERE 'a%' LIKE 'a%'", ["x"]) == [("?", 2, "x")]


def test_a_write_session_commits_at_its_end_and_counts_rows(warehouse: Warehouse) -> None:
    with warehouse.writing() as session:
        assert session.execute('UPDATE raw."Mixed Case" SET "Note" = ?', ["n"]) == 2
    with warehouse.reading() as session:
        assert session.rows('SELECT DISTINCT "Note" FROM raw."Mixed Case"') == [("n",)]


def test_a_write_session_that_raises_leaves_nothing(warehouse: Warehouse) -> None:
    class StopError(Exception):
        pass

    with pytest.raises(StopError), warehouse.writing() as session:
        session.execute("CREATE TABLE raw.gone (i INTEGER)")
        raise StopError
    with warehouse.reading() as session:
        assert session.schema("raw.gone") is None


def test_a_read_session_cannot_write(warehouse: Warehouse) -> None:
    with warehouse.reading() as session, pytest.raises(Rejected):
        session.execute('DELETE FROM raw."Mixed Case"')


def test_a_wrong_statement_is_rejected_with_its_reason(warehouse: Warehouse) -> None:
    with warehouse.reading() as session, pytest.raises(Rejected, match="nonsense"):
        session.rows("SELECT nonsense FROM raw.seen")


def test_a_safe_cast_gives_null_for_what_does_not_cast(warehouse: Warehouse) -> None:
    cast = warehouse.safe_cast("v", "decimal(10,2)")
    with warehouse.reading() as session:
        rows = session.rows(f"SELECT {cast} IS NULL FROM (VALUES ('1.5'), ('x')) t(v)")
    assert rows == [(False,), (True,)]


# What each type takes out of a text, in the order of TEXTS; NULL for the others.
TEXTS = (
    "7",
    " 12 ",
    "1.50",
    "-1e2",
    "99999999999",
    "1e400",
    "x",
    "",
    "2024-02-29",
    "2026-02-29",
    "2026-01-02 10:00:00",
    "true",
)
CASTS: dict[str, dict[str, Any]] = {
    "integer": {"7": 7, " 12 ": 12, "1.50": 2, "-1e2": -100},
    "bigint": {"7": 7, " 12 ": 12, "1.50": 2, "-1e2": -100, "99999999999": 99999999999},
    "decimal(4,2)": {"7": Decimal("7.00"), " 12 ": Decimal("12.00"), "1.50": Decimal("1.50")},
    "double": {"7": 7.0, " 12 ": 12.0, "1.50": 1.5, "-1e2": -100.0, "99999999999": 99999999999.0},
    "date": {"2024-02-29": date(2024, 2, 29), "2026-01-02 10:00:00": date(2026, 1, 2)},
    "timestamp": {"2024-02-29": datetime(2024, 2, 29), "2026-01-02 10:00:00": datetime(2026, 1, 2, 10)},  # noqa: DTZ001
    "uuid": {},
}


@pytest.mark.parametrize("kind", sorted(CASTS))
def test_every_type_takes_the_same_texts_on_every_engine_and_never_fails(warehouse: Warehouse, kind: str) -> None:
    values = ", ".join(f"('{text}')" for text in TEXTS)
    with warehouse.reading() as session:
        found = session.rows(f"SELECT v, {warehouse.safe_cast('v', kind)} FROM (VALUES {values}) t(v)")
    assert {text: value for text, value in found if value is not None and value != float("inf")} == CASTS[kind]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.one_of(st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.text("+-1.e: 02T/", max_size=12)),
        min_size=1,
        max_size=30,
    )
)
def test_no_text_makes_a_safe_cast_fail(warehouse: Warehouse, texts: list[str]) -> None:
    values = ", ".join(f"({text(one)})" for one in texts)
    casts = ", ".join(warehouse.safe_cast("v", kind) for kind in (*CASTS, "boolean", "timestamptz", "time", "string"))
    with warehouse.reading() as session:
        assert session.rows(f"SELECT {casts} FROM (VALUES {values}) t(v)")


def test_a_quoted_name_survives(warehouse: Warehouse) -> None:
    with warehouse.reading() as session:
        assert session.rows("SELECT 1 AS " + warehouse.quote('a "b" c')) == [(1,)]
        assert session.rows("SELECT count(*) FROM " + relation(warehouse, 'raw."Mixed Case"')) == [(2,)]


def test_dotted_names_come_apart_and_together() -> None:
    assert name_parts('raw."My.Table"') == ("raw", "My.Table")
    assert name_parts("raw.orders") == ("raw", "orders")
    assert with_suffix('raw."My T"', "__q") == 'raw."My T__q"'


def test_check_names_the_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"warehouses\.main\.path"):
        DuckDB("main", tmp_path / "none.duckdb").check()


WRITER = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1])
connection.execute(sys.argv[2])
print("open", flush=True)
sys.stdin.readline()
connection.close()
"""


def writer(path: Path, statement: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), statement], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "open", "the pipeline could not open the file"
    return process


def test_a_pipeline_opens_the_file_while_we_read_and_we_read_while_it_is_open(tmp_path: Path) -> None:
    warehouse = DuckDB("main", tmp_path / "w.duckdb", 10.0)
    with warehouse.writing() as session:
        session.execute("CREATE TABLE t AS SELECT range AS i FROM range(1000)")
    with warehouse.reading() as session:
        assert session.rows("SELECT count(*) FROM t") == [(1000,)]
        pipeline = writer(warehouse.path, "INSERT INTO t VALUES (1)")
        try:
            assert session.rows("SELECT count(*) FROM t") == [(1001,)]
        finally:
            pipeline.communicate("\n", timeout=30)
        assert session.rows("SELECT count(*) FROM t") == [(1001,)]


def test_a_write_waits_for_the_pipeline_and_then_gives_up(tmp_path: Path) -> None:
    warehouse = DuckDB("main", tmp_path / "w.duckdb", 0.3)
    pipeline = writer(warehouse.path, "CREATE TABLE t (i INTEGER)")
    try:
        with pytest.raises(Unavailable, match="for writing within"), warehouse.writing():
            pass
    finally:
        pipeline.communicate("\n", timeout=30)
    with warehouse.writing() as session:
        assert session.execute("INSERT INTO t VALUES (1)") == 1


CHURN = """
import duckdb, sys
for turn in range(60):
    connection = duckdb.connect(sys.argv[1])
    connection.execute("BEGIN")
    connection.execute("CREATE OR REPLACE TABLE t AS SELECT range AS i, ? AS turn FROM range(20000)", [turn])
    connection.execute("COMMIT")
    connection.close()
print("done", flush=True)
"""


def test_reads_under_a_busy_writer_are_each_whole_and_never_disturb_it(tmp_path: Path) -> None:
    """The writer opens, replaces and closes without a pause and without a retry; every answer is of one turn."""
    warehouse = DuckDB("main", tmp_path / "w.duckdb", 30.0)
    with warehouse.writing() as session:
        session.execute("CREATE TABLE t AS SELECT range AS i, -1 AS turn FROM range(20000)")
    process = subprocess.Popen([sys.executable, "-c", CHURN, str(warehouse.path)], stdout=subprocess.PIPE, text=True)
    while process.poll() is None:
        with warehouse.reading() as session:
            ((rows, turns, total),) = session.rows("SELECT count(*), count(DISTINCT turn), sum(i) FROM t")
        assert (rows, turns, total) == (20000, 1, 199990000)
    output, _ = process.communicate(timeout=60)
    assert output.strip() == "done", "the writer was disturbed"


def test_many_threads_of_one_query_read_the_same_bytes_as_the_engine_itself(tmp_path: Path) -> None:
    """The engine's threads share one file handle; with one position for all they would read each other's pages."""
    path = tmp_path / "w.duckdb"
    query = "SELECT count(*), bit_xor(hash(a)), bit_xor(hash(b)), sum(c), bit_xor(hash(d)) FROM t"
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT range AS a, md5(range::VARCHAR) AS b, range * 7919 % 30000 AS c, 'x' || range % 999 AS d "
            "FROM range(400000)"
        )
        right = connection.execute(query).fetchall()
    for _ in range(4):
        with DuckDB("main", path, 10.0).reading() as session:
            session.execute("SET threads = 8")
            assert session.rows(query) == right


def test_two_threads_write_one_after_the_other(tmp_path: Path) -> None:
    warehouse = DuckDB("main", tmp_path / "w.duckdb", 10.0)
    with warehouse.writing() as session:
        session.execute("CREATE TABLE t (i INTEGER)")

    def insert(value: int) -> None:
        with DuckDB("again", warehouse.path, 10.0).writing() as session:
            session.execute("INSERT INTO t VALUES (?)", [value])

    threads = [threading.Thread(target=insert, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with warehouse.reading() as session:
        assert session.rows("SELECT count(*) FROM t") == [(4,)]


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Postgres]:
    made = Postgres("main", postgres_url, 0.5)
    with made.writing() as session:
        session.execute("CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) AS s(i)")
    yield made
    made.close()


def test_a_write_that_gets_no_lock_in_time_leaves_nothing(postgres: Postgres, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as pipeline:
        pipeline.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable, match="lock timeout"), postgres.writing() as session:
            session.execute("CREATE TABLE gone (i INTEGER)")
            session.execute("DELETE FROM t")
    with postgres.reading() as session:
        assert session.schema("gone") is None
        assert session.rows("SELECT count(*) FROM t") == [(1000,)]


def test_two_writers_take_turns_and_the_second_says_that_it_waited(postgres: Postgres, postgres_url: str) -> None:
    with postgres.writing() as session:
        session.execute("INSERT INTO t VALUES (0)")
        other = Postgres("other", postgres_url, 0.2)
        with pytest.raises(Unavailable), other.writing():
            pass


def test_a_long_question_is_dropped_as_soon_as_a_pipeline_waits_for_the_table(
    postgres: Postgres, postgres_url: str
) -> None:
    done = threading.Event()

    def truncate() -> None:
        with psycopg.connect(postgres_url) as pipeline:
            pipeline.execute("SET lock_timeout = '20s'")
            while not pipeline.execute(
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.1)%' AND pid <> pg_backend_pid()"
            ).fetchall():
                pipeline.commit()
            pipeline.execute("TRUNCATE t")
        done.set()

    thread = threading.Thread(target=truncate)
    thread.start()
    with pytest.raises(Unavailable, match="a pipeline waited"), postgres.reading() as session:
        session.rows("SELECT count(pg_sleep(0.1)) FROM t")
    thread.join(20)
    assert done.is_set(), "the pipeline still waits"
    with postgres.reading() as session:
        assert session.rows("SELECT count(*) FROM t") == [(0,)]


def test_a_kept_reader_survives_a_restart_of_the_server(postgres_server: PostgresServer, postgres: Postgres) -> None:
    with postgres.reading() as session:
        assert session.rows("SELECT 1") == [(1,)]
    postgres_server.stop()
    with pytest.raises(Unavailable), postgres.reading() as session:
        session.rows("SELECT 1")
    postgres_server.start()
    with postgres.reading() as session:
        assert session.rows("SELECT count(*) FROM t") == [(1000,)]


def test_a_view_that_others_depend_on_is_not_dropped_and_its_rights_survive_a_drop(postgres: Postgres) -> None:
    with postgres.writing() as session:
        session.execute("CREATE VIEW v AS SELECT i FROM t")
        session.execute("GRANT SELECT ON v TO PUBLIC")
        session.execute("CREATE VIEW w AS SELECT i FROM v")
        assert session.view_statements("v", "SELECT i + 1 AS i, 2 AS j FROM t")[0].startswith("CREATE OR REPLACE")
        with pytest.raises(NotSupported, match="view w"):
            session.view_statements("v", "SELECT CAST(i AS text) AS i FROM t")
        session.execute("DROP VIEW w")
        for statement in session.view_statements("v", "SELECT CAST(i AS text) AS i FROM t"):
            session.execute(statement)
        rights = "SELECT DISTINCT grantee FROM information_schema.role_table_grants WHERE table_name = 'v'"
        assert ("PUBLIC",) in session.rows(rights)


RETYPE = {
    "a INTEGER PRIMARY KEY": "PRIMARY KEY constraint",
    "a INTEGER UNIQUE": "UNIQUE constraint",
    "a INTEGER CHECK (a > 0)": "CHECK constraint",
    "a INTEGER DEFAULT 3": "",
    "a SERIAL": "",
    "a INTEGER, b INTEGER GENERATED ALWAYS AS (a + 1) STORED": "column b of table narrow",
}


@pytest.mark.parametrize("columns", sorted(RETYPE))
def test_what_stands_in_the_way_of_another_type_is_named(postgres: Postgres, columns: str) -> None:
    with postgres.writing() as session:
        session.execute(f"CREATE TABLE narrow ({columns})")
        found = session.obstacle_to("widen_column", "narrow", "a")
    assert RETYPE[columns] in found
    assert bool(found) is bool(RETYPE[columns])


def test_a_view_an_index_and_partitions_stand_in_the_way_too(postgres: Postgres) -> None:
    with postgres.writing() as session:
        session.execute("CREATE VIEW v AS SELECT i FROM t")
        assert "view v" in session.obstacle_to("widen_column", "t", "i")
        session.execute("CREATE TABLE u (i INTEGER, j INTEGER) PARTITION BY LIST (i)")
        assert "partitions" in session.obstacle_to("widen_column", "u", "j")
        assert not session.obstacle_to_moving("u")
        session.execute("CREATE TABLE x (i INTEGER); CREATE INDEX by_i ON x (i)")
        assert "index by_i" in session.obstacle_to("widen_column", "x", "i")
        session.execute("CREATE TABLE g (i INTEGER, j INTEGER GENERATED ALWAYS AS (i) STORED)")
        assert "generated" in session.obstacle_to_moving("g")
        assert session.obstacle_to_moving("v")
        assert not session.obstacle_to_moving("t")


@pytest.mark.parametrize("url", ["nonsense", "postgresql://u:secret@127.0.0.1:notaport/d"])
def test_a_url_that_is_none_is_a_config_error_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match=r"warehouses\.main\.url") as raised:
        Postgres("main", url)
    assert "secret" not in str(raised.value)


def test_a_database_that_is_not_there_is_a_config_error_and_a_server_that_is_away_may_come(postgres_url: str) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        Postgres("main", f"{postgres_url}_none").check()
    away = Postgres("main", "postgresql://u@127.0.0.1:1/d")
    with pytest.raises(Unavailable), away.reading() as session:
        session.rows("SELECT 1")
