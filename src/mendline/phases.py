"""How long each phase of an incident took, kept across crashes because the clock itself is a durable step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol


class _Steps(Protocol):
    def run(self, name: str, fn: Any, returns: Any) -> Any: ...


class Clock:
    """Adds up seconds per phase; the same phase may be entered many times."""

    def __init__(self, steps: _Steps) -> None:
        self._steps = steps
        self._readings = 0
        self.seconds: dict[str, float] = {}

    def now(self) -> datetime:
        """The time of this point of the workflow, the same after a replay."""
        self._readings += 1
        at: datetime = self._steps.run(f"clock:{self._readings}", lambda: datetime.now(UTC), datetime)
        return at

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time inside the block under `name`."""
        begin = self.now()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + (self.now() - begin).total_seconds()
