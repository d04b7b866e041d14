"""Checks that the failing constraint in a log gives, for landing tables whose contract has none like it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial

from sqlglot import exp

from mendline.incident import Classification, LogExcerpt
from mendline.quality.checks import CheckBuilder, Maker, NotApplicable, RowCheck, from_log
from mendline.quality.expectations import RowRule
from mendline.quality.sql_guard import guard_condition

NULLS = ("null",)
DUPLICATES = ("duplicate", "unique", "primary_key")
CASTS = ("cast", "conversion", "type", "parse", "format", "invalid_value")
CONDITIONS = ("check", "negative", "range", "constraint")
# How engines print the condition of a CHECK constraint. Source: DuckDB 2.0 and SQLite 3.50, their messages provoked.
CHECK_TEXT = (
    re.compile(
        r"CHECK constraint failed on table .{1,200}? with expression CHECK\s*\((?P<condition>.{1,500})\)\s*$", re.I
    ),
    re.compile(r"CHECK constraint failed: (?P<condition>[^\n]{1,500}?[<>=][^\n]{1,200})$", re.I),
)


def named_columns(classification: Classification) -> tuple[str, ...]:
    """The last part of every column that the log names, in its order."""
    found = (name.rsplit(".", 1)[-1].strip("\"'`[]") for name in classification.entities.get("column", ()))
    return tuple(dict.fromkeys(name for name in found if name))


def log_checks(
    classification: Classification, log: LogExcerpt, builder: CheckBuilder, known: Sequence[RowCheck]
) -> tuple[RowCheck, ...]:
    """The checks that the log's constraint stands for, on columns that this landing table has; none that is known.

    The log names a column of the stage's target. Only where the landing table, or its contract view, has a column of that
    name does it say something about the landed rows.
    """
    found: list[RowCheck] = []
    have = {(check.kind, tuple(column.lower() for column in check.columns)) for check in known}
    texts = {check.failing_sql for check in known}
    for check in _all(classification, log, builder):
        same = (check.kind, tuple(column.lower() for column in check.columns))
        if check.kind == "custom" or same not in have:
            if check.failing_sql not in texts:
                found.append(from_log(check))
            texts.add(check.failing_sql)
    return tuple(found)


def _all(classification: Classification, log: LogExcerpt, builder: CheckBuilder) -> Iterator[RowCheck]:
    for make in _makers(classification, log, builder):
        try:
            yield from make()
        except NotApplicable:
            continue


def _makers(classification: Classification, log: LogExcerpt, builder: CheckBuilder) -> Iterator[Maker]:
    subtype = classification.subtype.lower()
    present = [column for column in named_columns(classification) if builder.landing.find(column) is not None]
    if _has(subtype, DUPLICATES):
        if present:
            yield partial(builder.unique, tuple(present))
    elif _has(subtype, NULLS):
        for column in present:
            yield partial(builder.not_null, column)
    elif _has(subtype, CONDITIONS):
        for condition in _conditions(log, builder.landing.warehouse.dialect):
            yield partial(builder.rule, RowRule(name=f"log:{condition}", kind="custom", expression=condition))
    elif _has(subtype, CASTS):
        wanted = [builder.contract.column(column) for column in present]
        for declared in filter(None, wanted):
            yield partial(builder.castable, declared, is_strict=True)


def _has(subtype: str, words: Sequence[str]) -> bool:
    return any(word in subtype for word in words)


def _conditions(log: LogExcerpt, dialect: str) -> tuple[str, ...]:
    """The conditions of CHECK constraints in the log that mean the same on the landed rows.

    A target may hold a column in another unit than the landing table; zero is zero in all of them, so a condition with any
    other number says nothing for certain.
    """
    found: dict[str, None] = {}
    for line in log.lines:
        for pattern in CHECK_TEXT:
            match = pattern.search(line.text.strip())
            if match is None:
                continue
            condition = match["condition"].strip()
            try:
                tree = guard_condition(condition, dialect, ValueError)
            except ValueError:
                continue
            numbers = [literal.name for literal in tree.find_all(exp.Literal) if not literal.is_string]
            if all(float(number) == 0 for number in numbers):
                found[condition] = None
    return tuple(found)
