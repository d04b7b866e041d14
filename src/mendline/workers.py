"""Many processes on one state database: each shows that it lives, and takes over what a dead one left."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from mendline.errors import MendlineError, Superseded
from mendline.stores.base import Store

LOG = logging.getLogger("mendline")


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often a worker shows that it lives, and after what silence the others count it as dead."""

    lost_after_s: float = 15.0

    @property
    def beat_s(self) -> float:
        """Five signs of life may be missed."""
        return self.lost_after_s / 5


class Worker:
    """One of the processes that share a state database.

    Who was silent for too long is dead for good, also when it was only stopped and wakes up: its name is gone from the
    store in one statement, the store refuses every later write in that name, and its workflows are resumed by whoever is
    free. All may look for the dead at once; exactly one buries each.
    """

    def __init__(self, store: Store, *, pace: Pace | None = None, name: str | None = None) -> None:
        """`name` must never be used twice; by default it is made up."""
        self.store = store
        self.pace = pace or Pace()
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.was_lost = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._judges_from_s = 0.0

    def join(self) -> None:
        """Begin to live. Before anything is done in this name."""
        self.store.join_worker(self.name)

    def lives(self) -> bool:
        """Whether this worker may still act. Raises: `Unavailable` when the store cannot say."""
        return self.name in self.store.workers()

    def watch(self, *, hand_over: Callable[[], None], on_lost: Callable[[], None]) -> None:
        """Show signs of life from a thread, bury the dead, and have `hand_over` resume what they left.

        `on_lost` is called once, should this worker itself be found dead.
        """
        self._judge_later()
        self._thread = threading.Thread(
            target=self._keep_watch, args=(hand_over, on_lost), name="mendline-worker", daemon=True
        )
        self._thread.start()

    def leave(self) -> None:
        """End well: what is unfinished goes to the others at once."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        try:
            self.store.leave_worker(self.name)
        except MendlineError as error:
            LOG.warning("%s; the other workers will notice in %g s", error, self.pace.lost_after_s)

    def _keep_watch(self, hand_over: Callable[[], None], on_lost: Callable[[], None]) -> None:
        while not self._stopping.is_set():
            try:
                if not self._look(hand_over):
                    break
            except Superseded:
                break
            except MendlineError as error:
                LOG.warning("%s; trying again", error)
            except Exception:  # whatever it is: without this watch the process would be taken for dead
                LOG.exception("the watch over the workers met an error of its own; trying again")
            self._stopping.wait(self.pace.beat_s)
        if not self._stopping.is_set():
            self.was_lost = True
            on_lost()

    def _look(self, hand_over: Callable[[], None]) -> bool:
        """One round; False when this worker is dead."""
        silent_s = self.store.beat(self.name)
        if silent_s is None:
            return False
        if silent_s > self.pace.lost_after_s / 2:
            self._judge_later()
        if time.monotonic() >= self._judges_from_s:
            for name in self.store.bury_workers(self.pace.lost_after_s):
                LOG.warning("worker `%s` has given no sign of life for %g s", name, self.pace.lost_after_s)
        hand_over()
        return True

    def _judge_later(self) -> None:
        # The others may have been kept from the database, or suspended, together with this one.
        self._judges_from_s = time.monotonic() + self.pace.lost_after_s
