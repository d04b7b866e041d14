"""READ FIRST: the life of one incident, in order.

    logs -> classify -> diagnose -> plan -> policy -> wait -> apply -> verify -> (undo, try again) -> report -> record

Every line that touches the world is a durable step: after a kill -9 the finished steps are not repeated, and the one that
was cut off is repeated against tools that bear it. No tool calls another; they meet only here.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from mendline.diagnose import diagnose
from mendline.errors import MendlineError
from mendline.hands import Hands
from mendline.incident import (
    Attempt,
    Check,
    Declined,
    Diagnosis,
    Incident,
    Outcome,
    OutcomeKind,
    Plan,
    Receipt,
    Verification,
    VerificationState,
)
from mendline.life import Life, patiently
from mendline.permit import MOST_TURNS, is_still_allowed, permitted, was_approved
from mendline.playbook import WITH_LOGGING
from mendline.steps import Steps

LOG = logging.getLogger("mendline")


def handle_incident(incident_id: str, steps: Steps, hands: Hands) -> None:
    """Take one incident from its first log line to its recorded outcome. Safe to run again from any point."""
    incident = patiently(steps, "open", lambda: hands.incident(incident_id), Incident)
    life = Life(incident, steps, hands)
    try:
        live(life)
    except MendlineError as error:
        reason, attempts = str(error), tuple(life.attempts)
        patiently(steps, "give_up", lambda: hands.give_up(incident, reason, attempts), None)


def live(life: Life) -> None:
    """Repair if that can be done; whatever ends in a call for a person, an error of ours too, is taken back first."""
    kind, trouble = OutcomeKind.ESCALATED, ""
    try:
        kind = repair(life)
    except Exception as error:  # a bug must not leave a half repair behind; it ends in the report
        trouble = str(error) if isinstance(error, MendlineError) else f"{type(error).__name__}: {error}"
        LOG.warning("incident %s could not be handled to its end", life.incident.id, exc_info=error)
    if kind is OutcomeKind.ESCALATED:
        for position in range(len(life.attempts), 0, -1):
            take_back(life, position)
    end(life, kind, trouble)


def repair(life: Life) -> OutcomeKind:
    """Diagnose and repair, again and again, until the stage is well or nothing (more) may be done."""
    life.diagnosis = diagnose(life, number=1)
    if life.look_whether_recovered("recovered"):
        return OutcomeKind.RECOVERED
    number, limit = 1, life.hands.max_attempts
    while number <= limit:
        attempt = try_repair(life, number)
        if life.has_recovered:
            return OutcomeKind.RECOVERED
        if attempt is not None and _state(attempt) is VerificationState.FIXED:
            return OutcomeKind.RESOLVED
        if attempt is None or not _was_allowed(attempt) or _state(attempt) is VerificationState.WORSE:
            break
        number += 1
        limit = max(limit, attempt.plan.max_attempts if attempt.plan else 0)
        if attempt.receipt is not None:  # the stage ran again: its new log may tell another story
            before, life.diagnosis = life.diagnosis, diagnose(life, number=number)
            if _same_cause(before, life.diagnosis):
                take_back(life, len(life.attempts))
    return OutcomeKind.ESCALATED


def try_repair(life: Life, number: int) -> Attempt | None:
    """Plan one repair and carry it out if the gate lets it; None when the playbook has nothing (more) to offer."""
    diagnosis = life.diagnosis
    page = life.hands.playbook.page(diagnosis.settled.type)
    tried = {attempt.receipt.key for attempt in life.attempts if attempt.receipt is not None}
    declined: Attempt | None = None
    offered: list[Plan] = []
    for name in page.repairs:
        plan = life.planned(name, number)
        if isinstance(plan, Declined):
            declined = Attempt(repair=name, decision="declined", reason=plan.reason, needed=plan.needed)
        elif plan.key not in tried:
            offered.append(plan)
    if offered:
        return act(life, _first(life, offered, number), page.verifier, number)
    if declined is not None:
        life.attempts.append(declined)
    return declined


def _first(life: Life, offered: list[Plan], number: int) -> Plan:
    """The plan to try first: the playbook's order, unless a model that may choose among them prefers another."""
    if len(offered) == 1:
        return offered[0]
    incident, diagnosis = life.incident, life.diagnosis
    place = life.tried(f"choose:{number}", lambda: life.hands.choose(incident, diagnosis, offered), int)
    return offered[0 if isinstance(place, str) else place]


def act(life: Life, plan: Plan, verifier: str, number: int) -> Attempt:
    """Carry out one plan: the gate, the wait, the effect once, the proof. A repair that fails is an answer too.

    A plan that waited, for its time or for the pipeline, meets the gate again; only the last word counts.
    """
    life.attempts.append(Attempt(repair=plan.repair, decision="off", reason="", plan=plan))
    for _ in range(MOST_TURNS):
        allowed = permitted(life, plan, number)
        if allowed is None or _carried_out(life, allowed, verifier, number):
            break
        plan = allowed
    return life.attempts[-1]


def _carried_out(life: Life, plan: Plan, verifier: str, number: int) -> bool:
    """Wait, have the effect and prove it; False when the gate has changed its mind meanwhile, and nothing was done."""
    hands, incident, steps = life.hands, life.incident, life.steps
    if plan.wait_seconds:
        phase = f"waiting {plan.wait_seconds:.0f} s"
        life.patiently(f"waiting:{number}", lambda: hands.set_phase(incident, phase), None)
        steps.sleep(plan.wait_seconds)
    life.take_lease(f"hold:{number}")
    try:
        if life.look_whether_recovered(f"passed:{number}"):  # somebody else may have been quicker
            return True
        if not is_still_allowed(life, plan, number):
            return False
        _apply(life, plan, number)
        if life.attempts[-1].receipt is not None:
            _verify(life, life.attempts[-1].receipt, plan, verifier, number)
    finally:
        life.tried_patiently(f"let_go:{number}", lambda: hands.let_go(incident), None)
    return True


def _apply(life: Life, plan: Plan, number: int) -> None:
    """Have the effect, once. What failed may have taken effect all the same, so the world is asked before it is believed.

    A warehouse is waited for; a source that is still unwell is the next attempt's matter.
    """
    hands, incident, diagnosis = life.hands, life.incident, life.diagnosis
    tried = life.tried if plan.dataset is None else life.tried_patiently
    with life.watch.phase("repair"):
        answer = tried(f"apply:{number}", lambda: hands.apply(incident, diagnosis, plan, number), Receipt)
        receipt = None if isinstance(answer, str) else answer
        if receipt is None:
            life.note(f"not applied: {answer}")
            receipt = life.patiently(
                f"landed:{number}", lambda: hands.landed(incident, diagnosis, plan, number), Receipt | None
            )
    life.amend(receipt=receipt)


def _verify(life: Life, receipt: Receipt, plan: Plan, verifier: str, number: int) -> None:
    hands, incident, diagnosis = life.hands, life.incident, life.diagnosis
    with life.watch.phase("verify"):
        verified = life.tried_patiently(
            f"verify:{number}",
            lambda: hands.verify(incident, diagnosis, plan, receipt, verifier, number),
            Verification,
            but_for=incident.engine,  # which has had the whole time of a re-run
        )
    if isinstance(verified, str):
        verified = Verification(
            state=VerificationState.NOT_FIXED,
            checks=(Check(name="the stage could be re-run", passed=False, detail=verified),),
        )
    life.amend(verification=verified)
    if verifier == WITH_LOGGING and verified.run_id is not None:
        _keep_log(life, verified.run_id, number)


def _keep_log(life: Life, run_id: str, number: int) -> None:
    """Keep the log that the re-run was made for; the repair is none the worse where that cannot be done."""
    hands, incident = life.hands, life.incident
    try:
        kept = life.patiently(f"keep_log:{number}", lambda: hands.keep_log(incident, run_id), str)
    except MendlineError as error:
        life.note(f"the log of the re-run was not kept: {error}")
    else:
        life.amend(kept_log=kept)


def take_back(life: Life, position: int) -> None:
    """Undo the effect of the attempt at `position` (from 1), if it has one that is still there."""
    attempt, hands, incident, diagnosis = life.attempts[position - 1], life.hands, life.incident, life.diagnosis
    if attempt.receipt is None or attempt.plan is None or attempt.undone or not attempt.plan.is_reversible:
        return
    receipt = attempt.receipt
    try:
        life.take_lease(f"hold undo:{position}")
        life.patiently(f"undo:{position}", lambda: hands.undo(incident, diagnosis, receipt, position), None)
        life.attempts[position - 1] = replace(attempt, undone=True)
    except MendlineError as error:
        life.attempts[position - 1] = replace(attempt, reason=f"{attempt.reason}; could not be undone: {error}")
    finally:
        life.tried_patiently(f"let_go undo:{position}", lambda: hands.let_go(incident), None)


def end(life: Life, kind: OutcomeKind, trouble: str) -> None:
    """Remember what is good now, put the outcome together, report it, record it."""
    hands, incident, attempts, seconds = life.hands, life.incident, tuple(life.attempts), dict(life.watch.seconds)
    diagnosis = life.diagnosis
    if kind is OutcomeKind.RESOLVED:
        life.tried_patiently("remember_good", lambda: hands.remember_good(incident), None)
    outcome = life.patiently(
        "outcome", lambda: hands.outcome(incident, kind, diagnosis, attempts, seconds, trouble), Outcome
    )
    remarks = tuple(life.remarks)
    told = life.tried("narrate", lambda: hands.narrate(incident, diagnosis, outcome, remarks), Outcome)
    final = outcome if isinstance(told, str) else told
    life.patiently("conclude", lambda: hands.conclude(incident, diagnosis.log, final), None)


def _state(attempt: Attempt) -> VerificationState | None:
    return attempt.verification.state if attempt.verification else None


def _was_allowed(attempt: Attempt) -> bool:
    return attempt.decision == "auto" or (attempt.decision == "ask" and was_approved(attempt))


def _same_cause(before: Diagnosis, after: Diagnosis) -> bool:
    was, now = before.settled, after.settled
    return was.type is now.type and was.subtype == now.subtype and was.entities == now.entities
