"""A process of its own that handles one incident until it kills itself: `kill_process.py DIRECTORY [STEP POINT]`.

Warehouse, state database, journal and the engine's runs are files in the directory. Without a step and a point it lives.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from mendline.durable import Durable
from mendline.steps import Steps
from mendline.stores.sql import SqlStore
from mendline.testing.waiting import wait_until
from mendline.workflow import handle_incident
from unit.mortal_parts import Fate, Point, WatchedSteps
from unit.test_workflow import rows_bad
from unit.workflow_world import Freight

DEATHS = (
    ("apply:1", "before the first statement"),
    ("apply:1", "after INSERT INTO _mendline.ledger"),
    ("apply:1", "after commit"),
    ("verify:1", "after engine.rerun"),
)


def opened(directory: Path, fate: Fate | None = None) -> Freight:
    """The world in a directory, as the processes before have left it, or a new one."""
    url = f"sqlite:///{directory / '.mendline' / 'state.db'}"
    world = Freight(directory, store=SqlStore(url), fate=fate)
    kept, execute = directory / "engine.pickle", world.engine._execute
    if kept.exists():
        world.engine._runs, world.engine.calls = pickle.loads(kept.read_bytes())

    def lasting(*args: Any) -> Any:
        ended = execute(*args)
        kept.with_suffix(".new").write_bytes(pickle.dumps((world.engine._runs, world.engine.calls)))
        kept.with_suffix(".new").rename(kept)
        return ended

    world.engine._execute = lasting  # type: ignore[method-assign]  # its runs outlive the process
    return world


def is_at(step: str, what: str, point: Point) -> bool:
    return point[0] == f"0 {step}" and point[-1].startswith(what)


def handle(world: Freight, incident: str, death: list[str]) -> None:
    fate, hands, durable = world.fate, world.hands(), Durable(world.path.parent / ".mendline")

    @durable.workflow("incident")
    def _handle(steps: Steps, number: str) -> None:
        handle_incident(number, WatchedSteps(steps, fate, lambda: 0), hands)

    fate.dies = partial(is_at, *death) if death else lambda _: False
    fate.begin(lambda: os.kill(os.getpid(), signal.SIGKILL))
    durable.launch()
    durable.start("incident", "one", incident)
    wait_until(lambda: durable.is_finished("one"), 60)
    durable.close()


if __name__ == "__main__":
    directory, *death = sys.argv[1:]
    world = opened(Path(directory), Fate())
    if not world.engine._runs:
        rows_bad(world)
        world.fail()
    handle(world, "1", death)
