"""Durable workflows in memory, on threads: for tests of a workflow, with crashes at a chosen step."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from mendline import journal_json
from mendline.errors import InputError, JournalConflict, MendlineError
from mendline.incident import from_json
from mendline.steps import WorkflowFunction, answer_of, kind_of

T = TypeVar("T")
Recorder = Callable[[str | Exception], None]


@dataclass
class Journal:
    """What survives a crash: hand it to the next `DirectDurable`."""

    started: dict[str, tuple[str, str]] = field(default_factory=dict)  # id -> (name, arguments)
    steps: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))  # id -> [(name, answer)]
    inbox: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    sent: set[tuple[str, str, str]] = field(default_factory=set)
    errors: dict[str, Exception | None] = field(default_factory=dict)  # finished ones; None when they ended well


class VirtualClock:
    """A clock that moves only when someone sleeps or `advance` is called."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._at = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The time, as moved so far."""
        with self._lock:
            return self._at

    def advance(self, seconds: float) -> None:
        """Move the time."""
        with self._lock:
            self._at += timedelta(seconds=seconds)


class Killed(BaseException):
    """The pretended process is gone: no `Exception`, so that nothing in it goes on, and no step of it begins any more.

    A part that a test wraps may raise it, having called `kill`.
    """


class DirectDurable:
    """`Workflows` whose journal is an object; passes the contract suite of `Durable`."""

    def __init__(
        self,
        journal: Journal | None = None,
        *,
        clock: VirtualClock | None = None,
        workers: int = 4,
        around_record: Callable[[str], None] = lambda _: None,
    ) -> None:
        """With a `clock`, sleeping takes no time: it moves the clock.

        `around_record` is called with the step's name before its answer is recorded, and again when it is.
        """
        self._around_record = around_record
        self.journal = journal or Journal()
        self.clock = clock
        self.slots = threading.BoundedSemaphore(workers)
        self.changed = threading.Condition()
        self.stopping = threading.Event()
        self._functions: dict[str, WorkflowFunction] = {}
        self._threads: list[threading.Thread] = []
        self._crash_after_count: int | None = None
        self._crash_before_record = False

    def crash_after(self, step_count: int, *, before_record: bool = False) -> None:
        """Lose the process once `step_count` further steps were run, over all workflows.

        With `before_record`, the last of them had its effect and is not in the journal.
        """
        self._crash_after_count, self._crash_before_record = step_count, before_record

    def kill(self) -> None:
        """Lose the process now: whatever it still does leaves nothing in the journal."""
        self.stopping.set()
        with self.changed:
            self.changed.notify_all()

    def now(self) -> datetime:
        """The time of the clock."""
        return self.clock.now() if self.clock is not None else datetime.now(UTC)

    def workflow(self, name: str) -> Callable[[WorkflowFunction], WorkflowFunction]:
        def register(function: WorkflowFunction) -> WorkflowFunction:
            self._functions[name] = function
            return function

        return register

    def launch(self) -> None:
        for workflow_id, (name, arguments) in self.journal.started.items():
            if workflow_id not in self.journal.errors:
                self._begin(name, workflow_id, arguments)

    def start(self, name: str, workflow_id: str, *arguments: Any) -> None:
        if name not in self._functions:
            raise JournalConflict(f"`{name}` is not a registered workflow; register it before it is started")
        text = json.dumps(arguments)
        with self.changed:
            if workflow_id in self.journal.started:
                if self.journal.started[workflow_id][0] != name:
                    raise JournalConflict(f"`{workflow_id}` was started as another workflow")
                return
            self.journal.started[workflow_id] = (name, text)
        self._begin(name, workflow_id, text)

    def is_finished(self, workflow_id: str) -> bool:
        with self.changed:
            return workflow_id in self.journal.errors

    def error(self, workflow_id: str) -> Exception | None:
        """What a finished workflow ended with; None when it ended well or has not ended."""
        with self.changed:
            return self.journal.errors.get(workflow_id)

    def send(self, workflow_id: str, topic: str, value: Any, key: str) -> None:
        with self.changed:
            if workflow_id not in self.journal.started:
                raise InputError(f"there is no workflow `{workflow_id}`")
            if (workflow_id, topic, key) not in self.journal.sent:
                self.journal.sent.add((workflow_id, topic, key))
                self.journal.inbox[workflow_id, topic].append(json.dumps(value))
            self.changed.notify_all()

    def close(self) -> bool:
        self.kill()
        for thread in self._threads:
            thread.join(timeout=10)
        return not any(thread.is_alive() for thread in self._threads)

    def step_done(self, name: str, record: Callable[[], None]) -> None:
        """Record one step's answer, or lose the process before or after it."""
        with self.changed:
            if self.stopping.is_set():
                raise Killed
            self._around_record(name)
            is_last = False
            if self._crash_after_count is not None:
                self._crash_after_count -= 1
                is_last = self._crash_after_count == 0
            if not (is_last and self._crash_before_record):
                record()
            if is_last:
                self._crash_after_count = None
                self.stopping.set()
                self.changed.notify_all()
                raise Killed
            self._around_record(name)

    def _begin(self, name: str, workflow_id: str, arguments: str) -> None:
        thread = threading.Thread(target=self._perform, args=(name, workflow_id, arguments), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _perform(self, name: str, workflow_id: str, arguments: str) -> None:
        outcome: Exception | None = None
        try:
            self._functions[name](_DirectSteps(self, workflow_id), *json.loads(arguments))
        except Killed:
            return
        except Exception as error:  # noqa: BLE001 - the edge of a workflow, as in DBOS
            outcome = error
        with self.changed:
            if not self.stopping.is_set():
                self.journal.errors[workflow_id] = outcome


class _DirectSteps:
    """`Steps` over the journal in memory."""

    def __init__(self, durable: DirectDurable, workflow_id: str) -> None:
        self._durable = durable
        self._workflow_id = workflow_id
        self._next = 0

    @property
    def workflow_id(self) -> str:
        return self._workflow_id

    def run(self, name: str, function: Callable[[], T], returns: Any = None) -> T:
        def in_a_slot() -> str:
            with self._durable.slots:
                return answer_of(name, function, returns)

        answer: T = from_json(kind_of(returns), self._journaled(name, in_a_slot))
        return answer

    def sleep(self, seconds: float) -> None:
        remaining_s = (self._deadline(seconds) - self._durable.now()).total_seconds()
        if remaining_s <= 0:
            return
        if self._durable.clock is not None:
            self._durable.clock.advance(remaining_s)
        elif self._durable.stopping.wait(remaining_s):
            raise Killed

    def wait(self, topic: str, timeout_s: float) -> Any | None:
        deadline = self._deadline(timeout_s)
        text = self._journaled(
            f"wait for {topic}", lambda: self._await_mail(topic, deadline), lambda answer: self._take(topic, answer)
        )
        return json.loads(text)

    def now(self) -> datetime:
        return datetime.fromisoformat(self._journaled("now", lambda: self._durable.now().isoformat()))

    def _deadline(self, seconds: float) -> datetime:
        return self.now() + timedelta(seconds=seconds)

    def _take(self, topic: str, answer: str | Exception) -> None:
        # A value leaves the inbox in the same moment as its arrival is recorded.
        if answer != "null":
            self._durable.journal.inbox[self._workflow_id, topic].pop(0)

    def _await_mail(self, topic: str, deadline: datetime) -> str:
        inbox = self._durable.journal.inbox[self._workflow_id, topic]
        with self._durable.changed:
            while not inbox:
                remaining_s = (deadline - self._durable.now()).total_seconds()
                if remaining_s <= 0:
                    return "null"
                if self._durable.stopping.is_set():
                    raise Killed
                # Bounded, since a virtual clock does not notify.
                self._durable.changed.wait(min(remaining_s, 0.01 if self._durable.clock else 1.0))
            return inbox[0]

    def _journaled(self, name: str, function: Callable[[], str], at_record: Recorder = lambda _: None) -> str:
        position, self._next = self._next, self._next + 1
        steps = self._durable.journal.steps[self._workflow_id]
        if position >= len(steps):
            self._carry_out(name, function, at_record)
        recorded_name, text = steps[position]
        if recorded_name != name:
            raise JournalConflict(
                f"step {position} of `{self._workflow_id}` was `{recorded_name}`, the code now asks for `{name}`"
            )
        answer = journal_json.read(text)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    def _carry_out(self, name: str, function: Callable[[], str], at_record: Recorder) -> None:
        steps = self._durable.journal.steps[self._workflow_id]
        if self._durable.stopping.is_set():
            raise Killed
        try:
            answer: str | Exception = function()
        except MendlineError as error:
            answer = error

        def record() -> None:
            at_record(answer)
            steps.append((name, journal_json.write(answer)))

        self._durable.step_done(name, record)
