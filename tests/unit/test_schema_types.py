"""Types: every DuckDB spelling has a logical type, and widening is a strict order that loses nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendline.warehouses.base import Column, TableSchema
from mendline.warehouses.types import column_type, family, is_narrowing, is_widening, leaves, logical_type, same_type

SPELLINGS = st.sampled_from(
    [
        "TINYINT",
        "SMALLINT",
        "INTEGER",
        "BIGINT",
        "HUGEINT",
        "UTINYINT",
        "USMALLINT",
        "UINTEGER",
        "UBIGINT",
        "FLOAT",
        "DOUBLE",
        "DECIMAL(10,2)",
        "DECIMAL(12,2)",
        "DECIMAL(12,4)",
        "DATE",
        "TIMESTAMP",
        "VARCHAR",
        "BOOLEAN",
        "BLOB",
        "UUID",
        "JSON",
        "INTEGER[]",
    ]
)


@pytest.mark.parametrize(
    ("spelling", "logical"),
    [
        ("INTEGER", "integer"),
        ("SMALLINT", "integer"),
        ("UINTEGER", "bigint"),
        ("UBIGINT", "decimal(20,0)"),
        ("DECIMAL(10,2)", "decimal(10,2)"),
        ("FLOAT", "double"),
        ("VARCHAR", "string"),
        ("ENUM('a', 'b')", "string"),
        ("TIMESTAMP WITH TIME ZONE", "timestamptz"),
        ("TIMESTAMP_NS", "timestamp"),
        ("JSON", "json"),
        ("STRUCT(a INTEGER)", "struct"),
        ("STRUCT(a INTEGER)[]", "array"),
        ("MAP(VARCHAR, INTEGER)", "map"),
        ("BIT", "other"),
        ("nonsense (", "other"),
    ],
)
def test_an_engine_type_has_a_logical_type(spelling: str, logical: str) -> None:
    assert logical_type(spelling, "duckdb") == logical


@given(SPELLINGS)
def test_a_logical_type_can_be_spelt_and_read_back(spelling: str) -> None:
    logical = logical_type(spelling, "duckdb")
    if logical not in ("array", "map", "struct", "other"):
        assert logical_type(column_type(logical, "duckdb"), "duckdb") == logical


@given(SPELLINGS, SPELLINGS)
def test_widening_never_goes_both_ways(one: str, other: str) -> None:
    assert not (is_widening(one, other, "duckdb") and is_widening(other, one, "duckdb"))
    assert is_widening(one, other, "duckdb") == is_narrowing(other, one, "duckdb")
    assert not is_widening(one, one, "duckdb")


@given(SPELLINGS, SPELLINGS, SPELLINGS)
def test_widening_is_transitive(one: str, two: str, three: str) -> None:
    if is_widening(one, two, "duckdb") and is_widening(two, three, "duckdb"):
        assert is_widening(one, three, "duckdb")


def test_what_may_cut_a_value_is_no_widening() -> None:
    for old, new in (
        ("INTEGER", "DOUBLE"),
        ("BIGINT", "UINTEGER"),
        ("INTEGER", "UBIGINT"),
        ("DECIMAL(10,2)", "DOUBLE"),
    ):
        assert not is_widening(old, new, "duckdb")
    assert is_widening("UINTEGER", "BIGINT", "duckdb")
    assert is_widening("DATE", "TIMESTAMP", "duckdb")


def test_synonyms_are_one_type_and_families_hold_together() -> None:
    assert same_type("INT", "INTEGER", "duckdb")
    assert not same_type("INTEGER", "BIGINT", "duckdb")
    assert family("decimal(10,2)") == family("integer") == "number"
    assert family("array") == "array"


def test_nested_columns_flatten_to_their_leaves_in_order() -> None:
    spelling = 'STRUCT(address STRUCT(city VARCHAR, "post code" VARCHAR), tags VARCHAR[])'
    table = TableSchema(
        table="t",
        columns=(
            Column(name="id", type="INTEGER", logical_type="integer", is_nullable=False, position=1),
            Column(name="delivery", type=spelling, logical_type="struct", is_nullable=True, position=2),
        ),
    )
    flat = leaves(table, "duckdb")
    assert flat.names == ("id", "delivery.address.city", "delivery.address.post code", "delivery.tags")
    assert [column.position for column in flat.columns] == [1, 2, 3, 4]
    assert [column.logical_type for column in flat.columns] == ["integer", "string", "string", "array"]
