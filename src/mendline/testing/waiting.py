"""Wait for a condition, with an end."""

from __future__ import annotations

import time
from collections.abc import Callable

from mendline.errors import Unavailable


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0, what: str = "the condition") -> None:
    """Return as soon as `condition()` holds, looking every 10 ms.

    Raises: `Unavailable` when it does not hold within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise Unavailable(f"{what} did not come about within {timeout_s:g} s")
        time.sleep(0.01)
