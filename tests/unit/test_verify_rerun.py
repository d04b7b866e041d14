"""When verification may run a stage again: beside no other run, and never a stage that must not be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mendline.engines.base import TAG_ATTEMPT, TAG_INCIDENT
from mendline.errors import RefusedByPolicy, Unavailable
from mendline.hands import NOTHING_KNOWN
from mendline.incident import Plan, Receipt, RunRef
from mendline.testing.values import NOON
from mendline.tools.apply_schema_migration import ApplySchemaMigration
from mendline.tools.base import ToolContext
from mendline.tools.verify_pipeline_stage import verify_pipeline_stage
from unit.workflow_world import CONFIG, Freight

PATIENT = "home, code: {module: somewhere}, rerun_timeout_seconds: 0.3}"
PLAN = Plan(repair="a", key="k", summary="s")


def failing(directory: Path, config: str = CONFIG) -> tuple[Freight, ToolContext]:
    world = Freight(directory, config=config.replace("home, code: {module: somewhere}}", PATIENT))
    world.land("SELECT 1 AS parcel_id")
    world.fail()
    record = world.store.incident("1")
    assert record is not None
    belief, log = NOTHING_KNOWN.settled, NOTHING_KNOWN.log
    return world, ToolContext(
        services=world.services, incident=record.incident, log=log, classification=belief, datasets=(), attempt=2
    )


def under_way(world: Freight, tags: Mapping[str, str]) -> None:
    run = world.engine.rerun(
        RunRef(engine="memory", pipeline="job", run_id="run-1"), ("bill",), key="x", tags=tags, timeout_s=1
    )
    world.engine.busy = (run.run,)


def test_a_stage_is_not_run_again_beside_an_earlier_attempt_that_has_not_ended(tmp_path: Path) -> None:
    world, context = failing(tmp_path)
    under_way(world, {TAG_INCIDENT: "1", TAG_ATTEMPT: "1"})
    calls = list(world.engine.calls)
    with pytest.raises(Unavailable):
        verify_pipeline_stage(context, PLAN, ())
    assert world.engine.calls == calls


def test_this_attempts_own_run_is_waited_for_and_not_waited_out(tmp_path: Path) -> None:
    world, context = failing(tmp_path)
    under_way(world, {TAG_INCIDENT: "1", TAG_ATTEMPT: "2"})
    assert verify_pipeline_stage(context, PLAN, ()).run_id is not None


def test_a_stage_that_must_not_be_repeated_is_not_run_though_it_came_into_reach_later(tmp_path: Path) -> None:
    world, context = failing(tmp_path, CONFIG.replace("job: job}", "job: job, never_rerun: [bill]}"))
    calls = list(world.engine.calls)
    with pytest.raises(RefusedByPolicy):
        verify_pipeline_stage(context, PLAN, ())
    assert world.engine.calls == calls


def test_nothing_is_undone_under_a_run_of_ours_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, context = failing(tmp_path)
    undone: list[str] = []

    def undo(_: ApplySchemaMigration, receipt: Receipt, __: ToolContext) -> None:
        undone.append(receipt.key)

    monkeypatch.setattr(ApplySchemaMigration, "undo", undo)
    receipt = Receipt(repair="apply_schema_migration", key="k", applied_at=NOON, summary="s")
    under_way(world, {TAG_INCIDENT: "1", TAG_ATTEMPT: "1"})
    with pytest.raises(Unavailable):
        world.hands().undo(context.incident, NOTHING_KNOWN, receipt, 1)
    assert undone == []
    world.engine.busy = ()
    world.hands().undo(replace(context.incident), NOTHING_KNOWN, receipt, 1)
    assert undone == ["k"]
