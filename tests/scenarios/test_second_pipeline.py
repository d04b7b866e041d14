"""Another domain, other names, assets instead of ops: connected by its mendline.yaml alone, judged by the same oracle."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mendline.incident import FailureType, OutcomeKind
from mendline.stores.base import IncidentRecord
from mendline.stores.sql import SqlStore
from scenarios.energy.world import Grid, Regulator

pytestmark = pytest.mark.slow
PATIENCE_SECONDS = 90


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    regulator = Regulator()
    yield Grid(tmp_path / "grid", regulator)
    regulator.shutdown()
    regulator.server_close()


def start_service(grid: Grid) -> subprocess.Popen[bytes]:
    """Start `mendline serve` as its user would."""
    with (grid.home / "serve.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "mendline.surfaces.cli", "--config", str(grid.home / "mendline.yaml"), "serve"],
            env=grid.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


@contextmanager
def serving(grid: Grid) -> Iterator[SqlStore]:
    """The service, watching; gives its record to look at."""
    process = start_service(grid)
    store: SqlStore | None = None
    try:
        until((grid.home / ".mendline" / "state.db").exists, process)
        store = SqlStore(f"sqlite:///{grid.home / '.mendline' / 'state.db'}")
        until(lambda: store.cursor("engine:nightly_engine") is not None, process)
        yield store
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        if store:
            store.close()


def until(is_so, process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        assert process is None or process.poll() is None, "the service has ended"
        time.sleep(0.1)


def healthy_night(grid: Grid, store: SqlStore, night: int = 1) -> None:
    grid.deliver(night, grid.readings(night))
    assert grid.run()
    until(lambda: len(store.snapshots("readings")) >= 1 and len(store.snapshots("tariffs")) >= 1)


def handled(store: SqlStore, count: int = 1) -> IncidentRecord:
    until(lambda: sum(1 for r in store.incidents() if r.outcome is not None) >= count)
    assert len(store.incidents()) == count
    return store.incidents()[0]


def reference(grid: Grid, tmp_path: Path, night: int, rows=None) -> list[tuple]:
    """The bills of a world in which nothing ever went wrong."""
    calm = Grid(tmp_path / "calm", grid.regulator)
    calm.deliver(night, rows if rows is not None else calm.readings(night))
    assert calm.run()
    return calm.bills(night)


def test_a_renamed_field_is_mapped_and_the_bills_are_those_of_a_calm_night(grid: Grid, tmp_path: Path) -> None:
    with serving(grid) as store:
        healthy_night(grid, store)
        renamed = [{("energy_kwh" if k == "kwh" else k): v for k, v in row.items()} for row in grid.readings(2)]
        grid.deliver(2, renamed)
        assert not grid.run()
        record = handled(store)
        assert (record.outcome.classification.type, record.outcome.kind) == (
            FailureType.SCHEMA_CHANGE,
            OutcomeKind.RESOLVED,
        )
        assert grid.bills(2) == reference(grid, tmp_path, 2)
        grid.deliver(3, [{("energy_kwh" if k == "kwh" else k): v for k, v in row.items()} for row in grid.readings(3)])
        assert grid.run(), "the repair lasts: the next night passes by itself"
        grid.deliver(4, grid.readings(4))
        grid.run()
        until(lambda: len(grid.bills(4)) == 60)
        assert all(r.outcome.kind is OutcomeKind.RESOLVED for r in store.incidents() if r.outcome)


def test_negative_readings_are_set_aside_and_nothing_else(grid: Grid, tmp_path: Path) -> None:
    with serving(grid) as store:
        healthy_night(grid, store)
        rows = grid.readings(2)
        bad = rows[100:130]
        good = rows[:100] + rows[130:]
        grid.deliver(2, good + [row | {"kwh": -row["kwh"]} for row in bad])
        assert not grid.run()
        record = handled(store)
        assert (record.outcome.classification.type, record.outcome.kind) == (
            FailureType.DATA_QUALITY,
            OutcomeKind.RESOLVED,
        )
        assert grid.bills(2) == reference(grid, tmp_path, 2, good)
        kept = grid.query(
            "SELECT payload->>'meter', (payload->>'hour')::INT FROM lake.readings__quarantine ORDER BY ALL"
        )
        assert kept == sorted((row["meter"], row["hour"]) for row in bad)


def test_an_outage_is_waited_for(grid: Grid, tmp_path: Path) -> None:
    with serving(grid) as store:
        healthy_night(grid, store)
        grid.deliver(2, grid.readings(2))
        grid.regulator.unwell_count = 4
        assert not grid.run()
        record = handled(store)
        assert (record.outcome.classification.type, record.outcome.kind) == (
            FailureType.API_FAILURE,
            OutcomeKind.RESOLVED,
        )
        assert grid.bills(2) == reference(grid, tmp_path, 2)


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"memory_limit": "3MB"}, FailureType.RESOURCE), ({"release": "2.0"}, FailureType.UNKNOWN)],
    ids=["memory limit", "a bug in the new release"],
)
def test_what_mendline_cannot_repair_is_escalated_and_left_alone(
    grid: Grid, change: dict, expected: FailureType
) -> None:
    with serving(grid) as store:
        healthy_night(grid, store)
        before = grid.query("SELECT * FROM bills.household ORDER BY ALL")
        grid.deliver(2, grid.readings(2) if "release" in change else [r for n in range(400) for r in grid.readings(n)])
        grid.set(**change)
        assert not grid.run()
        record = handled(store)
        assert (record.outcome.classification.type, record.outcome.kind) == (expected, OutcomeKind.ESCALATED)
        assert grid.query("SELECT * FROM bills.household ORDER BY ALL") == before
        assert "failed" in record.report_markdown


def test_a_pipeline_that_is_down_when_mendline_is_first_started_is_taken_on(grid: Grid, tmp_path: Path) -> None:
    grid.deliver(1, grid.readings(1))
    assert grid.run()
    rows = grid.readings(2)
    grid.deliver(2, [rows[0] | {"kwh": -1.0}, *rows[1:]])
    assert not grid.run()
    with serving(grid) as store:
        record = handled(store)
        assert record.outcome.kind is OutcomeKind.RESOLVED
        assert grid.bills(2) == reference(grid, tmp_path, 2, rows[1:])


@pytest.mark.parametrize("phase", ["reading logs", "repairing", "verifying"])
def test_killed_in_any_phase_the_service_goes_on_where_it_was_and_does_nothing_twice(
    grid: Grid, tmp_path: Path, phase: str
) -> None:
    with serving(grid) as store:
        healthy_night(grid, store)
    first = start_service(grid)
    store = SqlStore(f"sqlite:///{grid.home / '.mendline' / 'state.db'}")
    rows = grid.readings(2)
    bad = rows[:20]
    grid.deliver(2, rows[20:] + [row | {"kwh": -row["kwh"]} for row in bad])
    assert not grid.run()
    until(lambda: any(record.phase == phase for record in store.incidents()), first)
    first.kill()
    first.wait(30)
    assert store.incidents()[0].outcome is None, "it was killed in the middle"
    store.close()
    with serving(grid) as store:
        record = handled(store)
        assert record.outcome.kind is OutcomeKind.RESOLVED
        assert grid.bills(2) == reference(grid, tmp_path, 2, rows[20:])
        assert grid.query("SELECT count(*), count(DISTINCT row_hash) FROM lake.readings__quarantine") == [(20, 20)]
        assert len(grid.query("SELECT key FROM _mendline.ledger")) == 1
