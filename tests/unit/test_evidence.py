"""Evidence outweighs words, and the confidence stays a share."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mendline.evidence import Hypothesis, hypotheses, weigh
from mendline.incident import Alternative, Classification, FailureType, Finding, FindingVerdict

SCHEMA, QUALITY, API, UNKNOWN = (
    FailureType.SCHEMA_CHANGE,
    FailureType.DATA_QUALITY,
    FailureType.API_FAILURE,
    FailureType.UNKNOWN,
)


def belief(kind: FailureType, confidence: float, *others: tuple[FailureType, float]) -> Classification:
    return Classification(
        type=kind,
        subtype="",
        confidence=confidence,
        evidence=(),
        recommended_next_step="escalate",
        alternatives=tuple(Alternative(type=t, confidence=c) for t, c in others),
    )


def examined(classification: Classification, **verdicts: FindingVerdict) -> list[Hypothesis]:
    return [
        replace(h, findings=(Finding(tool="t", verdict=verdicts[h.type], summary=""),)) if h.type in verdicts else h
        for h in hypotheses(classification)
    ]


def test_a_supported_schema_change_beats_a_log_that_speaks_of_data() -> None:
    said = belief(QUALITY, 0.6, (SCHEMA, 0.3))
    settled = weigh(said, examined(said, DATA_QUALITY=FindingVerdict.SUPPORTS, SCHEMA_CHANGE=FindingVerdict.SUPPORTS))
    assert settled.type is SCHEMA


def both_support(failing_column: str, kind: str) -> Classification:
    said = belief(QUALITY, 0.8, (SCHEMA, 0.1))
    found = {
        QUALITY: {"checks": [{"name": "type_castable", "columns": [failing_column]}]},
        SCHEMA: {"changes": [{"kind": kind, "column": "Weight"}]},
    }
    tested = [
        replace(
            h,
            findings=(Finding(tool="t", verdict=FindingVerdict.SUPPORTS, summary="", dataset="d", data=found[h.type]),),
        )
        for h in hypotheses(said)
    ]
    return weigh(said, tested)


def test_rows_that_fail_only_where_the_type_changed_are_a_symptom() -> None:
    assert both_support("weight", "widened").type is SCHEMA
    assert both_support("weight", "added").type is QUALITY
    assert both_support("height", "widened").type is QUALITY


def test_a_refuted_cause_gives_way_to_the_next() -> None:
    said = belief(SCHEMA, 0.7, (QUALITY, 0.2))
    settled = weigh(said, examined(said, SCHEMA_CHANGE=FindingVerdict.REFUTES, DATA_QUALITY=FindingVerdict.SUPPORTS))
    assert settled.type is QUALITY
    assert settled.confidence > 0.7


def test_when_everything_is_refuted_the_cause_is_unknown() -> None:
    said = belief(SCHEMA, 0.8)
    settled = weigh(said, examined(said, SCHEMA_CHANGE=FindingVerdict.REFUTES))
    assert settled.type is UNKNOWN
    assert settled.recommended_next_step == "escalate"


def test_an_unsure_unknown_is_tested_for_the_causes_that_leave_traces() -> None:
    assert {h.type for h in hypotheses(belief(UNKNOWN, 0.3))} == {UNKNOWN, SCHEMA, QUALITY, API}
    assert {h.type for h in hypotheses(belief(UNKNOWN, 0.9))} == {UNKNOWN}


@given(
    first=st.sampled_from(FailureType),
    confidence=st.floats(0.01, 1.0),
    verdicts=st.dictionaries(st.sampled_from([SCHEMA, QUALITY, API]), st.sampled_from(FindingVerdict)),
)
def test_the_settled_confidence_is_a_share(
    first: FailureType, confidence: float, verdicts: dict[FailureType, FindingVerdict]
) -> None:
    said = belief(first, confidence, *[(t, (1 - confidence) / 4) for t in FailureType if t is not first])
    settled = weigh(said, examined(said, **verdicts))
    assert 0.0 <= settled.confidence <= 1.0
    assert all(other.type is not settled.type for other in settled.alternatives)


def test_nulls_under_a_name_that_moved_are_the_change_of_name() -> None:
    said = replace(belief(QUALITY, 0.98), subtype="null_violation")
    found = {
        QUALITY: {"checks": [{"name": "not_null:ward", "columns": ["ward"]}]},
        SCHEMA: {"changes": [{"kind": "renamed", "column": "station", "outputs": ["ward"]}]},
    }
    tested = [
        replace(
            h,
            findings=(Finding(tool="t", verdict=FindingVerdict.SUPPORTS, summary="", dataset="d", data=found[h.type]),),
        )
        for h in hypotheses(said)
    ]
    settled = weigh(said, tested)
    assert settled.type is SCHEMA
    assert settled.confidence > 0.8
