"""How long a probe may take in all, and where the way to a source ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Layer = Literal["dns", "tcp", "proxy", "tls", "http", "database", "file"]
Facts = dict[str, Any]  # what a probe has measured so far, as `Finding.data` has it


class Stopped(Exception):
    """The way to a source ended here: at which layer, what was found, what follows for who must act.

    `needed` is what must change before a retry can succeed; "" where waiting may do. `was_asked` is False where Mendline
    could not ask at all, so that nothing is known of the source.
    """

    def __init__(self, layer: Layer, found: str, advice: str = "", *, needed: str = "", was_asked: bool = True) -> None:
        super().__init__(found)
        self.layer = layer
        self.found = found
        self.advice = advice
        self.needed = needed
        self.was_asked = was_asked


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """The end of one probe, whatever it waits for by then."""

    seconds: float
    ends_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(seconds=seconds, ends_s=time.monotonic() + seconds)

    def left_s(self) -> float:
        """Seconds that are left, always more than none. Raises: `TimeoutError` when the time is over."""
        left = self.ends_s - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def call(self, function: Callable[[], T]) -> T:
        """Call what knows no deadline of its own, in a thread that is left alone once the time is over.

        Raises: `TimeoutError`, and whatever the function raises.
        """
        answer: Future[T] = Future()
        Thread(target=_answer, args=(answer, function), daemon=True).start()
        return answer.result(timeout=self.left_s())


def _answer(answer: Future[T], function: Callable[[], T]) -> None:
    try:
        answer.set_result(function())
    except BaseException as error:  # noqa: BLE001 (raised again by who waits for the answer)
        answer.set_exception(error)


def elapsed_ms(started_s: float) -> int:
    """Milliseconds since a `time.monotonic()`."""
    return round((time.monotonic() - started_s) * 1000)
