"""A process of its own that handles one incident whose repair asks, and is killed: `approval_process.py DIRECTORY`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mendline.app import WORKFLOW, _workflow_id
from mendline.durable import Durable
from mendline.hands import Hands
from mendline.incident import Diagnosis, Incident, LogExcerpt, Outcome, Plan, Receipt
from mendline.steps import Steps
from mendline.stores.sql import SqlStore
from mendline.testing.waiting import wait_until
from mendline.workflow import handle_incident
from unit.test_workflow import WITH_NULLS
from unit.workflow_world import CONFIG, Freight


def opened(directory: Path) -> SqlStore:
    """The state database of the world in a directory."""
    return SqlStore(f"sqlite:///{directory / '.mendline' / 'state.db'}")


class Slow(Hands):
    """Says what it does before and after, and does it only when it is let."""

    directory: Path

    def apply(self, incident: Incident, diagnosis: Diagnosis, plan: Plan, number: int) -> Receipt:
        say("applying")
        while not (directory / "let_it").exists():
            time.sleep(0.01)
        receipt = super().apply(incident, diagnosis, plan, number)
        say("applied")
        return receipt


def say(word: str) -> None:
    with (directory / "effects.txt").open("a") as file:
        file.write(word + "\n")
        file.flush()
        os.fsync(file.fileno())


def deliver(_: Incident, __: LogExcerpt, outcome: Outcome) -> str:
    if outcome.kind.value == "awaiting_approval":
        say("waiting")
    return ""


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    world = Freight(directory, config=CONFIG.replace("decision: auto", "decision: ask"), store=opened(directory))
    world.land(WITH_NULLS)
    number = world.fail()
    hands = world.hands()
    parts = {**{name: getattr(hands, name) for name in Hands.__dataclass_fields__}, "deliver": deliver}
    durable = Durable(directory / ".mendline")

    @durable.workflow(WORKFLOW)
    def _handle(steps: Steps, incident_id: str) -> None:
        handle_incident(incident_id, steps, Slow(**parts))

    durable.launch()
    workflow = _workflow_id(hands.incident(number))
    durable.start(WORKFLOW, workflow, number)
    wait_until(lambda: durable.is_finished(workflow), 60)
    durable.close()
