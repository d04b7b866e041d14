"""A repair that asks: it waits for a person, does what the person saw, once, and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from contracts.approval_process import opened
from mendline import app
from mendline.approvals import TOPIC, WAITING, digest, give, latest
from mendline.config import load_config
from mendline.errors import InputError, RefusedByPolicy
from mendline.history import read_history, reset_breaker
from mendline.incident import Answer, Attempt, Outcome, OutcomeKind, Plan, VerificationState
from mendline.report.markdown import render
from mendline.stores.base import Approval, Store
from mendline.testing.direct_durable import DirectDurable
from mendline.testing.values import NOON, an_attempt, an_incident, an_outcome
from mendline.testing.waiting import wait_until
from unit.test_workflow import WITH_NULLS, column_renamed, rows_bad, source_down_twice
from unit.workflow_world import CONFIG, PARCELS, Freight

ASKING = CONFIG.replace("decision: auto", "decision: ask")
ANSWERED_AT = datetime(2026, 1, 1, 1, 0, tzinfo=UTC)  # an hour after the world's clock begins
Meanwhile = Callable[[DirectDurable], None]


def answering(
    world: Freight,
    incident: str,
    word: Literal["approved", "denied"] = "approved",
    *,
    is_sent: bool = True,
    before: Callable[[Approval], None] = lambda _: None,
) -> Meanwhile:
    """A person who answers whatever is announced; with `is_sent` false, the message to the workflow is lost.

    `before` is called between a question and its answer.
    """

    def meanwhile(durable: DirectDurable) -> None:
        for asked in open_questions(world, incident):
            before(asked)
            give(world.store, asked, Answer(decision=word, by="ann", at=ANSWERED_AT, note="fine"), ())
        for asked in world.store.approvals(incident):
            if is_sent and asked.answer is not None:
                durable.send(incident, TOPIC, asked.key, asked.key)

    return meanwhile


def open_questions(world: Freight, incident: str) -> list[Approval]:
    """The questions that people have been told of and have not answered."""
    record = world.store.incident(incident)
    is_announced = record is not None and record.phase == WAITING and record.outcome is not None
    return [asked for asked in world.store.approvals(incident) if asked.answer is None] if is_announced else []


def broken(directory: Path, fault: Callable[[Freight], None] = rows_bad, config: str = ASKING) -> tuple[Freight, str]:
    world = Freight(directory, config=config)
    fault(world)
    return world, world.fail()


def ended(world: Freight, incident: str, meanwhile: Meanwhile) -> Outcome:
    assert world.begin(incident, meanwhile=meanwhile)
    assert world.journal.errors[incident] is None
    return world.outcome(incident)


def last(outcome: Outcome) -> Attempt:
    return outcome.attempts[-1]


@pytest.mark.parametrize("fault", [rows_bad, column_renamed, source_down_twice], ids=lambda fault: fault.__name__)
def test_an_approved_plan_is_carried_out_and_the_record_says_who_let_it(
    tmp_path: Path, fault: Callable[[Freight], None]
) -> None:
    world, incident = broken(tmp_path, fault)
    outcome = ended(world, incident, answering(world, incident))
    assert outcome.kind is OutcomeKind.RESOLVED
    assert last(outcome).decision == "ask"
    assert last(outcome).answer == Answer(decision="approved", by="ann", at=ANSWERED_AT, note="fine")
    assert set(world.delivered) == {"awaiting_approval", "resolved"}
    record = world.store.incident(incident)
    assert record is not None
    assert "approved by ann at 2026-01-01 01:00 UTC (fine)" in render(record)


def test_nothing_is_touched_while_it_waits_and_others_may_use_the_pipeline(tmp_path: Path) -> None:
    world, incident = broken(tmp_path)
    before, calls, seen = world.data(), len(world.engine.calls), []

    def look(durable: DirectDurable) -> None:
        if open_questions(world, incident) and not seen:
            assert world.store.lease("pipeline:memory/freight", "another", 3600)
            world.store.release("pipeline:memory/freight", "another")
            record = world.store.incident(incident)
            assert record is not None
            seen.append((world.data(), len(world.engine.calls), world.store.intents(incident), record))
            answering(world, incident)(durable)

    ended(world, incident, look)
    ((data, call_count, intents, record),) = seen
    assert (data, call_count, intents) == (before, calls, ())
    said = render(record)
    assert f"mendline approve {incident}" in said.replace("\\", "")
    assert "DELETE FROM" in said
    assert record.outcome is not None
    assert "runs `weigh`, `bill` again" in record.outcome.recommended
    assert "Undo: the 5 rows go back" in record.outcome.recommended
    assert "Without an answer until 2026-01-02 00:00 UTC" in record.outcome.recommended


def test_a_denied_plan_leaves_everything_as_it_was_and_calls_a_person(tmp_path: Path) -> None:
    world, incident = broken(tmp_path)
    before, calls = world.data(), len(world.engine.calls)
    outcome = ended(world, incident, answering(world, incident, "denied"))
    assert outcome.kind is OutcomeKind.ESCALATED
    assert (world.data(), len(world.engine.calls)) == (before, calls)
    assert "denied by ann at 2026-01-01 01:00 UTC (fine)" in outcome.recommended
    assert world.store.intents(incident) == ()


def test_without_an_answer_in_time_a_person_is_called_with_the_plan(tmp_path: Path) -> None:
    world, incident = broken(tmp_path)
    before = world.data()

    def nobody(_: DirectDurable) -> None:
        if open_questions(world, incident):
            world.clock.advance(1800)

    outcome = ended(world, incident, nobody)
    assert outcome.kind is OutcomeKind.ESCALATED
    assert world.data() == before
    answer = last(outcome).answer
    assert answer is not None
    assert answer.decision == "expired"
    assert "answered by nobody until 2026-01-02" in outcome.recommended
    assert last(outcome).plan is not None


def test_an_answer_whose_message_was_lost_is_found_all_the_same(tmp_path: Path) -> None:
    world, incident = broken(tmp_path)
    person = answering(world, incident, is_sent=False)

    def later(durable: DirectDurable) -> None:
        person(durable)
        if any(asked.answer for asked in world.store.approvals(incident)):
            world.clock.advance(30)

    assert ended(world, incident, later).kind is OutcomeKind.RESOLVED


def test_a_plan_whose_world_has_changed_is_asked_for_anew_and_never_run_as_it_was(tmp_path: Path) -> None:
    world, incident = broken(tmp_path)
    shown: list[int] = []

    def change_once(asked: Approval) -> None:
        if not shown:
            world.land(WITH_NULLS.replace("105", "109"))
        shown.append(asked.plan.moved_row_count)

    outcome = ended(world, incident, answering(world, incident, before=change_once))
    assert outcome.kind is OutcomeKind.RESOLVED
    assert shown == [5, 9]
    first, second = world.store.approvals(incident)
    assert first.digest != second.digest
    assert [intent.key for intent in world.store.intents(incident)] == [second.plan.key]
    assert len(world.data()["aside"]) == 9  # type: ignore[arg-type]  # it is a list


def test_a_world_that_changes_under_every_answer_is_left_to_a_person(tmp_path: Path) -> None:
    world, incident = broken(tmp_path)
    shown: list[str] = []

    def restless(asked: Approval) -> None:
        shown.append(asked.digest)
        world.land(WITH_NULLS.replace("105", str(105 + len(shown))))

    outcome = ended(world, incident, answering(world, incident, before=restless))
    assert outcome.kind is OutcomeKind.ESCALATED
    assert len(shown) == 3
    assert world.store.intents(incident) == ()
    assert "another one 3 times" in last(outcome).reason


def test_a_fault_that_was_mended_while_it_waited_ends_the_wait(tmp_path: Path) -> None:
    world, incident = broken(tmp_path)

    def mend(_: DirectDurable) -> None:
        if open_questions(world, incident):
            if not world.engine.is_rerun_by_hand:
                world.engine.is_rerun_by_hand = True
                world.land(PARCELS)
                world.engine.rerun_by_hand()
            world.clock.advance(60)

    outcome = ended(world, incident, mend)
    assert outcome.kind is OutcomeKind.RECOVERED
    assert world.store.intents(incident) == ()
    with pytest.raises(InputError, match=r"has ended \(recovered\).*withdrawn"):
        latest(world.store, incident)


def test_an_approval_for_data_that_a_later_run_has_replaced_does_nothing(tmp_path: Path) -> None:
    world, incident = broken(tmp_path)
    before = world.data()

    def another_run(_: Approval) -> None:
        world.engine.run()

    outcome = ended(world, incident, answering(world, incident, before=another_run))
    assert outcome.kind is OutcomeKind.ESCALATED
    assert world.data() == before
    assert "has replaced the data" in outcome.recommended


def test_a_plan_that_became_forbidden_while_it_waited_is_not_run(tmp_path: Path) -> None:
    world, incident = broken(tmp_path)
    person, before = answering(world, incident), world.data()
    stricter = Freight(tmp_path, config=ASKING.replace("decision: ask", "decision: off"), store=world.store)

    def restarted_with_another_policy(durable: DirectDurable) -> None:
        if open_questions(world, incident):
            durable.stopping.set()

    world.begin(incident, meanwhile=restarted_with_another_policy)
    world.services = stricter.services.__class__(**{**vars(world.services), "config": stricter.config})
    outcome = ended(world, incident, person)
    assert outcome.kind is OutcomeKind.ESCALATED
    assert (world.data(), last(outcome).decision) == (before, "off")


def test_each_further_attempt_asks_anew(tmp_path: Path) -> None:
    world, incident = broken(tmp_path, source_down_twice)
    ended(world, incident, answering(world, incident))
    asked = world.store.approvals(incident)
    assert len({question.digest for question in asked}) == len(asked) >= 2


@pytest.mark.parametrize("fault", [rows_bad, column_renamed], ids=lambda fault: fault.__name__)
def test_killed_at_every_step_while_it_waits_and_after_the_answer_it_acts_once(
    tmp_path: Path, fault: Callable[[Freight], None]
) -> None:
    calm, incident = broken(tmp_path / "calm", fault)
    ended(calm, incident, answering(calm, incident))
    world, _ = broken(tmp_path / "killed", fault)
    count = 0
    while not world.begin(incident, crash=(1, count % 2 == 0), meanwhile=answering(world, incident)):
        count += 1
        assert count < 1000, "it never ends"
    assert world.journal.errors[incident] is None
    assert world.state(incident) == calm.state(incident)
    assert len(world.store.approvals(incident)) == len(calm.store.approvals(incident)) == 1
    assert set(world.delivered) == {"awaiting_approval", "resolved"}


class TestLimits:
    def test_in_shadow_mode_nothing_is_touched_and_the_record_says_what_would_have_been_done(
        self, tmp_path: Path
    ) -> None:
        world, incident = broken(tmp_path, config=CONFIG.replace("policy:", "policy:\n  shadow: true"))
        before, calls = world.data(), len(world.engine.calls)
        outcome = ended(world, incident, lambda _: None)
        assert (world.data(), len(world.engine.calls), world.store.intents(incident)) == (before, calls, ())
        assert (last(outcome).decision, last(outcome).shadowed) == ("suggest", "auto")
        assert last(outcome).plan is not None
        record = world.store.incident(incident)
        assert record is not None
        assert "would have been done (shadow mode)" in render(record)

    def test_a_used_up_day_asks(self, tmp_path: Path) -> None:
        world, incident = broken(tmp_path, config=CONFIG.replace("policy:", "policy:\n  max_per_day: 0"))
        outcome = ended(world, incident, answering(world, incident))
        assert outcome.kind is OutcomeKind.RESOLVED
        assert "`policy.max_per_day` is 0" in last(outcome).reason

    def test_a_closed_change_window_asks(self, tmp_path: Path) -> None:
        closed = "policy:\n  change_windows: [{days: [sun], begins: '08:00', ends: '09:00'}]"
        world, incident = broken(tmp_path, config=CONFIG.replace("policy:", closed))
        outcome = ended(world, incident, answering(world, incident))
        assert outcome.kind is OutcomeKind.RESOLVED
        assert "outside the change windows" in last(outcome).reason

    def test_an_open_breaker_asks_until_it_is_reset(self, tmp_path: Path) -> None:
        config = CONFIG.replace("policy:", "policy:\n  breaker: {days: 400, failures: 3}")
        world, incident = broken(tmp_path / "tripped", config=config)
        go_wrong(world.store, 3)
        outcome = ended(world, incident, answering(world, incident))
        name = "action:apply_quality_filter@freight"
        assert f"breaker `{name}` is open: went wrong 3 times" in last(outcome).reason
        world, incident = broken(tmp_path / "reset", config=config)
        go_wrong(world.store, 3)
        reset_breaker(world.store, name, "ann", NOON + timedelta(days=1))
        assert last(ended(world, incident, lambda _: None)).decision == "auto"


def go_wrong(store: Store, count: int) -> None:
    for number in range(count):
        attempt = an_attempt("apply_quality_filter", state=VerificationState.NOT_FIXED)
        former = an_incident(f"former {number}")
        made = store.open_incident(former.__class__(**{**vars(former), "pipeline": "freight"})).incident
        store.close_incident(made.id, an_outcome(OutcomeKind.ESCALATED, attempts=[attempt]), "")


class TestAnswering:
    def question(self, tmp_path: Path) -> tuple[Store, Approval]:
        world, incident = broken(tmp_path)

        def stop(durable: DirectDurable) -> None:
            if open_questions(world, incident):
                durable.stopping.set()

        world.begin(incident, meanwhile=stop)
        return world.store, latest(world.store, incident)

    def test_the_first_answer_stands(self, tmp_path: Path) -> None:
        store, asked = self.question(tmp_path)
        yes = Answer(decision="approved", by="ann", at=ANSWERED_AT)
        assert give(store, asked, yes, ()).answer == yes
        again = Answer(decision="approved", by="bob", at=ANSWERED_AT + timedelta(hours=1))
        assert give(store, asked, again, ()).answer == yes
        with pytest.raises(RefusedByPolicy, match="was approved by ann at 2026-01-01 01:00 UTC; it cannot be denied"):
            give(store, asked, Answer(decision="denied", by="bob", at=ANSWERED_AT), ())

    def test_only_the_named_approvers_count(self, tmp_path: Path) -> None:
        store, asked = self.question(tmp_path)
        with pytest.raises(RefusedByPolicy, match=r"`eve` may not decide; `policy\.approvers` names ann, bob"):
            give(store, asked, Answer(decision="approved", by="eve", at=ANSWERED_AT), ("bob", "ann"))
        assert latest(store, asked.incident_id).answer is None
        assert give(store, asked, Answer(decision="approved", by="ann", at=ANSWERED_AT), ("bob", "ann")).answer

    def test_an_answer_after_the_time_counts_no_more(self, tmp_path: Path) -> None:
        store, asked = self.question(tmp_path)
        with pytest.raises(RefusedByPolicy, match="waited until 2026-01-02 00:00 UTC"):
            give(store, asked, Answer(decision="approved", by="ann", at=asked.expires_at), ())


def test_the_digest_names_what_a_plan_does_not_how_sure_it_is_or_how_long_it_waits() -> None:
    plan = Plan(repair="r", key="k", summary="s", statements=("UPDATE a",), parameters={"b": 1, "a": [1]})

    def changed(**values: object) -> Plan:
        return Plan(**{**vars(plan), **values})

    same = changed(summary="other", confidence=0.5, wait_seconds=3.0, parameters={"a": [1], "b": 1})
    assert digest(same) == digest(plan)
    others = [
        changed(statements=("UPDATE b",)),
        changed(parameters={"b": 2, "a": [1]}),
        changed(key="l"),
        changed(rerun_stages=("x",)),
        changed(is_reversible=False),
    ]
    assert len({digest(other) for other in (plan, *others)}) == 6


@pytest.mark.slow
def test_killed_while_waiting_and_again_after_the_answer_the_real_workflow_acts_once(tmp_path: Path) -> None:
    """Three processes: one is killed while it waits, one between the answer and the effect, the third ends it."""
    effects = tmp_path / "effects.txt"
    effects.touch()
    command = [sys.executable, str(Path(__file__).with_name("approval_process.py")), str(tmp_path)]
    with subprocess.Popen(command) as first:
        wait_until(lambda: "waiting" in effects.read_text().split(), 30, "the question")
        first.send_signal(signal.SIGKILL)
    store, config = opened(tmp_path), load_config(tmp_path / "mendline.yaml")
    asked = latest(store, "1")
    yes = Answer(decision="approved", by="ann", at=datetime.now(UTC))
    assert app.answer(config, store, asked, yes).answer == yes
    with subprocess.Popen(command) as second:
        wait_until(lambda: "applying" in effects.read_text().split(), 30, "the effect to begin")
        second.send_signal(signal.SIGKILL)
    assert store.intents("1") == ()
    (tmp_path / "let_it").touch()
    assert subprocess.run(command, timeout=60, check=False).returncode == 0
    assert [word for word in effects.read_text().split() if word != "waiting"] == ["applying", "applying", "applied"]
    record = store.incident("1")
    assert record is not None
    assert record.outcome is not None
    assert record.outcome.kind is OutcomeKind.RESOLVED
    assert [asked.answer for asked in store.approvals("1")] == [yes]
    assert len(store.intents("1")) == 1
    assert read_history(store, datetime.now(UTC), 7).deeds[0].repair == "apply_quality_filter"
    store.close()
