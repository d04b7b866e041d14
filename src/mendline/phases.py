"""How long each phase of an incident took; the readings are durable, so a crash does not lose or change them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mendline.steps import Steps


class Stopwatch:
    """Adds up seconds per phase; the same phase may be entered many times."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time inside the block under `name`; nothing is counted when the block raises."""
        begin = self._steps.now()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + (self._steps.now() - begin).total_seconds()
