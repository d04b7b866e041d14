"""Would Mendline have made a repair by itself on this belief alone: asked of the same gate that asks it at night."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from mendline.config import Policy, Rule
from mendline.incident import Classification, FailureType, Plan
from mendline.playbook import Playbook, load_playbook
from mendline.policy import rule_on

RECOMMENDED = "recommended policy"
NO_MINIMUM = "auto with no minimum"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The policies to count under, by name, and the repairs that the playbook knows per type."""

    policies: Mapping[str, Policy]
    playbook: Playbook

    def acts(self, type_: FailureType, confidence: float) -> dict[str, bool]:
        """Say for each policy whether some repair of the type would run unasked, were its plan beyond doubt."""
        belief = Classification(
            type=type_, subtype="", confidence=confidence, evidence=(), recommended_next_step="escalate"
        )
        plans = [Plan(repair=name, key="", summary="") for name in self.playbook.page(type_).repairs]
        return {
            name: any(rule_on(policy, plan, belief, pipeline="").decision == "auto" for plan in plans)
            for name, policy in self.policies.items()
        }


@cache
def default_gate() -> Gate:
    """The recommended policy, and beside it the boldest one for all types: every repair that it covers, however unsure.

    Mendline's own default has no rule and acts on nothing, so that it could not be measured.
    """
    playbook = load_playbook()
    recommended = Policy.model_validate(yaml.safe_load(Path(__file__).with_name("policy.yaml").read_text("utf-8")))
    bold = Policy(rules=(Rule(decision="auto"),))
    return Gate(policies={RECOMMENDED: recommended, NO_MINIMUM: bold}, playbook=playbook)


def minimum(policy: Policy) -> float:
    """The least confidence at which one of its rules acts; 1 when none does."""
    return min((rule.min_confidence for rule in policy.rules if rule.decision == "auto"), default=1.0)
