"""A worker among others: whom it buries, when it does not, and what it does when it is dead itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from mendline.testing.memory_store import MemoryStore
from mendline.testing.values import NOON
from mendline.testing.waiting import wait_until
from mendline.workers import Pace, Worker

PACE = Pace(lost_after_s=0.5)


class Story:
    """A worker whose store's clock goes on by one beat per round, and what it did in each round."""

    def __init__(self) -> None:
        self.at = NOON
        self.store = MemoryStore(now=lambda: self.at)
        self.worker = Worker(self.store, pace=PACE, name="a")
        self.lost = threading.Event()
        self.beating: list[str] = []
        self.rounds = 0
        self.worker.join()

    def round_ends(self) -> None:
        self.rounds += 1
        self.at += timedelta(seconds=PACE.beat_s)
        for name in self.beating:
            self.store.beat(name)

    @contextmanager
    def watched(self) -> Iterator[None]:
        self.worker.watch(hand_over=self.round_ends, on_lost=self.lost.set)
        try:
            yield
        finally:
            self.worker.leave()

    def wait_for_rounds(self, count: int) -> None:
        begin = self.rounds
        wait_until(lambda: self.rounds >= begin + count, what="the rounds")


def test_a_silent_worker_is_buried_and_one_that_beats_is_not() -> None:
    story = Story()
    for name in ("b", "silent"):
        story.store.join_worker(name)
    story.beating = ["b"]
    with story.watched():
        wait_until(lambda: story.store.workers() == ("a", "b"), what="the burial")
        story.wait_for_rounds(3)
        assert story.store.workers() == ("a", "b")
    assert story.store.workers() == ("b",)


def test_who_was_away_itself_does_not_hold_the_same_against_the_others() -> None:
    """After an outage of the database, or a sleep of the machine, all have been silent: the first one back waits for the rest."""
    story = Story()
    for name in ("b", "silent"):
        story.store.join_worker(name)
    story.beating = ["b"]
    with story.watched():
        wait_until(lambda: "silent" not in story.store.workers(), what="the burial")
        story.at += timedelta(hours=1)
        story.wait_for_rounds(3)
        assert story.store.workers() == ("a", "b")


def test_a_worker_that_was_buried_stops_and_says_so() -> None:
    story = Story()
    with story.watched():
        story.wait_for_rounds(1)
        story.store.leave_worker("a")
        assert story.lost.wait(20)
        assert story.worker.was_lost
        assert not story.worker.lives()


def test_names_are_never_used_twice() -> None:
    store = MemoryStore()
    assert len({Worker(store).name for _ in range(100)}) == 100
