"""A repair that asks, with the real service, the real command line and a real pipeline."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mendline.approvals import WAITING
from mendline.incident import OutcomeKind
from mendline.stores.sql import SqlStore
from scenarios.energy.world import Grid, Regulator
from scenarios.test_second_pipeline import handled, healthy_night, reference, serving, until

pytestmark = pytest.mark.slow


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    regulator = Regulator()
    made = Grid(tmp_path / "grid", regulator)
    file = made.home / "mendline.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("decision: auto", "decision: ask"), encoding="utf-8")
    yield made
    regulator.shutdown()
    regulator.server_close()


def approve(grid: Grid) -> str:
    file = str(grid.home / "mendline.yaml")
    command = [sys.executable, "-m", "mendline.surfaces.cli", "approve", "1", "--yes", "--by", "ann", "--config", file]
    return subprocess.run(command, env=grid.environment, capture_output=True, text=True, timeout=60, check=True).stdout


def is_waiting(store: SqlStore) -> bool:
    record = store.incident("1")
    return record is not None and record.phase == WAITING and record.outcome is not None


def test_an_approval_given_while_the_service_is_down_is_heard_and_the_bills_are_those_of_a_calm_night(
    grid: Grid, tmp_path: Path
) -> None:
    rows = grid.readings(2)
    with serving(grid) as store:
        healthy_night(grid, store)
        grid.deliver(2, rows[30:] + [row | {"kwh": -row["kwh"]} for row in rows[:30]])
        assert not grid.run()
        until(lambda: is_waiting(store))
    assert grid.query("SELECT count(*) FROM lake.readings WHERE kwh < 0") == [(30,)]
    said = approve(grid)
    assert "Rows set aside: 30" in said
    assert "or when it runs again" in said
    with serving(grid) as store:
        until(lambda: store.incident("1").outcome.kind is not OutcomeKind.AWAITING_APPROVAL)
        outcome = handled(store).outcome
        assert outcome.kind is OutcomeKind.RESOLVED
        assert outcome.attempts[-1].answer.by == "ann"
    assert grid.bills(2) == reference(grid, tmp_path, 2, rows[30:])
