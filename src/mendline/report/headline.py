"""The first line of everything people see of an incident."""

from __future__ import annotations

from mendline.incident import Attempt, Incident, Outcome, OutcomeKind, VerificationState

CAUSES = {
    "SCHEMA_CHANGE": "the source's schema changed",
    "DATA_QUALITY": "the data broke its contract",
    "API_FAILURE": "the source did not answer as it should",
    "RESOURCE": "a resource ran out",
    "UNKNOWN": "the cause is not known",
}


def headline(incident: Incident, outcome: Outcome) -> str:
    """One sentence each: what broke and why, what was done, what a person must do. Ends without a full report."""
    where = " and ".join(f"`{stage}`" for stage in incident.stages[:2]) or f"run `{incident.run.run_id}`"
    more = f" and {len(incident.stages) - 2} more stages" if len(incident.stages) > 2 else ""
    kind = outcome.classification
    subtype = f" ({kind.subtype.replace('_', ' ')})" if kind.subtype else ""
    broke = f"{where}{more} of `{incident.pipeline}` failed: {CAUSES[kind.type]}{subtype}."
    return f"{broke} {_done(incident, outcome)}"


def _done(incident: Incident, outcome: Outcome) -> str:
    if outcome.kind is OutcomeKind.RECOVERED:
        return "It has passed since without us; nothing to do."
    if outcome.kind is OutcomeKind.RESOLVED:
        fix = next(attempt for attempt in reversed(outcome.attempts) if attempt.receipt is not None)
        assert fix.receipt is not None
        return f"Repaired and verified: {fix.receipt.summary}. Nothing to do."
    if outcome.kind is OutcomeKind.AWAITING_APPROVAL:
        return f"A repair is ready and waits for a person: `mendline approve {incident.id}` or `mendline deny {incident.id}`."
    tried = [attempt for attempt in outcome.attempts if attempt.receipt is not None]
    if tried:
        return f"{_tried(tried[-1])} A person must act."
    return "Nothing was changed. A person must act."


def _tried(attempt: Attempt) -> str:
    worse = attempt.verification is not None and attempt.verification.state is VerificationState.WORSE
    word = "made it worse" if worse else "did not fix it"
    undone = " and was undone" if attempt.undone else ""
    return f"`{attempt.repair}` {word}{undone}."
