"""A process of its own that works through one workflow and is killed: `durable_process.py DIRECTORY`.

Each effect is one line of `effects.txt`, flushed to disk before the step goes on.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from mendline.durable import Durable
from mendline.steps import Steps
from mendline.testing.waiting import wait_until

directory = Path(sys.argv[1])


def effect(text: str) -> str:
    with (directory / "effects.txt").open("a") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    return text


def slow_effect() -> str:
    effect("second begins")
    # Only the first process is slow: the test kills it here.
    if not (directory / "was_killed").exists():
        time.sleep(30)
    return effect("second ends")


def incident(steps: Steps, stop_at: str) -> None:
    steps.run("first", lambda: effect("first"), str)
    if stop_at == "between steps":
        effect("in the body")
        while not (directory / "was_killed").exists():
            time.sleep(0.01)
    if stop_at == "in a step":
        steps.run("second", slow_effect, str)
    if stop_at == "in sleep":
        steps.run("asleep", lambda: effect("asleep"), str)
        began_s = time.monotonic()
        steps.sleep(3)
        is_on_time = time.monotonic() - began_s < 2.5  # the rest of the three seconds, not all of them again
        steps.run("woken", lambda: effect("woken on time" if is_on_time else "woken late"), str)
    if stop_at == "in wait":
        steps.run("waiting", lambda: effect("waiting"), str)
        answer = steps.wait("approval", 30)
        steps.run("answered", lambda: effect(f"answered {answer}"), str)
    steps.run("last", lambda: effect("last"), str)


durable = Durable(directory)
durable.workflow("incident")(incident)
durable.launch()
durable.start("incident", "one", sys.argv[2])
wait_until(lambda: durable.is_finished("one"), 60)
durable.close()
