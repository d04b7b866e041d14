"""Columns by position: values that stand one column further than they did, and names that only count columns.

A loader without names (CSV without a heading, `INSERT ... SELECT *`) puts what follows an added or removed column under the
wrong names. Then no name in the table can be trusted, and nothing may be made up for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mendline.config import Dataset
from mendline.schema.paths import leaf_sql
from mendline.schema.values import Likeness, likeness
from mendline.snapshots import batch_sql, profile
from mendline.stores.base import ColumnProfile, Snapshot
from mendline.warehouses.base import Column, Session, TableSchema, Warehouse
from mendline.warehouses.types import family, leaves

# What loaders call columns without names. Source: DuckDB read_csv (column0), Spark (_c0), Snowflake (c1), Polars (column_1),
# pandas (0, "Unnamed: 0"), Athena and Glue (col0); tried or read in their documentation, November 2026.
COUNTED = re.compile(r"^(_?c|col|column|f|field|unnamed: ?)?_?\d+$", re.IGNORECASE)
FURTHER = (1, -1, 2, -2)  # by how many columns values are looked for elsewhere
UNLIKE, ALIKE = 0.5, 0.8  # a column's likeness to itself and to its neighbour, from the last good run
LEAST = 2  # so many columns must stand elsewhere: one alone may have changed by itself


@dataclass(frozen=True, kw_only=True)
class Shift:
    """From column `first` on, values stand `by` columns further; `pairs` are (column now, the column whose values it has)."""

    first: str
    by: int
    pairs: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        shown = ", ".join(f"`{now}` has what `{was}` had" for now, was in self.pairs[:3])
        return f"the values of {len(self.pairs)} columns stand {abs(self.by)} column{'s' * (abs(self.by) > 1)} further: {shown}"


def has_counted_names(names: Sequence[str]) -> bool:
    """Whether the columns are called by their number, as a loader without names calls them."""
    return len(names) >= LEAST and sum(bool(COUNTED.match(name)) for name in names) >= 0.8 * len(names)


def find_shift(
    session: Session,
    warehouse: Warehouse,
    dataset: Dataset,
    landing: TableSchema,
    latest: Snapshot | None,
) -> Shift | None:
    """Compare every column with its neighbours of the last good run; None when its own past fits it, or none is known.

    A first pass asks only for limits; profiles are made when two columns or more are out of theirs.
    """
    if latest is None or dataset.positional is False or "." in "".join(latest.schema.names):
        return None
    columns = leaves(landing, warehouse.dialect).columns
    before = {one.column.lower(): one for one in latest.profiles}
    if len(_out_of_limits(session, warehouse, dataset, landing, columns, before)) < LEAST:
        return None
    _, found = profile(session, warehouse, dataset, landing, columns)
    return shift_between(latest.schema.columns, latest.profiles, columns, found)


def _out_of_limits(
    session: Session,
    warehouse: Warehouse,
    dataset: Dataset,
    landing: TableSchema,
    columns: Sequence[Column],
    before: Mapping[str, ColumnProfile],
) -> list[str]:
    """The columns whose NULLs, least or greatest value are not as they were, cheaply: text is compared by its looks."""
    known = [column for column in columns if column.name.lower() in before]
    if not known:
        return []
    values = [str(leaf_sql(warehouse, landing, column.name)) for column in known]
    ordered = [
        sql if family(column.logical_type) == "number" else f"CAST({sql} AS VARCHAR)"
        for column, sql in zip(known, values, strict=True)
    ]
    asked = ", ".join(f"count({sql}), min({sql}), max({sql})" for sql in ordered)
    ((row_count, *found),) = session.rows(f"SELECT count(*), {asked} {batch_sql(warehouse, dataset)}")
    return [
        column.name
        for place, column in enumerate(known)
        if row_count and _is_other(before[column.name.lower()], row_count, *found[3 * place : 3 * place + 3])
    ]


def _is_other(before: ColumnProfile, row_count: int, filled: int, least: object, greatest: object) -> bool:
    nulls = 1 - filled / row_count - before.null_count / max(1, before.row_count)
    was, now = (before.min_value, before.max_value), (least, greatest)
    return (
        abs(nulls) > 0.25 or {_kind(value) for value in was} != {_kind(value) for value in now} or _is_apart(was, now)
    )


def _is_apart(was: tuple[object, object], now: tuple[object, object]) -> bool:
    """Whether two ranges of numbers have less than half of their span in common; text has no range."""
    try:
        (low, high), (least, greatest) = ((float(str(value)) for value in pair) for pair in (was, now))
    except ValueError:
        return False
    span = max(high, greatest) - min(low, least)
    return span > 0 and min(high, greatest) - max(low, least) < 0.5 * span


def _kind(value: object) -> str:
    """What a value looks like, letters and digits by class, repetitions left out."""
    classes = re.sub(r"\d+", "9", re.sub(r"[^\W\d_]+", "a", "" if value is None else str(value)[:40]))
    return re.sub(r"(.)\1+", r"\1", classes)


def shift_between(
    old: Sequence[Column], before: Sequence[ColumnProfile], new: Sequence[Column], now: Sequence[ColumnProfile]
) -> Shift | None:
    """Find the shift that explains the profiles: at least two columns in a row that are unlike themselves and like a
    neighbour, and from the first of them on none that is only like itself.
    """
    was = {one.column.lower(): one for one in before}
    position = {column.name.lower(): place for place, column in enumerate(old)}
    for by in FURTHER:
        pairs: list[tuple[str, str]] = []
        is_refuted = False
        for column, profile_now in zip(new, now, strict=True):
            place = position.get(column.name.lower())
            neighbour = old[place - by] if place is not None and 0 <= place - by < len(old) else None
            if place is None or neighbour is None:
                continue
            own = _fit(was.get(column.name.lower()), profile_now, column, old[place])
            other = _fit(was.get(neighbour.name.lower()), profile_now, column, neighbour)
            if own < UNLIKE and other >= ALIKE:
                pairs.append((column.name, neighbour.name))
            elif pairs and own >= ALIKE and other < UNLIKE:
                is_refuted = True
        if len(pairs) >= LEAST and not is_refuted:
            return Shift(first=pairs[0][0], by=by, pairs=tuple(pairs))
    return None


def _fit(before: ColumnProfile | None, now: ColumnProfile, column: Column, old: Column) -> float:
    """How well today's values fit a column of the last good run, in [0, 1]; what speaks against it counts as nothing."""
    if before is None or family(column.logical_type) != family(old.logical_type):
        return 0.0
    found: Likeness = likeness(before, replace(now, column=before.column), family(column.logical_type), None)
    return 0.0 if found.against or found.score is None else found.score
