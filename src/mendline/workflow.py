"""READ FIRST: the life of one incident, in order.

    logs -> classify -> diagnose -> plan -> policy -> wait -> apply -> verify -> (undo, try again) -> report -> record

Every line that touches the world is a durable step: after a kill -9 the finished steps are not repeated, and the one that
was cut off is repeated against tools that bear it. No tool calls another; they meet only here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

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
from mendline.phases import Clock
from mendline.policy import Ruling
from mendline.tools.base import ToolContext

T = TypeVar("T")
LEASE_POLL_SECONDS = 0.5
PATIENCE = (1.0, 5.0, 30.0, 120.0)  # seconds between tries of a step whose counterpart is away


class Steps(Protocol):
    """What a durable engine offers a workflow (see durable.py)."""

    def run(self, name: str, fn: Callable[[], T], returns: Any) -> T:
        """Run once and remember the answer; after a crash the remembered answer is given again."""
        ...

    def sleep(self, seconds: float) -> None:
        """Sleep until the same moment, crash or no crash."""
        ...


def handle_incident(incident_id: str, steps: Steps, hands: Hands) -> None:
    """Take one incident from its first log line to its recorded outcome. Safe to run again from any point."""
    incident = steps.run("open", lambda: hands.incident(incident_id), Incident)
    try:
        _handle(incident, steps, hands)
    except MendlineError as error:
        reason = str(error)
        steps.run("give_up", lambda: hands.give_up(incident, reason), None)


def _handle(incident: Incident, steps: Steps, hands: Hands) -> None:
    clock = Clock(steps)
    diagnosis = diagnose(incident, steps, hands, clock, attempt=1)
    if _patiently(steps, "recovered", lambda: hands.recovered_by(incident), RunRef | None):
        return _end(incident, OutcomeKind.RECOVERED, diagnosis, (), steps, hands, clock)

    attempts: list[Attempt] = []
    limit = hands.max_attempts
    number = 1
    while number <= limit:
        attempt, limit = try_repair(incident, diagnosis, tuple(attempts), number, limit, steps, hands, clock)
        if attempt is None:
            break
        attempts.append(attempt)
        if attempt.verification is not None and attempt.verification.state is VerificationState.FIXED:
            return _end(incident, OutcomeKind.RESOLVED, diagnosis, tuple(attempts), steps, hands, clock)
        if attempt.decision != "auto" or _made_worse(attempt):
            break
        number += 1
        if attempt.receipt is not None:
            before, diagnosis = diagnosis, diagnose(incident, steps, hands, clock, attempt=number)
            if _same_cause(before, diagnosis):
                attempts[-1] = take_back(incident, attempt, before, steps, hands, len(attempts))

    attempts = [
        take_back(incident, attempt, diagnosis, steps, hands, position)
        for position, attempt in reversed(list(enumerate(attempts, start=1)))
    ][::-1]
    return _end(incident, OutcomeKind.ESCALATED, diagnosis, tuple(attempts), steps, hands, clock)


def diagnose(incident: Incident, steps: Steps, hands: Hands, clock: Clock, *, attempt: int) -> Diagnosis:
    """Read the latest run's log, classify it, and test every cause it allows against the world. Reads only."""
    with clock.phase("logs"):
        run = _patiently(steps, f"latest_run:{attempt}", lambda: hands.latest_run(incident), RunRef)
        log = _patiently(steps, f"retrieve_logs:{attempt}", lambda: hands.retrieve_logs(incident, run), LogExcerpt)
    with clock.phase("classify"):
        believed = steps.run(f"classify:{attempt}", lambda: hands.classify(incident, log), Classification)
    with clock.phase("diagnose"):
        tested: list[Hypothesis] = []
        for hypothesis in hypotheses(believed):
            belief = replace(believed, type=hypothesis.type, subtype=hypothesis.subtype, confidence=hypothesis.belief)
            found: list[Finding] = []
            for name in hands.playbook.page(hypothesis.type).diagnostics:
                answer = _patiently(
                    steps,
                    f"{name}:{hypothesis.type}:{attempt}",
                    lambda name=name, belief=belief: hands.diagnostics[name].run(  # type: ignore[misc]
                        hands.context(incident, log, belief, attempt)
                    ),
                    tuple[Finding, ...],
                )
                found.extend(answer)
            tested.append(replace(hypothesis, findings=tuple(found)))
    findings = tuple(finding for hypothesis in tested for finding in hypothesis.findings)
    return Diagnosis(log=log, believed=believed, settled=weigh(believed, tested), findings=findings)


def try_repair(
    incident: Incident,
    diagnosis: Diagnosis,
    earlier: tuple[Attempt, ...],
    number: int,
    limit: int,
    steps: Steps,
    hands: Hands,
    clock: Clock,
) -> tuple[Attempt | None, int]:
    """Plan, ask the gate, apply and verify one repair; (None, limit) when the playbook has nothing (more) to offer.

    Also gives the number of attempts that are allowed, which a plan may ask to be its own.
    """
    belief = diagnosis.settled
    page = hands.playbook.page(belief.type)
    tried = {attempt.receipt.key for attempt in earlier if attempt.receipt is not None}
    declined: Attempt | None = None
    for name in page.repairs:
        context = replace(hands.context(incident, diagnosis.log, belief, number), findings=diagnosis.findings)
        repair = hands.repairs[name]
        with clock.phase("repair"):
            plan = _patiently(
                steps,
                f"plan:{name}:{number}",
                lambda repair=repair, context=context: repair.plan(context),  # type: ignore[misc]
                Plan | Declined,
            )
        if isinstance(plan, Declined):
            declined = Attempt(repair=name, decision="declined", reason=plan.reason)
            continue
        if plan.key in tried:
            continue
        plan = steps.run(
            f"complete:{number}",
            lambda plan=plan: hands.completed(incident, plan, belief),
            Plan,  # type: ignore[misc]
        )
        return act(incident, plan, page.verifier, context, steps, hands, clock), max(limit, plan.max_attempts)
    return declined, limit


def act(
    incident: Incident, plan: Plan, verifier: str, context: ToolContext, steps: Steps, hands: Hands, clock: Clock
) -> Attempt:
    """Carry out one plan if the gate lets it: wait, apply once, verify. Never raises for a repair that did not work."""
    number, repair = context.attempt, hands.repairs[plan.repair]
    forbidden = _patiently(steps, f"may_rerun:{number}", lambda: hands.forbids_rerun(incident, plan), str)
    if forbidden:
        return Attempt(repair=plan.repair, decision="off", reason=forbidden, plan=plan)
    ruling = steps.run(f"policy:{number}", lambda: hands.rule_on(incident, plan, context.classification), Ruling)
    attempt = Attempt(repair=plan.repair, decision=ruling.decision, reason=ruling.reason, plan=plan)
    if ruling.decision != "auto":
        return attempt
    if plan.wait_seconds:
        steps.run(f"waiting:{number}", lambda: hands.set_phase(incident, f"waiting {plan.wait_seconds:.0f} s"), None)
        steps.sleep(plan.wait_seconds)
    _when_free(steps, f"hold:{number}", lambda: hands.hold(incident))
    try:
        with clock.phase("repair"):
            receipt = _tried(steps, f"apply:{number}", lambda: repair.apply(plan, context), Receipt)
        if isinstance(receipt, str):
            return replace(attempt, reason=f"{ruling.reason}; not applied: {receipt}")
        with clock.phase("verify"):
            verified = _tried(
                steps, f"verify:{number}", lambda: hands.verify(context, plan, receipt, verifier), Verification
            )
    finally:
        steps.run(f"let_go:{number}", lambda: hands.let_go(incident), None)
    if isinstance(verified, str):
        verified = Verification(
            state=VerificationState.NOT_FIXED,
            checks=(Check(name="the stage could be re-run", passed=False, detail=verified),),
        )
    return replace(attempt, receipt=receipt, verification=verified)


def take_back(
    incident: Incident, attempt: Attempt, diagnosis: Diagnosis, steps: Steps, hands: Hands, number: int
) -> Attempt:
    """Undo one attempt's effect, if it has one that is still there; the attempt says so, or says why it could not."""
    if attempt.receipt is None or attempt.plan is None or attempt.undone or not attempt.plan.is_reversible:
        return attempt
    repair, receipt = hands.repairs[attempt.repair], attempt.receipt
    context = hands.context(incident, diagnosis.log, diagnosis.settled, number)
    failed = _tried(steps, f"undo:{number}", lambda: repair.undo(receipt, context), None)
    if failed:
        return replace(attempt, reason=f"{attempt.reason}; could not be undone: {failed}")
    return replace(attempt, undone=True)


def _end(
    incident: Incident,
    kind: OutcomeKind,
    diagnosis: Diagnosis,
    attempts: tuple[Attempt, ...],
    steps: Steps,
    hands: Hands,
    clock: Clock,
) -> None:
    if kind is OutcomeKind.RESOLVED:
        _tried(steps, "remember_good", lambda: hands.remember_good(incident), None)
    outcome = steps.run("outcome", lambda: hands.outcome(incident, kind, diagnosis, attempts, clock.seconds), Outcome)
    steps.run("conclude", lambda: hands.conclude(incident, diagnosis.log, outcome), None)


def _same_cause(before: Diagnosis, after: Diagnosis) -> bool:
    was, now = before.settled, after.settled
    return was.type is now.type and was.subtype == now.subtype and was.entities == now.entities


def _made_worse(attempt: Attempt) -> bool:
    return attempt.verification is not None and attempt.verification.state is VerificationState.WORSE


def _patiently(steps: Steps, name: str, fn: Callable[[], T], returns: Any) -> T:
    """A read that waits (durably) for a counterpart that is away, and gives up with its error in the end."""
    for tries, pause in enumerate(PATIENCE):
        try:
            return steps.run(f"{name}#{tries}", fn, returns)
        except Unavailable:
            steps.sleep(pause)
    return steps.run(f"{name}#{len(PATIENCE)}", fn, returns)


def _when_free(steps: Steps, name: str, take: Callable[[], None]) -> None:
    """Take a lease, sleeping durably while another incident holds it (its own length bounds the wait)."""
    tries = 0
    while _tried(steps, f"{name}#{tries}", take, None) is not None:
        tries += 1
        steps.sleep(LEASE_POLL_SECONDS)


def _tried(steps: Steps, name: str, fn: Callable[[], T], returns: Any) -> T | str:
    """A step whose failure is an answer: the error's message."""
    try:
        return steps.run(name, fn, returns)
    except MendlineError as error:
        return str(error)
