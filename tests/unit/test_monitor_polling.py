"""The poller: nothing missed, nothing handed over twice without need, whatever dies between two steps."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendline.engines.base import FinishedRun
from mendline.errors import Unavailable
from mendline.monitor.correlation import correlate, fingerprint
from mendline.monitor.polling import Poller
from mendline.testing.memory_engine import MemoryEngine
from mendline.testing.memory_store import MemoryStore


class Killed(BaseException):
    """The process ends here."""


def an_engine() -> MemoryEngine:
    return MemoryEngine(upstream={"extract": (), "load": ("extract",)}, failing={"load": ("ValueError", "bad")})


def run_ids(seen: list[FinishedRun]) -> list[str]:
    return [run.run.run_id for run in seen]


def test_the_first_poll_marks_where_watching_begins() -> None:
    engine, store = an_engine(), MemoryStore()
    seen: list[FinishedRun] = []
    engine.run()
    poller = Poller(engine, store, on_run=seen.append)
    assert poller.poll() == ()
    engine.run()
    assert run_ids(list(poller.poll())) == ["run-2"]
    assert run_ids(seen) == ["run-2"]
    assert store.cursor("engine:memory") is not None


def test_runs_that_end_while_nobody_watches_are_handed_over_after_the_restart() -> None:
    engine, store = an_engine(), MemoryStore()
    seen: list[FinishedRun] = []
    Poller(engine, store, on_run=seen.append).poll()
    engine.run()
    engine.run()
    Poller(engine, store, on_run=seen.append).poll()
    assert run_ids(seen) == ["run-1", "run-2"]


def test_a_run_is_handed_over_again_when_the_callback_could_not_finish() -> None:
    engine, store = an_engine(), MemoryStore()
    seen: list[FinishedRun] = []
    Poller(engine, store, on_run=seen.append).poll()
    engine.run()

    def away(run: FinishedRun) -> None:
        raise Unavailable("the warehouse is away")

    with pytest.raises(Unavailable):
        Poller(engine, store, on_run=away).poll()
    Poller(engine, store, on_run=seen.append).poll()
    assert run_ids(seen) == ["run-1"]


def test_an_idle_poll_writes_nothing() -> None:
    class Counting(MemoryStore):
        writes = 0

        def move_cursor(self, name: str, before: str | None, after: str) -> bool:
            self.writes += 1
            return super().move_cursor(name, before, after)

    store = Counting()
    poller = Poller(an_engine(), store, on_run=lambda run: None)
    for _ in range(5):
        poller.poll()
    assert store.writes == 1


def test_a_slow_poll_does_not_take_back_where_a_quicker_one_of_another_worker_came_to() -> None:
    engine, store = an_engine(), MemoryStore()
    Poller(engine, store, on_run=lambda run: None).poll()
    engine.run()

    def overtaken(run: FinishedRun) -> None:
        engine.run()
        quick.poll()

    quick = Poller(engine, store, on_run=lambda run: None)
    slow = Poller(engine, store, on_run=overtaken)
    slow.poll()
    again: list[FinishedRun] = []
    Poller(engine, store, on_run=again.append).poll()
    assert again == []


class Story:
    """A pipeline, its monitor, and the moments at which the monitor is killed."""

    def __init__(self) -> None:
        self.engine, self.store = an_engine(), MemoryStore()
        self.opened: list[str] = []
        self.polled()

    def ran(self) -> None:
        self.engine.run()

    def polled(self) -> None:
        Poller(self.engine, self.store, on_run=self.open_once).poll()

    def killed_in_the_callback(self) -> None:
        def on_run(run: FinishedRun) -> None:
            self.open_once(run)
            raise Killed

        with contextlib.suppress(Killed):
            Poller(self.engine, self.store, on_run=on_run).poll()

    def killed_before_the_cursor(self) -> None:
        class Dying(MemoryStore):
            def move_cursor(self, name: str, before: str | None, after: str) -> bool:
                raise Killed

        dying = Dying()
        dying.set_cursor("engine:memory", self.store.cursor("engine:memory") or "")
        with contextlib.suppress(Killed):
            Poller(self.engine, dying, on_run=self.open_once).poll()

    def open_once(self, run: FinishedRun) -> None:
        """Incidents are opened by fingerprint, so a run handed over twice must not become two of them."""
        for failures in correlate(run, self.engine.describe(run.run)):
            if fingerprint(failures) not in self.opened:
                self.opened.append(fingerprint(failures))


@given(st.lists(st.sampled_from(["ran", "polled", "killed_in_the_callback", "killed_before_the_cursor"]), max_size=25))
def test_every_failure_opens_one_incident_wherever_the_monitor_dies(steps: list[str]) -> None:
    story = Story()
    for step in steps:
        getattr(story, step)()
    story.polled()
    assert len(story.opened) == steps.count("ran")
