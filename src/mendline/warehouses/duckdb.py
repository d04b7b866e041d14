"""DuckDB: a warehouse in one file, read without its lock so that a pipeline never waits for Mendline's reads.

DuckDB locks the file even when it opens it read-only, and a pipeline that opens it in that moment fails. Reads therefore
go through a file system of our own that takes no lock, and an answer counts only when the file did not change meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb

from mendline.config import DuckDBWarehouse
from mendline.errors import ConfigError, Rejected, Unavailable
from mendline.warehouses.base import Column, Idiom, TableSchema
from mendline.warehouses.ddl import Change, ddl
from mendline.warehouses.duckdb_sql import DuckDBIdiom
from mendline.warehouses.lock_free import SCHEME, LockFreeFiles
from mendline.warehouses.names import name_parts, relation
from mendline.warehouses.types import column_type, logical_type

POLL_S = 0.05
KEPT_BYTES = 64 * 1024**2  # a reader holds the blocks that it has read
# Linux stamps files with the time of its last tick (4 ms at the usual 250 Hz): two writes within one tick look like one.
# A stamp younger than this is not trusted; the same rule as Git's "racily clean" entries. Source: git racy-git.txt.
SETTLED_S = 0.02
TRANSIENT = (
    duckdb.IOException,
    duckdb.OutOfMemoryException,
    duckdb.ConnectionException,
    duckdb.InterruptException,
    duckdb.TransactionException,
)

_locks: dict[Path, threading.RLock] = {}
_locks_guard = threading.Lock()


@contextmanager
def _translated(system: str, operation: str) -> Iterator[None]:
    try:
        yield
    except TRANSIENT as error:
        raise Unavailable(
            f"warehouse `{system}`: {operation} failed: {_first_line(error)}; it may succeed later",
            system=system,
            operation=operation,
        ) from error
    except duckdb.Error as error:
        raise Rejected(
            f"warehouse `{system}` refused to {operation}: {_first_line(error)}", system=system, operation=operation
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0]


class _Session:
    """One DuckDB connection; the file's own catalogue is the current one."""

    def __init__(self, warehouse: DuckDB, connection: duckdb.DuckDBPyConnection) -> None:
        self._warehouse = warehouse
        self._connection = connection

    def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        with _translated(self._warehouse.name, "run a query"):
            return self._fetch(sql, parameters)

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> int:
        with _translated(self._warehouse.name, "run a statement"):
            rows = self._fetch(sql, parameters)
        # DuckDB answers an INSERT, UPDATE or DELETE with one row that holds the count.
        if len(rows) == 1 and len(rows[0]) == 1 and isinstance(rows[0][0], int):
            return rows[0][0]
        return -1

    def schema(self, table: str) -> TableSchema | None:
        kind = self._kind(table)
        if kind is None:
            return None
        nullable = dict(self.rows(_NULLABLE, self._place(table))) if kind == "BASE TABLE" else {}
        described = self.rows(f"DESCRIBE {relation(self._warehouse, table)}")
        columns = tuple(
            Column(
                name=name,
                type=kind_of,
                logical_type=logical_type(kind_of, "duckdb"),
                is_nullable=bool(nullable.get(name, True)),
                position=position,
            )
            for position, (name, kind_of, *_) in enumerate(described, start=1)
        )
        return TableSchema(table=table, columns=columns)

    def view_sql(self, view: str) -> str | None:
        rows = self.rows(_VIEW, self._place(view))
        if not rows:
            return None
        (statement,) = rows[0]
        return _select_of(statement)

    def outputs(self, sql: str) -> tuple[tuple[str, str], ...]:
        return tuple((str(row[0]), str(row[1])) for row in self.rows(f"DESCRIBE {sql}"))

    def lock(self, table: str) -> None:
        """Nothing to do: a write session has the whole file for itself."""

    def view_statements(self, view: str, sql: str) -> tuple[str, ...]:
        return (f"CREATE OR REPLACE VIEW {relation(self._warehouse, view)} AS {sql}",)

    def address(self, table: str) -> str:
        return self._warehouse.idiom.address

    def obstacle_to(self, change: Change, table: str, column: str) -> str:
        obstacles = ddl("duckdb", change).obstacles
        for (kind,) in self.rows(_CONSTRAINED, [*self._place(table), column]):
            if kind in obstacles:
                return f"`{table}.{column}` is under a {kind} constraint"
        index = self._index_of(table) if "index" in obstacles else ""
        if index:
            return f"`{table}` has the index `{index}`"
        referring = self.rows(_REFERRED_TO, self._place(table)) if "reference" in obstacles else []
        return f"a foreign key of `{referring[0][0]}` refers to `{table}`" if referring else ""

    def obstacle_to_moving(self, table: str) -> str:
        schema = self.schema(table)
        address = self._warehouse.idiom.address
        if schema is None or all(name.lower() != address for name in schema.names):
            return ""
        return f"`{table}` has a column named `{address}`, so its rows cannot be told apart; rename the column"

    def obstacle_to_parking(self, table: str) -> str:
        index = self._index_of(table)
        return f"`{table}` has the index `{index}`" if index else ""

    def _index_of(self, table: str) -> str:
        rows = self.rows(_INDEXED, self._place(table))
        return str(rows[0][0]) if rows else ""

    def _kind(self, table: str) -> str | None:
        rows = self.rows(_KIND, self._place(table))
        return str(rows[0][0]) if rows else None

    def _place(self, table: str) -> list[str]:
        *_, schema, name = ("main", *name_parts(table))
        return [schema, name]

    def _fetch(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(sql, parameters or None)
        return cursor.fetchall() if cursor.description else []


# DuckDB compares identifiers without regard to case, so the catalogue is asked in the same way.
_WHERE = "database_name = current_database() AND lower(schema_name) = lower(?)"
_NULLABLE = f"SELECT column_name, is_nullable FROM duckdb_columns() WHERE {_WHERE} AND lower(table_name) = lower(?)"
_VIEW = f"SELECT sql FROM duckdb_views() WHERE {_WHERE} AND lower(view_name) = lower(?)"
_CONSTRAINED = f"""
SELECT constraint_type FROM duckdb_constraints() WHERE {_WHERE} AND lower(table_name) = lower(?)
  AND list_contains(list_transform(constraint_column_names, lambda name: lower(name)), lower(?))"""
_REFERRED_TO = """
SELECT table_name FROM duckdb_constraints()
WHERE database_name = current_database() AND constraint_type = 'FOREIGN KEY'
  AND lower(schema_name) = lower(?) AND lower(referenced_table) = lower(?)"""
_INDEXED = f"SELECT index_name FROM duckdb_indexes() WHERE {_WHERE} AND lower(table_name) = lower(?)"
_KIND = """
SELECT table_type FROM information_schema.tables
WHERE table_catalog = current_database() AND lower(table_schema) = lower(?) AND lower(table_name) = lower(?)"""


def _select_of(statement: str) -> str:
    """The SELECT in DuckDB's own `CREATE VIEW name (columns) AS SELECT ...;`."""
    tokens = statement
    depth, quoted = 0, False
    for index, character in enumerate(tokens):
        if character == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif depth == 0 and tokens[index : index + 4].upper() == " AS ":
            return tokens[index + 4 :].strip().rstrip(";").strip()
    return statement.strip().rstrip(";").strip()


class _ReadSession(_Session):
    """A session whose every answer comes from a file that stood still while it was read."""

    def __init__(self, warehouse: DuckDB) -> None:
        super().__init__(warehouse, warehouse.connect(":memory:"))
        self._attached: tuple[object, ...] | None = None
        self._connection.register_filesystem(LockFreeFiles())

    def _fetch(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
        deadline = time.monotonic() + self._warehouse.lock_timeout_s
        while True:
            try:
                before = self._attach(deadline)
                rows = super()._fetch(sql, parameters)
                if self._warehouse.fingerprint() == before:
                    return rows
            except (duckdb.Error, OSError, ValueError) as error:
                # A file that changed under us may read as anything; only an error from a still file is an answer.
                if self._attached is not None and self._warehouse.fingerprint() == self._attached:
                    self._detach()
                    if isinstance(error, duckdb.Error):
                        raise
                    raise Unavailable(
                        f"warehouse `{self._warehouse.name}`: the file cannot be read: {error}; check its permissions",
                        system=self._warehouse.name,
                        operation="read",
                    ) from error
            self._detach()
            if time.monotonic() >= deadline:
                raise self._restless()
            time.sleep(POLL_S)

    def _restless(self) -> Unavailable:
        return Unavailable(
            f"warehouse `{self._warehouse.name}` was written to without a pause for "
            f"{self._warehouse.lock_timeout_s:g} s, so it could not be read; try again when the pipeline is idle",
            system=self._warehouse.name,
            operation="read",
        )

    def _attach(self, deadline: float) -> tuple[object, ...]:
        now = self._warehouse.fingerprint()
        if self._attached == now:
            return now
        self._detach()
        while not self._warehouse.is_settled():
            if time.monotonic() >= deadline:
                raise self._restless()
            time.sleep(SETTLED_S)
        now = self._warehouse.fingerprint()
        self._attached = now
        catalogue = self._warehouse.quote(self._warehouse.path.stem)
        url = f"{SCHEME}://{self._warehouse.path}".replace("'", "''")
        self._connection.execute(f"ATTACH '{url}' AS {catalogue} (READ_ONLY)")
        self._connection.execute(f"USE {catalogue}")
        return now

    def _detach(self) -> None:
        """Begin again with a fresh instance: one that met a torn page may be invalid for good."""
        if self._attached is None:
            return
        self._attached = None
        self.close()
        self._connection = self._warehouse.connect(":memory:")
        self._connection.register_filesystem(LockFreeFiles())

    def close(self) -> None:
        with suppress(duckdb.Error):
            self._connection.close()


class DuckDB:
    """A DuckDB file.

    Several statements of one read session may see different states of the file when a pipeline writes between them; each
    single answer is consistent.
    """

    dialect = "duckdb"
    idiom: Idiom = DuckDBIdiom()
    ledger_table = "_mendline.ledger"

    def __init__(self, name: str, path: Path, lock_timeout_s: float = 60.0) -> None:
        self.name = name
        self.path = path.resolve()
        self.lock_timeout_s = lock_timeout_s
        with _locks_guard:
            self._lock = _locks.setdefault(self.path, threading.RLock())
        self._readers: list[_ReadSession] = []
        self._readers_guard = threading.Lock()

    def check(self) -> tuple[str, ...]:
        if not self.path.is_file():
            raise ConfigError(
                f"`warehouses.{self.name}.path`: there is no file `{self.path}`; correct the path, or run the pipeline once"
            )
        with self.reading() as session:
            ((table_count,),) = session.rows("SELECT count(*) FROM duckdb_tables()")
        return (
            f"warehouse `{self.name}`: read {table_count} tables of {self.path}, without the file's lock",
            f"warehouse `{self.name}`: write for moments, waiting up to {self.lock_timeout_s:g} s for the file's lock",
        )

    @contextmanager
    def reading(self) -> Iterator[_Session]:
        if not self.path.is_file():
            raise Unavailable(f"warehouse `{self.name}`: there is no file `{self.path}` yet", system=self.name)
        session = self._borrow()
        try:
            yield session
        finally:
            self._give_back(session)

    @contextmanager
    def writing(self) -> Iterator[_Session]:
        deadline = time.monotonic() + self.lock_timeout_s
        if not self._lock.acquire(timeout=self.lock_timeout_s):
            raise self._busy("another thread of Mendline is writing")
        try:
            connection = self._connect_when_free(deadline)
            try:
                with _translated(self.name, "begin a transaction"):
                    connection.execute("BEGIN")
                yield _Session(self, connection)
                with _translated(self.name, "commit"):
                    connection.execute("COMMIT")
            finally:
                connection.close()  # without a commit this rolls back
        finally:
            self._lock.release()

    def quote(self, identifier: str) -> str:
        return '"' + identifier.replace('"', '""') + '"'

    def safe_cast(self, expression: str, logical_type: str) -> str:
        return f"TRY_CAST({expression} AS {column_type(logical_type, 'duckdb')})"

    def _borrow(self) -> _ReadSession:
        """The reader that was left from before (opening one takes longer than most questions), or a new one."""
        with self._readers_guard:
            return self._readers.pop() if self._readers else _ReadSession(self)

    def _give_back(self, session: _ReadSession) -> None:
        """Keep one reader of a small file; more would only hold memory. What it has read counts only while the file stands."""
        with self._readers_guard:
            if not self._readers and self.path.is_file() and self.path.stat().st_size <= KEPT_BYTES:
                self._readers.append(session)
                return
        session.close()

    def close(self) -> None:
        with self._readers_guard:
            while self._readers:
                self._readers.pop().close()

    def connect(self, database: str) -> duckdb.DuckDBPyConnection:
        """Open a database so that answers do not depend on where Mendline runs: times are UTC.

        Set after opening: a configuration that differs from that of another connection in this process would be refused.
        """
        connection = duckdb.connect(database)
        connection.execute("SET TimeZone = 'UTC'")
        return connection

    def fingerprint(self) -> tuple[object, ...]:
        """What changes whenever the file or its write-ahead log does."""
        return tuple(_stamp(path) for path in self._files())

    def is_settled(self) -> bool:
        """Whether the last change is old enough that a further one would show in the fingerprint."""
        changed_at = max((path.stat().st_mtime for path in self._files() if path.exists()), default=0.0)
        return not 0 <= time.time() - changed_at < SETTLED_S

    def _files(self) -> tuple[Path, Path]:
        return self.path, self.path.with_name(self.path.name + ".wal")

    def _connect_when_free(self, deadline: float) -> duckdb.DuckDBPyConnection:
        while True:
            try:
                return self.connect(str(self.path))
            except duckdb.IOException as error:
                if time.monotonic() >= deadline:
                    raise self._busy(_first_line(error)) from error
            except duckdb.Error as error:
                raise Rejected(
                    f"warehouse `{self.name}`: `{self.path}` does not open: {_first_line(error)}", system=self.name
                ) from error
            time.sleep(POLL_S)

    def _busy(self, reason: str) -> Unavailable:
        return Unavailable(
            f"warehouse `{self.name}` could not be opened for writing within {self.lock_timeout_s:g} s ({reason}); "
            f"try again when the pipeline has let it go",
            system=self.name,
            operation="write",
        )


def from_config(name: str, item: DuckDBWarehouse, *, root: Path) -> DuckDB:
    """The warehouse that an entry of `warehouses` describes; nothing is opened."""
    return DuckDB(name, root / item.path.expanduser(), item.lock_timeout_seconds)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
