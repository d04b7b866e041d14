"""May a plan run: the gate's word, a person's where the gate asks for one, and both again once the world may have changed."""

from __future__ import annotations

from mendline.approvals import TOPIC, digest, sentence
from mendline.incident import Answer, Attempt, Declined, Plan, RunRef
from mendline.life import Life
from mendline.policy import Ruling
from mendline.stores.base import Approval

APPROVAL_POLL_SECONDS, APPROVAL_POLL_MOST_SECONDS = 60.0, 900.0
MOST_TURNS = 3  # how often a plan may be asked for anew because the world changed while it waited


def permitted(life: Life, plan: Plan, number: int) -> Plan | None:
    """The plan that may run: as policy lets it, or as a person approved it; None when neither.

    What was approved is what runs. When planning again gives another plan, that one is asked for anew.
    """
    for _ in range(MOST_TURNS):
        ruling = _ruling(life, plan, number)
        _rule(life, plan, ruling)
        if ruling.decision != "ask":
            return plan if ruling.decision == "auto" else None
        if not _is_approved(life, plan, number):
            return None
        again = life.planned(plan.repair, number)
        if isinstance(again, Declined):
            reason, needed = again.reason, again.needed
            life.amend(decision="declined", reason=reason, needed=needed)
            return None
        if digest(again) == digest(plan):
            return plan
        plan = again
    life.amend(plan=plan, answer=None)
    life.note(f"not applied: the plan was another one {MOST_TURNS} times when it was approved")
    return None


def is_still_allowed(life: Life, plan: Plan, number: int) -> bool:
    """Whether the gate lets it pass also now, under the pipeline's lease: the day's budget is counted right here."""
    ruling = _ruling(life, plan, number)
    return ruling.decision == "auto" or (ruling.decision == "ask" and was_approved(life.attempts[-1]))


def _ruling(life: Life, plan: Plan, number: int) -> Ruling:
    incident, belief, now = life.incident, life.diagnosis.settled, life.steps.now()
    return life.patiently(f"policy:{number}", lambda: life.hands.rule_on(incident, plan, belief, now), Ruling)


def _rule(life: Life, plan: Plan, ruling: Ruling) -> None:
    """Put the gate's word on record; an answer to an earlier plan is none to this one."""
    life.attempts[-1] = Attempt(
        repair=plan.repair, decision=ruling.decision, reason=ruling.reason, plan=plan, shadowed=ruling.shadowed
    )


def _is_approved(life: Life, plan: Plan, number: int) -> bool:
    """Ask a person and wait, holding neither a worker nor the pipeline, until there is an answer or no more time."""
    incident, diagnosis, hands, now = life.incident, life.diagnosis, life.hands, life.steps.now()
    life.question_count += 1
    count, reason = life.question_count, life.attempts[-1].reason
    asked = life.patiently(f"ask:{number}", lambda: hands.ask_person(incident, plan, reason, count, now), Approval)
    if asked.answer is None:
        attempts, seconds = tuple(life.attempts), dict(life.watch.seconds)
        life.patiently(
            f"announce:{number}", lambda: hands.announce(incident, diagnosis, asked, attempts, seconds), None
        )
    answer = _answer_to(life, asked)
    life.amend(answer=answer)
    if answer.decision != "approved":
        life.note(sentence(answer))
    return answer.decision == "approved"


def _answer_to(life: Life, asked: Approval) -> Answer:
    """Look for the answer when woken, and now and then: a message that was lost must not cost the night."""
    pause = APPROVAL_POLL_SECONDS
    while asked.answer is None:
        left_s = (asked.expires_at - life.steps.now()).total_seconds()
        life.steps.wait(TOPIC, min(pause, left_s) if left_s > 0 else pause)
        pause = min(2 * pause, APPROVAL_POLL_MOST_SECONDS)
        asked = _looked_at(life, asked)
    return asked.answer


def _looked_at(life: Life, asked: Approval) -> Approval:
    """The question as it stands; withdrawn when nobody has answered and the stages have passed without us.

    What is away now may be back before the time is over.
    """
    hands, incident, now = life.hands, life.incident, life.steps.now()
    standing = life.tried("answer", lambda: hands.answer_to(asked, now), Approval)
    if isinstance(standing, str) or standing.answer is not None:
        return asked if isinstance(standing, str) else standing
    found = life.tried("passed while waiting", lambda: hands.recovered_by(incident), RunRef | None)
    if not isinstance(found, RunRef):
        return asked
    life.has_recovered = True
    return life.patiently("withdraw", lambda: hands.withdraw(asked, now), Approval)


def was_approved(attempt: Attempt) -> bool:
    """Whether a person has said yes to this attempt's plan."""
    return attempt.answer is not None and attempt.answer.decision == "approved"
