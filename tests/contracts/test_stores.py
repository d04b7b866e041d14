"""What every `Store` promises, over SQLite and over the model; and a random walk in which both must agree."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import create_engine, text

from mendline.errors import ConfigError, InputError, JournalConflict, Superseded, Unavailable
from mendline.incident import Answer, OutcomeKind, Plan, Receipt, to_json
from mendline.stores import connection, tables
from mendline.stores.base import Accommodation, Approval, ColumnProfile, Feedback, Intent, KeptLog, Snapshot, Store
from mendline.stores.sql import SqlStore
from mendline.testing.memory_store import MemoryStore
from mendline.testing.values import NOON, an_incident, an_outcome
from mendline.testing.waiting import wait_until
from mendline.warehouses.base import Column, TableSchema
from postgres_server import PostgresServer


class Clock:
    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def kept_url(postgres_server: PostgresServer) -> Iterator[str]:
    """One database for many tests: making one takes longer than most of them."""
    url = postgres_server.create_database()
    SqlStore(url).close()
    yield url
    postgres_server.drop_database(url)


def emptied(url: str) -> str:
    with psycopg.connect(url) as connection:
        for table in reversed(tables.metadata.sorted_tables):
            if table is not tables.settings:
                connection.execute(f"DELETE FROM {table.name}".encode())
        connection.execute("UPDATE mendline_settings SET number = 0 WHERE name LIKE 'last_%'")
    return url


@pytest.fixture(params=["sqlite", "postgres", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    made: Store
    if request.param == "memory":
        made = MemoryStore(now=clock.now)
    elif request.param == "sqlite":
        made = SqlStore(f"sqlite:///{tmp_path}/deep/er/state.db", now=clock.now)
    else:
        made = SqlStore(emptied(request.getfixturevalue("kept_url")), now=clock.now)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, for what only shows between several stores on one."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    return str(request.getfixturevalue("postgres_url"))


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

    def test_a_cursor_is_moved_only_from_where_it_stands(self, store: Store) -> None:
        """Two workers read the same mark: the slower one cannot take it back."""
        assert [store.move_cursor("x", before, "1") for before in ("0", None, None)] == [False, True, False]
        assert store.move_cursor("x", "1", "7")
        assert not store.move_cursor("x", "1", "5")
        assert store.cursor("x") == "7"

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


class TestKeptLogs:
    def test_the_first_log_of_a_run_stays_with_its_incident_in_order(self, store: Store) -> None:
        first = KeptLog(incident_id="1", run_id="r1", kept_at=NOON, lines=("a\x00b", "é"), total_count=2)
        second = replace(first, run_id="r0", left_out_count=1)
        assert store.keep_log(first) == first
        assert store.keep_log(replace(first, lines=())) == first
        store.keep_log(replace(first, incident_id="2"))
        store.keep_log(second)
        assert store.kept_logs("1") == (first, second)
        assert store.kept_logs("3") == ()


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


class TestWorkers:
    def test_a_worker_lives_while_it_gives_signs_of_life(self, store: Store, clock: Clock) -> None:
        for name in ("b", "a"):
            store.join_worker(name)
        for seconds in (9, 4):
            clock.at += timedelta(seconds=seconds)
            assert store.beat("a") == seconds
        assert store.bury_workers(10) == ("b",)
        assert store.bury_workers(10) == ()
        assert store.workers() == ("a",)

    def test_who_was_buried_stays_dead(self, store: Store, clock: Clock) -> None:
        store.join_worker("a")
        clock.at += timedelta(seconds=10)
        assert store.bury_workers(10) == ("a",)
        assert [store.beat("a"), store.beat("a"), store.beat("never lived")] == [None, None, None]
        assert store.workers() == ()

    def test_a_dead_worker_gives_back_its_leases_and_no_others(self, store: Store, clock: Clock) -> None:
        for name in ("a", "b"):
            store.join_worker(name)
            store.lease(f"poll by {name}", name, 600)
        store.lease("held by an incident", "incident", 600)
        clock.at += timedelta(seconds=10)
        store.beat("b")
        store.bury_workers(10)
        taken = [store.lease(name, "c", 1) for name in ("poll by a", "poll by b", "held by an incident")]
        assert taken == [True, False, False]
        for _ in range(2):
            store.leave_worker("b")
        assert store.lease("poll by b", "c", 1)

    def test_of_many_who_bury_one_worker_exactly_one_did(self, store: Store, clock: Clock) -> None:
        store.join_worker("a")
        clock.at += timedelta(seconds=10)
        barrier = threading.Barrier(8)

        def bury(_: int) -> tuple[str, ...]:
            barrier.wait(10)
            return store.bury_workers(10)

        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(bury, range(8))) == [()] * 7 + [("a",)]

    def test_tokens_only_grow(self, store: Store, clock: Clock) -> None:
        tokens = [store.next_token() for _ in range(3)]
        clock.at += timedelta(hours=1)
        tokens.append(store.next_token())
        clock.at -= timedelta(hours=2)
        tokens.append(store.next_token())
        assert tokens == sorted(set(tokens))

    def test_a_token_of_a_new_database_exceeds_those_of_the_one_before(self, clock: Clock) -> None:
        """A warehouse remembers the highest token it saw: a state that was deleted must not lock it out."""
        before = [MemoryStore(now=clock.now).next_token() for _ in range(3)][-1]
        clock.at += timedelta(seconds=5)
        assert MemoryStore(now=clock.now).next_token() > before


class TestDeadWorkers:
    """A store that works as a worker refuses every write once that worker is dead, in the write's own transaction."""

    def test_no_write_of_a_dead_worker_has_an_effect(self, url: str) -> None:
        store, other = SqlStore(url), SqlStore(url)
        store.open_incident(an_incident("a"))
        store.put_intent(an_intent())
        store.put_approval(an_approval())
        store.join_worker("w")
        store.work_as("w")
        store.set_phase("1", "before")
        other.leave_worker("w")
        before = other.incidents(), other.intents("1"), other.cursor("x")
        writes: list[Callable[[], object]] = [
            lambda: store.open_incident(an_incident("b")),
            lambda: store.set_phase("1", "logs"),
            lambda: store.close_incident("1", an_outcome(), ""),
            lambda: store.add_feedback(Feedback(incident_id="1", given_at=NOON)),
            lambda: store.set_cursor("x", "1"),
            lambda: store.move_cursor("x", None, "1"),
            lambda: store.save_snapshot(a_snapshot("r")),
            lambda: store.save_accommodation(an_accommodation()),
            lambda: store.delete_accommodation("orders"),
            lambda: store.put_intent(an_intent("other")),
            lambda: store.put_receipt("k", a_receipt()),
            lambda: store.mark_undone("k", NOON),
            lambda: store.put_approval(an_approval("other")),
            lambda: store.answer_approval("k", Answer(decision="approved", by="ann", at=NOON)),
            lambda: store.keep_log(KeptLog(incident_id="1", run_id="r", kept_at=NOON, lines=(), total_count=0)),
            lambda: store.claim("c", "w"),
            lambda: store.lease("l", "w", 10),
            lambda: store.release("l", "w"),
            store.next_token,
            lambda: store.bury_workers(0),
        ]
        for write in writes:
            with pytest.raises(Superseded, match="worker `w` was silent"):
                write()
        assert (other.incidents(), other.intents("1"), other.cursor("x")) == before
        assert store.beat("w") is None
        for each in (store, other):
            each.close()

    def test_nobody_is_buried_in_the_middle_of_a_write_and_nobody_waits_for_it(
        self, kept_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process that is stopped inside a transaction: the others go on, and bury it once the server ended that."""
        monkeypatch.setattr(connection, "STOPPED_TIMEOUT_MS", 500)
        postgres_url = emptied(kept_url)
        store, other = SqlStore(postgres_url), SqlStore(postgres_url)
        store.join_worker("w")
        store.work_as("w")
        with pytest.raises(Unavailable), store._database.writing():
            assert other.bury_workers(0) == ()
            assert other.beat("w") is not None
            wait_until(lambda: other.bury_workers(0) == ("w",), 20, "the end of the stopped transaction")
        for each in (store, other):
            each.close()


class TestOnDisk:
    def test_many_may_open_an_empty_database_at_once(self, url: str) -> None:
        barrier = threading.Barrier(4)

        def open_one(_: int) -> int:
            barrier.wait(10)
            with closing(SqlStore(url)) as opened:
                return len(opened.incidents())

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(open_one, range(4))) == [0] * 4

    def test_a_database_of_the_version_before_is_brought_up_with_all_that_is_in_it(self, url: str) -> None:
        """Version 1 had neither workers nor questions nor tokens, version 2 no logs."""
        first = SqlStore(url)
        first.open_incident(an_incident("a"))
        kept = first.incidents()
        first.close()
        engine = create_engine(url)
        with engine.begin() as opened:
            for statement in (
                "DROP TABLE mendline_workers",
                "DROP TABLE mendline_approvals",
                "DROP TABLE mendline_logs",
                "DELETE FROM mendline_settings WHERE name = 'last_token'",
                "UPDATE mendline_settings SET number = 1 WHERE name = 'schema_version'",
            ):
                opened.execute(text(statement))
        engine.dispose()
        for _ in range(2):
            with closing(SqlStore(url)) as second:
                assert second.incidents() == kept
        with closing(SqlStore(url)) as second:
            second.join_worker("w")
            assert second.put_approval(an_approval()) == an_approval()
            assert second.next_token() > 0
            assert second.kept_logs("1") == ()
            assert second.open_incident(an_incident("b")).incident.id == "2"

    def test_postgres_without_its_driver_is_a_config_error_with_the_command(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(ConfigError, match=r"pip install 'mendline\[postgres\]'"):
            SqlStore("postgresql://127.0.0.1/state")

    def test_a_server_that_is_away_is_unavailable_and_its_password_stays_secret(self) -> None:
        with pytest.raises(Unavailable, match="could not be used") as caught:
            SqlStore("postgresql://ann:s3cret@127.0.0.1:1/state")
        assert "s3cret" not in str(caught.value)

    def test_a_store_goes_on_after_a_restart_of_its_server(
        self, postgres_server: PostgresServer, postgres_url: str
    ) -> None:
        with closing(SqlStore(postgres_url)) as kept:
            kept.open_incident(an_incident("a"))
            postgres_server.stop()
            with pytest.raises(Unavailable):
                kept.incidents()
            postgres_server.start()
            assert len(kept.incidents()) == 1
            assert kept.open_incident(an_incident("b")).created

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
        with pytest.raises(ConfigError, match="has schema version 7, this Mendline knows version 3"):
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
    """Any sequence of calls gives the same answers, or the same type of error, from a database and from the model."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.clock = Clock()
        self.url = url
        self.sql = SqlStore(url, now=self.clock.now)
        self.model = MemoryStore(now=self.clock.now)

    def teardown(self) -> None:
        self.sql.close()

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

    @rule(name=NAMES, before=st.none() | NAMES, after=NAMES)
    def move_cursor(self, name: str, before: str | None, after: str) -> None:
        self.both(lambda store: store.move_cursor(name, before, after))

    @rule(name=NAMES)
    def join_worker(self, name: str) -> None:
        if name not in self.model.workers():
            self.both(lambda store: store.join_worker(name))

    @rule(name=NAMES)
    def leave_worker(self, name: str) -> None:
        self.both(lambda store: store.leave_worker(name))

    @rule(name=NAMES)
    def beat(self, name: str) -> None:
        self.both(lambda store: store.beat(name))

    @rule(silent_s=st.integers(0, 5))
    def bury_workers(self, silent_s: int) -> None:
        self.both(lambda store: store.bury_workers(silent_s))

    @rule()
    def next_token(self) -> None:
        self.both(lambda store: store.next_token())

    @rule(seconds=st.integers(1, 5))
    def time_passes(self, seconds: int) -> None:
        self.clock.at += timedelta(seconds=seconds)

    @rule()
    def restart(self) -> None:
        self.sql.close()
        self.sql = SqlStore(self.url, now=self.clock.now)

    @invariant()
    def tell_the_same(self) -> None:
        self.both(lambda store: store.workers())
        self.both(lambda store: (store.incidents(), store.incidents(open_only=True, limit=2)))
        self.both(lambda store: [store.snapshots(name, 2) for name in "abc"])
        self.both(lambda store: [(store.accommodation(name), store.cursor(name), store.intent(name)) for name in "abc"])
        self.both(lambda store: [(store.incident(incident_id), store.intents(incident_id)) for incident_id in "1234"])


WALKS = settings(max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_sqlite_agrees_with_the_model() -> None:
    def machine() -> StoresAgree:
        return StoresAgree(f"sqlite:///{mkdtemp(dir=root)}/state.db")

    with TemporaryDirectory() as root:
        run_state_machine_as_test(machine, settings=WALKS)


def test_postgres_agrees_with_the_model(kept_url: str) -> None:
    run_state_machine_as_test(lambda: StoresAgree(emptied(kept_url)), settings=settings(WALKS, max_examples=8))
