"""The commands with which people answer what a repair asks, and close the breakers that made it ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from mendline import approvals
from mendline.config import load_config
from mendline.errors import InputError
from mendline.history import read_history, reset_breaker
from mendline.incident import Answer
from mendline.policy import breakers
from mendline.report.escape import clean
from mendline.stores.base import Approval, IncidentRecord
from mendline.surfaces.output import put, put_json
from mendline.surfaces.person import is_sure, name_of
from mendline.surfaces.record import opened_store


@dataclass(frozen=True, kw_only=True)
class Decision:
    """An answer as typed; `by` and `digest` are None where the person did not say."""

    word: Literal["approved", "denied"]
    by: str | None
    note: str
    digest: str | None
    is_sure: bool
    as_json: bool


def decide(config_file: Path, incident_id: str, decision: Decision) -> int:
    """Show exactly what would be done, ask, and pass the answer on; 0 when the answer stands, 1 when it was not given.

    Raises: `InputError` when nothing waits, or nobody could be asked; `RefusedByPolicy` when the answer does not count.
    """
    config = load_config(config_file)
    by = name_of(decision.by)
    with opened_store(config) as store:
        asked = approvals.latest(store, incident_id)
        approvals.require_approver(by, config.policy.approvers)
        _require_shown(asked, decision.digest)
        record = store.incident(incident_id)
        if asked.answer is None and not _is_confirmed(asked, record, decision):
            put("Nothing was decided.")
            return 1
        from mendline import app  # noqa: PLC0415 - not needed to be told that nothing waits

        given = Answer(decision=decision.word, by=by, at=datetime.now(UTC), note=decision.note)
        standing = app.answer(config, store, asked, given)
    if decision.as_json:
        put_json(_answered(standing))
    else:
        put("\n".join(_said(standing, is_new=standing.answer == given)))
    return 0


def breaker_list(config_file: Path, *, as_json: bool) -> None:
    """Print every breaker that something speaks for, whether it is open, and why."""
    config = load_config(config_file)
    now = datetime.now(UTC)
    with opened_store(config) as store:
        found = breakers(config.policy, read_history(store, now, config.policy.breaker.days), now)
    if as_json:
        put_json(
            [{"name": b.name, "open": b.is_open, "reason": b.reason, "incidents": list(b.incident_ids)} for b in found]
        )
    elif not found:
        put("No breaker: nothing has gone wrong of late.")
    else:
        for one in found:
            put(clean(f"{'open  ' if one.is_open else 'closed'}  {one.name}: {one.reason}"))


def breaker_reset(config_file: Path, name: str, by: str | None) -> None:
    """Close one breaker. Raises: `InputError` when nothing speaks for a breaker of that name."""
    config = load_config(config_file)
    now, person = datetime.now(UTC), name_of(by)
    with opened_store(config) as store:
        found = breakers(config.policy, read_history(store, now, config.policy.breaker.days), now)
        if name not in [one.name for one in found]:
            known = ", ".join(one.name for one in found) or "none"
            raise InputError(
                f"nothing speaks for a breaker `{name}`, so there is nothing to reset (there are: {known})"
            )
        reset_breaker(store, name, person, now)
    put(clean(f"Reset `{name}` by {person}: what happened up to now counts no more."))


def described(asked: Approval, record: IncidentRecord | None) -> Iterator[str]:
    """What would be done, in full: one safe line each."""
    plan = asked.plan
    if record is not None and record.outcome is not None:
        yield clean(f"Incident {asked.incident_id}: {record.outcome.headline}")
    yield clean(f"Plan {asked.digest}: `{plan.repair}`: {plan.summary}")
    for statement in plan.statements:
        yield from (f"    {clean(line)}" for line in statement.splitlines())
    for change in plan.changes:
        yield clean(f"    {change.path}: {change.before} -> {change.after} (in this re-run only)")
    if not plan.statements:
        yield "    (no statement: it only runs stages again)"
    for sentence in plan.evidence:
        yield clean(f"    to repeat it: {sentence}")
    yield clean(f"Rows set aside: {plan.moved_row_count:,}")
    yield clean(f"Then runs again: {', '.join(asked.stages) or 'nothing'}")
    yield clean(f"Undo: {plan.undo_summary}" if plan.is_reversible else f"Cannot be undone ({plan.undo_summary})")
    yield clean(f"Asked at {approvals.at(asked.asked_at)} because {asked.reason}")
    yield clean(f"Without an answer until {approvals.at(asked.expires_at)} it is left to a person.")


def _is_confirmed(asked: Approval, record: IncidentRecord | None, decision: Decision) -> bool:
    if not decision.as_json:
        put("\n".join(described(asked, record)))
    verb = "Approve" if decision.word == "approved" else "Deny"
    return is_sure(f"{verb} this plan?", is_yes=decision.is_sure, can_ask=not decision.as_json)


def _require_shown(asked: Approval, digest: str | None) -> None:
    if digest is not None and not (len(digest) >= 6 and asked.digest.startswith(digest)):
        raise InputError(
            f"the plan for incident `{asked.incident_id}` is `{asked.digest}`, not `{digest}`; "
            f"look at it with `mendline show {asked.incident_id}`"
        )


def _answered(standing: Approval) -> dict[str, Any]:
    answer = standing.answer
    assert answer is not None
    return {
        "incident": standing.incident_id,
        "decision": answer.decision,
        "by": answer.by,
        "at": answer.at.isoformat(),
        "note": answer.note,
        "repair": standing.plan.repair,
        "plan": standing.digest,
    }


def _said(standing: Approval, *, is_new: bool) -> Iterator[str]:
    answer = standing.answer
    assert answer is not None
    number = standing.incident_id
    if not is_new:
        yield clean(f"Incident {number} was {approvals.sentence(answer)} already; it is acted on once.")
        return
    yield clean(f"Incident {number} {answer.decision} by {answer.by}.")
    if answer.decision == "approved":
        yield f"`mendline serve` does it now, or when it runs again; `mendline show {number}` tells what came of it."
    else:
        yield f"Nothing is done; the incident is left to a person: `mendline show {number}`."
