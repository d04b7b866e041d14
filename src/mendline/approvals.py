"""The question to a person whether a plan may run, and what counts as an answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from datetime import UTC, datetime

from mendline.errors import InputError, RefusedByPolicy
from mendline.incident import Answer, OutcomeKind, Plan, to_json
from mendline.stores.base import Approval, Store, existing

WAITING = "awaiting approval"  # the phase of an incident
TOPIC = "approval"  # what wakes its workflow
OF_NO_MATTER = frozenset({"summary", "confidence", "wait_seconds", "max_attempts", "evidence"})


def digest(plan: Plan) -> str:
    """Name what a plan would do: equal for two plans exactly when they would do the same to the same world.

    How sure it is, what that rests on, and how long it waits first are left out.
    """
    does = {key: value for key, value in json.loads(to_json(plan)).items() if key not in OF_NO_MATTER}
    return hashlib.sha256(json.dumps(does, sort_keys=True).encode()).hexdigest()[:16]


def latest(store: Store, incident_id: str) -> Approval:
    """The last question about an incident that goes on, answered or not.

    Raises: `InputError` when there is no such incident, when it has ended, and when nothing was ever asked.
    """
    record = existing(store, incident_id)
    asked = store.approvals(record.incident.id)
    said = f"; its last plan was {sentence(asked[-1].answer)}" if asked and asked[-1].answer else ""
    if record.outcome is not None and record.outcome.kind is not OutcomeKind.AWAITING_APPROVAL:
        kind = record.outcome.kind.value
        raise InputError(f"incident `{incident_id}` has ended ({kind}){said}; nothing waits for approval")
    if not asked:
        raise InputError(
            f"incident `{incident_id}` waits for no approval (step: {record.phase}); see `mendline show {incident_id}`"
        )
    return asked[-1]


def give(store: Store, asked: Approval, answer: Answer, approvers: Collection[str]) -> Approval:
    """Answer a question; the first answer stands, and the same answer again changes nothing.

    Raises: `RefusedByPolicy` when the name does not count, when it was answered otherwise, and when the time is over.
    """
    require_approver(answer.by, approvers)
    if asked.answer is None and answer.at >= asked.expires_at:
        raise RefusedByPolicy(
            f"the plan for incident `{asked.incident_id}` waited until {at(asked.expires_at)} and is left to a person; "
            f"see `mendline show {asked.incident_id}`",
            operation="approve",
        )
    standing = store.answer_approval(asked.key, answer)
    if standing.answer is not None and standing.answer.decision != answer.decision:
        raise RefusedByPolicy(
            f"the plan for incident `{asked.incident_id}` was {sentence(standing.answer)}; it cannot be {answer.decision} any more"
            f" (see `mendline show {asked.incident_id}`)",
            operation="approve",
        )
    return standing


def require_approver(name: str, approvers: Collection[str]) -> None:
    """Raises: `RefusedByPolicy` unless the name is one of the approvers, or there are none and anybody may decide."""
    if approvers and name not in approvers:
        raise RefusedByPolicy(
            f"`{name}` may not decide; `policy.approvers` names {', '.join(sorted(approvers))} (give `--by NAME`)",
            operation="approve",
        )


def sentence(answer: Answer) -> str:
    """Say who decided what and when, to follow "was"."""
    if answer.decision == "expired":
        return f"answered by nobody until {at(answer.at)}"
    if answer.decision == "withdrawn":
        return f"withdrawn at {at(answer.at)}, since the stages had passed"
    note = f" ({answer.note})" if answer.note else ""
    return f"{answer.decision} by {answer.by} at {at(answer.at)}{note}"


def request(asked: Approval) -> str:
    """Ask a person, in the report: what it would do beside the statements, and how to answer."""
    plan, number = asked.plan, asked.incident_id
    again = f" It then runs {', '.join(f'`{stage}`' for stage in asked.stages)} again." if asked.stages else ""
    undo = f" Undo: {plan.undo_summary}." if plan.is_reversible and plan.undo_summary else ""
    undo = undo if plan.is_reversible else " This cannot be undone."
    return (
        f"Decide on the plan (it waits because {asked.reason}): `mendline approve {number}` or `mendline deny {number}`."
        f"{again}{undo} Without an answer until {at(asked.expires_at)} it is left to a person."
    )


def at(moment: datetime) -> str:
    """A moment as people read it."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
