"""What changes inside the JSON documents of a column, on every warehouse: seen, told, and left to a person."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.bench import Bench
from contracts.schema_world import DAY_ONE, World, make_world
from mendline.incident import FindingVerdict
from mendline.schema.documents import compare_documents, is_path, profile_documents
from mendline.stores.base import ColumnProfile
from mendline.tools.inspect_schema_diff import InspectSchemaDiff
from mendline.warehouses.base import ELEMENTS, PATH_DEPTH

KINDS = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
TYPES = {"duckdb": ("JSON",), "postgres": ("jsonb", "json")}
GOOD = [{"city": f"city {n % 7}", "address": {"zip": n, "lines": [{"text": "a"}] * (n % 3)}} for n in range(40)]


def walked(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Every path and kind of a document, as the warehouses are to find them."""
    yield path, KINDS.get(type(value), "null")
    if depth == PATH_DEPTH:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walked(inner, f"{path}.{key}", depth + 1)
    elif isinstance(value, list):
        for inner in value[:ELEMENTS]:
            yield from walked(inner, f"{path}[]", depth + 1)


def profiled(bench: Bench, documents: Sequence[Any], kind: str) -> tuple[ColumnProfile, ...]:
    bench.sql(f"DROP TABLE IF EXISTS raw.d; CREATE TABLE raw.d (id INTEGER, place {kind})")
    values = ", ".join(
        f"({place}, {'NULL' if one is ... else _literal(json.dumps(one))})" for place, one in enumerate(documents)
    )
    bench.sql(f"INSERT INTO raw.d VALUES {values}")
    with bench.warehouse.reading() as session:
        schema = session.schema("raw.d")
        assert schema is not None
        return profile_documents(session, bench.warehouse, "FROM raw.d", schema, len(documents))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def a_document(dice: random.Random, depth: int = 0) -> Any:
    """Any JSON, deeper and longer than is looked at."""
    match dice.choice("vvvlo" if depth else "lo") if depth < PATH_DEPTH + 2 else "v":
        case "v":
            return dice.choice([None, 0, -3, 1.5, 10**20, True, False, "", "it's", 'a "b"', "\u00e9\n", {}, []])
        case "l":
            return [a_document(dice, depth + 1) for _ in range(dice.choice([1, 2, ELEMENTS + 5]) if depth < 2 else 1)]
        case _:
            return {dice.choice(["a", "d e"]): a_document(dice, depth + 1) for _ in range(2)}


@pytest.mark.parametrize("seed", range(4))
def test_a_profile_counts_every_path_and_kind_whatever_the_order_of_rows(bench: Bench, seed: int) -> None:
    dice = random.Random(seed)
    documents = [a_document(dice) for _ in range(30)]
    expected = Counter(pair for document in documents for pair in walked(document))
    for kind in TYPES[bench.engine]:
        found = profiled(bench, [*documents, ...], kind)
        counted = {(one.column, what): n for one in found for what, n in one.top_values}
        assert counted == {(f"place:{path.lstrip('.') or '$'}", what): n for (path, what), n in expected.items()}
        assert profiled(bench, [..., *reversed(documents)], kind) == found
        assert compare_documents(found, found) == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda one: {**one, "name": "new"}, [("place:name", False, "new, string in 100%")]),
        (lambda one: {"address": one["address"]}, [("place:city", True, "gone, was string in 100%")]),
        (lambda one: {**one, "city": 7}, [("place:city", True, "string is now number")]),
        (lambda one: {**one, "city": {"name": "x"}}, [("place:city", True, "string is now object")]),
        (lambda one: {**one, "city": None}, [("place:city", True, "null in every document, was string in 100%")]),
        (lambda one: {"city": one["city"]}, [("place:address", True, "gone, was object in 100%")]),
        (lambda one: [one], [("place:$", True, "object is now array")]),
        (
            lambda one: {**one, "address": {**one["address"], "lines": [{"text": 1}] * (one["address"]["zip"] % 3)}},
            [("place:address.lines[].text", True, "string is now number")],
        ),
    ],
    ids=["added", "removed", "retyped", "scalar to object", "emptied", "object removed", "document", "in an array"],
)
def test_each_change_inside_a_document_is_told_once_at_its_outermost_path(
    bench: Bench, change: Any, told: list[tuple[str, bool, str]]
) -> None:
    before = profiled(bench, GOOD, TYPES[bench.engine][0])
    now = profiled(bench, [change(one) for one in GOOD], TYPES[bench.engine][0])
    found = [(one.path, one.is_loss, one.detail) for one in compare_documents(before, now)]
    assert found == told


def test_a_path_that_is_rare_is_not_missed(bench: Bench) -> None:
    rare = [{**one, **({"remark": "x"} if place % 8 == 0 else {})} for place, one in enumerate(GOOD)]
    kind = TYPES[bench.engine][0]
    assert compare_documents(profiled(bench, rare, kind), profiled(bench, GOOD, kind)) == ()
    often = [{**one, **({"remark": "x"} if place % 2 == 0 else {})} for place, one in enumerate(GOOD)]
    assert [one.path for one in compare_documents(profiled(bench, often, kind), profiled(bench, GOOD, kind))] == [
        "place:remark"
    ]


profiles = st.lists(
    st.tuples(st.sampled_from(["$", "a", "a.b", "c"]), st.integers(1, 50), st.sampled_from(list(KINDS.values()))),
    unique_by=lambda one: one[0],
).map(
    lambda paths: tuple(
        ColumnProfile(
            column=f"p:{path}",
            type="json",
            row_count=count,
            null_count=0,
            distinct_count=0,
            min_value=None,
            max_value=None,
            top_values=((kind, count),),
        )
        for path, count, kind in paths
    )
)


@given(before=profiles, now=profiles)
def test_a_path_is_told_at_most_once_and_a_loss_only_of_what_was_there(
    before: tuple[ColumnProfile, ...], now: tuple[ColumnProfile, ...]
) -> None:
    assert all(map(is_path, (*before, *now)))
    assert compare_documents(before, before) == ()
    changes = compare_documents(before, now)
    assert len({change.path for change in changes}) == len(changes)
    assert {change.path for change in changes if change.is_loss} <= {one.column for one in before}
    assert {change.path for change in changes if not change.is_loss} <= {one.column for one in now}


PLACED = f"""SELECT *, JSON '{{"ward": "A", "bed": 4}}' AS place FROM ({DAY_ONE})"""
READING = "SELECT visit_id, place ->> 'ward' AS ward FROM raw.visits"
UNREAD = "SELECT visit_id FROM raw.visits"


@pytest.fixture
def landed(bench: Bench, tmp_path: Path) -> World:
    """A dataset with a column of documents, of which the view reads a field."""
    return make_world(tmp_path, bench, READING, day=PLACED, contract=False)


def test_a_field_that_goes_is_found_told_and_left_to_a_person(landed: World) -> None:
    landed.reshape("*, JSON '{\"bed\": 4}' AS place")
    landed.failed_with("null value in column ward")
    (finding,) = InspectSchemaDiff().run(landed.context)
    assert finding.verdict is FindingVerdict.SUPPORTS
    assert "`place:ward` document_broken: gone, was string in 100%" in finding.summary
    assert "only a person may judge: `place:ward`" in landed.declined().reason


def test_a_field_that_nobody_reads_or_that_is_new_stands_in_no_repair_s_way(landed: World) -> None:
    landed.sql(f"DROP VIEW model.visits; CREATE VIEW model.visits AS {UNREAD}")
    landed.reshape('*, JSON \'{"bed": 4, "name": "x"}\' AS place')
    (finding,) = InspectSchemaDiff().run(landed.context)
    assert {(one["kind"], one["column"]) for one in finding.data["changes"]} == {
        ("document_differs", "place:ward"),
        ("document_differs", "place:name"),
    }
    assert finding.verdict is FindingVerdict.REFUTES
    assert "only a person" not in landed.declined().reason
