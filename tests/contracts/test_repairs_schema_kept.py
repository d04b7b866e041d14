"""A landing table that keeps every day and every column: a renamed column stands there twice, each time half empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from contracts import schema_world
from contracts.bench import Bench
from contracts.schema_world import DAY_ONE, EXPLICIT, STAR, World
from mendline.incident import FindingVerdict
from mendline.quality.landing import open_landing
from mendline.tools.inspect_schema_diff import InspectSchemaDiff

TODAY = "seen_at::DATE = (SELECT max(seen_at)::DATE FROM raw.visits)"
Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path, bench: Bench) -> Make:
    def build(view: str = EXPLICIT) -> World:
        return schema_world.make_world(tmp_path, bench, view, dataset={"batch": TODAY})

    return build


def _days(*changes: str) -> str:
    """Day one as it was, then one day per change, all in one table."""
    parts = [DAY_ONE]
    for number, change in enumerate(changes, start=1):
        moved = f"visit_id + {1000 * number} AS visit_id, seen_at + INTERVAL {number} DAY AS seen_at"
        parts.append(f"SELECT {change} FROM (SELECT * REPLACE ({moved}) FROM ({DAY_ONE}))")
    return " UNION ALL BY NAME ".join(parts)


@pytest.mark.parametrize(
    "change",
    ["* RENAME (quantity AS qty)", '* RENAME (patient_ref AS "patientRef")'],
)
def test_a_renamed_column_is_read_under_both_names_and_undo_restores(make: Make, change: str) -> None:
    world = make()
    world.bench.widen("raw.visits", _days("*"))
    healthy = world.visible()
    world.bench.widen("raw.visits", _days(change))
    half_empty = world.visible()
    (finding,) = InspectSchemaDiff().run(world.context)
    assert finding.verdict is FindingVerdict.SUPPORTS
    plan = world.fix()
    assert world.visible() == healthy
    world.repair.undo(world.repair.apply(plan, world.context), world.context)
    assert world.visible() == half_empty


def test_a_later_change_keeps_both_names_readable(make: Make) -> None:
    world = make()
    world.bench.widen("raw.visits", _days("*", "*"))
    healthy = world.visible()
    world.bench.widen("raw.visits", _days("* RENAME (quantity AS qty)"))
    world.fix()
    world.good_run("second")
    world.incident("2")
    world.bench.widen(
        "raw.visits", _days("* RENAME (quantity AS qty)", "* RENAME (quantity AS qty, setting AS settings)")
    )
    world.fix()
    assert world.visible() == healthy


def test_a_column_that_the_source_stopped_filling_is_not_a_rename(make: Make) -> None:
    world = make()
    world.bench.widen("raw.visits", _days("* EXCLUDE (quantity), 'x' AS note"))
    (finding,) = InspectSchemaDiff().run(world.context)
    assert finding.verdict is not FindingVerdict.SUPPORTS


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("patient_ref", "* RENAME (patient_ref AS pat_ref)"),
        ("quantity", '* EXCLUDE (quantity), quantity::BIGINT AS "Quantity_"'),
        ("fee", '* EXCLUDE (fee), fee::VARCHAR AS "Fee_"'),
    ],
)
def test_the_checks_follow_a_column_to_its_new_name(make: Make, column: str, change: str) -> None:
    world = make()
    world.bench.widen("raw.visits", _days(change))
    world.fix()
    with world.warehouse.reading() as session:
        landing = open_landing(world.services.config.datasets["visits"], session, world.warehouse)
        assert landing is not None
        place = landing.find(column)
        assert place is not None
        ((missing,),) = session.rows(f"SELECT count(*) FROM {landing.table} WHERE {place.sql} IS NULL")
    assert missing == 0


def test_the_checks_follow_a_renamed_column_also_where_each_day_replaces_the_last(make: Make) -> None:
    world = make(STAR)
    world.change("* RENAME (patient_ref AS pat_ref)")
    world.fix()
    with world.warehouse.reading() as session:
        landing = open_landing(world.services.config.datasets["visits"], session, world.warehouse)
        place = landing.find("patient_ref") if landing else None
    assert place is not None
    assert place.path == "pat_ref"
