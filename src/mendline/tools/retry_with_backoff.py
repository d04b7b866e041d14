"""Tool `retry_with_backoff`: wait (durably, with jitter), see that the source is well again, and let the stage re-run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from mendline.config import Retry
from mendline.engines.base import TAG_ATTEMPT, TAG_INCIDENT, RunDescription
from mendline.errors import RefusedByPolicy, Unavailable
from mendline.incident import Check, ConfigChange, Declined, Finding, Plan, Receipt, from_json
from mendline.ledger import plan_key
from mendline.probing import PERMANENT, probe, stage_sources
from mendline.reruns.adjusting import Step, next_step, scheduled_config
from mendline.reruns.facts import begun_stages, read_facts
from mendline.reruns.safety import Judgement, Safety, judge
from mendline.tools.base import ToolContext

RETRY_AFTER = re.compile(r"retry[-_ ]after['\"]?\s*[:=]?\s*['\"]?(\d{1,6})\b", re.IGNORECASE)
STAGES_NAMED = 3
UNSURE_CONFIDENCE = 0.5  # of a plan of which nobody can tell that repeating is safe


class RetryWithBackoff:
    """Exponential backoff with full jitter; the re-run itself is the verification, started once per attempt.

    Whether a repeat is safe is read from what the failed run left (`reruns.safety`). Where the team allows it
    (`adjustable`), the stage runs with other values, one step further with each attempt.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 (full jitter); RFC 9110 section 10.2.3
    (Retry-After).
    """

    name = "retry_with_backoff"
    risk = "repeats a stage; declined when the stage would write a second time what it has written"
    cannot_undo = "requests that the stage sent again; nothing else is changed"

    def plan(self, context: ToolContext) -> Plan | Declined:
        """Decide the wait and the configuration of this attempt; decline what no retry can heal, and what would do harm.

        `parameters`: `safety`, the verdict that the gate rules on.
        """
        wait = _wait(context)
        if isinstance(wait, Declined):
            return wait
        chain = context.services.engines[context.incident.engine].run_chain(context.incident.failures[0].root_run_id)
        judged = judge(read_facts(context.incident, context.services))
        step = _step(chain, context)
        if refusal := _spent(chain, context) or _stuck(step, chain, context) or _harmful(judged):
            return refusal
        belief = context.classification.confidence
        return Plan(
            repair=self.name,
            key=plan_key(context.incident.fingerprint, self.name, context.attempt),
            summary=_summary(wait, step, judged, context),
            parameters={"safety": judged.safety.value},
            confidence=min(belief, UNSURE_CONFIDENCE) if judged.safety is Safety.UNSURE else belief,
            is_reversible=False,
            undo_summary="nothing to undo: only the stage's own work is repeated",
            wait_seconds=wait,
            max_attempts=context.services.config.retry.max_attempts,
            changes=step.changes,
            evidence=judged.evidence,
        )

    def is_done(self, plan: Plan, context: ToolContext) -> bool:
        return _receipt(plan, context) is not None

    def apply(self, plan: Plan, context: ToolContext) -> Receipt:
        """Let the re-run go ahead, or say that the source is still unwell or a twin at work.

        Raises: `Unavailable` then, and when a repeat looks less safe than it was ruled on (the next attempt is planned with
        that); `RefusedByPolicy` when it would do harm now.
        """
        if receipt := _receipt(plan, context):
            return receipt
        for name, _, source in stage_sources(context):
            data = probe(source, context.services.config)
            if data.get("was_asked", True) and not data["healthy"]:  # what cannot be asked says nothing
                raise Unavailable(f"source `{name}` is still not well: {data['error']}", system=name, operation="probe")
        _require_still_safe(plan, context)
        did = f"waited {plan.wait_seconds:.1f} s" + (f"; re-run{_with(plan.changes)}" if plan.changes else "")
        receipt = Receipt(repair=self.name, key=plan.key, applied_at=datetime.now(UTC), summary=did)
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


def _wait(context: ToolContext) -> float | Declined:
    """How long to wait before this attempt; declined when no wait that is allowed heals it."""
    retry, incident = context.services.config.retry, context.incident.fingerprint
    if refusal := _permanent(context):
        return refusal
    asked = _asked_wait(context)
    if asked is not None and asked > retry.max_wait_seconds:
        reason = f"the source asks to wait {asked:.0f} s, more than `retry.max_wait_seconds` ({retry.max_wait_seconds:.0f} s)"
        return _declined(reason, "a later re-run by hand")
    wait = max(backoff(retry, incident, context.attempt), asked or 0.0)
    spent = sum(backoff(retry, incident, earlier) for earlier in range(1, context.attempt))
    if spent + wait > retry.max_total_seconds:
        return _declined(f"the retry budget of {retry.max_total_seconds:.0f} s is used up")
    return wait


def _permanent(context: ToolContext) -> Declined | None:
    probed = _probed(context)
    for finding in probed:
        if finding.data.get("permanent"):
            return _declined(finding.summary, str(finding.data.get("needed", "")))
    status = next((int(text) for text in context.classification.entities.get("status", ()) if text.isdigit()), None)
    is_asked_to_wait = any(finding.data.get("retry_after_seconds") is not None for finding in probed)
    if status in PERMANENT and not is_asked_to_wait:
        needed = "credentials, an address or a request that is valid"
        return _declined(f"the log shows HTTP {status}, which the same request will get again", needed)
    return None


def _probed(context: ToolContext) -> tuple[Finding, ...]:
    """What the sources of the failed stages were found to be: one finding each."""
    return tuple(finding for finding in context.findings if finding.tool == "check_api_status")


def _asked_wait(context: ToolContext) -> float | None:
    """The longest wait, in seconds, that a source asks for; None when none does."""
    asked = [finding.data.get("retry_after_seconds") for finding in _probed(context)]
    seconds = max((float(each) for each in asked if each is not None), default=None)
    if seconds is not None:
        return seconds
    found = RETRY_AFTER.search(context.log.text)
    return float(found.group(1)) if found and context.attempt == 1 else None


def _spent(chain: Sequence[RunDescription], context: ToolContext) -> Declined | None:
    """Runs that people or the engine started count too: the budget is that of the stage, not ours."""
    limit = context.services.config.retry.max_attempts
    begun = begun_stages(chain, context.incident)
    count = sum(1 for run in chain if any(run.stage_states.get(s, "skipped") != "skipped" for s in begun))
    if count > limit:
        return _declined(f"it was run {count} times already, and `retry.max_attempts` allows {limit} repeats")
    return None


def _step(chain: Sequence[RunDescription], context: ToolContext) -> Step:
    incident = context.incident
    settings = context.services.config.pipelines[incident.pipeline]
    stages = incident.stages or begun_stages(chain, incident)
    return next_step(
        settings.adjustable, context.classification, stages, scheduled_config(chain, incident), chain[-1].config
    )


def _stuck(step: Step, chain: Sequence[RunDescription], context: ToolContext) -> Declined | None:
    """Declined when another configuration is what this failure asks for, and there is none (any more)."""
    if step.is_meant and not step.has_moved:
        return _declined("; ".join(step.obstacles), "another bound, or more of what ran out")
    if step.changes and _was_refused(chain, context):
        return _declined("the engine did not start the re-run with the changed configuration", "a place that it knows")
    return None


def _was_refused(chain: Sequence[RunDescription], context: ToolContext) -> bool:
    """Whether the attempt before this one was let go ahead with changes, and no run came of it."""
    number = str(context.attempt - 1)
    key = plan_key(context.incident.fingerprint, RetryWithBackoff.name, context.attempt - 1)
    intent = context.services.store.intent(key)
    if intent is None or intent.receipt is None or not from_json(Plan, intent.plan_json).changes:
        return False
    own = {TAG_INCIDENT: context.incident.id, TAG_ATTEMPT: number}
    return not any(own.items() <= run.tags.items() for run in chain)


def _harmful(judged: Judgement) -> Declined | None:
    if judged.safety is not Safety.UNSAFE:
        return None
    return _declined("; ".join(judged.evidence), judged.needed)


def _declined(reason: str, needed: str = "") -> Declined:
    return Declined(repair=RetryWithBackoff.name, reason=reason, needed=needed)


def _summary(wait: float, step: Step, judged: Judgement, context: ToolContext) -> str:
    well = ", see that the source is well" if any(stage_sources(context)) else ""
    doubt = "; whether that is safe cannot be told" if judged.safety is Safety.UNSURE else ""
    failed = context.incident.stages
    more = f" and {len(failed) - STAGES_NAMED} more" if len(failed) > STAGES_NAMED else ""
    stages = ", ".join(failed[:STAGES_NAMED]) + more if failed else "what failed"
    return f"wait {wait:.1f} s{well}, then re-run {stages}{_with(step.changes)}{doubt}"


def _with(changes: Sequence[ConfigChange]) -> str:
    changed = ", ".join(change.summary for change in changes)
    return f" with {changed} (for this re-run only)" if changed else ""


def _receipt(plan: Plan, context: ToolContext) -> Receipt | None:
    intent = context.services.store.intent(plan.key)
    return intent.receipt if intent else None


def _require_still_safe(plan: Plan, context: ToolContext) -> None:
    facts = read_facts(context.incident, context.services)
    if facts.twins:
        raise Unavailable(f"run `{facts.twins[0]}` loads the same now", operation="rerun", run_id=facts.twins[0])
    judged = judge(facts)
    if judged.safety is Safety.UNSAFE:
        raise RefusedByPolicy("; ".join(judged.evidence), operation="rerun")
    if judged.safety is Safety.UNSURE and plan.parameters["safety"] != Safety.UNSURE:
        raise Unavailable(f"it looks less safe than before: {judged.evidence[0]}", operation="rerun")
