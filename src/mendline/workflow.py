"""READ FIRST: the life of one incident, in order.

    logs -> classify -> diagnose -> plan -> policy -> wait -> apply -> verify -> (undo, try again) -> report -> record

Every line that touches the world is a durable step: after a kill -9 the finished steps are not repeated, and the one that
was cut off is repeated against tools that bear it. No tool calls another; they meet only here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from mendline.errors import MendlineError, Unavailable
from mendline.evidence import Hypothesis, hypotheses, weigh
from mendline.hands import Hands
from mendline.incident import (
    Attempt,
    Check,
    Classification,
    Declined,
    Diagnosis,
    Finding,
    Incident,
    LogExcerpt,
    Outcome,
    OutcomeKind,
    Plan,
    Receipt,
    RunRef,
    Verification,
    VerificationState,
)
from mendline.phases import Stopwatch
from mendline.policy import Ruling
from mendline.steps import Steps

T = TypeVar("T")
LEASE_POLL_SECONDS = 0.5
PATIENCE = (1.0, 5.0, 30.0, 120.0)  # seconds between tries of a step whose counterpart is away


def handle_incident(incident_id: str, steps: Steps, hands: Hands) -> None:
    """Take one incident from its first log line to its recorded outcome. Safe to run again from any point."""
    incident = steps.run("open", lambda: hands.incident(incident_id), Incident)
    try:
        Life(incident, steps, hands).live()
    except MendlineError as error:
        reason = str(error)
        steps.run("give_up", lambda: hands.give_up(incident, reason))


class Life:
    """One incident on its way. Holds nothing that a replay of the steps would not bring back."""

    def __init__(self, incident: Incident, steps: Steps, hands: Hands) -> None:
        self.incident, self.steps, self.hands = incident, steps, hands
        self.watch = Stopwatch(steps)
        self.attempts: list[Attempt] = []

    def live(self) -> None:
        diagnosis = self.diagnose(number=1)
        if self._patiently("recovered", lambda: self.hands.recovered_by(self.incident), RunRef | None):
            return self.end(OutcomeKind.RECOVERED, diagnosis)
        number, limit = 1, self.hands.max_attempts
        while number <= limit:
            attempt = self.try_repair(diagnosis, number)
            if attempt is None:
                break
            self.attempts.append(attempt)
            if _state(attempt) is VerificationState.FIXED:
                return self.end(OutcomeKind.RESOLVED, diagnosis)
            if attempt.decision != "auto" or _state(attempt) is VerificationState.WORSE:
                break
            number += 1
            limit = max(limit, attempt.plan.max_attempts if attempt.plan else 0)
            if attempt.receipt is not None:  # the stage ran again: its new log may tell another story
                before, diagnosis = diagnosis, self.diagnose(number=number)
                if _same_cause(before, diagnosis):
                    self.take_back(len(self.attempts), before)
        for position in range(len(self.attempts), 0, -1):
            self.take_back(position, diagnosis)
        return self.end(OutcomeKind.ESCALATED, diagnosis)

    def diagnose(self, *, number: int) -> Diagnosis:
        """Read the latest run's log, classify it, and test every cause it allows against the world. Reads only."""
        hands, incident = self.hands, self.incident
        with self.watch.phase("logs"):
            run = self._patiently(f"latest_run:{number}", lambda: hands.latest_run(incident), RunRef)
            log = self._patiently(f"retrieve_logs:{number}", lambda: hands.retrieve_logs(incident, run), LogExcerpt)
        with self.watch.phase("classify"):
            believed = self.steps.run(f"classify:{number}", lambda: hands.classify(incident, log), Classification)
        with self.watch.phase("diagnose"):
            tested = [self._test(hypothesis, believed, log, number) for hypothesis in hypotheses(believed)]
        findings = tuple(finding for hypothesis in tested for finding in hypothesis.findings)
        return Diagnosis(log=log, believed=believed, settled=weigh(believed, tested), findings=findings)

    def _test(self, hypothesis: Hypothesis, believed: Classification, log: LogExcerpt, number: int) -> Hypothesis:
        belief = replace(believed, type=hypothesis.type, subtype=hypothesis.subtype, confidence=hypothesis.belief)
        found: list[Finding] = []
        for name in self.hands.playbook.page(hypothesis.type).diagnostics:

            def ask(name: str = name) -> tuple[Finding, ...]:
                return self.hands.diagnostics[name].run(self.hands.context(self.incident, log, belief, number))

            found.extend(self._patiently(f"{name}:{hypothesis.type}:{number}", ask, tuple[Finding, ...]))
        return replace(hypothesis, findings=tuple(found))

    def try_repair(self, diagnosis: Diagnosis, number: int) -> Attempt | None:
        """Plan one repair and carry it out if the gate lets it; None when the playbook has nothing (more) to offer."""
        page = self.hands.playbook.page(diagnosis.settled.type)
        tried = {attempt.receipt.key for attempt in self.attempts if attempt.receipt is not None}
        declined: Attempt | None = None
        for name in page.repairs:

            def make(name: str = name) -> Plan | Declined:
                return self.hands.plan(self.incident, diagnosis, name, number)

            with self.watch.phase("repair"):
                plan = self._patiently(f"plan:{name}:{number}", make, Plan | Declined)
            if isinstance(plan, Declined):
                declined = Attempt(repair=name, decision="declined", reason=plan.reason)
            elif plan.key not in tried:
                return self.act(plan, diagnosis, page.verifier, number)
        return declined

    def act(self, plan: Plan, diagnosis: Diagnosis, verifier: str, number: int) -> Attempt:
        """Carry out one plan: the gate, the wait, the effect once, the proof. A repair that fails is an answer too."""
        hands, incident, steps = self.hands, self.incident, self.steps
        ruling = self._patiently(f"policy:{number}", lambda: hands.rule_on(incident, plan, diagnosis.settled), Ruling)
        attempt = Attempt(repair=plan.repair, decision=ruling.decision, reason=ruling.reason, plan=plan)
        if ruling.decision != "auto":
            return attempt
        if plan.wait_seconds:
            steps.run(f"waiting:{number}", lambda: hands.set_phase(incident, f"waiting {plan.wait_seconds:.0f} s"))
            steps.sleep(plan.wait_seconds)
        self._take_lease(f"hold:{number}")
        try:
            with self.watch.phase("repair"):
                receipt = self._tried(
                    f"apply:{number}", lambda: hands.apply(incident, diagnosis, plan, number), Receipt
                )
            if isinstance(receipt, str):
                return replace(attempt, reason=f"{ruling.reason}; not applied: {receipt}")
            with self.watch.phase("verify"):
                verified = self._tried(
                    f"verify:{number}",
                    lambda: hands.verify(incident, diagnosis, plan, receipt, verifier, number),
                    Verification,
                )
        finally:
            steps.run(f"let_go:{number}", lambda: hands.let_go(incident))
        if isinstance(verified, str):
            verified = Verification(
                state=VerificationState.NOT_FIXED,
                checks=(Check(name="the stage could be re-run", passed=False, detail=verified),),
            )
        return replace(attempt, receipt=receipt, verification=verified)

    def take_back(self, position: int, diagnosis: Diagnosis) -> None:
        """Undo the effect of the attempt at `position` (from 1), if it has one that is still there."""
        attempt = self.attempts[position - 1]
        if attempt.receipt is None or attempt.plan is None or attempt.undone or not attempt.plan.is_reversible:
            return
        receipt = attempt.receipt
        failed = self._tried(
            f"undo:{position}", lambda: self.hands.undo(self.incident, diagnosis, receipt, position), None
        )
        if failed:
            attempt = replace(attempt, reason=f"{attempt.reason}; could not be undone: {failed}")
        self.attempts[position - 1] = replace(attempt, undone=not failed)

    def end(self, kind: OutcomeKind, diagnosis: Diagnosis) -> None:
        """Remember what is good now, put the outcome together, report it, record it."""
        hands, incident, attempts, seconds = self.hands, self.incident, tuple(self.attempts), dict(self.watch.seconds)
        if kind is OutcomeKind.RESOLVED:
            self._tried("remember_good", lambda: hands.remember_good(incident), None)
        outcome = self.steps.run(
            "outcome", lambda: hands.outcome(incident, kind, diagnosis, attempts, seconds), Outcome
        )
        self.steps.run("conclude", lambda: hands.conclude(incident, diagnosis.log, outcome))

    def _patiently(self, name: str, function: Callable[[], T], returns: Any) -> T:
        """A step that waits (durably) for a counterpart that is away, and gives up with its error in the end."""
        for pause in PATIENCE:
            try:
                return self.steps.run(name, function, returns)
            except Unavailable:
                self.steps.sleep(pause)
        return self.steps.run(name, function, returns)

    def _take_lease(self, name: str) -> None:
        """Take the pipeline's lease, sleeping durably while another incident holds it."""
        while self._tried(name, lambda: self.hands.hold(self.incident), None) is not None:
            self.steps.sleep(LEASE_POLL_SECONDS)

    def _tried(self, name: str, function: Callable[[], T], returns: Any) -> T | str:
        """A step whose failure is an answer: the error's message."""
        try:
            return self.steps.run(name, function, returns)
        except MendlineError as error:
            return str(error)


def _state(attempt: Attempt) -> VerificationState | None:
    return attempt.verification.state if attempt.verification else None


def _same_cause(before: Diagnosis, after: Diagnosis) -> bool:
    was, now = before.settled, after.settled
    return was.type is now.type and was.subtype == now.subtype and was.entities == now.entities
