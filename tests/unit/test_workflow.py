"""The whole workflow, when something goes away, fails or acts in the middle of it: no half repair is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mendline.errors import Rejected, Unavailable
from mendline.hands import Hands
from mendline.incident import Finding, Incident, OutcomeKind, Receipt
from mendline.tools.apply_schema_migration import ApplySchemaMigration
from mendline.tools.base import ToolContext
from mendline.tools.check_api_status import CheckApiStatus
from unit.workflow_world import CONFIG, PARCELS, Freight

RENAMED = f"SELECT * RENAME (sender AS sender_name) FROM ({PARCELS})"
WITH_NULLS = f"SELECT * REPLACE (CASE WHEN parcel_id < 105 THEN NULL ELSE sender END AS sender) FROM ({PARCELS})"
SERVER_ERROR = "Server error '503 Service Unavailable' for url 'https://scales.example.com/v1/weights'"


class HTTPStatusError(Exception):
    """What an HTTP client raises."""


def column_renamed(world: Freight) -> None:
    world.land(RENAMED)


def column_renamed_and_code_broken(world: Freight) -> None:
    """The view can be mended, the stage fails all the same: the repair must be taken back."""
    world.land(RENAMED)

    def weigh() -> None:
        world.sql("SELECT sender FROM front.parcels LIMIT 0")
        raise ZeroDivisionError("division by zero")

    world.engine.work["weigh"] = weigh


def rows_bad(world: Freight) -> None:
    world.load(WITH_NULLS)


def source_down_twice(world: Freight) -> None:
    calls: list[int] = []

    def ship() -> None:
        calls.append(1)
        if len(calls) <= 2:
            raise HTTPStatusError(SERVER_ERROR)

    world.engine.work["ship"] = ship


def broken(directory: Path, fault: Callable[[Freight], None], config: str = CONFIG) -> tuple[Freight, str]:
    world = Freight(directory, config=config)
    fault(world)
    return world, world.fail()


@pytest.mark.parametrize("fault", [column_renamed, rows_bad], ids=lambda fault: fault.__name__)
def test_an_engine_that_goes_away_in_the_middle_leaves_no_half_repair(
    tmp_path: Path, fault: Callable[[Freight], None]
) -> None:
    world, incident = broken(tmp_path, fault)
    before = world.data()
    world.engine.away_from = "rerun"
    record = world.handle(incident)
    assert world.data() == before
    assert record.outcome is not None
    assert record.outcome.kind is OutcomeKind.ESCALATED
    assert [attempt.undone for attempt in record.outcome.attempts] == [True]
    assert "the engine is away" in record.outcome.recommended


def test_an_error_of_our_own_after_the_effect_leaves_no_half_repair(tmp_path: Path) -> None:
    world, incident = broken(tmp_path, column_renamed_and_code_broken)
    before = world.data()

    class Buggy(CheckApiStatus):
        def run(self, context: ToolContext) -> tuple[Finding, ...]:
            if context.attempt > 1:
                raise KeyError("a bug")
            return super().run(context)

    hands = world.hands()
    world.begin(incident, hands=replace(hands, diagnostics={**hands.diagnostics, "profile_failed_batch": Buggy()}))
    assert world.data() == before
    assert world.outcome(incident).kind is OutcomeKind.ESCALATED


@pytest.mark.parametrize("fault", [column_renamed, rows_bad], ids=lambda fault: fault.__name__)
def test_an_effect_whose_receipt_could_not_be_kept_is_found_in_the_world(
    tmp_path: Path, fault: Callable[[Freight], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, incident = broken(tmp_path, fault)
    keep, refusals = world.store.put_receipt, [1, 2]

    def put_receipt(key: str, receipt: Receipt) -> None:
        if refusals:
            refusals.pop()
            raise Unavailable("the disk is full", system="state database")
        keep(key, receipt)

    monkeypatch.setattr(world.store, "put_receipt", put_receipt)
    assert world.handle(incident).outcome is not None
    assert world.outcome(incident).kind is OutcomeKind.RESOLVED
    (attempt,) = world.outcome(incident).attempts
    assert attempt.receipt is not None


def test_an_undo_waits_for_a_warehouse_that_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, incident = broken(tmp_path, column_renamed_and_code_broken)
    before = world.data()
    undo, refusals = ApplySchemaMigration.undo, [1, 2, 3]

    def busy(self: ApplySchemaMigration, receipt: Receipt, context: ToolContext) -> None:
        if refusals:
            refusals.pop()
            raise Unavailable("a pipeline holds the file", system="main")
        undo(self, receipt, context)

    monkeypatch.setattr(ApplySchemaMigration, "undo", busy)
    world.handle(incident)
    assert world.data() == before
    assert [attempt.undone for attempt in world.outcome(incident).attempts if attempt.receipt] == [True]


def test_an_undo_that_fails_for_good_is_said_in_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, incident = broken(tmp_path, column_renamed_and_code_broken)

    def refused(self: ApplySchemaMigration, receipt: Receipt, context: ToolContext) -> None:
        raise Rejected("the view is locked")

    monkeypatch.setattr(ApplySchemaMigration, "undo", refused)
    outcome = world.handle(incident).outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.ESCALATED
    assert "still there" in outcome.recommended
    assert "the view is locked" in outcome.recommended


def test_a_stage_that_a_person_has_run_meanwhile_is_not_run_again(tmp_path: Path) -> None:
    world, incident = broken(tmp_path, source_down_twice)
    advance = world.clock.advance

    def slept(seconds: float) -> None:
        advance(seconds)
        if not world.engine.is_rerun_by_hand:
            world.engine.is_rerun_by_hand = True
            world.engine.work["ship"] = lambda: None
            world.engine.rerun_by_hand()

    world.clock.advance = slept  # type: ignore[method-assign]  # the moment at which a person acts
    record = world.handle(incident)
    assert record.outcome is not None
    assert record.outcome.kind is OutcomeKind.RECOVERED
    assert world.engine.calls.count("weigh") == 1


def test_an_incident_waits_while_another_one_repairs_the_pipeline(tmp_path: Path) -> None:
    world, incident = broken(tmp_path, column_renamed)
    assert world.store.lease("pipeline:memory/freight", "another", 3600)
    advance = world.clock.advance
    seen: list[object] = []

    def slept(seconds: float) -> None:
        advance(seconds)
        seen.append(world.data()["view"])
        if len(seen) == 3:
            world.store.release("pipeline:memory/freight", "another")

    before = world.data()["view"]
    world.clock.advance = slept  # type: ignore[method-assign]
    assert world.handle(incident).outcome is not None
    assert world.outcome(incident).kind is OutcomeKind.RESOLVED
    assert seen == [before] * 3
    assert world.store.lease("pipeline:memory/freight", "a third", 1.0)


def test_a_lease_lost_while_the_process_was_down_keeps_the_effect_from_happening(tmp_path: Path) -> None:
    world, incident = broken(tmp_path, column_renamed)
    before = world.data()
    keep = world.hands()

    class Robbed(Hands):
        def hold(self, incident: Incident) -> bool:
            held = super().hold(incident)
            if not stolen:  # the machine was down for a night, and another incident came first
                stolen.append(held)
                self.services.store.release("pipeline:memory/freight", incident.fingerprint)
                self.services.store.lease("pipeline:memory/freight", "another", 3600)
            return held

    stolen: list[bool] = []
    hands = Robbed(**{name: getattr(keep, name) for name in keep.__dataclass_fields__})
    advance, views = world.clock.advance, []

    def slept(seconds: float) -> None:
        advance(seconds)
        views.append(world.data())
        world.store.release("pipeline:memory/freight", "another")

    world.clock.advance = slept  # type: ignore[method-assign]
    assert world.begin(incident, hands=hands)
    assert views[0] == before
    assert world.outcome(incident).kind is OutcomeKind.RESOLVED


@pytest.mark.parametrize("fault", [column_renamed, rows_bad])
def test_nothing_is_repaired_in_data_that_a_later_run_has_replaced(
    tmp_path: Path, fault: Callable[[Freight], None]
) -> None:
    world, incident = broken(tmp_path, fault)
    before = world.data()
    world.engine.run()
    calls = len(world.engine.calls)
    record = world.handle(incident)
    assert record.outcome is not None
    assert record.outcome.kind is OutcomeKind.ESCALATED
    assert "has replaced the data" in record.outcome.recommended
    assert (world.data(), len(world.engine.calls)) == (before, calls)
