"""What only looks like a repair does not verify: equal counts, a blanked column, values that changed places or meaning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.bench import Bench
from contracts.quality_world import make_library
from contracts.schema_world import DAY_ONE, World, make_world
from mendline.incident import Check, Plan, Receipt
from mendline.snapshots import take_snapshot
from mendline.tools.apply_quality_filter import ApplyQualityFilter

FALSE = {
    "a blanked column": ("CAST(NULL AS INTEGER)", "`qty` has the values of its source"),
    "values that changed places": (
        "CASE visit_id WHEN 1001 THEN 2 WHEN 1002 THEN 1 ELSE qty END",
        "every row has the values of its landing row",
    ),
    "one value too many": ("CASE visit_id WHEN 1001 THEN 7 ELSE qty END", "`qty` has the values of its source"),
}


def applied(world: World) -> tuple[Plan, Receipt]:
    plan = world.plan()
    return plan, world.repair.apply(plan, world.context)


def failed(world: World, plan: Plan, receipt: Receipt) -> dict[str, Check]:
    return {check.name: check for check in world.repair.verify(plan, receipt, world.context) if not check.passed}


def redefine(world: World, plan: Plan, **columns: str) -> None:
    """Give the accommodated view other expressions for some of its columns, as a wrong repair would."""
    listed = ", ".join(f"{columns[n]} AS {n}" if n in columns else n for n, _ in plan.parameters["columns"])
    world.sql(f"CREATE OR REPLACE VIEW model.visits AS SELECT {listed} FROM ({plan.parameters['sql']}) AS whole")


@pytest.mark.parametrize("name", sorted(FALSE))
def test_a_false_repair_with_equal_counts_does_not_verify(tmp_path: Path, bench: Bench, name: str) -> None:
    world = make_world(tmp_path, bench)
    world.change("* RENAME (quantity AS qty_count)")
    plan, receipt = applied(world)
    assert failed(world, plan, receipt) == {}
    expression, rung = FALSE[name]
    redefine(world, plan, qty=expression)
    assert rung in failed(world, plan, receipt)


def test_a_column_that_nothing_was_done_to_must_not_change(tmp_path: Path, bench: Bench) -> None:
    world = make_world(tmp_path, bench)
    world.change("* RENAME (quantity AS qty_count)")
    plan, receipt = applied(world)
    redefine(world, plan, fee="CAST(fee + 1 AS DECIMAL(10,2))")
    assert "`fee` has the values of its source" in failed(world, plan, receipt)


def test_a_row_less_and_a_key_less_do_not_verify(tmp_path: Path, bench: Bench) -> None:
    world = make_world(tmp_path, bench)
    world.change("* RENAME (quantity AS qty_count)")
    plan, receipt = applied(world)
    redefine(world, plan, visit_id="CASE visit_id WHEN 1001 THEN 1002 ELSE visit_id END")
    assert "the view has the keys of the landing table" in failed(world, plan, receipt)


def test_a_column_that_reads_only_one_of_its_two_names_does_not_verify(tmp_path: Path, bench: Bench) -> None:
    """It is there, and NULL wherever the other writer wrote."""
    world = make_world(tmp_path, bench, dataset={"batch": "visit_id > (SELECT max(visit_id) - 400 FROM raw.visits)"})
    later = f"SELECT * REPLACE (visit_id + 1000 AS visit_id) RENAME (quantity AS qty) FROM ({DAY_ONE})"
    world.bench.widen("raw.visits", f"{DAY_ONE} UNION ALL BY NAME {later}")
    with world.warehouse.reading() as session:
        team = session.view_sql("model.visits")
    plan, receipt = applied(world)
    assert failed(world, plan, receipt) == {}
    world.sql(f"CREATE OR REPLACE VIEW model.visits AS {team}")
    assert "`qty` has the values of its source" in failed(world, plan, receipt)


def test_values_in_another_unit_cast_and_do_not_verify(tmp_path: Path, bench: Bench) -> None:
    """Every value casts, every row has its own; but fees were never a hundred times as high."""
    world = make_world(tmp_path, bench)
    world.hypothesis(subtype="type_changed")
    world.change("* REPLACE ((fee * 100)::DECIMAL(10,2)::VARCHAR AS fee)")
    plan, receipt = applied(world)
    (check,) = failed(world, plan, receipt).values()
    assert check.name == "`fee` looks as it did in the last good run"
    assert "range" in check.detail


def test_a_filter_on_a_batch_with_a_blanked_column_does_not_verify(tmp_path: Path, bench: Bench) -> None:
    """No check of the contract speaks of that column, and no row is lost."""
    library, repair = make_library(tmp_path, bench), ApplyQualityFilter()
    snapshot = take_snapshot(library.config.datasets["loans"], "good", library.warehouse)
    assert snapshot is not None
    library.services.store.save_snapshot(snapshot)
    library.sql('UPDATE raw."Loans In" SET weight = NULL')
    library.sql('UPDATE raw."Loans In" SET "Fee" = \'-1\' WHERE "LOAN_ID" = \'3\'')
    plan = repair.plan(library.context())
    assert isinstance(plan, Plan)
    receipt = repair.apply(plan, library.context())
    (check,) = (check for check in repair.verify(plan, receipt, library.context()) if not check.passed)
    assert (check.name, check.detail) == ("no column has gone empty", "weight")


OTHER: dict[str, Callable[[World], object]] = {
    "a column added that may not be empty": lambda w: w.sql(
        "ALTER TABLE raw.visits ADD COLUMN extra INTEGER DEFAULT 5"
    ),
    "a column that may no longer be empty": lambda w: w.sql("UPDATE raw.visits SET remark = 'x' WHERE remark IS NULL"),
    "the same columns in another order": lambda w: w.bench.widen(
        "raw.visits", f"SELECT * FROM ({DAY_ONE}) ORDER BY 1 DESC"
    ),
}


@pytest.mark.parametrize("name", sorted(OTHER))
def test_a_change_that_needs_no_repair_gets_none(tmp_path: Path, bench: Bench, name: str) -> None:
    world = make_world(tmp_path, bench)
    healthy = len(world.visible())
    OTHER[name](world)
    if "empty" in name:
        column = "extra" if "added" in name else "remark"
        world.sql("DROP VIEW model.visits" if not world.warehouse.idiom.is_view_text else "SELECT 1")
        team = world.services.store.snapshots("visits")[0].view_sql
        world.sql(f"ALTER TABLE raw.visits ALTER COLUMN {column} SET NOT NULL")
        world.sql(f"CREATE VIEW model.visits AS {team}" if not world.warehouse.idiom.is_view_text else "SELECT 1")
    assert "nothing to change" in world.declined().reason
    assert len(world.visible()) == healthy


def test_an_optional_column_that_was_left_out_is_asked_for_again_by_undo(tmp_path: Path, bench: Bench) -> None:
    world = make_world(tmp_path, bench)
    world.change("* EXCLUDE (remark)")
    former = world.view_sql()
    plan, receipt = applied(world)
    assert failed(world, plan, receipt) == {}
    world.repair.undo(receipt, world.context)
    assert world.view_sql() == former


NARROW = {
    "PRIMARY KEY": ("CREATE TABLE model.facts (qty INTEGER PRIMARY KEY)", "PRIMARY KEY"),
    "UNIQUE": ("CREATE TABLE model.facts (qty INTEGER UNIQUE)", "UNIQUE"),
    "index": ("CREATE TABLE model.facts (qty INTEGER); CREATE INDEX by_qty ON model.facts (qty)", "by_qty"),
    "foreign key": (
        "CREATE TABLE model.known (qty INTEGER PRIMARY KEY);"
        "CREATE TABLE model.facts (qty INTEGER REFERENCES model.known (qty))",
        "FOREIGN KEY",
    ),
}


@pytest.mark.parametrize("name", sorted(NARROW))
def test_a_target_column_under_a_key_or_an_index_is_not_widened(tmp_path: Path, bench: Bench, name: str) -> None:
    world = make_world(tmp_path, bench, dataset={"targets": ["model.facts"]})
    create, obstacle = NARROW[name]
    world.sql(create)
    world.change("* REPLACE (quantity::BIGINT * 1000000000 AS quantity)")
    assert obstacle in world.declined().reason


WIDER = {
    "more digits": ("DECIMAL(10,2)", "DECIMAL(14,2)", "(fee * 10000000)::DECIMAL(14,2)", "decimal(14,2)"),
    "another scale": ("DECIMAL(10,2)", "DECIMAL(14,4)", "(fee * 10000000)::DECIMAL(14,4)", ""),
}


@pytest.mark.parametrize("name", sorted(WIDER))
def test_more_digits_widen_a_target_and_another_scale_does_not(tmp_path: Path, bench: Bench, name: str) -> None:
    before, _, value, after = WIDER[name]
    world = make_world(tmp_path, bench, dataset={"targets": ["model.facts"]})
    world.sql(f"CREATE TABLE model.facts (fee {before}, note VARCHAR)")
    world.sql("INSERT INTO model.facts VALUES (1.25, 'kept')")
    world.change(f"* REPLACE ({value} AS fee)")
    world.hypothesis(subtype="out_of_range")
    if not after:
        assert "do not cast" in world.declined().reason
        return
    plan, receipt = applied(world)
    assert failed(world, plan, receipt) == {}
    assert world.type_of("model.facts", "fee") == after
    world.repair.undo(receipt, world.context)
    assert world.type_of("model.facts", "fee") == "decimal(10,2)"
    assert [row[1] for row in world.sql("SELECT * FROM model.facts")] == ["kept"]
