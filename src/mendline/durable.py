"""Workflows that survive a crash: the thin layer over DBOS, the only file that knows it.

DBOS is a process-wide singleton; so one `Durable` may be live in a process, and one process per directory.
Importing it costs half a second, so only the service does; workflows are written against `mendline.steps`.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, TypeVar

from dbos import DBOS, DBOSClient, DBOSConfig, Serializer, SetWorkflowID, error
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from mendline import journal_json
from mendline.errors import ConfigError, InputError, JournalConflict, Unavailable
from mendline.incident import from_json
from mendline.steps import Steps, WorkflowFunction, Workflows, answer_of, kind_of

__all__ = ["Durable", "Steps", "Workflows"]

T = TypeVar("T")
LOG = logging.getLogger("mendline")

# Bump only when a pending workflow's recorded steps no longer fit the code: DBOS resumes its own version only.
APPLICATION_VERSION = "incident-v3"
DATABASE_FILE = "workflows.db"
LOCK_FILE = "workflows.lock"
SCHEMA = "mendline_workflows"  # of the journal in PostgreSQL
INBOX_POLL_SECONDS = 0.5
AWAY_POLL_SECONDS = 1.0
STOPPED_TIMEOUT_S = 5.0  # a process that is stopped inside a transaction holds up the others for no longer
UNFINISHED = ["PENDING", "ENQUEUED", "DELAYED"]


@dataclass(frozen=True, kw_only=True)
class Stranded:
    """A workflow that another version of the program began and did not end; this one does not touch it."""

    workflow_id: str
    version: str


class _Stopped(BaseException):
    """The process is closing. No `Exception`, so that neither the workflow nor DBOS takes it for an outcome."""


class _JournalJson(Serializer):
    """DBOS pickles when it is not told otherwise."""

    def name(self) -> str:
        return journal_json.FORMAT

    def serialize(self, data: Any) -> str:
        return journal_json.write(data)

    def deserialize(self, serialized_data: str) -> Any:
        return journal_json.read(serialized_data)


class Durable:
    """`Workflows` on DBOS, with its journal in one SQLite file, or in PostgreSQL, where many processes may share it."""

    def __init__(
        self,
        directory: Path,
        executor_id: str = "mendline",
        *,
        url: str | None = None,
        workers: int = 4,
        close_timeout_s: float = 10.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        lives: Callable[[], bool] = lambda: True,
    ) -> None:
        """Touches nothing. Without a `url` of PostgreSQL the journal is a file in `directory`.

        DBOS resumes only the workflows of the same `executor_id`. On a file it must be the same at every start; on a
        server no two processes may ever share one (both would run the same steps), and `hand_over` moves what another left.
        `lives` says whether this process may still act; once it may not, no step begins and no answer is recorded.
        """
        self.now = now
        self.lives = lives
        self.slots = threading.BoundedSemaphore(workers)
        self.stopping = threading.Event()
        self.is_gone = False
        self.mail = threading.Condition()
        self._directory = directory
        self._url = url
        self._engine: Engine | None = None
        self._executor_id = executor_id
        self._close_timeout_s = close_timeout_s
        self._functions: dict[str, WorkflowFunction] = {}
        self._active_count = 0
        self._idle = threading.Condition()
        self._lock: IO[str] | None = None

    @property
    def database(self) -> Path:
        """The journal's file, where it is one."""
        return self._directory / DATABASE_FILE

    @property
    def journal_url(self) -> str:
        """Where the journal is, as SQLAlchemy reads it."""
        return self._url or f"sqlite:///{self.database}"

    def workflow(self, name: str) -> Callable[[WorkflowFunction], WorkflowFunction]:
        def register(function: WorkflowFunction) -> WorkflowFunction:
            self._functions[name] = function
            return function

        return register

    def launch(self) -> None:
        """Open the journal (a file with its directory's lock), resume what is pending of this `executor_id`.

        Raises: `ConfigError` when another process works in this directory; `JournalConflict` when this process already
        has a live `Durable`; `Unavailable` when the server does not answer.
        """
        if _Live.durable is not None:
            raise JournalConflict(
                "this process already runs workflows; close the first `Durable` before a second launch"
            )
        if self._url is None:
            self._lock = _locked(self._directory)
        try:
            self._prepare()
            for name in self._functions:
                _entry_point(name)
            _Live.durable = self
            DBOS(config=self._config())
            DBOS.launch()
        except BaseException:
            self.close()
            raise

    def start(self, name: str, workflow_id: str, *arguments: Any) -> None:
        if name not in self._functions:
            raise JournalConflict(f"`{name}` is not a registered workflow; register it before it is started")
        with _translated(workflow_id), SetWorkflowID(workflow_id):
            DBOS.start_workflow(_entry_point(name), json.dumps(arguments))

    def is_finished(self, workflow_id: str) -> bool:
        with _translated(workflow_id):
            status = DBOS.get_workflow_status(workflow_id)
        return status is not None and status.status not in ("PENDING", "ENQUEUED", "DELAYED")

    def send(self, workflow_id: str, topic: str, value: Any, key: str) -> None:
        message, idempotency_key = json.dumps(value), f"{topic}:{key}"
        with _translated(workflow_id):
            if _Live.durable is self:
                DBOS.send(workflow_id, message, topic, idempotency_key=idempotency_key)
                with self.mail:
                    self.mail.notify_all()
                return
            if not self._has_journal():
                raise InputError(f"there is no workflow `{workflow_id}` in `{self._directory}`")
            with self._client() as client:
                client.send(workflow_id, message, topic, idempotency_key=idempotency_key)

    def hand_over(self, living: Callable[[], Collection[str]]) -> None:
        """Resume the workflows of every executor that is not among the living, in whichever process is free first.

        Safe to do in several processes at once: only a workflow that still is the dead one's is moved.
        """
        pending = DBOS.list_workflows(
            status="PENDING", app_version=APPLICATION_VERSION, load_input=False, load_output=False
        )
        # Read after the list: who has a workflow lived before it.
        lost = {str(workflow.executor_id) for workflow in pending} - {self._executor_id, *living()}
        if lost:
            LOG.warning("taking over from %s, which gave no sign of life", ", ".join(sorted(lost)))
            # The public `resume_workflow` asks nobody whose the workflow is: a slow second caller would start it twice.
            DBOS._recover_pending_workflows(sorted(lost))

    def stranded(self) -> tuple[Stranded, ...]:
        """The workflows of other versions that have not ended; works from any process, launched or not."""
        if not self._has_journal():
            return ()
        with self._client() as client:
            found = client.list_workflows(status=UNFINISHED, load_input=False, load_output=False)
        return tuple(
            Stranded(workflow_id=each.workflow_id, version=str(each.app_version))
            for each in found
            if each.app_version != APPLICATION_VERSION
        )

    def forget(self, workflow_id: str) -> None:
        """Drop a workflow's journal, so that it can be started anew. Not being there is fine."""
        if self._has_journal():
            with self._client() as client:
                client.delete_workflow(workflow_id)

    def close(self) -> bool:
        """Wake sleepers, let steps under way end (at most `close_timeout_s`), shut DBOS down, free the directory.

        A step that takes longer is repeated at the next launch. Then the lock is kept until this process ends.
        """
        self.stopping.set()
        with self.mail:
            self.mail.notify_all()
        with self._idle:
            is_idle = self._idle.wait_for(lambda: self._active_count == 0, self._close_timeout_s)
        self.is_gone = True
        if _Live.durable is self:
            DBOS.destroy()
            _Live.durable = None
        if self._engine is not None:
            self._engine.dispose()
        if self._lock is not None and is_idle:
            self._lock.close()
            self._lock = None
        return is_idle

    def perform(self, name: str, arguments: str) -> None:
        """Run a registered workflow on this thread; only DBOS calls it."""
        with self._idle:
            self._active_count += 1
        try:
            if self.stopping.is_set():
                raise _Stopped
            self._functions[name](_DbosSteps(self), *json.loads(arguments))
        except Exception:
            logging.getLogger(__name__).exception("workflow `%s` ended with an error; it will not be resumed", name)
            raise
        finally:
            with self._idle:
                self._active_count -= 1
                self._idle.notify_all()

    def has_mail(self, workflow_id: str, topic: str) -> bool:
        """Whether a value that nobody took waits for a workflow. Raises: `Unavailable`."""
        table = "notifications" if self._url is None else f"{SCHEMA}.notifications"
        query = f"SELECT 1 FROM {table} WHERE destination_uuid = :id AND topic = :topic AND NOT consumed LIMIT 1"
        with self._connected() as connection:
            return connection.execute(text(query), {"id": workflow_id, "topic": topic}).first() is not None

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        if self._engine is None:
            self._engine = create_engine(self.journal_url, pool_pre_ping=True)
        with self._reached(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except ProgrammingError as cause:
            raise ConfigError(
                f"the workflow journal in {self._place} cannot be used: {' '.join(str(cause.orig).split())}; "
                "give the role in `state.database` the right to create schemas there"
            ) from cause
        except DBAPIError as cause:
            raise Unavailable(
                f"the workflow journal in {self._place} cannot be reached: {' '.join(str(cause.orig).split())}",
                system="workflow journal",
            ) from cause

    @property
    def _place(self) -> str:
        return f"`{self._directory}`" if self._url is None else "`state.database`"

    def _prepare(self) -> None:
        if self._url is None:
            with closing(sqlite3.connect(self.database)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            return
        with self._connected():  # else DBOS would wait for it without an end
            pass

    def _has_journal(self) -> bool:
        if self._url is None:
            return self.database.exists()
        with self._connected() as connection:
            query = text("SELECT to_regclass(:name) IS NOT NULL")
            return bool(connection.execute(query, {"name": f"{SCHEMA}.workflow_status"}).scalar_one())

    @contextmanager
    def _client(self) -> Iterator[DBOSClient]:
        with self._reached():
            client = DBOSClient(
                system_database_url=self.journal_url,
                dbos_system_schema=SCHEMA,
                serializer=_JournalJson(),
                retry_connection_errors=False,
            )
            try:
                yield client
            finally:
                client.destroy()

    def _config(self) -> DBOSConfig:
        # A handler of our own keeps DBOS from writing to the terminal; what it logs goes where the program's log goes.
        logging.getLogger("dbos").addHandler(logging.NullHandler())
        return {
            "name": "mendline",
            "system_database_url": self.journal_url,
            "dbos_system_schema": SCHEMA,
            "use_listen_notify": False,  # we poll, which also works through a connection pooler
            "sys_db_idle_transaction_timeout_sec": STOPPED_TIMEOUT_S,
            "application_version": APPLICATION_VERSION,
            "executor_id": self._executor_id,
            "serializer": _JournalJson(),
            "log_level": "WARNING",
            "enable_otlp": False,
            # Costs nothing, since we never wait in DBOS; closing waits for one such interval.
            "notification_listener_polling_interval_sec": 0.1,
        }


class _DbosSteps:
    """`Steps` of the workflow that runs on this thread."""

    def __init__(self, durable: Durable) -> None:
        self._durable = durable
        self._workflow_id = str(DBOS.workflow_id)

    @property
    def workflow_id(self) -> str:
        return self._workflow_id

    def run(self, name: str, function: Callable[[], T], returns: Any = None) -> T:
        def in_a_slot() -> str:
            with self._slot():
                return answer_of(name, function, returns)

        text = self._journaled(name, in_a_slot)
        answer: T = from_json(kind_of(returns), text)
        return answer

    def sleep(self, seconds: float) -> None:
        remaining_s = (self._deadline(seconds) - self._durable.now()).total_seconds()
        if remaining_s > 0 and self._durable.stopping.wait(remaining_s):
            raise _Stopped

    def wait(self, topic: str, timeout_s: float) -> Any | None:
        # DBOS.recv waits on a thread that nothing can wake for closing; so we wait, and recv only takes.
        deadline = self._deadline(timeout_s)
        self._journaled(f"wait for {topic}", lambda: self._await_mail(topic, deadline))
        with _translated(self._workflow_id):
            message = DBOS.recv(topic, timeout_seconds=0)
        return None if message is None else json.loads(message)

    def now(self) -> datetime:
        # Without a slot: the clock must not wait for a worker.
        return datetime.fromisoformat(self._journaled("now", lambda: self._durable.now().isoformat()))

    def _deadline(self, seconds: float) -> datetime:
        return self.now() + timedelta(seconds=seconds)

    def _journaled(self, name: str, function: Callable[[], str]) -> str:
        def unless_gone() -> str:
            self._require_life()
            try:
                return function()
            finally:
                if self._durable.is_gone:  # DBOS is shut down, it could not record this
                    raise _Stopped
                self._require_life()  # else the refusal of a dead worker's writes would stand as the step's answer

        if self._durable.stopping.is_set():
            raise _Stopped
        with _translated(self._workflow_id):
            return DBOS.run_step({"name": name}, unless_gone)

    def _require_life(self) -> None:
        while True:
            try:
                if self._durable.lives():
                    return
            except Unavailable as away:  # as DBOS does: without the state database nothing goes on, and nothing fails
                LOG.warning("%s; waiting for it", away)
                if not self._durable.stopping.wait(AWAY_POLL_SECONDS):
                    continue
            raise _Stopped

    @contextmanager
    def _slot(self) -> Iterator[None]:
        slots, stopping = self._durable.slots, self._durable.stopping
        while not slots.acquire(timeout=INBOX_POLL_SECONDS):
            if stopping.is_set():
                raise _Stopped
        try:
            yield
        finally:
            slots.release()

    def _await_mail(self, topic: str, deadline: datetime) -> str:
        while not self._has_mail(topic):
            remaining_s = (deadline - self._durable.now()).total_seconds()
            if remaining_s <= 0:
                return "nothing"
            with self._durable.mail:
                if not self._durable.stopping.is_set():
                    self._durable.mail.wait(min(remaining_s, INBOX_POLL_SECONDS))
            if self._durable.stopping.is_set():
                raise _Stopped
        return "mail"

    def _has_mail(self, topic: str) -> bool:
        try:
            return self._durable.has_mail(self._workflow_id, topic)
        except Unavailable:  # it cannot be seen now; looked for again, until the deadline
            return False


class _Live:
    """The one `Durable` that DBOS works for now, and the workflow names that DBOS knows in this process."""

    durable: Durable | None = None
    entry_points: dict[str, Callable[[str], None]] = {}  # noqa: RUF012


def _entry_point(name: str) -> Callable[[str], None]:
    # DBOS keeps registrations for the life of the process, so each name is registered once and finds who is live.
    if name not in _Live.entry_points:

        @DBOS.workflow(name=f"mendline.{name}")
        def entry_point(arguments: str) -> None:
            durable = _Live.durable
            if durable is None:
                raise _Stopped
            durable.perform(name, arguments)

        _Live.entry_points[name] = entry_point
    return _Live.entry_points[name]


@contextmanager
def _translated(workflow_id: str) -> Iterator[None]:
    try:
        yield
    except error.DBOSNonExistentWorkflowError as cause:
        raise InputError(f"there is no workflow `{workflow_id}`") from cause
    except error.DBOSException as cause:
        raise JournalConflict(
            f"the journal of workflow `{workflow_id}` and the code differ: {cause}; "
            "finish pending incidents with the version that began them"
        ) from cause


def is_in_use(directory: Path) -> bool:
    """Whether a process runs the workflows of this directory now."""
    try:
        with (directory / LOCK_FILE).open(encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _locked(directory: Path) -> IO[str]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / LOCK_FILE).open("a+", encoding="utf-8")
    except OSError as cause:
        raise ConfigError(f"`{directory}` cannot be written: {cause}; set `state.directory`") from cause
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as cause:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise ConfigError(
            f"`{directory}` is in use by another Mendline (process {holder}); "
            "stop that one, or give this one another `state.directory`"
        ) from cause
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock
