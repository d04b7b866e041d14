"""What one incident carries on its way, and the ways in which its steps are run: patiently, or with failure as an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from mendline.errors import MendlineError, Unavailable
from mendline.hands import NOTHING_KNOWN, Hands
from mendline.incident import Advice, Attempt, Declined, Incident, Plan, RunRef
from mendline.phases import Stopwatch
from mendline.steps import Steps

T = TypeVar("T")
LEASE_POLL_SECONDS, LEASE_POLL_MOST_SECONDS = 0.5, 2.0
PATIENCE = (1.0, 5.0, 30.0, 120.0)  # seconds between tries of a step whose counterpart is away


def patiently(steps: Steps, name: str, function: Callable[[], T], returns: Any, *, but_for: str = "") -> T:
    """A step that waits (durably) for a counterpart that is away, and gives up with its error in the end.

    For the system `but_for` it does not wait.
    """
    for pause in PATIENCE:
        try:
            return steps.run(name, function, returns)
        except Unavailable as error:
            if error.system is not None and error.system == but_for:
                raise
            steps.sleep(pause)
    return steps.run(name, function, returns)


class Life:
    """One incident on its way. Holds nothing that a replay of the steps would not bring back."""

    def __init__(self, incident: Incident, steps: Steps, hands: Hands) -> None:
        self.incident, self.steps, self.hands = incident, steps, hands
        self.watch = Stopwatch(steps)
        self.attempts: list[Attempt] = []
        self.remarks: list[str] = []  # what a model, where one is configured, could not be heard on
        self.diagnosis = NOTHING_KNOWN
        self.has_recovered = False
        self.is_patient = True  # until a diagnosis has waited for a warehouse in vain
        self.question_count = 0

    def patiently(self, name: str, function: Callable[[], T], returns: Any) -> T:
        return patiently(self.steps, name, function, returns)

    def tried(self, name: str, function: Callable[[], T], returns: Any) -> T | str:
        """A step whose failure is an answer: the error's message."""
        try:
            return self.steps.run(name, function, returns)
        except MendlineError as error:
            return str(error)

    def tried_patiently(self, name: str, function: Callable[[], T], returns: Any, *, but_for: str = "") -> T | str:
        """A patient step whose failure is an answer in the end: the error's message."""
        try:
            return patiently(self.steps, name, function, returns, but_for=but_for)
        except MendlineError as error:
            return str(error)

    def planned(self, repair: str, number: int) -> Plan | Declined:
        incident, diagnosis = self.incident, self.diagnosis

        def make() -> Plan | Declined:
            return self.hands.plan(incident, diagnosis, repair, number)

        with self.watch.phase("repair"):
            plan: Plan | Declined = self.patiently(f"plan:{repair}:{number}", make, Plan | Declined)
        return plan

    def take_lease(self, name: str) -> None:
        """Take the pipeline's lease, sleeping durably while another incident holds it."""
        pause = LEASE_POLL_SECONDS
        while not self.patiently(name, lambda: self.hands.hold(self.incident), bool):
            self.steps.sleep(pause)
            pause = min(2 * pause, LEASE_POLL_MOST_SECONDS)

    def look_whether_recovered(self, name: str) -> bool:
        """Whether the failed stages have passed since in a run that somebody else started."""
        found = self.patiently(name, lambda: self.hands.recovered_by(self.incident), RunRef | None)
        self.has_recovered = found is not None
        if found is not None and self.attempts:
            self.note(f"not applied: the stages have passed meanwhile in run `{found.run_id}`")
        return self.has_recovered

    def advice(self, name: str, function: Callable[[], Advice]) -> Advice:
        """What a model has to say; the incident goes on without what it cannot."""
        answer = self.tried(name, function, Advice)
        advice = Advice(remark=answer) if isinstance(answer, str) else answer
        self.remarks.append(advice.remark)
        return advice

    def note(self, words: str) -> None:
        self.amend(reason=f"{self.attempts[-1].reason}; {words}")

    def amend(self, **changes: Any) -> None:
        """Say more of the attempt under way."""
        self.attempts[-1] = replace(self.attempts[-1], **changes)
