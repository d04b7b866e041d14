"""The gate: nothing acts that no rule lets act."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mendline.config import Policy, Rule
from mendline.incident import Classification, FailureType, Plan
from mendline.policy import rule_on


def belief(kind: FailureType = FailureType.SCHEMA_CHANGE, confidence: float = 0.9) -> Classification:
    return Classification(type=kind, subtype="", confidence=confidence, evidence=(), recommended_next_step="escalate")


def plan(repair: str = "apply_schema_migration", dataset: str = "a", confidence: float = 1.0) -> Plan:
    return Plan(repair=repair, key="k", summary="s", dataset=dataset, confidence=confidence)


def test_without_rules_nothing_acts_by_itself() -> None:
    assert rule_on(Policy(), plan(), belief(), "p").decision == "suggest"


def test_the_first_matching_rule_decides() -> None:
    policy = Policy(rules=(Rule(dataset="a", decision="off"), Rule(decision="auto")))
    assert rule_on(policy, plan(), belief(), "p").decision == "off"
    assert rule_on(policy, plan(dataset="b"), belief(), "p").decision == "auto"


def test_an_unsure_plan_does_not_act_however_sure_the_cause_is() -> None:
    policy = Policy(rules=(Rule(min_confidence=0.8, decision="auto"),))
    assert rule_on(policy, plan(confidence=0.5), belief(confidence=0.99), "p").decision == "suggest"
    assert rule_on(policy, plan(confidence=0.99), belief(confidence=0.5), "p").decision == "suggest"


@given(
    confidence=st.floats(0, 1),
    floor=st.floats(0, 1),
    kind=st.sampled_from(FailureType),
    named=st.sampled_from(FailureType),
)
def test_auto_is_only_ever_said_by_a_rule_that_matches(
    confidence: float, floor: float, kind: FailureType, named: FailureType
) -> None:
    policy = Policy(rules=(Rule(type=named, min_confidence=floor, decision="auto"),))
    decision = rule_on(policy, plan(), belief(kind, confidence), "p").decision
    assert (decision == "auto") == (kind is named and confidence >= floor)
