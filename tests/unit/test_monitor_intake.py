"""From runs to incidents: no run stops the watch, nothing secret is kept, a failure after the end is a new one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mendline.engines.base import FinishedRun
from mendline.errors import ConfigError, MendlineError, NotSupported, Rejected, Unavailable
from mendline.incident import OutcomeKind, to_json
from mendline.monitor.intake import Intake
from mendline.monitor.polling import MOST_TRIES, Poller
from mendline.testing.values import an_outcome
from unit.workflow_world import Freight


def watching(world: Freight) -> tuple[Poller, list[str]]:
    opened: list[str] = []
    poller = Poller(world.engine, world.store, on_run=Intake(services=world.services, start=opened.append).on_run)
    poller.poll()
    return poller, opened


def stage_raises(world: Freight, message: str) -> None:
    def weigh() -> None:
        raise ValueError(message)

    world.engine.work["weigh"] = weigh


def test_no_secret_of_an_error_message_reaches_the_store(tmp_path: Path) -> None:
    world = Freight(tmp_path)
    poller, _ = watching(world)
    stage_raises(world, "could not connect to postgresql://loader:hunter2hunter2@db/x with password=hunter2hunter2")
    world.engine.run()
    poller.poll()
    (record,) = world.store.incidents()
    assert "hunter2" not in to_json(record.incident)
    assert "could not connect to postgresql://loader:" in record.incident.failures[0].message


def test_an_error_message_of_half_characters_does_not_end_the_watch(tmp_path: Path) -> None:
    world = Freight(tmp_path)
    poller, opened = watching(world)
    stage_raises(world, "no such file: caf\udce9.csv")
    world.engine.run()
    poller.poll()
    assert opened == ["1"]
    assert world.handle("1").outcome is not None


def test_an_error_message_of_megabytes_is_kept_in_part(tmp_path: Path) -> None:
    world = Freight(tmp_path)
    poller, opened = watching(world)
    stage_raises(world, "sk-" * 400_000)
    world.engine.run()
    poller.poll()
    assert opened == ["1"]
    (record,) = world.store.incidents()
    assert len(record.incident.failures[0].message) < 20_000


@pytest.mark.parametrize("kind", [NotSupported, ConfigError, Rejected, TypeError])
def test_a_dataset_that_cannot_be_checked_does_not_hold_up_the_failures_after_it(
    tmp_path: Path, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Freight(tmp_path)
    poller, opened = watching(world)

    def refuse(*_: object) -> None:
        raise kind("this dataset cannot be checked")

    monkeypatch.setattr("mendline.monitor.intake.watch", refuse)
    world.engine.run()
    stage_raises(world, "bad")
    world.engine.run()
    for _ in range(MOST_TRIES):
        try:
            poller.poll()
        except MendlineError:
            continue
    assert set(opened) == {"1"}
    assert poller.poll() == ()


def test_a_landing_table_that_is_gone_after_a_good_run_does_not_hold_up_the_watch(tmp_path: Path) -> None:
    world = Freight(tmp_path)
    poller, _ = watching(world)
    world.engine.work.clear()
    world.sql("DROP VIEW front.parcels")
    world.sql("DROP TABLE raw.parcels")
    world.engine.run()
    poller.poll()
    assert poller.poll() == ()


def test_a_run_that_waits_for_a_warehouse_hides_no_failure_after_it(tmp_path: Path) -> None:
    world = Freight(tmp_path)
    seen: list[str] = []

    def on_run(run: FinishedRun) -> None:
        if run.run.run_id == "run-1":
            raise Unavailable("the warehouse is written to without a pause")
        seen.append(run.run.run_id)

    poller = Poller(world.engine, world.store, on_run=on_run)
    poller.poll()
    world.engine.run()
    world.engine.run()
    for _ in range(MOST_TRIES + 2):
        with pytest.raises(Unavailable):
            poller.poll()
    assert seen == ["run-2"]


def test_a_run_that_nobody_can_handle_is_left_behind_in_the_end(tmp_path: Path) -> None:
    world = Freight(tmp_path)
    seen: list[str] = []

    def on_run(run: FinishedRun) -> None:
        seen.append(run.run.run_id)
        if run.run.run_id == "run-1":
            raise KeyError("a bug")

    poller = Poller(world.engine, world.store, on_run=on_run)
    poller.poll()
    world.engine.run()
    world.engine.run()
    for _ in range(MOST_TRIES - 1):
        with pytest.raises(MendlineError):
            poller.poll()
    poller.poll()
    assert seen == ["run-1", "run-2", *["run-1"] * (MOST_TRIES - 1)]
    assert poller.poll() == ()


@pytest.mark.parametrize(
    ("kind", "count"), [(OutcomeKind.RESOLVED, 2), (OutcomeKind.RECOVERED, 2), (OutcomeKind.ESCALATED, 1)]
)
def test_a_failure_after_the_incident_was_resolved_is_a_new_one(tmp_path: Path, kind: OutcomeKind, count: int) -> None:
    """A person who was called is at work on it; after a repair nobody is."""
    world = Freight(tmp_path)
    poller, _ = watching(world)
    stage_raises(world, "bad")
    world.engine.run()
    poller.poll()
    (record,) = world.store.incidents()
    ended_at = record.incident.failures[0].failed_at + timedelta(microseconds=1)
    world.store.close_incident("1", an_outcome(kind, ended_at=ended_at), "report")
    world.engine.rerun_by_hand()
    poller.poll()
    assert len(world.store.incidents()) == count
    for run in world.engine.finished_runs("0")[0]:
        Intake(services=world.services, start=lambda _: None).on_run(replace(run))
    assert len(world.store.incidents()) == count
