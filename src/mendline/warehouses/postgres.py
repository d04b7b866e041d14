"""PostgreSQL: a warehouse behind a connection; reads give way to the pipeline, a write is one transaction."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mendline.config import PostgresWarehouse
from mendline.errors import ConfigError, NotSupported, Rejected, Unavailable
from mendline.warehouses.base import Column, Idiom, TableSchema
from mendline.warehouses.ddl import Change, ddl
from mendline.warehouses.names import name_parts, relation
from mendline.warehouses.postgres_casts import safe_cast
from mendline.warehouses.postgres_catalogue import (
    DEPENDENTS,
    GRANTS,
    IMMOVABLE,
    IN_THE_WAY,
    NAMED_TYPES,
    PARTITIONED,
    SCHEMA,
    TABLES,
    VIEW,
    WAITING,
)
from mendline.warehouses.postgres_sql import PostgresIdiom
from mendline.warehouses.types import column_type, logical_type

try:
    import psycopg
    from psycopg import conninfo, errors
except ImportError as error:
    raise ConfigError(
        "a PostgreSQL warehouse needs the driver psycopg, which is not installed; run `pip install 'mendline[postgres]'`"
    ) from error

TRANSIENT = (
    errors.OperationalError,  # the connection; also a cancelled statement, a lock not got, a deadlock, no memory or disk
    errors.InterfaceError,
    errors.SerializationFailure,
    errors.ObjectInUse,
    errors.IdleInTransactionSessionTimeout,  # nothing was changed
)
WRONG_ACCESS = ("28", "3D000", "42501")  # credentials, no such database, no right: SQLSTATE or its class
# What a server says that lets nobody in; libpq hands the words on, and no SQLSTATE.
NO_ENTRY = ("does not exist", "authentication failed", "no pg_hba.conf entry", "no password supplied", "not permitted")
POLL_S = 0.25
# How values are written as text, which copies of rows depend on; and whose they are, for whoever looks at the server.
SETTINGS = {
    "application_name": "mendline",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "jit": "off",  # our questions are long expressions: compiling one takes longer than a batch
    "work_mem": "128MB",  # a subquery that does not fit is run again for each row
    "idle_in_transaction_session_timeout": "15s",  # a worker that is stopped in the middle holds up the others no longer
}
# A connection that is cut without a word must not hold a worker for hours.
ALIVE = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
WRITER = 0x6D656E64  # the advisory lock under which Mendline writes: one at a time, as with a file


@contextmanager
def _translated(system: str, operation: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        state = getattr(error, "sqlstate", None) or ""
        reason = _first_line(error)
        is_refused = state.startswith(WRONG_ACCESS) or any(words in reason for words in NO_ENTRY)
        if isinstance(error, TRANSIENT) and not is_refused:
            raise Unavailable(
                f"warehouse `{system}`: {operation} failed: {reason}; it may succeed later",
                system=system,
                operation=operation,
            ) from error
        raise Rejected(
            f"warehouse `{system}` refused to {operation}: {reason}", system=system, operation=operation
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0]


class _Session:
    """One PostgreSQL connection; `?` in a statement stands for a parameter, as in every warehouse here."""

    def __init__(self, warehouse: Postgres, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._warehouse = warehouse
        self._connection = connection

    def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        with _translated(self._warehouse.name, "run a query"):
            cursor = self._run(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> int:
        with _translated(self._warehouse.name, "run a statement"):
            return self._run(sql, parameters).rowcount

    def schema(self, table: str) -> TableSchema | None:
        found = self.rows(SCHEMA, self._place(table))
        if not found:
            return None
        columns = tuple(
            Column(
                name=name,
                type=spelling,
                logical_type="string" if is_enum else logical_type(plain, "postgres"),
                is_nullable=is_nullable,
                position=position,
            )
            for position, (name, spelling, plain, is_enum, is_nullable) in enumerate(found, start=1)
            if name is not None
        )
        return TableSchema(table=table, columns=columns)

    def view_sql(self, view: str) -> str | None:
        rows = self.rows(VIEW, self._place(view))
        return str(rows[0][0]).strip().rstrip(";") if rows else None

    def outputs(self, sql: str) -> tuple[tuple[str, str], ...]:
        with _translated(self._warehouse.name, "run a query"):
            cursor = self._run(f"SELECT * FROM ({sql}) AS described LIMIT 0", ())
            result = cursor.pgresult
            fields = range(result.nfields) if result else range(0)
            oids = [result.ftype(field) for field in fields] if result else []
            modifiers = [result.fmod(field) for field in fields] if result else []
        names = [column.name for column in cursor.description or ()]
        return tuple((str(name), str(kind)) for name, kind in self.rows(NAMED_TYPES, [names, oids, modifiers]))

    def lock(self, table: str) -> None:
        self.execute(f"LOCK TABLE {relation(self._warehouse, table)} IN SHARE ROW EXCLUSIVE MODE")

    def view_statements(self, view: str, sql: str) -> tuple[str, ...]:
        name = relation(self._warehouse, view)
        now = self.schema(view)
        if now is None or self._is_replaceable(now, self.outputs(sql)):
            return (f"CREATE OR REPLACE VIEW {name} AS {sql}",)
        obstacles = ddl("postgres", "redefine_view_other_columns").obstacles
        for kind, described in self.rows(DEPENDENTS, self._place(view)):
            if kind in obstacles:
                raise NotSupported(
                    f"`{view}` would give other columns or types, so it would have to be dropped, and {described} depends on it",
                    system=self._warehouse.name,
                    operation="redefine a view",
                )
        kept = [str(statement) for (statement,) in self.rows(GRANTS, self._place(view))]
        return (f"DROP VIEW {name}", f"CREATE VIEW {name} AS {sql}", *kept)

    def address(self, table: str) -> str:
        """Where a table has partitions, with the one that the row is in: each begins to count anew."""
        rows = self.rows(PARTITIONED, self._place(table))
        address = self._warehouse.idiom.address
        return f"(CAST(tableoid AS text) || CAST({address} AS text))" if rows else address

    def obstacle_to(self, change: Change, table: str, column: str) -> str:
        obstacles = ddl("postgres", change).obstacles
        for kind, described in self.rows(IN_THE_WAY, [*self._place(table), column]):
            if kind in obstacles:
                return f"`{table}.{column}` is used by {described}"
        return ""

    def obstacle_to_moving(self, table: str) -> str:
        rows = self.rows(IMMOVABLE, self._place(table))
        return f"`{table}` {rows[0][0]}" if rows and rows[0][0] else ""

    def obstacle_to_parking(self, table: str) -> str:
        return ddl("postgres", "restore_unbound_view").source

    def _is_replaceable(self, now: TableSchema, wanted: tuple[tuple[str, str], ...]) -> bool:
        return tuple((column.name, column.type) for column in now.columns) == wanted[: len(now.columns)]

    def _place(self, table: str) -> list[str]:
        *_, schema, name = ("public", *name_parts(table))
        return [schema, name]

    def _run(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> psycopg.RawCursor[tuple[Any, ...]]:
        cursor = psycopg.RawCursor(self._connection)
        text = numbered(sql) if parameters else sql
        cursor.execute(text.encode(), list(parameters) or None)
        return cursor


def numbered(sql: str) -> str:
    """The statement with `$1`, `$2` ... for each `?` that stands outside of quotes."""
    parts: list[str] = []
    quote, count = "", 0
    for character in sql:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "?":
            count += 1
            character = f"${count}"  # noqa: PLW2901 - the mark becomes its number
        parts.append(character)
    return "".join(parts)


class _ReadSession(_Session):
    """A session whose statements each end by themselves, and early when somebody waits for what they read."""

    def __init__(self, warehouse: Postgres) -> None:
        super().__init__(warehouse, warehouse.connect(is_read_only=True))
        self._is_fresh = True

    def _run(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> psycopg.RawCursor[tuple[Any, ...]]:
        try:
            cursor = self._watched(sql, parameters)
        except psycopg.OperationalError:
            if self._is_fresh or not self._connection.broken:
                raise
            self.close()  # it was kept from before, and the server has gone and come back since
            self._connection = self._warehouse.connect(is_read_only=True)
            cursor = self._watched(sql, parameters)
        self._is_fresh = False
        return cursor

    def _watched(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> psycopg.RawCursor[tuple[Any, ...]]:
        watch = _Watch(self._warehouse, self._connection)
        try:
            return super()._run(sql, parameters)
        except errors.QueryCanceled as error:
            if not watch.has_given_way:
                raise
            raise Unavailable(
                f"warehouse `{self._warehouse.name}`: a question was dropped because a pipeline waited for the table; "
                "try again when it has finished",
                system=self._warehouse.name,
                operation="read",
            ) from error
        finally:
            watch.end()

    @property
    def is_usable(self) -> bool:
        return not self._connection.closed and not self._connection.broken

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._connection.close()


class _Watch:
    """Cancels a long statement as soon as another session waits for a lock that it holds.

    A pipeline's TRUNCATE or ALTER waits for readers to finish. A statement of less than a poll's length is let be.
    """

    def __init__(self, warehouse: Postgres, connection: psycopg.Connection[Any]) -> None:
        self.has_given_way = False
        self._warehouse, self._connection = warehouse, connection
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="mendline-gives-way", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        if self._ended.wait(POLL_S):
            return
        with suppress(psycopg.Error, Unavailable, Rejected), self._warehouse.connect(is_read_only=True) as observer:
            while not self._ended.wait(POLL_S):
                if observer.execute(WAITING, [self._connection.info.backend_pid]).fetchall():
                    self.has_given_way = True
                    self._connection.cancel_safe(timeout=5.0)
                    return


class Postgres:
    """A PostgreSQL database. Names in the configuration are as the catalogue has them (`raw.orders` is not `raw."Orders"`)."""

    dialect = "postgres"
    idiom: Idiom = PostgresIdiom()
    ledger_table = "_mendline.ledger"

    def __init__(self, name: str, url: str, lock_timeout_s: float = 30.0, statement_timeout_s: float = 600.0) -> None:
        self.name = name
        self.lock_timeout_s = lock_timeout_s
        self.statement_timeout_s = statement_timeout_s
        self._parameters = _parameters(name, url)
        self._readers: list[_ReadSession] = []
        self._readers_guard = threading.Lock()

    @property
    def address(self) -> str:
        """Where it is, without who connects."""
        known = self._parameters
        return f"{known.get('host', 'localhost')}:{known.get('port', 5432)}/{known.get('dbname', '')}"

    def check(self) -> tuple[str, ...]:
        try:
            with self.reading() as session:
                ((version,),) = session.rows("SELECT current_setting('server_version')")
                ((table_count,),) = session.rows(TABLES)
        except Rejected as error:
            raise ConfigError(f"`warehouses.{self.name}.url`: {error}; correct the URL or the role's rights") from error
        return (
            f"warehouse `{self.name}`: read {table_count} tables of {self.address} (PostgreSQL {version}), giving way to writers",
            f"warehouse `{self.name}`: write in short transactions, waiting up to {self.lock_timeout_s:g} s for a lock",
        )

    @contextmanager
    def reading(self) -> Iterator[_Session]:
        session = self._borrow()
        try:
            yield session
        finally:
            self._give_back(session)

    @contextmanager
    def writing(self) -> Iterator[_Session]:
        connection = self.connect(is_read_only=False)
        try:
            with _translated(self.name, "begin a transaction"):
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [WRITER])
            yield _Session(self, connection)
            with _translated(self.name, "commit"):
                connection.commit()
        finally:
            connection.close()  # without a commit this rolls back

    def quote(self, identifier: str) -> str:
        return '"' + identifier.replace('"', '""') + '"'

    def safe_cast(self, expression: str, logical_type: str) -> str:
        return safe_cast(expression, column_type(logical_type, "postgres"))

    def close(self) -> None:
        with self._readers_guard:
            while self._readers:
                self._readers.pop().close()

    def connect(self, *, is_read_only: bool) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection: every statement by itself when only reading, else in one transaction."""
        with _translated(self.name, "connect"):
            connection = psycopg.connect(**self._parameters, autocommit=True)
            timeouts = {"lock_timeout": self.lock_timeout_s, "statement_timeout": self.statement_timeout_s}
            settings = {
                **SETTINGS,
                **{key: f"{max(1, int(1000 * seconds))}ms" for key, seconds in timeouts.items()},
                "default_transaction_read_only": "on" if is_read_only else "off",
            }
            listed = ", ".join("set_config(%s, %s, false)" for _ in settings)
            connection.execute(f"SELECT {listed}".encode(), [part for pair in settings.items() for part in pair])
            connection.autocommit = is_read_only
        return connection

    def _borrow(self) -> _ReadSession:
        with self._readers_guard:
            if self._readers:
                return self._readers.pop()
        return _ReadSession(self)

    def _give_back(self, session: _ReadSession) -> None:
        with self._readers_guard:
            if not self._readers and session.is_usable:
                self._readers.append(session)
                return
        session.close()


def from_config(name: str, item: PostgresWarehouse, *, root: Path) -> Postgres:  # noqa: ARG001 - a URL is relative to nothing
    """The warehouse that an entry of `warehouses` describes; nothing is opened."""
    return Postgres(name, item.url.get_secret_value(), item.lock_timeout_seconds, item.statement_timeout_seconds)


def _parameters(name: str, url: str) -> dict[str, Any]:
    """What psycopg connects with. The URL may be SQLAlchemy's (`postgresql+psycopg://`), or libpq's own."""
    scheme, separator, rest = url.partition("://")
    try:
        given = conninfo.conninfo_to_dict(f"{scheme.split('+')[0]}{separator}{rest}")
        [int(port) for port in str(given.get("port") or 5432).split(",")]
    except (psycopg.Error, ValueError):
        raise ConfigError(
            f"`warehouses.{name}.url` is no PostgreSQL URL; write `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`"
        ) from None  # the driver's message repeats the URL, password and all
    return {**ALIVE, **given}
