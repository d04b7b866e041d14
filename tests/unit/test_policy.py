"""The gate: nothing acts that no rule lets act."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mendline.config import Breaker, ChangeWindow, Policy, Rule
from mendline.errors import ConfigError
from mendline.history import EMPTY, Deed, Event, History, read_history, reset_breaker
from mendline.incident import Attempt, Classification, FailureType, OutcomeKind, Plan, VerificationState
from mendline.policy import Situation, breakers, decide, require_known, rule_on, sentences
from mendline.stores.base import Feedback, Intent
from mendline.testing.memory_store import MemoryStore
from mendline.testing.values import an_attempt, an_incident, an_outcome


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


@given(
    words=st.lists(st.sampled_from(["auto", "ask", "suggest", "off"]), max_size=4),
    confidence=st.floats(0, 1),
    kind=st.sampled_from([FailureType.RESOURCE, FailureType.UNKNOWN]),
)
def test_no_rule_without_the_name_lets_what_escalates_by_default_do_more_than_be_suggested(
    words: list[Any], confidence: float, kind: FailureType
) -> None:
    others = [Rule(type=other, decision="auto") for other in FailureType if other is not kind]
    policy = Policy(rules=(*(Rule(decision=word) for word in words), *others))
    assert rule_on(policy, plan(), belief(kind, confidence), "p").decision in ("suggest", "off")
    named = policy.model_copy(update={"rules": (Rule(type=kind, decision="auto"), *policy.rules)})
    assert rule_on(named, plan(), belief(kind, confidence), "p").decision == "auto"


def test_a_rule_for_all_types_still_forbids_what_escalates_by_default() -> None:
    policy = Policy(rules=(Rule(decision="off"), Rule(type=FailureType.RESOURCE, decision="auto")))
    assert rule_on(policy, plan(), belief(FailureType.RESOURCE), "p").decision == "off"
    assert "every type but RESOURCE and UNKNOWN" in next(sentences(AUTO))


AT = datetime(2026, 11, 23, 2, 30, tzinfo=UTC)  # a Monday
CATALOGUE = frozenset({"apply_schema_migration", "apply_quality_filter", "retry_with_backoff"})
STRICTNESS = ("off", "suggest", "ask", "auto")
AUTO = Policy(rules=(Rule(decision="auto"),))


def situation(history: History = EMPTY, now: datetime = AT, stages: tuple[str, ...] = ("load",)) -> Situation:
    return Situation(pipeline="p", stages=stages, catalogue=CATALOGUE, now=now, history=history)


def ruled(policy: Policy, history: History = EMPTY, **values: Any) -> str:
    return decide(policy, plan(), belief(), situation(history, **values)).decision


def deeds(count: int, at: datetime = AT, repair: str = "apply_schema_migration", pipeline: str = "p") -> History:
    return History(deeds=tuple(Deed(key=str(n), pipeline=pipeline, repair=repair, at=at) for n in range(count)))


def events(name: str, *ages_days: float) -> tuple[Event, ...]:
    return tuple(Event(name=name, incident_id=str(n), at=AT - timedelta(days=age)) for n, age in enumerate(ages_days))


def strictness(word: str) -> int:
    return STRICTNESS.index(word)


decisions = st.sampled_from(["auto", "ask", "suggest", "off"])
confidences = st.sampled_from([0.0, 0.3, 0.5, 0.8, 0.9, 1.0])
rules = st.builds(
    Rule,
    action=st.sampled_from(["*", "apply_schema_migration", "retry_with_backoff"]),
    min_confidence=confidences,
    decision=decisions,
)
windows = st.builds(
    ChangeWindow,
    days=st.lists(st.sampled_from(["mon", "tue", "sun"]), max_size=2).map(tuple),
    begins=st.times(),
    ends=st.times(),
    time_zone=st.sampled_from(["UTC", "Europe/Zurich", "Pacific/Auckland"]),
)
policies = st.builds(
    Policy,
    rules=st.lists(rules, max_size=4).map(tuple),
    default=st.sampled_from(["suggest", "off"]),
    shadow=st.booleans(),
    max_per_day=st.integers(0, 4),
    change_windows=st.lists(windows, max_size=2).map(tuple),
    breaker=st.builds(Breaker, failures=st.integers(1, 3), stage_failures=st.integers(1, 3)),
)
ages = st.lists(st.floats(0, 9), max_size=5)
histories = st.builds(
    lambda done, wrong, failed, reset: History(
        deeds=deeds(done).deeds,
        mishaps=events("action:apply_schema_migration@p", *wrong),
        failures=events("stage:load@p", *failed),
        resets={} if reset is None else {"stage:load@p": AT - timedelta(days=reset)},
    ),
    st.integers(0, 5),
    ages,
    ages,
    st.none() | st.floats(0, 9),
)
statements = st.sampled_from(["CREATE VIEW a AS SELECT 1", "DROP TABLE a", "GRANT SELECT ON a TO b"])


@given(policies, confidences, histories, st.lists(statements, max_size=2), st.booleans())
def test_no_limit_ever_allows_more_than_the_rules_do(
    policy: Policy, confidence: float, history: History, said: list[str], known: bool
) -> None:
    made = replace(plan(), statements=tuple(said), repair="apply_schema_migration" if known else "wipe_disk")
    word = decide(policy, made, belief(confidence=confidence), situation(history)).decision
    assert strictness(word) <= strictness(rule_on(policy, made, belief(confidence=confidence), "p").decision)
    if not known or any(statement.startswith(("DROP", "GRANT")) for statement in said) or policy.shadow:
        assert word in ("suggest", "off")


@given(policies, confidences, confidences, histories)
def test_a_less_sure_plan_is_never_allowed_more(policy: Policy, one: float, other: float, history: History) -> None:
    words = [decide(policy, plan(), belief(confidence=c), situation(history)).decision for c in sorted((one, other))]
    assert strictness(words[0]) <= strictness(words[1])


@given(policies, histories, ages, st.integers(0, 3))
def test_more_done_and_more_gone_wrong_never_allows_more(
    policy: Policy, history: History, more: list[float], more_done: int
) -> None:
    worse = replace(
        history,
        deeds=(*history.deeds, *(replace(deed, key=f"more {deed.key}") for deed in deeds(more_done).deeds)),
        mishaps=(*history.mishaps, *events("action:apply_schema_migration@p", *more)),
        failures=(*history.failures, *events("stage:load@p", *more)),
    )
    assert strictness(ruled(policy, worse)) <= strictness(ruled(policy, history))


@given(policies, histories)
def test_out_of_shadow_mode_the_word_is_what_the_shadow_said(policy: Policy, history: History) -> None:
    shadow = decide(policy.model_copy(update={"shadow": True}), plan(), belief(), situation(history))
    real = decide(policy.model_copy(update={"shadow": False}), plan(), belief(), situation(history))
    assert (shadow.shadowed or shadow.decision) == real.decision
    assert shadow.decision in ("suggest", "off")


def test_the_days_budget_is_counted_per_repair_pipeline_and_utc_day() -> None:
    policy = AUTO.model_copy(update={"max_per_day": 2})
    assert ruled(policy, deeds(1)) == "auto"
    assert ruled(policy, deeds(2)) == "ask"
    assert ruled(policy, deeds(2, repair="retry_with_backoff")) == "auto"
    assert ruled(policy, deeds(2, pipeline="q")) == "auto"
    assert ruled(policy, deeds(2, at=AT - timedelta(hours=3))) == "auto"  # yesterday
    zurich = (AT - timedelta(hours=2)).astimezone(ZoneInfo("Europe/Zurich"))
    assert ruled(policy, deeds(2, at=zurich)) == "ask"


def test_a_repair_that_is_repeated_after_a_crash_is_not_counted_against_itself() -> None:
    history = History(deeds=(Deed(key="k", pipeline="p", repair="apply_schema_migration", at=AT),))
    assert ruled(AUTO.model_copy(update={"max_per_day": 1}), history) == "auto"


@pytest.mark.parametrize(
    ("window", "at", "is_open"),
    [
        ({}, "2026-11-23T02:30", True),
        ({"days": ["tue"]}, "2026-11-23T02:30", False),
        ({"begins": "08:00", "ends": "18:00"}, "2026-11-23T08:00", True),
        ({"begins": "08:00", "ends": "18:00"}, "2026-11-23T18:00", False),
        ({"begins": 22 * 60, "ends": "04:00", "days": ["sun"]}, "2026-11-23T03:59", True),  # began on Sunday
        ({"begins": "22:00", "ends": "04:00", "days": ["sun"]}, "2026-11-23T04:00", False),
        ({"begins": "22:00", "ends": "04:00", "days": ["sun"]}, "2026-11-23T23:00", False),
        ({"begins": "22:00", "ends": "04:00", "days": ["sun"]}, "2026-11-22T03:00", False),  # of Saturday's
        ({"begins": "08:00", "ends": "24:00"}, "2026-11-23T23:59", True),
        ({"begins": "09:00", "ends": "10:00", "time_zone": "Europe/Zurich"}, "2026-11-23T08:30", True),
        ({"begins": "09:00", "ends": "10:00", "time_zone": "Europe/Zurich"}, "2026-07-06T07:30", True),  # summer time
        ({"begins": "09:00", "ends": "10:00", "time_zone": "Europe/Zurich"}, "2026-07-06T08:30", False),
        ({"days": ["tue"], "time_zone": "Pacific/Auckland"}, "2026-11-23T12:00", True),  # Tuesday there
    ],
)
def test_outside_its_change_windows_a_repair_asks(window: dict[str, Any], at: str, is_open: bool) -> None:
    policy = AUTO.model_copy(update={"change_windows": (ChangeWindow.model_validate(window),)})
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert ruled(policy, now=moment) == ("auto" if is_open else "ask")


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ({"begins": "25:00"}, "hour value is outside"),
        ({"begins": 8}, "`8` is no time of day; write it like `08:30`"),
        ({"begins": True}, "is no time of day"),
        ({"begins": "noon"}, "is no time of day"),
        ({"time_zone": "Mars"}, "there is no time zone `Mars`"),
        ({"time_zone": "../../etc/passwd"}, "there is no time zone"),
        ({"days": ["monday"]}, "'mon'"),
    ],
)
def test_a_change_window_that_cannot_be_meant_is_refused(window: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        ChangeWindow.model_validate(window)


def test_off_needs_no_quotes_in_the_file() -> None:
    policy = Policy.model_validate(yaml.safe_load("{default: off, rules: [{decision: off}]}"))
    assert (policy.default, policy.rules[0].decision) == ("off", "off")


def test_what_is_allowed_and_what_limits_it_is_said_in_sentences() -> None:
    window = ChangeWindow.model_validate({"days": ["mon"], "begins": "08:00", "ends": "18:00"})
    policy = Policy(rules=(Rule(decision="ask"),), shadow=True, change_windows=(window,), approvers=("ann",))
    said = "\n".join(sentences(policy))
    for part in (
        "ask `*`",
        "only suggested",
        "shadow mode",
        "at most 20",
        "on mon from 08:00 to 18:00 (UTC)",
        "ann may",
    ):
        assert part in said


class TestBreakers:
    name = "action:apply_schema_migration@p"
    policy = AUTO.model_copy(update={"breaker": Breaker(failures=3)})

    def test_so_many_failures_open_it_and_the_reason_names_it(self) -> None:
        assert ruled(self.policy, History(mishaps=events(self.name, 1, 2))) == "auto"
        ruling = decide(self.policy, plan(), belief(), situation(History(mishaps=events(self.name, 1, 2, 3))))
        assert ruling.decision == "ask"
        assert f"breaker `{self.name}` is open: went wrong 3 times in 7 days (incidents 0, 1, 2)" in ruling.reason
        assert f"`mendline breaker reset {self.name}` closes it" in ruling.reason

    def test_it_ages_out(self) -> None:
        assert ruled(self.policy, History(mishaps=events(self.name, 1, 2, 6.9))) == "ask"
        assert ruled(self.policy, History(mishaps=events(self.name, 1, 2, 7.1))) == "auto"

    def test_a_reset_closes_it_and_what_comes_after_counts_again(self) -> None:
        history = History(mishaps=events(self.name, 1, 2, 3), resets={self.name: AT - timedelta(days=0.5)})
        assert ruled(self.policy, history) == "auto"
        assert ruled(self.policy, replace(history, mishaps=events(self.name, 0.1, 0.2, 0.3, 2))) == "ask"

    def test_it_stops_its_own_repair_and_pipeline_only(self) -> None:
        history = History(mishaps=events("action:apply_schema_migration@q", 1, 2, 3))
        assert ruled(self.policy, history) == "auto"
        assert ruled(self.policy, History(mishaps=events("action:retry_with_backoff@p", 1, 2, 3))) == "auto"

    def test_a_stage_that_fails_too_often_stops_every_repair_of_it(self) -> None:
        policy = AUTO.model_copy(update={"breaker": Breaker(stage_failures=3)})
        failures = events("stage:load@p", 0, 1, 2, 3)
        assert ruled(policy, History(failures=failures[:3])) == "auto"
        assert ruled(policy, History(failures=failures)) == "ask"
        assert ruled(policy, History(failures=failures), stages=("other",)) == "auto"

    def test_none_that_nothing_speaks_for_is_listed(self) -> None:
        history = History(mishaps=events(self.name, 1), failures=events("stage:load@p", 8))
        assert [(one.name, one.is_open) for one in breakers(AUTO, history, AT)] == [(self.name, False)]


class TestHistory:
    def store(self, *attempts: Attempt, feedback: str = "", kind: OutcomeKind = OutcomeKind.ESCALATED) -> MemoryStore:
        store = MemoryStore(now=lambda: AT)
        made = store.open_incident(an_incident(failed_at=AT)).incident
        store.close_incident(made.id, an_outcome(kind, attempts=attempts, ended_at=AT), "")
        if feedback == "harmed":
            store.add_feedback(Feedback(incident_id=made.id, given_at=AT, repair="harmed"))
        return store

    def mishaps(self, store: MemoryStore) -> list[str]:
        return [event.name for event in read_history(store, AT, 7).mishaps]

    def test_what_did_not_verify_or_harmed_is_a_mishap(self) -> None:
        wrong = ["action:a_repair@pipeline"]
        assert self.mishaps(self.store(an_attempt(state=VerificationState.NOT_FIXED))) == wrong
        assert self.mishaps(self.store(an_attempt(state=VerificationState.WORSE))) == wrong
        assert self.mishaps(self.store(an_attempt(), feedback="harmed", kind=OutcomeKind.RESOLVED)) == wrong
        undone = replace(an_attempt(undone=True), undone_by="ann", undone_at=AT)
        assert self.mishaps(self.store(undone, kind=OutcomeKind.RESOLVED)) == wrong
        assert self.mishaps(self.store(an_attempt(), kind=OutcomeKind.RESOLVED)) == []
        assert self.mishaps(self.store(an_attempt(applied=False, state=None))) == []

    def test_a_retry_that_succeeds_in_the_end_is_none_and_one_incident_counts_once(self) -> None:
        tries = [an_attempt(state=VerificationState.NOT_FIXED)] * 3
        assert self.mishaps(self.store(*tries, an_attempt(), kind=OutcomeKind.RESOLVED)) == []
        assert len(self.mishaps(self.store(*tries))) == 1

    def test_one_that_waits_for_approval_has_not_ended(self) -> None:
        attempt = an_attempt(state=VerificationState.NOT_FIXED)
        assert self.mishaps(self.store(attempt, kind=OutcomeKind.AWAITING_APPROVAL)) == []

    def test_failures_and_deeds_come_from_the_record(self) -> None:
        store = self.store()
        store.put_intent(Intent(key="k", incident_id="1", repair="a_repair", plan_json="{}", intended_at=AT))
        history = read_history(store, AT, 7)
        assert [event.name for event in history.failures] == ["stage:stage@pipeline"]
        assert history.deeds == (Deed(key="k", pipeline="pipeline", repair="a_repair", at=AT),)

    def test_a_reset_is_kept(self) -> None:
        store = self.store(an_attempt(state=VerificationState.WORSE))
        reset_breaker(store, "action:a_repair@pipeline", "ann", AT)
        assert read_history(store, AT, 7).resets == {"action:a_repair@pipeline": AT}


class TestNeverAutomated:
    @pytest.mark.parametrize(
        "statement",
        [
            "DROP TABLE raw.orders",
            "drop schema raw cascade",
            "-- harmless\nDROP TABLE raw.orders",
            "/* a */ /* b */ TRUNCATE raw.orders",
            "SELECT 1; TRUNCATE TABLE raw.orders",
            "ALTER TABLE a DROP COLUMN b",
            "ALTER TABLE a DROP CONSTRAINT b",
            "ALTER TABLE a OWNER TO b",
            "GRANT ALL ON a TO b",
            "REVOKE ALL ON a FROM b",
            "CREATE ROLE a",
            "ALTER USER a PASSWORD 'b'",
            "CREATE OR REPLACE PERSISTENT SECRET s (TYPE s3)",
            "SET ROLE admin",
        ],
    )
    def test_a_plan_with_such_a_statement_is_only_suggested(self, statement: str) -> None:
        ruling = decide(AUTO, replace(plan(), statements=(statement,)), belief(), situation())
        assert ruling.decision == "suggest"
        assert "never automated" in ruling.reason

    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE OR REPLACE VIEW a AS SELECT 1",
            "DROP VIEW a",
            "DROP MATERIALIZED VIEW a",
            "ALTER TABLE a ALTER COLUMN b DROP NOT NULL",
            "ALTER TABLE a ALTER COLUMN b TYPE BIGINT",
            "DELETE FROM a WHERE b = 'x; DROP TABLE a'",
            "-- set aside: SELECT 1; DROP TABLE a",
            'SELECT "drop" FROM server',
            "CREATE TABLE users (a INTEGER)",
        ],
    )
    def test_what_the_repairs_do_is_not_mistaken_for_one(self, statement: str) -> None:
        assert decide(AUTO, replace(plan(), statements=(statement,)), belief(), situation()).decision == "auto"

    def test_a_rule_for_what_is_no_repair_is_a_config_error(self) -> None:
        with pytest.raises(ConfigError, match=r"rule 2: `drop_table` is no tool.*there are apply_quality_filter"):
            require_known(Policy(rules=(Rule(decision="ask"), Rule(action="drop_table", decision="auto"))), CATALOGUE)
        require_known(AUTO, CATALOGUE)
