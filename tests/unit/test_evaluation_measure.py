"""The figures obey their laws, and agree with scikit-learn where both know the same one."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendline.evaluation.measure import (
    Judged,
    calibration_error,
    confusion,
    coverage_at,
    macro_f1,
    macro_f1_interval,
    measure,
    reliability,
    type_scores,
)
from mendline.incident import FailureType, from_json, to_json

TYPES = st.sampled_from(FailureType)
PAIRS = st.lists(st.tuples(TYPES, TYPES), min_size=1, max_size=60)
UNKNOWN, SCHEMA, QUALITY = FailureType.UNKNOWN, FailureType.SCHEMA_CHANGE, FailureType.DATA_QUALITY


def a_judged(truth: FailureType = SCHEMA, believed: FailureType = SCHEMA, **fields: Any) -> Judged:
    usual: dict[str, Any] = {
        "case_id": "s/a", "system": "s", "is_hard": False, "true_subtype": "x", "subtype": "x", "confidence": 0.9, "acts": {}
    }  # fmt: skip
    return Judged(truth=truth, believed=believed, **(usual | fields))


JUDGED = st.builds(
    a_judged,
    TYPES,
    TYPES,
    case_id=st.text("abc", min_size=1),
    system=st.sampled_from("xyz"),
    is_hard=st.booleans(),
    subtype=st.sampled_from(["x", "y"]),
    confidence=st.sampled_from([0.0, 0.2, 0.5, 0.51, 0.8, 0.97, 1.0]) | st.floats(0, 1),
    acts=st.fixed_dictionaries({"p": st.booleans()}),
    quote_count=st.just(3),
    verbatim_count=st.integers(0, 3),
    milliseconds=st.floats(0, 1000),
)
MANY = st.lists(JUDGED, min_size=1, max_size=40)


def with_confidences(*known: tuple[float, bool]) -> list[Judged]:
    return [a_judged(believed=SCHEMA if right else QUALITY, confidence=sure) for sure, right in known]


@settings(max_examples=10, deadline=None)
@given(MANY, st.randoms(use_true_random=False))
def test_the_order_of_the_cases_changes_no_figure(judged: list[Judged], chance: random.Random) -> None:
    shuffled = judged[:]
    chance.shuffle(shuffled)
    one, other = measure(judged), measure(shuffled)
    assert replace(other, calibration_error=0.0, reliability=()) == replace(one, calibration_error=0.0, reliability=())
    assert other.calibration_error == pytest.approx(one.calibration_error)


@settings(max_examples=10, deadline=None)
@given(MANY)
def test_whoever_is_always_right_has_every_figure_at_one(judged: list[Judged]) -> None:
    perfect = [replace(each, believed=each.truth, subtype=each.true_subtype, confidence=1.0) for each in judged]
    found = measure(perfect)
    assert found.accuracy.share == found.macro_f1 == found.coverage == found.subtype.share == 1
    assert found.macro_f1_interval == (1, 1)
    assert found.calibration_error == 0
    assert {score.f1 for score in found.by_type if score.support} == {1.0}


@given(PAIRS)
def test_whoever_is_always_wrong_scores_nothing(pairs: list[tuple[FailureType, FailureType]]) -> None:
    types = list(FailureType)
    wrong = [(truth, types[types.index(truth) - 1]) for truth, _ in pairs]
    assert macro_f1(wrong) == 0


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_f1_and_confusion_are_those_of_scikit_learn(pairs: list[tuple[FailureType, FailureType]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is a development extra")
    truths, beliefs = ([each.value for each in side] for side in zip(*pairs, strict=True))
    names = [kind.value for kind in FailureType]
    assert macro_f1(pairs) == pytest.approx(metrics.f1_score(truths, beliefs, average="macro", zero_division=0))
    counts = confusion(pairs)
    ours = [[counts[truth][believed] for believed in FailureType] for truth in FailureType]
    assert ours == metrics.confusion_matrix(truths, beliefs, labels=names).tolist()
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truths, beliefs, labels=names, zero_division=0
    )
    scores = type_scores(pairs)
    assert [score.precision or 0 for score in scores] == pytest.approx(precision)
    assert [score.recall or 0 for score in scores] == pytest.approx(recall)
    assert [score.f1 for score in scores] == pytest.approx(f1)
    assert [score.support for score in scores] == support.tolist()


def test_a_type_that_nobody_has_and_nobody_said_does_not_lower_the_mean() -> None:
    assert macro_f1([(SCHEMA, SCHEMA), (QUALITY, QUALITY)]) == 1
    assert macro_f1([(SCHEMA, SCHEMA), (QUALITY, UNKNOWN)]) == pytest.approx(1 / 3)


@settings(max_examples=15, deadline=None)
@given(PAIRS)
def test_the_interval_is_in_order_and_the_same_each_time(pairs: list[tuple[FailureType, FailureType]]) -> None:
    low, high = macro_f1_interval(pairs, 100)
    assert 0 <= low <= high <= 1
    assert macro_f1_interval(pairs[::-1], 100) == (low, high)


def test_the_interval_of_a_mixed_result_holds_the_figure_and_narrows_with_more_cases() -> None:
    few = [(SCHEMA, SCHEMA), (QUALITY, QUALITY), (QUALITY, SCHEMA), (UNKNOWN, UNKNOWN)] * 5
    (low, high), (low_of_many, high_of_many) = macro_f1_interval(few), macro_f1_interval(few * 20)
    assert low < macro_f1(few) < high
    assert high_of_many - low_of_many < (high - low) / 2


@given(MANY)
def test_bins_hold_every_case_once_and_never_part_equal_confidences(judged: list[Judged]) -> None:
    bins = reliability(judged)
    assert sum(each.count for each in bins) == len(judged)
    assert len(bins) <= 10
    assert all(before.upper < after.lower for before, after in pairwise(bins))
    assert all(each.lower <= each.mean_confidence + 1e-9 and each.mean_confidence <= each.upper + 1e-9 for each in bins)


def test_a_hundred_different_confidences_make_ten_bins_of_ten() -> None:
    bins = reliability(with_confidences(*((number / 100, True) for number in range(100))))
    assert [each.count for each in bins] == [10] * 10


def test_calibration_error_is_the_distance_of_how_sure_and_how_often_right() -> None:
    as_sure_as_right = with_confidences(*[(0.75, True)] * 3, (0.75, False))
    too_sure = with_confidences(*[(0.9, False)] * 4)
    assert calibration_error(reliability(as_sure_as_right)) == pytest.approx(0)
    assert calibration_error(reliability(too_sure)) == pytest.approx(0.9)
    assert calibration_error(reliability([*as_sure_as_right, *too_sure])) == pytest.approx(0.45)


def test_coverage_is_the_most_that_a_threshold_keeps_at_that_precision() -> None:
    sure = [(0.9, True)] * 19
    assert coverage_at(with_confidences(*sure, (0.5, False)), 0.95) == 1
    assert coverage_at(with_confidences(*sure, (0.5, False), (0.5, False)), 0.95) == pytest.approx(19 / 21)
    assert coverage_at(with_confidences((0.9, False), (0.5, True)), 0.95) == 0
    # Among equals no threshold can choose: the wrong one takes the right ones with it.
    assert coverage_at(with_confidences((0.9, True), (0.9, True), (0.9, False)), 0.95) == 0


@given(MANY, st.floats(0.5, 1), st.floats(0.5, 1))
def test_asking_for_more_precision_never_covers_more(judged: list[Judged], one: float, other: float) -> None:
    assert coverage_at(judged, max(one, other)) <= coverage_at(judged, min(one, other))


def test_actions_count_only_what_would_have_been_acted_on() -> None:
    judged = [
        a_judged(acts={"bold": True, "shy": True}),
        a_judged(believed=QUALITY, acts={"bold": True, "shy": False}),
        a_judged(UNKNOWN, UNKNOWN, acts={"bold": False, "shy": False}),
    ]
    actions = measure(judged).actions
    assert (actions["bold"].part, actions["bold"].whole) == (1, 2)
    assert (actions["shy"].part, actions["shy"].whole) == (1, 1)


def test_plain_and_hard_subtypes_and_quotes_are_counted_apart() -> None:
    judged = [
        a_judged(quote_count=2, verbatim_count=2, milliseconds=1.0),
        a_judged(is_hard=True, believed=QUALITY, subtype="x", quote_count=1, milliseconds=3.0),
        a_judged(is_hard=True, subtype="other", milliseconds=2.0),
    ]
    found = measure(judged)
    assert (found.plain.accuracy.share, found.hard.accuracy.share) == (1, 0.5)
    assert (found.subtype.part, found.subtype.whole) == (1, 2)  # a wrong type has no right subtype
    assert (found.quotes.part, found.quotes.whole) == (2, 3)
    assert (found.median_milliseconds, found.p95_milliseconds) == (2.0, 3.0)


def test_of_nothing_there_is_no_share() -> None:
    found = measure([a_judged(believed=QUALITY)])
    assert found.subtype.share is found.quotes.share is found.median_milliseconds is found.hard.macro_f1 is None
    with pytest.raises(ValueError, match="no case"):
        measure([])


@settings(max_examples=10, deadline=None)
@given(MANY)
def test_figures_survive_json(judged: list[Judged]) -> None:
    found = measure(judged)
    assert from_json(type(found), to_json(found)) == found
