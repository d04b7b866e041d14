"""What every `Store` promises, over SQLite and over the model; and a random walk in which both must agree."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mendline.errors import ConfigError, InputError, JournalConflict, Unavailable
from mendline.incident import Answer, OutcomeKind, Plan, Receipt, to_json
from mendline.stores.base import Accommodation, Approval, ColumnProfile, Feedback, Intent, Snapshot, Store
from mendline.stores.sql import SqlStore
from mendline.testing.memory_store import MemoryStore
from mendline.testing.values import NOON, an_incident, an_outcome
from mendline.warehouses.base import Column, TableSchema


class Clock:
    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    made: Store = (
        SqlStore(f"sqlite:///{tmp_path}/deep/er/state.db", now=clock.now)
        if request.param == "sqlite"
        else MemoryStore(now=clock.now)
    )
    yield made
    made.close()


def a_snapshot(run_id: str, minutes: int = 0, dataset: str = "orders") -> Snapshot:
    column = Column(name="Id", type="BIGINT", logical_type="bigint", is_nullable=False, position=1)
    profile = ColumnProfile(
        column="Id",
        type="BIGINT",
        row_count=3,
        null_count=0,
        distinct_count=3,
        min_value="1",
        max_value="3",
        value_hashes=(1, 2**63 + 1),
        top_values=(("1", 1),),
    )
    return Snapshot(
        dataset=dataset,
        run_id=run_id,
        taken_at=NOON + timedelta(minutes=minutes),
        schema=TableSchema(table="landing.orders", columns=(column,)),
        row_count=3,
        profiles=(profile,),
    )


def an_intent(key: str = "k", incident_id: str = "1") -> Intent:
    plan = Plan(repair="widen", key=key, summary="widens", parameters={"statements": ["ALTER"]})
    return Intent(key=key, incident_id=incident_id, repair="widen", plan_json=to_json(plan), intended_at=NOON)


def a_receipt(key: str = "k", summary: str = "did") -> Receipt:
    return Receipt(repair="widen", key=key, applied_at=NOON, summary=summary, effects={"rows": [1, None]}, undo={})


def an_approval(key: str = "k", incident_id: str = "1") -> Approval:
    plan = Plan(repair="widen", key=key, summary="widens", parameters={"statements": ["ALTER"]})
    return Approval(
        key=key,
        incident_id=incident_id,
        plan=plan,
        digest="d",
        reason="a rule says ask",
        stages=("load",),
        asked_at=NOON,
        expires_at=NOON + timedelta(hours=24),
    )


def an_accommodation(dataset: str = "orders", sql: str = "SELECT 1") -> Accommodation:
    return Accommodation(
        dataset=dataset,
        view="contract.orders",
        base_sql="SELECT *",
        current_sql=sql,
        mappings=({"from": "a", "to": "b"},),
        incident_id="1",
        changed_at=NOON,
    )


class TestIncidents:
    def test_ids_count_up_from_one(self, store: Store) -> None:
        assert [store.open_incident(an_incident(name)).incident.id for name in "abc"] == ["1", "2", "3"]

    def test_one_fingerprint_is_one_incident(self, store: Store) -> None:
        first = store.open_incident(an_incident("a"))
        second = store.open_incident(replace(an_incident("a"), pipeline="told differently", id="99"))
        third = store.open_incident(an_incident("b"))
        assert (first.created, second.created, third.created) == (True, False, True)
        assert second.incident == first.incident
        assert third.incident.id == "2"

    def test_what_was_opened_is_read_back(self, store: Store) -> None:
        opened = store.open_incident(an_incident("a", message="naïve \x00 \x1b[31m '; DROP TABLE x; --")).incident
        record = store.incident(opened.id)
        assert record is not None
        assert record.incident == opened
        assert record.outcome is None
        assert (record.phase, record.report_markdown, record.feedback) == ("opened", "", ())

    @pytest.mark.parametrize("incident_id", ["", "2", "01", "x", "-1", "1.0", "٣", "9" * 40, "1; DROP TABLE"])
    def test_no_incident_of_that_id_is_none_to_read_and_an_error_to_write(self, store: Store, incident_id: str) -> None:
        store.open_incident(an_incident("a"))
        assert store.incident(incident_id) is None
        writes: tuple[Callable[[], None], ...] = (
            lambda: store.set_phase(incident_id, "logs"),
            lambda: store.close_incident(incident_id, an_outcome(), ""),
            lambda: store.add_feedback(Feedback(incident_id=incident_id, given_at=NOON)),
        )
        for write in writes:
            with pytest.raises(InputError, match="there is no incident `"):
                write()

    def test_newest_first_and_no_more_than_asked_for(self, store: Store) -> None:
        for name in "abc":
            store.open_incident(an_incident(name))
        assert [record.incident.id for record in store.incidents()] == ["3", "2", "1"]
        assert [record.incident.id for record in store.incidents(limit=2)] == ["3", "2"]
        assert MemoryStore().incidents() == ()

    def test_open_are_those_without_an_outcome_and_those_that_wait_for_a_person(self, store: Store) -> None:
        for name in "abcd":
            store.open_incident(an_incident(name))
        store.close_incident("1", an_outcome(OutcomeKind.RESOLVED), "")
        store.close_incident("2", an_outcome(OutcomeKind.AWAITING_APPROVAL), "")
        store.close_incident("3", an_outcome(OutcomeKind.ESCALATED), "")
        assert [record.incident.id for record in store.incidents(open_only=True)] == ["4", "2"]

    def test_since_gives_those_that_have_changed_at_or_after_it(self, store: Store, clock: Clock) -> None:
        for name in "abc":
            store.open_incident(an_incident(name))
        clock.at += timedelta(hours=1)
        store.set_phase("2", "logs")
        assert [record.incident.id for record in store.incidents(since=clock.at)] == ["2"]
        assert [record.incident.id for record in store.incidents(since=NOON)] == ["3", "2", "1"]

    def test_a_repeated_write_changes_nothing(self, store: Store, clock: Clock) -> None:
        store.open_incident(an_incident("a"))
        feedback = Feedback(incident_id="1", given_at=NOON, type_right=False, note="no")

        def write() -> None:
            store.set_phase("1", "report")
            store.close_incident("1", an_outcome(seconds={"logs": 0.1}), "# Report")
            store.add_feedback(feedback)

        write()
        before = store.incident("1")
        clock.at += timedelta(hours=1)
        write()
        assert store.incident("1") == before
        assert before is not None
        assert before.outcome == an_outcome(seconds={"logs": 0.1})
        assert before.feedback == (feedback,)

    def test_all_feedback_is_kept_in_the_order_it_was_given(self, store: Store) -> None:
        for name in "ab":
            store.open_incident(an_incident(name))
        words = [Feedback(incident_id="1", given_at=NOON, type_right=word) for word in (True, False, None)]
        for word in words:
            store.add_feedback(word)
        assert [record.feedback for record in store.incidents()] == [(), tuple(words)]


class TestSnapshots:
    def test_newest_first_one_per_run_and_only_of_that_dataset(self, store: Store) -> None:
        for run_id, minutes in (("a", 2), ("b", 1), ("c", 3)):
            store.save_snapshot(a_snapshot(run_id, minutes))
        store.save_snapshot(replace(a_snapshot("a", 9), row_count=99))
        store.save_snapshot(a_snapshot("a", dataset="other"))
        assert [snapshot.run_id for snapshot in store.snapshots("orders")] == ["c", "a", "b"]
        assert store.snapshots("orders", limit=1) == (a_snapshot("c", 3),)
        assert store.snapshots("none") == ()

    def test_the_last_thirty_are_kept(self, store: Store) -> None:
        store.save_snapshot(a_snapshot("other", dataset="other"))
        for number in range(33):
            store.save_snapshot(a_snapshot(f"r{number}", number))
        store.save_snapshot(a_snapshot("late but old", -1))
        assert [snapshot.run_id for snapshot in store.snapshots("orders", 99)] == [f"r{n}" for n in range(32, 2, -1)]
        assert len(store.snapshots("other")) == 1


class TestSingleValues:
    def test_a_cursor_is_none_until_set_and_then_the_last_value(self, store: Store) -> None:
        assert store.cursor("engine:x") is None
        for value in ("1", "2", "2"):
            store.set_cursor("engine:x", value)
        assert store.cursor("engine:x") == "2"
        assert store.cursor("engine:y") is None

    def test_an_accommodation_is_replaced_and_deleted(self, store: Store) -> None:
        assert store.accommodation("orders") is None
        store.save_accommodation(an_accommodation(sql="SELECT 1"))
        store.save_accommodation(an_accommodation(sql="SELECT 2"))
        assert store.accommodation("orders") == an_accommodation(sql="SELECT 2")
        for _ in range(2):
            store.delete_accommodation("orders")
        assert store.accommodation("orders") is None


class TestIntents:
    def test_the_first_intent_and_the_first_receipt_stand(self, store: Store) -> None:
        assert store.put_intent(an_intent()) == an_intent()
        store.put_receipt("k", a_receipt())
        store.put_receipt("k", a_receipt(summary="told differently"))
        assert store.put_intent(replace(an_intent(), repair="other")) == replace(an_intent(), receipt=a_receipt())

    def test_undone_once(self, store: Store) -> None:
        store.put_intent(an_intent())
        store.mark_undone("k", NOON)
        store.mark_undone("k", NOON + timedelta(hours=1))
        found = store.intent("k")
        assert found is not None
        assert found.undone_at == NOON

    def test_intents_of_one_incident_oldest_first(self, store: Store) -> None:
        for key, incident_id in (("z", "1"), ("a", "1"), ("m", "2")):
            store.put_intent(an_intent(key, incident_id))
        assert [intent.key for intent in store.intents("1")] == ["z", "a"]
        assert store.intents("3") == ()
        assert store.intent("none") is None

    def test_an_effect_without_an_intent_is_a_journal_conflict(self, store: Store) -> None:
        with pytest.raises(JournalConflict, match="`k` has no intent"):
            store.put_receipt("k", a_receipt())
        with pytest.raises(JournalConflict, match="`k` has no intent"):
            store.mark_undone("k", NOON)


class TestApprovals:
    def test_the_first_question_and_the_first_answer_stand(self, store: Store) -> None:
        assert store.put_approval(an_approval()) == an_approval()
        assert store.put_approval(replace(an_approval(), digest="other")) == an_approval()
        yes, no = (
            Answer(decision="approved", by="ann", at=NOON),
            Answer(decision="denied", by="bob", at=NOON, note="no"),
        )
        assert store.answer_approval("k", yes) == replace(an_approval(), answer=yes)
        assert store.answer_approval("k", no) == replace(an_approval(), answer=yes)
        assert store.put_approval(an_approval()) == replace(an_approval(), answer=yes)

    def test_questions_of_one_incident_oldest_first(self, store: Store) -> None:
        for key, incident_id in (("z", "1"), ("a", "1"), ("m", "2")):
            store.put_approval(an_approval(key, incident_id))
        assert [asked.key for asked in store.approvals("1")] == ["z", "a"]
        assert store.approvals("3") == ()

    def test_of_many_who_answer_at_once_exactly_one_is_heard(self, store: Store) -> None:
        store.put_approval(an_approval())
        barrier = threading.Barrier(8)

        def answer(number: int) -> Approval:
            barrier.wait(10)
            decision = "approved" if number % 2 else "denied"
            return store.answer_approval("k", Answer(decision=decision, by=str(number), at=NOON))

        with ThreadPoolExecutor(8) as pool:
            assert len({asked.answer for asked in pool.map(answer, range(8))}) == 1

    def test_an_answer_to_no_question_is_a_journal_conflict(self, store: Store) -> None:
        with pytest.raises(JournalConflict, match="`k` was never asked"):
            store.answer_approval("k", Answer(decision="approved", by="ann", at=NOON))


class TestClaimsAndLeases:
    def test_a_claim_is_for_good_and_for_its_first_owner(self, store: Store) -> None:
        assert [store.claim("k", owner) for owner in "abab"] == [True, False, True, False]

    def test_of_many_claimants_at_once_exactly_one_wins(self, store: Store) -> None:
        barrier = threading.Barrier(8)

        def claim(owner: int) -> bool:
            barrier.wait(10)
            return store.claim("k", str(owner))

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(claim, range(8))) == 1

    def test_many_openers_at_once_make_one_incident_per_cause_and_no_gap(self, store: Store) -> None:
        barrier = threading.Barrier(8)

        def open_one(number: int) -> tuple[str, bool]:
            barrier.wait(10)
            result = store.open_incident(an_incident(f"cause {number % 4}"))
            return result.incident.id, result.created

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(open_one, range(8)))
        assert sorted(incident_id for incident_id, created in results if created) == ["1", "2", "3", "4"]
        assert len(store.incidents()) == 4

    def test_a_lease_is_renewed_by_its_owner_and_taken_by_another_once_it_is_over(
        self, store: Store, clock: Clock
    ) -> None:
        assert store.lease("orders", "a", 10)
        assert not store.lease("orders", "b", 10)
        clock.at += timedelta(seconds=9)
        assert store.lease("orders", "a", 10)
        clock.at += timedelta(seconds=9)
        assert not store.lease("orders", "b", 10)
        clock.at += timedelta(seconds=1)
        assert store.lease("orders", "b", 10)
        assert not store.lease("orders", "a", 10)

    def test_only_the_owner_releases(self, store: Store) -> None:
        store.lease("orders", "a", 10)
        store.release("orders", "b")
        assert not store.lease("orders", "b", 10)
        store.release("orders", "a")
        store.release("orders", "a")
        assert store.lease("orders", "b", 10)


class TestOnDisk:
    def test_everything_survives_closing(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/state.db"
        first = SqlStore(url)
        first.open_incident(an_incident("a"))
        first.put_intent(an_intent())
        kept = first.incidents(), first.intents("1")
        first.close()
        second = SqlStore(url)
        assert (second.incidents(), second.intents("1")) == kept
        assert second.open_incident(an_incident("b")).incident.id == "2"
        second.close()

    def test_readers_do_not_wait_for_a_writer(self, tmp_path: Path) -> None:
        store = SqlStore(f"sqlite:///{tmp_path}/state.db")
        store.open_incident(an_incident("a"))
        with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("DELETE FROM mendline_incidents")
            reader = SqlStore(f"sqlite:///{tmp_path}/state.db")
            assert len(reader.incidents()) == 1
            reader.close()
            other.execute("ROLLBACK")
        store.close()

    def test_a_newer_database_is_refused_with_both_versions(self, tmp_path: Path) -> None:
        SqlStore(f"sqlite:///{tmp_path}/state.db").close()
        with closing(sqlite3.connect(tmp_path / "state.db")) as connection:
            connection.execute("UPDATE mendline_settings SET number = 7 WHERE name = 'schema_version'")
            connection.commit()
        with pytest.raises(ConfigError, match="has schema version 7, this Mendline knows version 1"):
            SqlStore(f"sqlite:///{tmp_path}/state.db")

    def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(self, tmp_path: Path) -> None:
        (tmp_path / "state.db").write_text("my diary, not a database" * 100)
        with pytest.raises(ConfigError, match="is not a database"):
            SqlStore(f"sqlite:///{tmp_path}/state.db")
        assert (tmp_path / "state.db").read_text().startswith("my diary")

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("sqlite://", "needs a file"),
            ("sqlite:///:memory:", "needs a file"),
            ("mysql://host/db", "cannot live in `mysql`"),
            ("nonsense", "cannot be read"),
        ],
    )
    def test_an_unusable_url_is_a_config_error(self, url: str, said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            SqlStore(url)

    def test_a_directory_in_the_way_is_unavailable_and_names_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "state.db").mkdir()
        with pytest.raises(Unavailable, match=r"state\.db"):
            SqlStore(f"sqlite:///{tmp_path}/state.db")


NAMES = st.sampled_from(["a", "b", "c"])
IDS = st.sampled_from(["1", "2", "3", "4"])
KINDS = st.sampled_from(list(OutcomeKind))
MINUTES = st.integers(-3, 3)


class StoresAgree(RuleBasedStateMachine):
    """Any sequence of calls gives the same answers, or the same type of error, from SQLite and from the model."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.directory = TemporaryDirectory()
        self.sql = SqlStore(f"sqlite:///{self.directory.name}/state.db", now=self.clock.now)
        self.model = MemoryStore(now=self.clock.now)

    def teardown(self) -> None:
        self.sql.close()
        self.directory.cleanup()

    def both(self, call: Callable[[Store], Any]) -> Any:
        answers = []
        for store in (self.sql, self.model):
            try:
                answers.append(call(store))
            except (InputError, JournalConflict) as error:
                answers.append((type(error), str(error)))
        assert answers[0] == answers[1]
        return answers[0]

    @rule(name=NAMES)
    def open_incident(self, name: str) -> None:
        self.both(lambda store: store.open_incident(an_incident(name)))

    @rule(incident_id=IDS, phase=NAMES)
    def set_phase(self, incident_id: str, phase: str) -> None:
        self.both(lambda store: store.set_phase(incident_id, phase))

    @rule(incident_id=IDS, kind=KINDS, report=NAMES)
    def close_incident(self, incident_id: str, kind: OutcomeKind, report: str) -> None:
        self.both(lambda store: store.close_incident(incident_id, an_outcome(kind), report))

    @rule(incident_id=IDS, minutes=MINUTES)
    def add_feedback(self, incident_id: str, minutes: int) -> None:
        feedback = Feedback(incident_id=incident_id, given_at=NOON + timedelta(minutes=minutes))
        self.both(lambda store: store.add_feedback(feedback))

    @rule(run_id=NAMES, minutes=MINUTES, dataset=NAMES)
    def save_snapshot(self, run_id: str, minutes: int, dataset: str) -> None:
        self.both(lambda store: store.save_snapshot(a_snapshot(run_id, minutes, dataset)))

    @rule(dataset=NAMES, sql=NAMES)
    def save_accommodation(self, dataset: str, sql: str) -> None:
        self.both(lambda store: store.save_accommodation(an_accommodation(dataset, sql)))

    @rule(dataset=NAMES)
    def delete_accommodation(self, dataset: str) -> None:
        self.both(lambda store: store.delete_accommodation(dataset))

    @rule(key=NAMES, incident_id=IDS)
    def put_intent(self, key: str, incident_id: str) -> None:
        self.both(lambda store: store.put_intent(an_intent(key, incident_id)))

    @rule(key=NAMES, summary=NAMES)
    def put_receipt(self, key: str, summary: str) -> None:
        self.both(lambda store: store.put_receipt(key, a_receipt(key, summary)))

    @rule(key=NAMES, minutes=MINUTES)
    def mark_undone(self, key: str, minutes: int) -> None:
        self.both(lambda store: store.mark_undone(key, NOON + timedelta(minutes=minutes)))

    @rule(key=NAMES, owner=NAMES)
    def claim(self, key: str, owner: str) -> None:
        self.both(lambda store: store.claim(key, owner))

    @rule(name=NAMES, owner=NAMES, seconds=st.integers(0, 5))
    def lease(self, name: str, owner: str, seconds: int) -> None:
        self.both(lambda store: store.lease(name, owner, seconds))

    @rule(name=NAMES, owner=NAMES)
    def release(self, name: str, owner: str) -> None:
        self.both(lambda store: store.release(name, owner))

    @rule(name=NAMES, value=NAMES)
    def set_cursor(self, name: str, value: str) -> None:
        self.both(lambda store: store.set_cursor(name, value))

    @rule(seconds=st.integers(1, 5))
    def time_passes(self, seconds: int) -> None:
        self.clock.at += timedelta(seconds=seconds)

    @rule()
    def restart(self) -> None:
        self.sql.close()
        self.sql = SqlStore(f"sqlite:///{self.directory.name}/state.db", now=self.clock.now)

    @invariant()
    def tell_the_same(self) -> None:
        self.both(lambda store: (store.incidents(), store.incidents(open_only=True, limit=2)))
        self.both(lambda store: [store.snapshots(name, 2) for name in "abc"])
        self.both(lambda store: [(store.accommodation(name), store.cursor(name), store.intent(name)) for name in "abc"])
        self.both(lambda store: [(store.incident(incident_id), store.intents(incident_id)) for incident_id in "1234"])


TestStoresAgree = StoresAgree.TestCase
TestStoresAgree.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
