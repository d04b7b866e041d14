"""One suite for every warehouse: what the protocol promises, tried on a real one."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from mendline.errors import ConfigError, Rejected, Unavailable
from mendline.warehouses.base import Warehouse
from mendline.warehouses.duckdb import DuckDB
from mendline.warehouses.names import name_parts, relation, with_suffix

Make = Callable[[Path, float], Warehouse]


def make_duckdb(directory: Path, timeout_s: float) -> Warehouse:
    path = directory / "ware house.duckdb"
    if not path.exists():
        duckdb.connect(str(path)).close()
    return DuckDB("main", path, timeout_s)


MAKERS: dict[str, Make] = {"duckdb": make_duckdb}

SETUP = (
    "CREATE SCHEMA raw",
    'CREATE TABLE raw."Mixed Case" (id INTEGER NOT NULL, "Note" VARCHAR, place STRUCT(city VARCHAR, "post code" VARCHAR))',
    """INSERT INTO raw."Mixed Case" VALUES (1, 'a', {'city': 'X', 'post code': '1'}), (2, NULL, NULL)""",
    'CREATE VIEW raw.seen AS SELECT id, place.city AS city FROM raw."Mixed Case" WHERE id > 0',
)


@pytest.fixture(params=sorted(MAKERS))
def make(request: pytest.FixtureRequest) -> Make:
    return MAKERS[request.param]


@pytest.fixture
def warehouse(make: Make, tmp_path: Path) -> Warehouse:
    made = make(tmp_path, 10.0)
    with made.writing() as session:
        for statement in SETUP:
            session.execute(statement)
    return made


def test_a_schema_has_names_types_and_nullability_in_order(warehouse: Warehouse) -> None:
    with warehouse.reading() as session:
        schema = session.schema('raw."Mixed Case"')
    assert schema is not None
    assert [(c.name, c.logical_type, c.is_nullable, c.position) for c in schema.columns] == [
        ("id", "integer", False, 1),
        ("Note", "string", True, 2),
        ("place", "struct", True, 3),
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
        session.execute('CREATE VIEW raw."as (odd)" ("a b", c) AS SELECT id, place.city FROM raw."Mixed Case"')
        select = session.view_sql('raw."as (odd)"')
        assert select is not None
        assert select.upper().startswith("SELECT")


def test_a_view_that_no_longer_binds_is_rejected(warehouse: Warehouse) -> None:
    with warehouse.writing() as session:
        session.execute('ALTER TABLE raw."Mixed Case" RENAME COLUMN id TO key')
    with warehouse.reading() as session, pytest.raises(Rejected):
        session.schema("raw.seen")


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
