"""Tool `retry_with_backoff`: wait (durably, with jitter), see that the source is well again, and let the stage re-run."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

from mendline.config import Retry
from mendline.errors import Unavailable
from mendline.incident import Check, Declined, Plan, Receipt
from mendline.ledger import plan_key
from mendline.probing import PERMANENT, probe, stage_sources
from mendline.tools.base import ToolContext

RETRY_AFTER = re.compile(r"retry[-_ ]after['\"]?\s*[:=]?\s*['\"]?(\d{1,6})\b", re.IGNORECASE)


class RetryWithBackoff:
    """Exponential backoff with full jitter; the re-run itself is the verification, started once per attempt.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 (full jitter); RFC 9110 section 10.2.3
    (Retry-After).
    """

    name = "retry_with_backoff"
    risk = "repeats a stage; the stage must bear being repeated (see `never_rerun`)"
    cannot_undo = "requests that the stage sent again; nothing else is changed"

    def plan(self, context: ToolContext) -> Plan | Declined:
        """Decide the wait for this attempt; decline what no retry can heal."""
        refusal = _permanent(context)
        if refusal:
            return Declined(
                repair=self.name, reason=refusal, needed="credentials, an address or a request that is valid"
            )
        retry = context.services.config.retry
        asked = _asked_wait(context)
        if asked is not None and asked > retry.max_wait_seconds:
            reason = f"the source asks to wait {asked:.0f} s, more than `retry.max_wait_seconds` ({retry.max_wait_seconds:.0f} s)"
            return Declined(repair=self.name, reason=reason, needed="a later re-run by hand")
        wait = max(backoff(retry, context.incident.fingerprint, context.attempt), asked or 0.0)
        spent = sum(backoff(retry, context.incident.fingerprint, earlier) for earlier in range(1, context.attempt))
        if spent + wait > retry.max_total_seconds:
            return Declined(repair=self.name, reason=f"the retry budget of {retry.max_total_seconds:.0f} s is used up")
        return Plan(
            repair=self.name,
            key=plan_key(context.incident.fingerprint, self.name, context.attempt),
            summary=f"wait {wait:.1f} s, see that the source is well, then re-run {', '.join(context.incident.stages)}",
            confidence=context.classification.confidence,
            is_reversible=False,
            undo_summary="nothing to undo: only the stage's own, repeatable work is repeated",
            wait_seconds=wait,
            max_attempts=retry.max_attempts,
        )

    def is_done(self, plan: Plan, context: ToolContext) -> bool:
        intent = context.services.store.intent(plan.key)
        return intent is not None and intent.receipt is not None

    def apply(self, plan: Plan, context: ToolContext) -> Receipt:
        """Let the re-run go ahead, or say that the source is still unwell.

        Raises: `Unavailable` while a probe says so; the next attempt waits longer.
        """
        for name, _, source in stage_sources(context):
            data = probe(source, context.services.config)
            if not data["healthy"]:
                raise Unavailable(f"source `{name}` is still not well: {data['error']}", system=name, operation="probe")
        receipt = Receipt(
            repair=self.name, key=plan.key, applied_at=datetime.now(UTC), summary=f"waited {plan.wait_seconds:.1f} s"
        )
        return context.services.ledger.outside(plan, context.incident.id, is_done=lambda: None, effect=lambda: receipt)

    def verify(self, plan: Plan, receipt: Receipt, context: ToolContext) -> tuple[Check, ...]:
        return ()

    def obstacle(self, receipt: Receipt, context: ToolContext) -> str:
        return ""

    def undo(self, receipt: Receipt, context: ToolContext) -> None:
        """Do nothing: a wait leaves no trace."""


def backoff(retry: Retry, incident: str, attempt: int) -> float:
    """Seconds to wait before an attempt (from 1): uniform in (0, min(max, base * 2^attempt)], fixed by incident and attempt.

    Full jitter, but drawn from a hash rather than a generator, so that planning twice gives the same plan.
    """
    ceiling = min(retry.max_wait_seconds, retry.base_seconds * 2**attempt)
    digest = hashlib.sha256(f"{incident}:{attempt}".encode()).digest()
    return float(ceiling * (int.from_bytes(digest[:8]) + 1) / 2**64)


def _permanent(context: ToolContext) -> str:
    status = next((int(text) for text in context.classification.entities.get("status", ()) if text.isdigit()), None)
    if status in PERMANENT:
        return f"the log shows HTTP {status}, which the same request will get again"
    finding = context.finding("check_api_status")
    probed = finding.data.get("status") if finding else None
    if probed in PERMANENT:
        return f"the probe got HTTP {probed}, which the same request will get again"
    return ""


def _asked_wait(context: ToolContext) -> float | None:
    finding = context.finding("check_api_status")
    asked = finding.data.get("retry_after_seconds") if finding else None
    if asked is not None:
        return float(asked)
    found = RETRY_AFTER.search(context.log.text)
    return float(found.group(1)) if found and context.attempt == 1 else None
