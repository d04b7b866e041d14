"""How a view's SELECT is read and its landing table replaced, without touching anything else of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mendline.schema.view import read_view
from mendline.warehouses.duckdb import DuckDB

WAREHOUSE = DuckDB("main", Path("never-opened.duckdb"))


@pytest.mark.parametrize(
    ("sql", "replaced"),
    [
        ("SELECT a FROM raw.t", 'SELECT a FROM (X) AS "t"'),
        ("SELECT a FROM raw.t AS o WHERE (o.a > 'raw.t')", "SELECT a FROM (X) AS o WHERE (o.a > 'raw.t')"),
        ('SELECT a FROM "RAW"."T" JOIN other.t USING (k)', 'SELECT a FROM (X) AS "T" JOIN other.t USING (k)'),
        ("SELECT a FROM db.raw.t", 'SELECT a FROM (X) AS "t"'),
        ("WITH c AS (SELECT * FROM raw.t) SELECT a FROM c", 'WITH c AS (SELECT * FROM (X) AS "t") SELECT a FROM c'),
        ("SELECT 1 FROM raw.t a JOIN raw.t b USING (k)", "SELECT 1 FROM (X) a JOIN (X) b USING (k)"),
    ],
)
def test_only_the_landing_table_is_replaced(sql: str, replaced: str) -> None:
    reading = read_view(sql, "raw.t", WAREHOUSE)
    assert reading is not None
    assert reading.over("X") == replaced


@pytest.mark.parametrize("sql", ["SELECT a FROM raw.other", "SELECT a FROM other.t", "not sql at all ("])
def test_a_view_that_does_not_read_the_table_has_no_reading(sql: str) -> None:
    assert read_view(sql, "raw.t", WAREHOUSE) is None


def test_what_a_view_needs_is_followed_into_structs() -> None:
    reading = read_view("SELECT a, o.place.city AS c, tags['x'] FROM raw.t o WHERE Z > 1", "raw.t", WAREHOUSE)
    assert reading is not None
    needed = [leaf for leaf in ("a", "place.city", "place.zip", "tags.x", "tags.y", "z", "b") if reading.needs(leaf)]
    assert needed == ["a", "place.city", "tags.x", "tags.y", "z"]


def test_a_star_needs_everything_and_a_count_nothing() -> None:
    star, count = (read_view(f"SELECT {what} FROM raw.t", "raw.t", WAREHOUSE) for what in ("*", "count(*)"))
    assert star is not None
    assert count is not None
    assert star.needs("anything")
    assert not count.needs("anything")


@pytest.mark.parametrize(
    ("sql", "is_plain"),
    [
        ("SELECT a, b + 1 AS c FROM raw.t", True),
        ("SELECT a FROM raw.t WHERE a > 1", False),
        ("SELECT DISTINCT a FROM raw.t", False),
        ("SELECT sum(a) FROM raw.t", False),
        ("SELECT a FROM raw.t JOIN x USING (k)", False),
        ("SELECT a FROM raw.t UNION ALL SELECT a FROM raw.t", False),
        ("SELECT unnest(a) FROM raw.t", False),
    ],
)
def test_a_plain_view_has_a_row_per_row(sql: str, is_plain: bool) -> None:
    reading = read_view(sql, "raw.t", WAREHOUSE)
    assert reading is not None
    assert reading.is_plain is is_plain
