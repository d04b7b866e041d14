"""The connection to the state database: all that differs between SQLite and PostgreSQL is in this file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, func, inspect, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mendline.errors import ConfigError, Rejected, Superseded, Unavailable
from mendline.stores import tables

BUSY_TIMEOUT_MS = 30_000
CONNECT_TIMEOUT_S = 5
STOPPED_TIMEOUT_MS = 5_000  # a process that is stopped inside a transaction holds up the others for no longer
MIGRATION_LOCK = 0x6D656E64  # any number that is ours
SYSTEM = "state database"


class Database:
    """One state database, opened and at our schema version; safe to share among threads."""

    def __init__(self, url: str | URL) -> None:
        """Open it, creating file and tables when they are not there.

        Raises: `ConfigError` when the URL is unusable, the file is no database or is newer than this program;
        `Unavailable` when the server does not answer.
        """
        self._url = _checked(url)
        self._name = self._url.render_as_string(hide_password=True)
        self._worker: str | None = None
        self._engine = _engine(self._url)
        self._reading_engine: Engine = self._engine
        self._writing_engine: Engine = self._engine
        if self._url.get_backend_name() == "sqlite":
            _use_sqlite_well(self._engine)
            self._writing_engine = self._engine.execution_options(is_writing=True)
        else:
            _use_postgres_well(self._engine)
            snapshot = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            self._reading_engine = self._engine.execution_options(**snapshot)
        try:
            self._bring_to_version()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one consistent state and never waits for a writer."""
        with self._translated("read"), self._reading_engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self, *, by_anyone: bool = False) -> Iterator[Connection]:
        """A connection inside one transaction, committed when the block ends well.

        Raises: `Superseded` when this works as a worker that no longer lives, except where `by_anyone`.
        """
        with self._translated("write"), self._writing_engine.begin() as connection:
            if self._worker is not None and not by_anyone:
                _require_alive(connection, self._worker)
            yield connection

    def work_as(self, worker: str) -> None:
        """Bind every write from here on to the life of a worker."""
        self._worker = worker

    def close(self) -> None:
        """Give back every connection."""
        self._engine.dispose()

    def _bring_to_version(self) -> None:
        found = self._version()
        if found is None or found < tables.SCHEMA_VERSION:
            with self.writing() as connection:
                _take_turns(connection)
                tables.metadata.create_all(connection)
                is_older = tables.settings.c.number < tables.SCHEMA_VERSION
                version = {"name": "schema_version", "number": tables.SCHEMA_VERSION}
                insert_or_replace(connection, tables.settings, is_older, **version)
                for counter in ("last_incident", "last_token"):
                    insert_if_absent(connection, tables.settings, name=counter, number=0)
            found = self._version()
        if found != tables.SCHEMA_VERSION:
            raise ConfigError(
                f"`{self._name}` has schema version {found}, this Mendline knows version {tables.SCHEMA_VERSION}; "
                "install the Mendline that wrote it, or a newer one",
                system=SYSTEM,
                operation="open",
            )

    def _version(self) -> int | None:
        with self.reading() as connection:
            if not inspect(connection).has_table(tables.settings.name):
                return None
            query = select(tables.settings.c.number).where(tables.settings.c.name == "schema_version")
            return connection.execute(query).scalar_one_or_none()

    @contextmanager
    def _translated(self, operation: str) -> Iterator[None]:
        fields = {"system": SYSTEM, "operation": operation}
        try:
            yield
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            raise Unavailable(
                f"`{self._name}` could not be used ({operation}): {_said(error)}; "
                "check that it is reachable, writable and not held by another program",
                **fields,
            ) from error
        except DBAPIError as error:
            if error.connection_invalidated:  # the server has ended the session, whatever it calls the reason
                raise Unavailable(f"`{self._name}` ended the session: {_said(error)}; try again", **fields) from error
            if not isinstance(error, IntegrityError) and "not a database" in _said(error):
                raise ConfigError(
                    f"`{self._name}` is not a database: {_said(error)}; "
                    "move that file away or set another `state.directory`",
                    **fields,
                ) from error
            raise Rejected(f"`{self._name}` refused a {operation}: {_said(error)}", **fields) from error
        except SQLAlchemyError as error:
            raise Rejected(f"`{self._name}` refused a {operation}: {_said(error)}", **fields) from error


def common_now(connection: Connection) -> datetime:
    """The time on the database's own clock, aware."""
    if connection.dialect.name == "postgresql":
        now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return now
    return datetime.now(UTC)


def insert_if_absent(connection: Connection, table: Table, **values: Any) -> bool:
    """Insert one row unless a unique constraint already holds it; whether a row was inserted."""
    return _has_inserted(connection, _insert(connection)(table).values(**values).on_conflict_do_nothing())


def insert_or_replace(connection: Connection, table: Table, condition: Any = None, **values: Any) -> bool:
    """Insert one row, or overwrite the one with its primary key when `condition` holds; whether a row was written."""
    keys = [column.name for column in table.primary_key]
    changed = {name: value for name, value in values.items() if name not in keys}
    statement = _insert(connection)(table).values(**values)
    statement = statement.on_conflict_do_update(index_elements=keys, set_=changed, where=condition)
    return _has_inserted(connection, statement)


def _has_inserted(connection: Connection, statement: Any) -> bool:
    # An insert's count is lost with its cursor, unless it is asked for.
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount == 1


def _insert(connection: Connection) -> Any:
    # Both dialects spell ON CONFLICT alike; SQLAlchemy only offers it on their own insert().
    return postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert


def _checked(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError("the URL of the state database cannot be read; write it like `sqlite:///file.db`") from error
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise ConfigError(f"the state database cannot live in `{backend}`; use `sqlite` or `postgresql`")
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise ConfigError("the state database needs a file: every thread would see an empty one in memory")
        try:
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"`{parsed.database}` cannot be created: {error}; set `state.directory`") from error
    return parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        return create_engine(url)
    timeout = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_TIMEOUT_S}
    try:
        # Pre-ping: after a restart of the server, the connections of before are not handed out.
        return create_engine(url, pool_pre_ping=True, connect_args=timeout)
    except ImportError as error:
        raise ConfigError(
            f"a state database in PostgreSQL needs its driver, which is not there: {' '.join(str(error).split())}; "
            "install it with `pip install 'mendline[postgres]'`",
            system=SYSTEM,
        ) from error


def _use_postgres_well(engine: Engine) -> None:
    def connected(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {BUSY_TIMEOUT_MS}")
            cursor.execute(f"SET idle_in_transaction_session_timeout = {STOPPED_TIMEOUT_MS}")
        connection.commit()  # else the pool's rollback undoes it

    event.listen(engine, "connect", connected)


def _take_turns(connection: Connection) -> None:
    # SQLite's writers take turns anyway.
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))


def _require_alive(connection: Connection, worker: str) -> None:
    # Locked until the end of the transaction: nobody is declared dead in the middle of one; its beat may go on.
    table = tables.workers
    query = select(table.c.name).where(table.c.name == worker).with_for_update(read=True, key_share=True)
    if connection.execute(query).first() is None:
        raise Superseded(
            f"worker `{worker}` was silent for too long and its incidents have gone to another; start it again",
            system=SYSTEM,
            operation="write",
        )


def _use_sqlite_well(engine: Engine) -> None:
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, see below
        # WAL: people list incidents while the service writes.
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    def begun(connection: Connection) -> None:
        # A deferred transaction that turns writer half-way fails at once with "locked", busy_timeout or not.
        is_writing = connection.get_execution_options().get("is_writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)


def _said(error: SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return " ".join(str(cause).split())
