"""The scorecard counts what the record says, and says nothing where the record is silent."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from mendline.errors import Unavailable
from mendline.incident import FailureType, OutcomeKind, VerificationState, from_json, to_json
from mendline.scorecard.metrics import registry
from mendline.scorecard.score import Scorecard, scorecard
from mendline.stores.base import Feedback, IncidentRecord
from mendline.testing.values import NOON, a_classification, a_record, an_attempt, an_outcome


def said(**words: Any) -> Feedback:
    return Feedback(incident_id="1", given_at=NOON, **words)


def resolved(after_s: float, *attempts: Any, feedback: tuple[Feedback, ...] = (), **outcome: Any) -> IncidentRecord:
    ended_at = NOON + timedelta(seconds=after_s)
    return a_record(an_outcome(attempts=attempts or (an_attempt(),), ended_at=ended_at, **outcome), feedback=feedback)


def believed(confidence: float, is_right: bool) -> IncidentRecord:
    outcome = an_outcome(classification=a_classification(confidence=confidence))
    return a_record(outcome, feedback=[said(type_right=is_right)])


class TestNoData:
    def test_rates_and_times_are_none_and_never_zero_or_one(self) -> None:
        card = scorecard([])
        total = card.total
        assert (total.accuracy, total.automation_rate, total.repair_success_rate) == (None, None, None)
        assert (total.resolution.median_seconds, total.resolution.p90_seconds) == (None, None)
        assert card.calibration_error is None
        assert {(row.count, row.accuracy, row.mean_confidence) for row in card.reliability} == {(0, None, None)}
        assert (card.by_type, card.by_action, card.seconds_by_phase) == ({}, {}, {})

    def test_an_incident_in_work_is_open_and_nothing_else(self) -> None:
        card = scorecard([a_record(None)])
        assert (card.total.incident_count, card.total.open_count, card.total.automation_rate) == (1, 1, None)

    def test_one_that_waits_for_a_person_is_open(self) -> None:
        total = scorecard([a_record(an_outcome(OutcomeKind.AWAITING_APPROVAL))]).total
        assert (total.open_count, total.resolved_count, total.escalated_count) == (1, 0, 0)


class TestProposals:
    def test_what_was_only_planned_is_counted_apart_from_what_was_done(self) -> None:
        planned = replace(an_attempt(applied=False, state=None), decision="suggest")
        records = [
            a_record(an_outcome(OutcomeKind.ESCALATED, attempts=[planned])),
            a_record(an_outcome(OutcomeKind.ESCALATED, attempts=[replace(planned, shadowed="auto")])),
            a_record(an_outcome(OutcomeKind.ESCALATED, attempts=[replace(planned, shadowed="ask")])),
            a_record(an_outcome(OutcomeKind.ESCALATED, attempts=[replace(planned, decision="ask")])),
            a_record(an_outcome(OutcomeKind.AWAITING_APPROVAL, attempts=[replace(planned, decision="ask")])),
        ]
        score = scorecard(records).by_action["a_repair"]
        assert (score.applied_count, score.proposed_count, score.shadowed_count) == (0, 4, 1)
        assert score.success_rate is None


class TestAccuracy:
    def test_only_judged_incidents_count(self) -> None:
        judged = [believed(0.9, True), believed(0.9, True), believed(0.9, False)]
        total = scorecard([*judged, a_record(an_outcome())]).total
        assert (total.judged_count, total.right_count) == (3, 2)
        assert total.accuracy == pytest.approx(2 / 3)

    @pytest.mark.parametrize(
        ("words", "accuracy"),
        [
            ([said(type_right=False), said(type_right=True)], 1.0),
            ([said(type_right=True), said(type_right=False)], 0.0),
            ([said(type_right=False), said(note="and another thing")], 0.0),
            ([said(right_type="SCHEMA_CHANGE")], 1.0),
            ([said(right_type="RESOURCE")], 0.0),
            ([said(repair="helped")], None),
        ],
    )
    def test_the_last_word_on_the_type_counts(self, words: list[Feedback], accuracy: float | None) -> None:
        assert scorecard([a_record(an_outcome(), feedback=words)]).total.accuracy == accuracy

    def test_confidence_is_compared_with_accuracy_bin_by_bin(self) -> None:
        card = scorecard([believed(0.95, True), believed(1.0, False), believed(0.8, True), believed(0.0, False)])
        by_lower = {row.lower: row for row in card.reliability}
        assert [row.count for row in card.reliability] == [1, 0, 0, 0, 0, 0, 0, 0, 1, 2]
        assert by_lower[0.9].accuracy == 0.5
        assert by_lower[0.9].mean_confidence == pytest.approx(0.975)
        assert card.calibration_error == pytest.approx((2 * 0.475 + 0.2 + 0.0) / 4)


class TestActions:
    def test_automation_counts_neither_asked_repairs_nor_recoveries(self) -> None:
        asked = an_attempt()
        object.__setattr__(asked, "decision", "ask")
        records = [
            resolved(60),
            resolved(60, asked),
            a_record(an_outcome(OutcomeKind.ESCALATED)),
            a_record(an_outcome(OutcomeKind.RECOVERED)),
        ]
        total = scorecard(records).total
        assert (total.resolved_count, total.automated_count) == (2, 1)
        assert total.automation_rate == pytest.approx(1 / 3)

    def test_repairs_are_scored_by_what_verification_proved(self) -> None:
        attempts = [
            an_attempt("view"),
            an_attempt("view", state=VerificationState.NOT_FIXED, undone=True),
            an_attempt("view", state=VerificationState.WORSE, undone=True),
            an_attempt("view", state=None),
            an_attempt("view", state=None, applied=False),
            an_attempt("retry"),
        ]
        card = scorecard([a_record(an_outcome(OutcomeKind.ESCALATED, attempts=attempts))])
        view = card.by_action["view"]
        assert (view.applied_count, view.fixed_count, view.wrong_count, view.harmful_count) == (4, 1, 2, 1)
        assert (view.undone_count, view.success_rate) == (2, 0.25)
        assert card.by_action["retry"].success_rate == 1.0
        assert card.total.repair_success_rate == pytest.approx(2 / 5)
        assert (card.total.wrong_action_count, card.total.harmful_action_count) == (2, 1)

    def test_a_persons_harmed_outweighs_our_own_verification(self) -> None:
        card = scorecard([resolved(60, an_attempt("view"), an_attempt("retry"), feedback=(said(repair="harmed"),))])
        assert (card.by_action["view"].harmful_count, card.by_action["retry"].harmful_count) == (0, 1)
        assert (card.total.wrong_action_count, card.total.harmful_action_count) == (1, 1)

    def test_harm_without_a_repair_on_record_is_still_harm(self) -> None:
        card = scorecard([a_record(an_outcome(OutcomeKind.ESCALATED), feedback=[said(repair="harmed")])])
        assert (card.total.harmful_action_count, card.by_action) == (1, {})

    def test_a_harmed_that_was_taken_back_is_none(self) -> None:
        words = (said(repair="harmed"), said(repair="helped"))
        assert scorecard([resolved(60, feedback=words)]).total.harmful_action_count == 0


class TestTimes:
    def test_resolution_runs_from_the_first_failure_and_only_for_resolved_ones(self) -> None:
        records = [resolved(seconds) for seconds in range(10, 110, 10)]
        resolution = scorecard([*records, a_record(an_outcome(OutcomeKind.ESCALATED))]).total.resolution
        assert (resolution.count, resolution.median_seconds, resolution.p90_seconds) == (10, 55, 90)

    def test_phases_are_told_apart(self) -> None:
        card = scorecard([resolved(60, seconds={"logs": 1.0}), resolved(60, seconds={"logs": 3.0, "verify": 9.0})])
        assert card.seconds_by_phase["logs"].median_seconds == 2.0
        assert card.seconds_by_phase["verify"].count == 1


def test_each_type_has_its_own_score() -> None:
    quality = an_outcome(OutcomeKind.ESCALATED, classification=a_classification(FailureType.DATA_QUALITY))
    card = scorecard([resolved(60), a_record(quality)])
    assert list(card.by_type) == [FailureType.DATA_QUALITY, FailureType.SCHEMA_CHANGE]
    assert card.by_type[FailureType.DATA_QUALITY].automation_rate == 0.0
    assert card.by_type[FailureType.SCHEMA_CHANGE].automation_rate == 1.0


OUTCOMES = st.builds(
    lambda kind, cause, confidence, states, seconds: an_outcome(
        kind,
        classification=a_classification(cause, confidence),
        attempts=[an_attempt(name, state=state) for name, state in states],
        ended_at=NOON + timedelta(seconds=seconds),
        seconds={"verify": seconds},
    ),
    st.sampled_from(list(OutcomeKind)),
    st.sampled_from(list(FailureType)),
    st.floats(0, 1),
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([None, *VerificationState])), max_size=3),
    st.floats(0, 1e6),
)
WORDS = st.builds(
    said,
    type_right=st.sampled_from([None, True, False]),
    right_type=st.sampled_from([None, *map(str, FailureType)]),
    repair=st.sampled_from([None, "helped", "harmed"]),
)
RECORDS = st.lists(
    st.builds(
        lambda outcome, words: a_record(outcome, feedback=words), st.none() | OUTCOMES, st.lists(WORDS, max_size=2)
    ),
    max_size=8,
)


@given(RECORDS)
def test_the_parts_add_up_to_the_whole(records: list[IncidentRecord]) -> None:
    card = scorecard(records)
    total = card.total
    ended_count = total.resolved_count + total.escalated_count + total.recovered_count
    assert total.incident_count == len(records) == ended_count + total.open_count
    assert sum(score.applied_count for score in card.by_type.values()) == total.applied_count
    assert sum(score.applied_count for score in card.by_action.values()) == total.applied_count
    assert sum(row.count for row in card.reliability) == total.judged_count
    assert total.harmful_action_count <= total.wrong_action_count
    assert total.automated_count <= total.resolved_count
    for score in (total, *card.by_type.values()):
        for rate, whole in ((score.accuracy, score.judged_count), (score.repair_success_rate, score.applied_count)):
            assert (rate is None) == (whole == 0)
            assert rate is None or 0 <= rate <= 1


@given(RECORDS, st.randoms())
def test_the_order_of_the_records_does_not_matter(records: list[IncidentRecord], order: random.Random) -> None:
    shuffled = records[:]
    order.shuffle(shuffled)
    one, other = scorecard(records), scorecard(shuffled)
    assert one.total == other.total
    assert one.by_action == other.by_action
    assert one.seconds_by_phase == other.seconds_by_phase


@given(RECORDS)
def test_it_is_json_and_comes_back(records: list[IncidentRecord]) -> None:
    card = scorecard(records)
    assert from_json(Scorecard, to_json(card)) == card


class TestMetrics:
    def exposed(self, *records: IncidentRecord) -> dict[str, float]:
        lines = generate_latest(registry(lambda: records)).decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def test_they_say_what_the_scorecard_says(self) -> None:
        exposed = self.exposed(
            resolved(60, an_attempt("view"), seconds={"logs": 0.5}, feedback=(said(type_right=True),)),
            resolved(61, an_attempt("view", state=VerificationState.NOT_FIXED), an_attempt("view")),
            a_record(an_outcome(OutcomeKind.ESCALATED)),
            a_record(None),
        )
        expected = {
            "mendline_store_up": 1,
            'mendline_incidents_total{outcome="resolved",type="SCHEMA_CHANGE"}': 2,
            'mendline_incidents_total{outcome="escalated",type="SCHEMA_CHANGE"}': 1,
            "mendline_incidents_open": 1,
            'mendline_repairs_total{repair="view",result="fixed"}': 2,
            'mendline_repairs_total{repair="view",result="not_fixed"}': 1,
            "mendline_wrong_actions": 1,
            "mendline_harmful_actions": 0,
            'mendline_accuracy_ratio{type="all"}': 1,
            'mendline_automation_ratio{type="SCHEMA_CHANGE"}': 2 / 3,
            'mendline_resolution_seconds_bucket{le="30.0",type="SCHEMA_CHANGE"}': 0,
            'mendline_resolution_seconds_bucket{le="60.0",type="SCHEMA_CHANGE"}': 1,
            'mendline_resolution_seconds_bucket{le="+Inf",type="SCHEMA_CHANGE"}': 2,
            'mendline_resolution_seconds_sum{type="SCHEMA_CHANGE"}': 121,
            'mendline_phase_seconds_count{phase="logs"}': 1,
        }
        assert {name: exposed.get(name) for name in expected} == pytest.approx(expected)

    def test_a_ratio_without_data_has_no_sample(self) -> None:
        assert not [name for name in self.exposed() if "ratio" in name or "calibration" in name]

    def test_a_name_of_a_repair_cannot_forge_a_line(self) -> None:
        hostile = 'x"} 1\nmendline_harmful_actions 99\n#'
        assert self.exposed(resolved(60, an_attempt(hostile)))["mendline_harmful_actions"] == 0

    def test_a_store_that_does_not_answer_is_told_as_such(self) -> None:
        def down() -> tuple[IncidentRecord, ...]:
            raise Unavailable("the state database does not answer")

        assert b"mendline_store_up 0.0" in generate_latest(registry(down))
