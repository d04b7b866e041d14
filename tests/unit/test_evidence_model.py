"""A model's answer is one more piece of evidence, and no more than that."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mendline.evidence import FLOOR, heard, hypotheses, is_unsure, weigh
from mendline.incident import (
    Alternative,
    Classification,
    Evidence,
    FailureType,
    Finding,
    FindingVerdict,
    ModelAnswer,
)

QUOTE = Evidence(line=3, quote="the words")
shares = st.floats(0, 1)
types = st.sampled_from(FailureType)


def read(
    kind: FailureType = FailureType.UNKNOWN,
    confidence: float = 0.3,
    subtype: str = "undetermined",
    alternatives: tuple[Alternative, ...] = (),
) -> Classification:
    return Classification(
        type=kind,
        subtype=subtype,
        confidence=confidence,
        evidence=(),
        recommended_next_step="escalate",
        alternatives=alternatives,
    )


def said(kind: FailureType, confidence: float = 0.9, *, dropped: int = 0, subtype: str = "a_word") -> ModelAnswer:
    return ModelAnswer(
        type=kind,
        subtype=subtype,
        confidence=confidence,
        evidence=(QUOTE,),
        recommended_next_step="escalate",
        dropped_count=dropped,
    )


def undecided(belief: Classification) -> Classification:
    """Settled by diagnostics that could not tell."""
    return weigh(belief, hypotheses(belief))


def settled(belief: Classification, refuted: FailureType) -> Classification:
    no = Finding(tool="t", verdict=FindingVerdict.REFUTES, summary="no")
    return weigh(belief, [replace(h, findings=(no,)) if h.type is refuted else h for h in hypotheses(belief)])


def test_it_lifts_an_abstention_with_verbatim_quotes() -> None:
    belief = heard(read(), said(FailureType.API_FAILURE))
    assert belief.type is FailureType.API_FAILURE
    assert 0.75 < belief.confidence < 0.95
    assert QUOTE in belief.evidence


def test_with_an_invented_quote_it_lifts_nothing_but_what_is_tested() -> None:
    belief = heard(read(), said(FailureType.API_FAILURE, 1.0, dropped=1))
    assert (belief.type, belief.confidence) == (FailureType.UNKNOWN, 0.3)
    assert FailureType.API_FAILURE in {hypothesis.type for hypothesis in hypotheses(belief)}


def test_without_an_answer_nothing_changes() -> None:
    assert heard(read(), None) == read()


def test_agreement_makes_surer_and_contradiction_less_sure() -> None:
    before = read(FailureType.RESOURCE, 0.6, "disk_full")
    assert heard(before, said(FailureType.RESOURCE)).confidence > 0.6
    against = heard(before, said(FailureType.API_FAILURE, 0.6))
    assert max(against.confidence, 0.6) == 0.6 or against.type is not FailureType.RESOURCE


def test_no_cause_found_twice_is_no_evidence_against_causes_without_words() -> None:
    belief = heard(read(), said(FailureType.UNKNOWN, 1.0, subtype="code_bug"))
    assert belief.confidence == 0.3
    assert belief.subtype == "code_bug"
    assert {hypothesis.type for hypothesis in hypotheses(belief)} >= {
        FailureType.SCHEMA_CHANGE,
        FailureType.DATA_QUALITY,
    }


@given(types, shares)
def test_its_subtype_never_reaches_a_tool_that_would_turn_it_into_a_check(kind: FailureType, confidence: float) -> None:
    belief = heard(read(), said(kind, confidence, subtype="duplicate_key"))
    subtypes = {hypothesis.type: hypothesis.subtype for hypothesis in hypotheses(belief)}
    assert subtypes.get(FailureType.SCHEMA_CHANGE, "") == ""
    assert subtypes.get(FailureType.DATA_QUALITY, "") == ""


@given(types, types, shares, shares, st.integers(0, 1))
def test_what_the_diagnostics_refute_never_wins_whatever_it_says(
    rules: FailureType, model: FailureType, rules_sure: float, model_sure: float, dropped: int
) -> None:
    if model is not FailureType.UNKNOWN:
        belief = heard(read(rules, rules_sure, "x"), said(model, model_sure, dropped=dropped))
        assert settled(belief, refuted=model).type is not model


@given(types, types, st.floats(2 * FLOOR, 1), shares)
def test_what_the_rules_believed_is_still_tested(
    rules: FailureType, model: FailureType, rules_sure: float, model_sure: float
) -> None:
    other = Alternative(type=FailureType.DATA_QUALITY, confidence=2 * FLOOR)
    alternatives = () if rules is FailureType.DATA_QUALITY else (other,)
    before = read(rules, rules_sure, "x", alternatives)
    after = {hypothesis.type for hypothesis in hypotheses(heard(before, said(model, model_sure)))}
    assert {rules, *(each.type for each in alternatives)} <= after


@given(types, st.floats(0.2, 0.59))
def test_alone_it_does_not_make_an_abstention_sure_enough_to_act_on(model: FailureType, abstained: float) -> None:
    assert undecided(heard(read(confidence=abstained), said(model, 1.0))).confidence < 0.8


def test_a_supported_cause_outweighs_a_model_that_says_another() -> None:
    belief = heard(read(), said(FailureType.RESOURCE, 1.0))
    yes = Finding(tool="t", verdict=FindingVerdict.SUPPORTS, summary="yes")
    found = [replace(h, findings=(yes,)) if h.type is FailureType.SCHEMA_CHANGE else h for h in hypotheses(belief)]
    assert weigh(belief, found).type is FailureType.SCHEMA_CHANGE


@given(types, shares)
def test_an_abstention_still_tests_the_causes_that_leave_no_words(model: FailureType, sure: float) -> None:
    after = {hypothesis.type for hypothesis in hypotheses(heard(read(), said(model, sure)))}
    assert after >= {FailureType.SCHEMA_CHANGE, FailureType.DATA_QUALITY, FailureType.API_FAILURE}


@given(types, types, shares, shares)
def test_a_confidence_stays_a_probability(
    rules: FailureType, model: FailureType, rules_sure: float, model_sure: float
) -> None:
    belief = heard(read(rules, rules_sure, "x"), said(model, model_sure))
    assert 0 <= belief.confidence <= 0.99
    assert belief.type not in {other.type for other in belief.alternatives}


def test_the_rules_are_unsure_below_the_line_and_whenever_they_say_unknown() -> None:
    assert is_unsure(read(FailureType.RESOURCE, 0.7), 0.75)
    assert not is_unsure(read(FailureType.RESOURCE, 0.8), 0.75)
    assert is_unsure(read(FailureType.UNKNOWN, 0.9), 0.75)
