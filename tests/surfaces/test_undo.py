"""`mendline undo`: takes back what was done, once, newest first, and says what it cannot and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mendline.errors import InputError, Unavailable
from mendline.history import read_history
from mendline.incident import OutcomeKind, Receipt
from mendline.intervention import lease_of
from mendline.ledger import Ledger
from mendline.quality.release import Decision
from mendline.releasing import Word, give_up, release
from mendline.report.markdown import render
from mendline.scorecard.score import scorecard
from mendline.stores.base import IncidentRecord
from mendline.stores.sql import SqlStore
from mendline.surfaces.cli import main
from mendline.testing.memory_store import MemoryStore
from mendline.testing.values import NOON, an_incident, an_outcome
from mendline.undoing import Undoing, survey, undo
from unit.workflow_world import PARCELS, VIEW, Freight

RENAMED = f"SELECT * RENAME (sender AS sender_name) FROM ({PARCELS})"
RENAMED_MORE = f"SELECT * RENAME (sender AS sender_name, weight AS weight_kg) FROM ({PARCELS})"
WITH_NULLS = f"SELECT * REPLACE (CASE WHEN parcel_id < 105 THEN NULL ELSE sender END AS sender) FROM ({PARCELS})"
HEAVY = "CASE WHEN parcel_id < 103 THEN 'heavy' ELSE weight::VARCHAR END AS weight"
RETYPED = f"SELECT * REPLACE ({HEAVY}) FROM ({PARCELS})"
Out = pytest.CaptureFixture[str]


def repaired(directory: Path, landed: str) -> tuple[Freight, str]:
    world = Freight(directory)
    return world, again(world, landed)


def again(world: Freight, landed: str) -> str:
    world.land(landed)
    incident = world.fail()
    world.handle(incident)
    assert world.outcome(incident).kind is OutcomeKind.RESOLVED
    return incident


def undone(world: Freight, incident: str, *, is_served: bool = False) -> tuple[Undoing, ...]:
    repairs = world.hands().repairs
    return undo(world.services, repairs, incident, by="ann", at=NOON, is_served=is_served)


def record_of(world: Freight, incident: str) -> IncidentRecord:
    record = world.store.incident(incident)
    assert record is not None
    return record


@pytest.mark.parametrize("landed", [WITH_NULLS, RENAMED, RETYPED], ids=["rows", "view", "view and rows"])
def test_the_state_before_the_repair_comes_back_and_twice_is_once(tmp_path: Path, landed: str) -> None:
    world, incident = repaired(tmp_path, landed)
    (seen,) = survey(world.services, world.hands().repairs, incident)
    assert seen.is_due
    (after,) = undone(world, incident)
    assert after.undone_at is not None
    assert after.rerun_stages == ("weigh", "bill")
    data = world.data()
    assert data["landing"] == world.sql(f"FROM ({landed}) ORDER BY ALL")
    assert data["view"] == VIEW
    assert data["aside"] == []
    assert world.store.accommodation("parcels") is None
    before = record_of(world, incident)
    assert undone(world, incident) == (after,)
    assert world.data() == data
    assert record_of(world, incident) == before


def test_who_and_when_stand_in_the_record_the_report_and_the_scorecard(tmp_path: Path) -> None:
    world, incident = repaired(tmp_path, WITH_NULLS)
    undone(world, incident)
    record = record_of(world, incident)
    assert record.outcome is not None
    (attempt,) = record.outcome.attempts
    assert (attempt.undone, attempt.undone_by, attempt.undone_at) == (True, "ann", NOON)
    assert record.outcome.headline.startswith("Undone by ann: ")
    assert record.report_markdown.endswith("- **Undone:** `apply_quality_filter` by `ann` at 2026-01-05 12:00:00 UTC\n")
    assert "undone by `ann` at 2026-01-05 12:00:00 UTC" in render(record)
    mishaps = read_history(world.store, datetime.now(UTC), 7).mishaps
    assert [event.name for event in mishaps] == ["action:apply_quality_filter@freight"]
    card = scorecard([record])
    assert (card.total.wrong_action_count, card.by_action["apply_quality_filter"].undone_count) == (1, 1)
    assert card.total.automation_rate == 0.0


def test_a_retry_leaves_nothing_that_could_be_undone(tmp_path: Path) -> None:
    world = Freight(tmp_path)
    calls: list[int] = []

    def ship() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("503 Service Unavailable for url https://scales.example.com/v1/weights")

    world.engine.work["ship"] = ship
    incident = world.fail()
    world.handle(incident)
    assert world.outcome(incident).kind is OutcomeKind.RESOLVED
    (seen,) = survey(world.services, world.hands().repairs, incident)
    assert seen.is_lasting
    assert not seen.is_due
    before = record_of(world, incident)
    undone(world, incident)
    assert record_of(world, incident) == before


def test_a_view_that_another_incident_has_changed_since_is_left_until_that_one_is_undone(tmp_path: Path) -> None:
    world, first = repaired(tmp_path, RENAMED)
    second = again(world, RENAMED_MORE)
    standing = world.data()
    (seen,) = undone(world, first)
    assert seen.obstacle == f"incident `{second}` has changed `front.parcels` since (`mendline undo {second}` first)"
    assert world.data() == standing
    assert undone(world, second)[0].undone_at is not None
    assert undone(world, first)[0].undone_at is not None
    assert world.data()["view"] == VIEW


def test_a_view_that_the_team_has_redefined_is_left_to_the_team(tmp_path: Path) -> None:
    world, incident = repaired(tmp_path, RENAMED)
    world.sql("CREATE OR REPLACE VIEW front.parcels AS SELECT 1 AS parcel_id")
    (seen,) = undone(world, incident)
    assert "has been redefined since" in seen.obstacle
    assert world.data()["view"] == "SELECT 1 AS parcel_id"


@pytest.mark.parametrize("landed", [WITH_NULLS, RETYPED], ids=["filter", "migration"])
def test_rows_do_not_go_back_into_a_newer_batch(tmp_path: Path, landed: str) -> None:
    world, incident = repaired(tmp_path, landed)
    world.land(f"SELECT * REPLACE (parcel_id + 1000 AS parcel_id) FROM ({landed}) WHERE parcel_id > 110")
    standing = world.data()
    (seen,) = undone(world, incident)
    assert "has changed since: it has been loaded again" in seen.obstacle
    assert world.data() == standing
    assert not record_of(world, incident).outcome.attempts[0].undone  # type: ignore[union-attr]


def test_what_a_person_has_decided_about_the_rows_stays_decided(tmp_path: Path) -> None:
    world, incident = repaired(tmp_path, WITH_NULLS)
    word = Word(incident_id=incident, decision=Decision(by="bob", at=NOON, note="n"), is_forced=True)
    release(world.services, word, is_served=False)
    standing = world.data()
    (seen,) = undone(world, incident)
    assert f"rows of incident `{incident}` were released by bob" in seen.obstacle
    assert world.data() == standing


def test_a_view_goes_back_once_its_rows_are_decided_on(tmp_path: Path) -> None:
    world, incident = repaired(tmp_path, RETYPED)
    world.land(f"SELECT * REPLACE (weight::VARCHAR AS weight) FROM ({PARCELS})")
    assert f"`mendline quarantine release {incident}` or `discard`" in undone(world, incident)[0].obstacle
    give_up(world.services, Word(incident_id=incident, decision=Decision(by="bob", at=NOON, note="n")), is_served=False)
    assert undone(world, incident)[0].undone_at is not None
    assert world.data()["view"] == VIEW
    assert world.sql("SELECT DISTINCT state FROM raw.parcels__quarantine") == [("discarded",)]


def test_a_crash_between_effect_and_record_is_healed_by_the_same_command(tmp_path: Path) -> None:
    class Cut(MemoryStore):
        def mark_undone(self, *_: object) -> None:
            raise KeyboardInterrupt

    world, incident = repaired(tmp_path, RENAMED)
    cut = Cut()
    cut.__dict__.update(world.store.__dict__)
    services = replace(world.services, store=cut, ledger=Ledger(store=cut, now=lambda: NOON))
    with pytest.raises(KeyboardInterrupt):
        undo(services, world.hands().repairs, incident, by="ann", at=NOON, is_served=False)
    assert world.data()["view"] == VIEW
    assert world.store.accommodation("parcels") is not None
    (after,) = undone(world, incident)
    assert after.undone_at is not None
    assert world.store.accommodation("parcels") is None
    outcome = record_of(world, incident).outcome
    assert outcome is not None
    assert outcome.attempts[0].undone_by == "ann"


def test_an_effect_whose_receipt_was_lost_with_its_worker_is_found_and_undone(tmp_path: Path) -> None:
    """The incident is open, its worker is gone, and only the warehouse knows what it did last."""

    class Cut(MemoryStore):
        def put_receipt(self, key: str, receipt: Receipt) -> None:
            raise KeyboardInterrupt

    world = Freight(tmp_path)
    world.land(RENAMED)
    incident = record_of(world, world.fail()).incident
    cut = Cut()
    cut.__dict__.update(world.store.__dict__)
    repair = world.hands().repairs["apply_schema_migration"]
    hands = world.hands()
    log = hands.retrieve_logs(incident, incident.run)
    context = hands.context(incident, log, hands.classify(incident, log), 1)
    services = replace(world.services, store=cut, ledger=Ledger(store=cut, now=lambda: NOON))
    with pytest.raises(KeyboardInterrupt):
        repair.apply(repair.plan(context), replace(context, services=services))  # type: ignore[arg-type]
    assert world.data()["view"] != VIEW
    with pytest.raises(Unavailable, match=r"is being handled.*stop `mendline serve`"):
        undone(world, incident.id, is_served=True)
    assert undone(world, incident.id)[0].undone_at is not None
    assert world.data()["view"] == VIEW
    (word,) = record_of(world, incident.id).feedback
    assert (word.note, word.given_at) == ("undone by ann: apply_schema_migration", NOON)
    assert "undone by ann: apply_schema_migration at 2026-01-05" in render(record_of(world, incident.id)).replace(
        "\\", ""
    )


def test_nothing_is_undone_while_somebody_else_holds_the_pipeline(tmp_path: Path) -> None:
    world, incident = repaired(tmp_path, RENAMED)
    standing = world.data()
    lease = lease_of(record_of(world, incident).incident)
    assert world.store.lease(lease, "another", 60)
    with pytest.raises(Unavailable, match="being repaired for another incident"):
        undone(world, incident)
    assert world.data() == standing
    world.store.release(lease, "another")
    undone(world, incident)
    assert world.store.lease(lease, "another", 60)


def test_without_an_applied_repair_there_is_nothing_to_undo(tmp_path: Path) -> None:
    world = Freight(tmp_path)
    world.land(WITH_NULLS)
    incident = world.fail()
    with pytest.raises(InputError, match="no repair was applied"):
        undone(world, incident)
    with pytest.raises(InputError, match=r"no incident `77`.*mendline incidents"):
        undone(world, "77")


CONFIG = """
engines: {engine: {kind: dagster, dagster_home: nowhere, code: {module: somewhere}}}
pipelines: {pipeline: {engine: engine}}
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlStore]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mendline.yaml").write_text(CONFIG, encoding="utf-8")
    with closing(SqlStore(f"sqlite:///{tmp_path / '.mendline' / 'state.db'}")) as store:
        store.open_incident(an_incident("a"))
        store.close_incident("1", an_outcome(attempts=[]), "# Report")
        yield store


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["undo", "1"], "no repair was applied for incident `1`"),
        (["undo", "7", "--yes"], "there is no incident `7`; `mendline incidents` lists them"),
        (["undo", "1", "--by", " "], "`--by` takes a name of 1 to 80 characters"),
        (["undo"], "ID"),
    ],
)
def test_bad_input_is_one_sentence_with_the_next_step(arguments: list[str], said: str, capsys: Out) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err
