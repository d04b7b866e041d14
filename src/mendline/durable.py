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
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, TypeVar

from dbos import DBOS, DBOSClient, DBOSConfig, Serializer, SetWorkflowID, error

from mendline import journal_json
from mendline.errors import ConfigError, InputError, JournalConflict
from mendline.incident import from_json
from mendline.steps import Steps, WorkflowFunction, Workflows, answer_of, kind_of

__all__ = ["Durable", "Steps", "Workflows"]

T = TypeVar("T")

# Bump only when a pending workflow's recorded steps no longer fit the code: DBOS resumes its own version only.
APPLICATION_VERSION = "incident-v1"
DATABASE_FILE = "workflows.db"
LOCK_FILE = "workflows.lock"
INBOX_POLL_SECONDS = 0.5


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
    """`Workflows` on DBOS, with its journal in one SQLite file."""

    def __init__(
        self,
        directory: Path,
        executor_id: str = "mendline",
        *,
        workers: int = 4,
        close_timeout_s: float = 10.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Touches nothing. `executor_id` must be the same at every start: DBOS resumes only its own workflows."""
        self.now = now
        self.slots = threading.BoundedSemaphore(workers)
        self.stopping = threading.Event()
        self.is_gone = False
        self.mail = threading.Condition()
        self._directory = directory
        self._executor_id = executor_id
        self._close_timeout_s = close_timeout_s
        self._functions: dict[str, WorkflowFunction] = {}
        self._active_count = 0
        self._idle = threading.Condition()
        self._lock: IO[str] | None = None

    @property
    def database(self) -> Path:
        """The journal's file."""
        return self._directory / DATABASE_FILE

    def workflow(self, name: str) -> Callable[[WorkflowFunction], WorkflowFunction]:
        def register(function: WorkflowFunction) -> WorkflowFunction:
            self._functions[name] = function
            return function

        return register

    def launch(self) -> None:
        """Take the directory's lock, open the journal, resume what is pending.

        Raises: `ConfigError` when another process works in this directory; `JournalConflict` when this process already
        has a live `Durable`.
        """
        if _Live.durable is not None:
            raise JournalConflict(
                "this process already runs workflows; close the first `Durable` before a second launch"
            )
        self._lock = _locked(self._directory)
        try:
            with closing(sqlite3.connect(self.database)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
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
            if not self.database.exists():
                raise InputError(f"there is no workflow `{workflow_id}` in `{self._directory}`")
            client = DBOSClient(system_database_url=f"sqlite:///{self.database}", serializer=_JournalJson())
            try:
                client.send(workflow_id, message, topic, idempotency_key=idempotency_key)
            finally:
                client.destroy()

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

    def _config(self) -> DBOSConfig:
        # A handler of our own keeps DBOS from writing to the terminal; what it logs goes where the program's log goes.
        logging.getLogger("dbos").addHandler(logging.NullHandler())
        return {
            "name": "mendline",
            "system_database_url": f"sqlite:///{self.database}",
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
            try:
                return function()
            finally:
                if self._durable.is_gone:  # DBOS is shut down, it could not record this
                    raise _Stopped

        if self._durable.stopping.is_set():
            raise _Stopped
        with _translated(self._workflow_id):
            return DBOS.run_step({"name": name}, unless_gone)

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
        query = "SELECT 1 FROM notifications WHERE destination_uuid = ? AND topic = ? AND NOT consumed LIMIT 1"
        with closing(sqlite3.connect(self._durable.database, timeout=30)) as connection:
            while connection.execute(query, (self._workflow_id, topic)).fetchone() is None:
                remaining_s = (deadline - self._durable.now()).total_seconds()
                if remaining_s <= 0:
                    return "nothing"
                with self._durable.mail:
                    if not self._durable.stopping.is_set():
                        self._durable.mail.wait(min(remaining_s, INBOX_POLL_SECONDS))
                if self._durable.stopping.is_set():
                    raise _Stopped
        return "mail"


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
