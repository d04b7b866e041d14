"""The one gate for writes: may this plan act by itself, must it ask, or is it only reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mendline.config import Policy, Rule
from mendline.incident import Classification, Plan

Word = Literal["auto", "ask", "suggest", "off"]


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """The gate's word on one plan, with the reason that the report shows."""

    decision: Word
    reason: str


def rule_on(policy: Policy, plan: Plan, classification: Classification, pipeline: str) -> Ruling:
    """Decide on one plan; the first rule that matches counts, and no rule means the default, which never acts.

    A rule with `min_confidence` matches only when both the classification and the plan are at least that sure.
    """
    sure = min(classification.confidence, plan.confidence)
    nearly: Rule | None = None
    for number, rule in enumerate(policy.rules, start=1):
        if not _names(rule, plan, classification, pipeline):
            continue
        if sure >= rule.min_confidence:
            return Ruling(decision=rule.decision, reason=f"policy rule {number} says {rule.decision} (sure {sure:.2f})")
        nearly = nearly or rule
    if nearly is not None:
        return Ruling(
            decision=policy.default, reason=f"sure {sure:.2f}, the policy asks for {nearly.min_confidence:.2f}"
        )
    return Ruling(decision=policy.default, reason=f"no policy rule allows `{plan.repair}` here")


def _names(rule: Rule, plan: Plan, classification: Classification, pipeline: str) -> bool:
    return (
        rule.action in ("*", plan.repair)
        and rule.type in ("*", classification.type)
        and rule.pipeline in ("*", pipeline)
        and rule.dataset in ("*", plan.dataset)
    )
