"""What a repair must never do to a world that has moved on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contracts.bench import Bench, DuckDBBench
from contracts.schema_world import DAY_ONE, make_world
from mendline.errors import NotSupported, Rejected, Unavailable
from mendline.incident import Declined, Plan
from mendline.warehouses.duckdb import DuckDB

BAD_FEES = f"""
SELECT * REPLACE (CASE WHEN visit_id IN (1003, 1007) THEN 'n/a' ELSE fee::VARCHAR END AS fee) FROM ({DAY_ONE})"""
LONG = f"SELECT * REPLACE (CASE WHEN visit_id = 1003 THEN 9999999999 ELSE quantity END AS quantity) FROM ({DAY_ONE})"


def test_rows_do_not_come_back_into_a_landing_table_that_was_loaded_again(tmp_path: Path, bench: Bench) -> None:
    """They are in the new load, or were corrected there: put back they would be doubled."""
    world = make_world(tmp_path, bench)
    world.land(BAD_FEES)
    plan = world.plan()
    receipt = world.repair.apply(plan, world.context)
    assert receipt.effects["set_aside_count"] == 2
    world.land(BAD_FEES)
    loaded = world.landed()
    with pytest.raises(NotSupported):
        world.repair.undo(receipt, world.context)
    assert world.landed() == loaded
    assert world.sql("SELECT count(*) FROM raw.visits__quarantine") == [(2,)]


def test_rows_come_back_when_the_landing_table_still_stands(tmp_path: Path, bench: Bench) -> None:
    world = make_world(tmp_path, bench)
    world.land(BAD_FEES)
    before = world.landed()
    receipt = world.repair.apply(world.plan(), world.context)
    world.repair.undo(receipt, world.context)
    world.repair.undo(receipt, world.context)
    assert world.landed() == before


def test_a_target_that_the_team_has_changed_since_keeps_its_type(tmp_path: Path, bench: Bench) -> None:
    world = make_world(tmp_path, bench, dataset={"targets": ["model.facts"]})
    world.sql("CREATE TABLE model.facts (visit_id INTEGER, qty INTEGER)")
    world.land(LONG)
    plan = world.plan()
    assert plan.parameters["widen"]
    receipt = world.repair.apply(plan, world.context)
    world.sql("ALTER TABLE model.facts ALTER qty SET DATA TYPE DECIMAL(20,3)")
    world.repair.undo(receipt, world.context)
    assert world.type_of("model.facts", "qty") == "decimal(20,3)"


def test_a_target_that_is_gone_does_not_keep_the_view_from_coming_back(tmp_path: Path, bench: Bench) -> None:
    world = make_world(tmp_path, bench, dataset={"targets": ["model.facts"]})
    world.sql("CREATE TABLE model.facts (visit_id INTEGER, qty INTEGER)")
    world.change("* RENAME (quantity AS quantity_count)")
    world.sql("UPDATE raw.visits SET quantity_count = 1 WHERE quantity_count = 99")
    plan = world.repair.plan(world.context)
    assert isinstance(plan, Plan), plan
    with world.warehouse.reading() as session:
        before = session.view_sql("model.visits")
    widen = [{"target": "model.gone", "column": "qty", "type": "INTEGER", "wider": "BIGINT"}]
    receipt = world.repair.apply(plan, world.context)
    world.repair.undo(replace(receipt, undo={**receipt.undo, "widen": widen}), world.context)
    with world.warehouse.reading() as session:
        assert session.view_sql("model.visits") == before


def test_what_could_not_be_undone_is_not_done(tmp_path: Path, bench: Bench) -> None:
    """An index keeps the engine from renaming the landing table for the moment that an undo needs."""
    world = make_world(tmp_path, bench)
    world.change("* RENAME (fee AS visit_fee)")
    world.sql("CREATE INDEX by_visit ON raw.visits (visit_id)")
    answer = world.repair.plan(world.context)
    if isinstance(answer, Declined):
        assert "undone" in answer.reason
        return
    with world.warehouse.reading() as session:
        before = session.view_sql("model.visits")
    receipt = world.repair.apply(answer, world.context)
    world.repair.undo(receipt, world.context)
    with world.warehouse.reading() as session:
        assert session.view_sql("model.visits") == before


def test_a_repair_that_was_undone_can_be_done_again(tmp_path: Path, bench: Bench) -> None:
    """The ledger's old record must not stand for an effect that is not there any more."""
    world = make_world(tmp_path, bench)
    world.change("* RENAME (fee AS visit_fee)")
    plan = world.plan()
    world.repair.undo(world.repair.apply(plan, world.context), world.context)
    receipt = world.repair.apply(plan, world.context)
    assert world.repair.is_done(plan, world.context)
    assert len(world.visible()) == 400
    world.repair.undo(receipt, world.context)
    assert not world.repair.is_done(plan, world.context)


def test_a_file_written_to_without_a_pause_makes_a_reader_wait_no_longer_than_it_said(tmp_path: Path) -> None:
    warehouse = make_world(tmp_path, DuckDBBench(tmp_path / "w.duckdb")).bench.warehouse
    assert isinstance(warehouse, DuckDB)
    warehouse.close()  # a reader that knows the file already has nothing to wait for
    warehouse.lock_timeout_s = 0.3
    warehouse.is_settled = lambda: False  # type: ignore[method-assign]  # every look finds a fresh write
    with pytest.raises(Unavailable), warehouse.reading() as session:
        session.rows("SELECT 1")


def test_nothing_is_set_aside_twice_when_the_same_call_is_repeated_after_a_reload(tmp_path: Path, bench: Bench) -> None:
    world = make_world(tmp_path, bench)
    world.land(BAD_FEES)
    plan = world.plan()
    world.repair.apply(plan, world.context)
    world.land(BAD_FEES)
    try:
        world.repair.apply(plan, world.context)
    except Rejected:
        return
    assert world.sql("SELECT count(*) FROM raw.visits__quarantine") == [(2,)]
