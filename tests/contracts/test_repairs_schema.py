"""The schema diagnostic and repair on real warehouses: every change that is safe is repaired to the row, the rest declined."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts import schema_world
from contracts.bench import Bench
from contracts.schema_world import DAY_ONE, EXPLICIT, STAR, World
from mendline.errors import Rejected
from mendline.incident import Declined, FindingVerdict
from mendline.tools.inspect_schema_diff import InspectSchemaDiff

Make = Callable[..., World]

REPAIRABLE = {
    "renamed": (EXPLICIT, "* RENAME (quantity AS qty_count)"),
    "the key under another name, still one per row": (EXPLICIT, "* RENAME (visit_id AS visit_number)"),
    "abbreviated": (EXPLICIT, "* RENAME (patient_ref AS pat_ref)"),
    "renamed under a star": (STAR, "* RENAME (quantity AS qty)"),
    "spelt in another case": (EXPLICIT, '* RENAME (patient_ref AS "patientRef", visit_id AS "VisitID")'),
    "added under a star": (STAR, "*, 5 AS extra"),
    "reordered under a star": (STAR, "* EXCLUDE (visit_id), visit_id"),
    "retyped to text that casts": (EXPLICIT, "* REPLACE (fee::VARCHAR AS fee)"),
    "retyped to text under a star": (STAR, "* REPLACE (quantity::VARCHAR AS quantity, seen_at::VARCHAR AS seen_at)"),
    "whole numbers with a point": (EXPLICIT, "* REPLACE (quantity::VARCHAR || '.00' AS quantity)"),
    "widened, values fit": (EXPLICIT, "* REPLACE (quantity::BIGINT AS quantity)"),
    "narrowed": (EXPLICIT, "* REPLACE (quantity::SMALLINT AS quantity)"),
}
NESTED = {
    "nested one level deeper": (
        EXPLICIT,
        "* REPLACE ({'name': site.name, 'place': {'at': {'city': site.place.city}, 'zip': site.place.zip}} AS site)",
    ),
    "a flat column moved into a struct": (EXPLICIT, "* EXCLUDE (setting), {'setting': setting, 'floor': 1} AS ward"),
    "a nested leaf renamed": (
        EXPLICIT,
        "* REPLACE ({'name': site.name, 'place': {'city_name': site.place.city, 'zip': site.place.zip}} AS site)",
    ),
    "nested under a star": (
        STAR,
        "* REPLACE ({'name': site.name, 'at': {'place': {'city': site.place.city, 'zip': site.place.zip}}} AS site)",
    ),
}


@pytest.fixture
def make(tmp_path: Path, bench: Bench) -> Make:
    def build(*arguments: Any, **options: Any) -> World:
        return schema_world.make_world(tmp_path, bench, *arguments, **options)

    return build


def change_of(world: World, name: str) -> None:
    """Land the changed shape. Only an engine with structs sees into nested values."""
    if name in NESTED and not world.warehouse.idiom.has_structs:
        pytest.skip(f"never: {world.bench.engine} has no structs, what is nested is a value there")
    world.change({**REPAIRABLE, **NESTED}[name][1])


@pytest.mark.parametrize("name", sorted([*REPAIRABLE, *NESTED]))
def test_a_repaired_view_gives_the_healthy_rows_and_undo_restores(make: Make, name: str) -> None:
    world = make({**REPAIRABLE, **NESTED}[name][0])
    healthy = world.visible()
    world.hypothesis(subtype="type_changed")
    change_of(world, name)
    former = world.view_sql()
    if world.plan().parameters["columns"]:  # planning has no effect and is repeatable
        assert world.plan() == world.plan()
    assert world.view_sql() == former
    plan = world.fix()
    assert world.visible() == healthy
    assert world.repair.is_done(plan, world.context)
    again = world.repair.apply(plan, world.context)
    assert world.visible() == healthy
    world.repair.undo(again, world.context)
    world.repair.undo(again, world.context)
    assert world.view_sql() == former
    assert world.services.store.accommodation("visits") is None
    assert not world.repair.is_done(plan, world.context)


@pytest.mark.parametrize("name", sorted([*REPAIRABLE, *NESTED]))
def test_the_day_on_which_the_source_is_back_ends_right_by_itself(make: Make, name: str) -> None:
    world = make({**REPAIRABLE, **NESTED}[name][0])
    healthy = world.visible()
    world.hypothesis(subtype="type_changed")
    change_of(world, name)
    world.fix()
    world.good_run("repaired")
    assert world.visible() == healthy
    world.reshape()
    assert world.visible() == healthy


def test_an_optional_column_that_is_gone_reads_null_and_comes_back(make: Make) -> None:
    world = make()
    healthy = world.visible()
    world.change("* EXCLUDE (remark)")
    world.fix()
    assert {row[5] for row in world.visible()} == {None}
    world.reshape()
    assert world.visible() == healthy


def test_a_change_on_top_of_an_accommodation_keeps_the_first(make: Make) -> None:
    world = make()
    healthy = world.visible()
    world.change("* RENAME (quantity AS qty)")
    world.fix()
    world.good_run("second")
    world.incident("2")
    world.change("* REPLACE (fee::VARCHAR AS fee) RENAME (quantity AS qty)")
    world.hypothesis(subtype="type_changed")
    plan = world.fix()
    assert world.visible() == healthy
    kept = world.services.store.accommodation("visits")
    assert kept is not None
    assert plan.parameters["base_sql"] == kept.base_sql
    assert {m["column"] for m in plan.parameters["mappings"] if m["kind"] == "alias"} == {"quantity"}


def test_a_view_that_the_team_redefined_is_a_new_base(make: Make) -> None:
    world = make()
    world.change("* RENAME (quantity AS qty)")
    world.fix()
    world.sql("DROP VIEW model.visits")
    world.sql("CREATE VIEW model.visits AS SELECT visit_id, qty FROM raw.visits")
    theirs = world.view_sql()
    world.good_run("theirs")
    world.incident("2")
    world.change("* RENAME (quantity AS qty_count)")
    plan = world.fix()
    assert plan.parameters["base_sql"] == theirs


def test_both_names_with_different_values_stop_the_view_instead_of_mixing(make: Make) -> None:
    world = make()
    world.change("* RENAME (quantity AS qty_count)")
    world.fix()
    world.reshape("*, quantity + 1 AS qty_count")
    with pytest.raises(Exception, match="both have a value"):
        world.visible()
    world.incident("2")
    plan = world.repair.plan(world.context)
    assert isinstance(plan, Declined) or plan.parameters["sql"] == plan.parameters["base_sql"]


DECLINED = {
    "a required column is gone": ("* EXCLUDE (fee)", "required column `fee` is gone"),
    "a decoy of other values": ("* EXCLUDE (fee), (random() * 90000)::DECIMAL(10,2) AS tax_fee", "`fee` is gone"),
    "a decoy of another type": ("* EXCLUDE (quantity), 'x' AS quantity_unit", "required column `quantity` is gone"),
    "the key is renamed and no longer one per row": (
        "* EXCLUDE (visit_id), CASE WHEN visit_id = 1000 THEN 1001 ELSE visit_id END AS visit_number",
        "not one per key",
    ),
    "the key is gone": ("* EXCLUDE (visit_id)", "key column `visit_id` is gone"),
    "two equal candidates": (
        "* EXCLUDE (quantity), quantity AS qty_new, quantity AS new_qty",
        "candidates are too close",
    ),
    "locale numbers": ("* REPLACE (replace(fee::VARCHAR, '.', ',') AS fee)", "400 of 400 rows do not cast"),
    "day and month in doubt": ("* REPLACE (strftime(seen_at, '%d/%m/%Y') AS seen_at)", "400 of 400 rows do not cast"),
    "two spellings of one name": (
        '* EXCLUDE (patient_ref), patient_ref AS "patientRef", patient_ref AS "patient ref"',
        "several columns are spelt almost like it",
    ),
    "nothing casts": ("* REPLACE ('n/a' AS fee)", "400 of 400 rows do not cast"),
    "a number that was text": ("* REPLACE (visit_id AS patient_ref)", "cannot be rebuilt"),
    "a time that is now a number": ("* REPLACE (epoch(seen_at) AS seen_at)", "in another spelling"),
    "a zone appeared": ("* REPLACE (seen_at::TIMESTAMPTZ AS seen_at)", "time zone"),
    "a scalar that is now a struct": (
        "* REPLACE ({'value': 'x', 'unit': 'CHF'} AS fee)",
        ("is a struct now", "is JSON"),
    ),
}


@pytest.mark.parametrize("name", sorted(DECLINED))
def test_what_is_not_certain_is_declined_with_its_reason(make: Make, name: str) -> None:
    change, reason = DECLINED[name]
    world = make()
    world.hypothesis(subtype="type_changed")
    world.change(change)
    former = world.view_sql()
    declined = world.declined().reason
    assert any(words in declined for words in ([reason] if isinstance(reason, str) else reason))
    assert world.view_sql() == former


def test_where_nothing_changed_nothing_is_planned(make: Make) -> None:
    world = make()
    world.hypothesis(subtype="type_changed")
    world.reshape()
    assert "nothing to change" in world.declined().reason


def test_an_empty_batch_proves_nothing(make: Make) -> None:
    world = make()
    world.change("* RENAME (quantity AS qty_count)")
    world.sql("DELETE FROM raw.visits")
    assert "is empty" in world.declined().reason


def test_a_missing_table_is_declined(make: Make) -> None:
    world = make()
    world.sql("DROP TABLE raw.visits CASCADE")
    assert "is gone" in world.declined().reason


def test_a_rename_is_only_proposed_when_the_policy_says_so(make: Make) -> None:
    world = make(EXPLICIT, {"inferred_renames": "propose"})
    world.change("* RENAME (quantity AS qty_count)")
    declined = world.declined()
    assert "`quantity` -> `qty_count` scores" in declined.reason
    assert "name" in declined.reason
    assert "confirm" in declined.needed


def test_a_score_under_the_policy_is_only_proposed(make: Make) -> None:
    world = make(EXPLICIT, {"min_rename_score": 1.0})
    world.change("* RENAME (quantity AS qty_count)")
    assert "min_rename_score" in world.declined().reason


def test_values_that_do_not_cast_are_set_aside_under_the_threshold_and_come_back(make: Make) -> None:
    world = make()
    healthy = world.visible()
    world.change("* REPLACE (CASE WHEN visit_id IN (1003, 1207) THEN 'unknown' ELSE fee::VARCHAR END AS fee)")
    landed = world.landed()
    plan = world.plan()
    receipt = world.repair.apply(plan, world.context)
    assert receipt.effects["set_aside_count"] == 2
    assert all(check.passed for check in world.repair.verify(plan, receipt, world.context))
    assert world.visible() == [row for row in healthy if row[0] not in (1003, 1207)]
    kept = world.sql("SELECT incident_id, check_names, payload FROM raw.visits__quarantine")
    assert [(row[0], row[1]) for row in kept] == [("1", "type_castable:fee")] * 2
    assert world.repair.apply(plan, world.context) == receipt
    world.repair.undo(receipt, world.context)
    assert world.landed() == landed


def test_a_fraction_is_not_rounded_into_an_integer(make: Make) -> None:
    world = make()
    world.hypothesis(subtype="type_changed")
    world.change("* REPLACE ((quantity + 0.5)::VARCHAR AS quantity)")
    assert "rows do not cast" in world.declined().reason


TARGET = "CREATE TABLE model.core_visit (visit_id INTEGER PRIMARY KEY, qty INTEGER NOT NULL)"
WIDER = "* REPLACE (quantity::BIGINT * 1000000000 AS quantity)"


def test_a_target_that_is_too_narrow_is_widened_and_narrowed_again(make: Make) -> None:
    world = make(dataset={"targets": ["model.core_visit"]})
    world.sql(TARGET)
    world.change(WIDER)
    world.hypothesis(subtype="out_of_range")
    plan = world.fix()
    assert plan.parameters["sql"] == plan.parameters["base_sql"]
    world.sql("INSERT INTO model.core_visit SELECT visit_id, qty FROM model.visits")
    receipt = world.repair.apply(plan, world.context)
    world.repair.undo(receipt, world.context)  # its values need the width: it stays
    assert world.type_of("model.core_visit", "qty") == "bigint"


def test_a_widened_target_without_wide_values_is_narrowed_by_undo(make: Make) -> None:
    world = make(dataset={"targets": ["model.core_visit"]})
    world.sql(TARGET)
    world.change(WIDER)
    plan = world.plan()
    world.repair.undo(world.repair.apply(plan, world.context), world.context)
    assert world.type_of("model.core_visit", "qty") == "integer"


def test_a_constrained_target_is_not_widened(make: Make) -> None:
    world = make(dataset={"targets": ["model.core_visit"]})
    world.sql("CREATE TABLE model.core_visit (visit_id INTEGER PRIMARY KEY, qty INTEGER CHECK (qty >= 0))")
    world.change(WIDER)
    assert "CHECK" in world.declined().reason


def test_values_that_need_a_wider_type_without_a_target_are_declined(make: Make) -> None:
    world = make()
    world.hypothesis(subtype="out_of_range")
    world.change(WIDER)
    assert "targets" in world.declined().needed


def test_a_plan_for_another_world_is_refused_and_leaves_no_trace(make: Make) -> None:
    world = make()
    world.change("* RENAME (quantity AS qty_count)")
    plan = world.plan()
    world.change("* RENAME (quantity AS qty_count, fee AS price)")
    former = world.view_sql()
    with pytest.raises(Rejected, match="plan again"):
        world.repair.apply(plan, world.context)
    assert world.view_sql() == former
    assert world.services.store.accommodation("visits") is None


def test_a_crash_between_effect_and_memory_is_healed(make: Make) -> None:
    world = make()
    world.change("* RENAME (quantity AS qty_count)")
    plan = world.plan()
    world.repair.apply(plan, world.context)
    world.services.store.delete_accommodation("visits")
    world.repair.apply(plan, world.context)
    kept = world.services.store.accommodation("visits")
    assert kept is not None
    assert kept.base_sql == plan.parameters["base_sql"]


def test_a_blanked_column_does_not_verify(make: Make) -> None:
    world = make()
    world.change("* RENAME (quantity AS qty_count)")
    plan = world.plan()
    receipt = world.repair.apply(plan, world.context)
    names = [name for name, _ in plan.parameters["columns"]]
    listed = ", ".join("CAST(NULL AS INTEGER) AS qty" if name == "qty" else name for name in names)
    world.sql(f"CREATE OR REPLACE VIEW model.visits AS SELECT {listed} FROM ({plan.parameters['sql']}) AS whole")
    failed = [check for check in world.repair.verify(plan, receipt, world.context) if not check.passed]
    assert any("has the values of" in check.name for check in failed)


def test_odd_names_and_a_filtered_join_survive(make: Make) -> None:
    view = (
        'SELECT o.visit_id, o."fee" AS "The Fee", k.label FROM raw.visits AS o '
        "JOIN (VALUES ('ward', 'W'), ('clinic', 'C')) AS k(setting, label) USING (setting) WHERE o.quantity > 3"
    )
    world = make(view)
    healthy = world.visible()
    world.change('* RENAME (quantity AS "Quantity ""Count""", setting AS "Setting.Kind")')
    world.fix()
    assert world.visible() == healthy


def test_without_any_memory_the_contract_says_what_is_expected(make: Make) -> None:
    world = make("SELECT visit_id, fee, remark FROM raw.visits")
    healthy = world.visible()
    world.services.store._snapshots.clear()  # type: ignore[attr-defined]  # the store is the one in memory
    world.change("* EXCLUDE (remark)")
    if not world.warehouse.idiom.is_view_text:  # the view went with its table, and nobody remembers it
        assert "does not exist" in world.declined().reason
        return
    world.fix()
    assert [row[:2] for row in world.visible()] == [row[:2] for row in healthy]
    assert {row[2] for row in world.visible()} == {None}


def test_the_diagnostic_supports_refutes_and_cannot_tell(make: Make) -> None:
    world, tool = make(), InspectSchemaDiff()
    (healthy,) = tool.run(world.context)
    assert healthy.verdict is FindingVerdict.REFUTES
    world.change("* RENAME (quantity AS qty_count)")
    (broken,) = tool.run(world.context)
    assert broken.verdict is FindingVerdict.SUPPORTS
    assert broken.data["renames"][0]["new"] == "qty_count"
    assert {change["kind"] for change in broken.data["changes"]} == {"renamed"}
    world.bench.replace("raw.visits", DAY_ONE)
    world.bench.sql("DROP VIEW IF EXISTS model.visits")
    world.bench.sql("CREATE VIEW model.visits AS SELECT visit_id, quantity FROM raw.visits")
    world.good_run("again")
    world.reshape("*, 1 AS extra")
    (added,) = tool.run(world.context)
    assert added.verdict is FindingVerdict.REFUTES


def test_a_wider_column_whose_values_fit_tells_nothing(make: Make) -> None:
    world = make()
    world.change("* REPLACE (quantity::BIGINT AS quantity)")
    (wider,) = InspectSchemaDiff().run(world.context)
    is_view_there = world.warehouse.idiom.is_view_text
    assert wider.verdict is (FindingVerdict.CANNOT_TELL if is_view_there else FindingVerdict.SUPPORTS)


def test_the_diagnostic_that_cannot_reach_the_warehouse_says_so(make: Make) -> None:
    world = make()
    world.bench.cut()
    (finding,) = InspectSchemaDiff().run(world.context)
    assert finding.verdict is FindingVerdict.CANNOT_TELL
    assert "warehouse `main`" in finding.summary
