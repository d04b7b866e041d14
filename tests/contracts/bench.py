"""A warehouse to try repairs on, and a loader: what a source sends is written once, in DuckDB's SQL, and landed in either."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import duckdb
import psycopg
from sqlglot import exp

from mendline.warehouses.base import Warehouse
from mendline.warehouses.duckdb import DuckDB
from mendline.warehouses.names import relation
from mendline.warehouses.postgres import Postgres

OFFLINE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
SCHEMAS = ("raw", "model", "front", "_mendline")
Rows = list[tuple[Any, ...]]


class Bench(Protocol):
    """One warehouse with empty schemas `raw`, `model` and `front`."""

    engine: str
    warehouse: Warehouse
    entry: dict[str, Any]  # what stands under `warehouses` in the configuration

    def sql(self, statement: str) -> Rows:
        """Run a statement of the engine's own, as the team would."""
        ...

    def replace(self, table: str, select: str) -> None:
        """Load as many loaders do: drop the table, with what depends on it, and create it anew."""
        ...

    def reshape(self, table: str, select: str) -> None:
        """Load into the table that is there: empty it, drop and add columns, fill it."""
        ...

    def widen(self, table: str, select: str) -> None:
        """Load into the table that is there and drop no column of it, ever."""
        ...

    def refill(self, table: str, select: str) -> None:
        """Load into the table that is there and leave its columns alone."""
        ...

    def cut(self) -> None:
        """Take the warehouse away."""
        ...


class DuckDBBench:
    engine = "duckdb"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warehouse = DuckDB("main", path, 5.0)
        self.entry = {"kind": "duckdb", "path": path.name}
        for schema in ("raw", "model", "front"):
            self.sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")

    def sql(self, statement: str) -> Rows:
        with duckdb.connect(str(self.path), config=OFFLINE) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def replace(self, table: str, select: str) -> None:
        self.sql(f"CREATE OR REPLACE TABLE {relation(self.warehouse, table)} AS {select}")

    reshape = widen = replace

    def refill(self, table: str, select: str) -> None:
        name = relation(self.warehouse, table)
        self.sql(f"DELETE FROM {name}; INSERT INTO {name} BY NAME {select}")

    def cut(self) -> None:
        self.path.unlink()


class PostgresBench:
    engine = "postgres"

    def __init__(self, url: str) -> None:
        self.url = url
        self.warehouse = Postgres("main", url, 5.0, 60.0)
        self.entry = {"kind": "postgres", "url": url}
        for schema in SCHEMAS:
            self.sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        self.sql("CREATE SCHEMA raw; CREATE SCHEMA model; CREATE SCHEMA front")

    def sql(self, statement: str) -> Rows:
        with psycopg.connect(self.url, options="-c TimeZone=UTC") as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def replace(self, table: str, select: str) -> None:
        columns, rows = sent(select)
        name = relation(self.warehouse, table)
        with psycopg.connect(self.url) as connection:
            connection.execute(f"DROP TABLE IF EXISTS {name} CASCADE".encode())
            connection.execute(f"CREATE TABLE {name} ({', '.join(map(' '.join, columns))})".encode())
            _copy(connection, name, columns, rows)

    def reshape(self, table: str, select: str) -> None:
        self._load_into(table, select, is_dropping=True)

    def widen(self, table: str, select: str) -> None:
        self._load_into(table, select, is_dropping=False)

    def refill(self, table: str, select: str) -> None:
        columns, rows = sent(select)
        name = relation(self.warehouse, table)
        with psycopg.connect(self.url) as connection:
            connection.execute(f"TRUNCATE {name}".encode())
            _copy(connection, name, columns, rows)

    def cut(self) -> None:
        self.warehouse.close()
        self.warehouse._parameters["port"] = "1"

    def _load_into(self, table: str, select: str, *, is_dropping: bool) -> None:
        columns, rows = sent(select)
        name = relation(self.warehouse, table)
        with self.warehouse.reading() as session:
            schema = session.schema(table)
        there = {(_quoted(column.name), _plain(column.type)) for column in schema.columns} if schema else set()
        wanted = {(column, _plain(kind)) for column, kind in columns}
        with psycopg.connect(self.url) as connection:
            connection.execute(f"TRUNCATE {name}".encode())
            for column, _ in sorted(there - wanted) if is_dropping else ():
                connection.execute(f"ALTER TABLE {name} DROP COLUMN {column}".encode())
            for column, kind in columns:
                if (column, _plain(kind)) not in there:
                    connection.execute(f"ALTER TABLE {name} ADD COLUMN {column} {kind}".encode())
            _copy(connection, name, columns, rows)


@cache
def sent(select: str) -> tuple[list[tuple[str, str]], Rows]:
    """What a source sends: (quoted name, PostgreSQL's type) and rows. What has fields is sent as JSON."""
    with duckdb.connect(config=OFFLINE) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        described = connection.execute(f"DESCRIBE {select}").fetchall()
        nested = [name for name, kind, *_ in described if kind.startswith("STRUCT")]
        as_json = ", ".join(f"to_json({_quoted(name)}) AS {_quoted(name)}" for name in nested)
        rows = connection.execute(f"SELECT * {f'REPLACE ({as_json})' if nested else ''} FROM ({select})").fetchall()
    return [(_quoted(name), _type(kind)) for name, kind, *_ in described], rows


def _type(kind: str) -> str:
    if kind.startswith("STRUCT"):
        return "jsonb"
    return exp.DataType.build(kind, dialect="duckdb").sql(dialect="postgres")


def _plain(kind: str) -> str:
    return exp.DataType.build(kind, dialect="postgres").sql(dialect="postgres")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _copy(connection: psycopg.Connection[Any], name: str, columns: Sequence[tuple[str, str]], rows: Rows) -> None:
    listed = ", ".join(column for column, _ in columns)
    with connection.cursor() as cursor, cursor.copy(f"COPY {name} ({listed}) FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)
