"""Which values survive a cast unchanged: predicates that are TRUE for a value that does not, and pairs that none does."""

from __future__ import annotations

import re

from mendline.stores.base import ColumnProfile
from mendline.warehouses.base import Column, Warehouse
from mendline.warehouses.types import column_type, family

# (family now, family expected): the pairs whose values may mean the same in another spelling. Everything else (a number
# that is now a date, a scalar that is now a struct) is refused. Timestamps with and without a zone are a change of
# meaning, whatever the cast says. Source: table B.2 of the project's notes on schema change, rows "Type changed to another
# family" and "Timezone/unit/semantics change".
CASTABLE = frozenset(
    {
        ("string", "number"),
        ("string", "time"),
        ("string", "boolean"),
        ("number", "number"),
        ("number", "boolean"),
        ("boolean", "number"),
        ("time", "time"),
        ("number", "string"),
        ("time", "string"),
        ("boolean", "string"),
        ("string", "string"),
    }
)
YEAR_FIRST, WITH_OFFSET = r"^\s*\d{4}[-/]", r":\d\d(\.\d+)?\s*[+-]\d"
LENGTH = re.compile(r"char(?:acter)?(?: varying)?\((\d+)\)", re.IGNORECASE)
PLAIN_NUMBER = re.compile(r"^-?(0|[1-9]\d*)(\.\d+)?$")


def present_sql(warehouse: Warehouse, column: Column, sql: str, *, is_all_null: bool) -> str:
    """The value itself: of a JSON scalar its text, without the JSON quotes."""
    return warehouse.idiom.json_text(sql) if column.logical_type == "json" and not is_all_null else sql


def refuses(now: Column, expected: Column, before: ColumnProfile | None) -> str | None:
    """Why no cast from `now` to `expected` can be trusted; None when the values themselves may decide.

    `before` is the last good profile of the expected column, needed where text is expected: text made from another type
    is only the same text when it was written in the plain way (no leading zeros, the same shape of dates).
    """
    was, is_now = family(expected.logical_type), family(now.logical_type)
    if now.logical_type == "json":
        is_now = "string"
    zones = {expected.logical_type, now.logical_type}
    if zones == {"timestamp", "timestamptz"}:
        return f"{now.type} and {expected.type} differ in their time zone, so a cast may change what the times mean"
    if (is_now, was) not in CASTABLE:
        return f"values of {now.type} are not values of {expected.type} in another spelling"
    if was == "string" and is_now in ("number", "time") and not _is_plain(before, is_now):
        return f"the text that was expected cannot be rebuilt from {now.type} with certainty"
    return None


def _is_plain(before: ColumnProfile | None, now_family: str) -> bool:
    if before is None or before.min_value is None or before.max_value is None:
        return False
    texts = (before.min_value, before.max_value, *(value for value, _ in before.top_values))
    shape = PLAIN_NUMBER if now_family == "number" else re.compile(r"^\d{4}-\d{2}-\d{2}( \d{2}:\d{2}:\d{2}(\.\d+)?)?$")
    return all(shape.match(text) for text in texts)


def failing_sql(warehouse: Warehouse, now: Column, expected: Column, sql: str) -> str:
    """A predicate that is TRUE for a value that does not cast to the expected type, or not without loss; never NULL.

    NULL passes (it stays NULL). A fraction cast to an integer, digits beyond the scale, a time of day cast to a date, and
    text in which the day may stand where the month does, all fail.
    """
    cast = warehouse.safe_cast(sql, expected.type)
    conditions = [f"{cast} IS NULL"]
    target = expected.logical_type
    if family(target) == "number" and family(now.logical_type) != "boolean":
        number = warehouse.safe_cast(sql, "double")
        double = column_type("double", warehouse.dialect)
        conditions.append(f"{number} IS DISTINCT FROM CAST({cast} AS {double})")
    if target == "boolean" and family(now.logical_type) == "number":
        conditions.append(f"{warehouse.safe_cast(sql, 'double')} NOT IN (0, 1)")
    longest = longest_text(expected.type)
    if target == "string" and longest is not None:  # a cast cuts what is too long, without a word
        conditions.append(f"length(CAST({sql} AS VARCHAR)) > {longest}")
    if target == "date":
        conditions.append(f"{warehouse.safe_cast(sql, 'timestamp')} IS DISTINCT FROM CAST({cast} AS TIMESTAMP)")
    if family(target) == "time" and target != "time" and now.logical_type in ("string", "json"):
        text, matches = f"CAST({sql} AS VARCHAR)", warehouse.idiom.matches
        conditions.append(f"NOT {matches(text, YEAR_FIRST)}")
        conditions.append(matches(text, WITH_OFFSET))
    return f"({sql} IS NOT NULL AND ({' OR '.join(conditions)}))"


def longest_text(spelling: str) -> int | None:
    """The letters that `VARCHAR(n)` has room for; None for text without such a limit."""
    found = LENGTH.search(spelling)
    return int(found[1]) if found else None
