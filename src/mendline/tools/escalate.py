"""Tool `escalate`: hand an incident to a person, with the one thing they should do next."""

from __future__ import annotations

from collections.abc import Iterable

from mendline.incident import Attempt, Classification, FailureType, Finding, FindingVerdict

NAME = "escalate"

NEXT_STEPS = {
    FailureType.SCHEMA_CHANGE: "Compare the source's schema with the contract and agree on the new shape with its owner.",
    FailureType.DATA_QUALITY: "Look at the failing rows with the source's owner; decide whether they are corrected, set aside or let in.",
    FailureType.API_FAILURE: "Contact the owner of the source; re-run the stage when it is well again.",
    FailureType.RESOURCE: "Give the stage more of what ran out, or give it less to do at once, then re-run it.",
    FailureType.UNKNOWN: "Read the quoted lines; the log and the diagnostics do not show a cause that Mendline knows.",
}
SUBTYPE_STEPS = {
    "code_bug": "Fix or roll back the stage's code; data and sources show no cause.",
    "permission": "Give the pipeline's account the permission that the quoted line names.",
    "configuration": "Correct the setting that the quoted line names, then re-run the stage.",
    "expired_credentials": "Renew the credentials that the stage uses, then re-run it.",
    "not_found": "Ask the source's owner where the endpoint has gone, and change the address.",
}


def after_repair(attempts: Iterable[Attempt]) -> str:
    """What is left for a person once the repair is proven: a re-run with other values has not changed the schedule."""
    last = next((attempt for attempt in reversed(tuple(attempts)) if attempt.receipt is not None), None)
    changes = last.plan.changes if last and last.plan else ()
    if not changes:
        return "Nothing now; look at the change when you have time."
    said = ", ".join(change.summary for change in changes)
    return f"Nothing now. The next scheduled run has the old configuration again: change it there ({said}) if this comes back."


def recommend(classification: Classification, findings: Iterable[Finding], attempts: Iterable[Attempt]) -> str:
    """Say in a few sentences what a person should do: first what blocked the repair, then the step for this cause."""
    parts = []
    for attempt in attempts:
        if attempt.plan is not None and attempt.decision in ("suggest", "ask", "off"):
            parts.append(f"Planned but not done ({attempt.reason}): {attempt.plan.summary}.")
        elif attempt.decision == "declined":
            needed = f" Needed: {attempt.needed}." if attempt.needed else ""
            parts.append(f"`{attempt.repair}` was not safe: {attempt.reason}.{needed}")
        elif attempt.undone:
            parts.append(f"`{attempt.repair}` did not help and was undone.")
        elif attempt.receipt is not None and attempt.plan is not None and attempt.plan.is_reversible:
            parts.append(
                f"What `{attempt.repair}` changed is still there ({attempt.reason}): {attempt.receipt.summary}."
            )
    parts.append(SUBTYPE_STEPS.get(classification.subtype, NEXT_STEPS[classification.type]))
    telling = [f.summary for f in findings if f.verdict is FindingVerdict.SUPPORTS]
    if telling:
        parts.append(f"Start from: {telling[0]}.")
    return " ".join(dict.fromkeys(parts))
