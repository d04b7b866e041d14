"""Count failing rows: one pass over the batch for all checks, then a few keys of those that fail."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from mendline.errors import Rejected
from mendline.quality.checks import Checks, RowCheck, text
from mendline.quality.expectations import TableRule
from mendline.quality.sql_guard import fill
from mendline.warehouses.base import Session

SAMPLE_COUNT = 5
SAMPLE_LENGTH = 80


@dataclass(frozen=True, kw_only=True)
class CheckCount:
    """How many rows of the batch fail one check; `samples` are up to 5 keys (key columns only), as text, in key order."""

    check: RowCheck
    failing_count: int
    samples: tuple[dict[str, str | None], ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableResult:
    """The answer of one rule about the batch as a whole.

    `value` None means that the rule could not be evaluated (`detail` says why): then it says nothing about the batch.
    """

    rule: TableRule
    passed: bool
    value: float | None
    detail: str

    @property
    def is_violated(self) -> bool:
        """Whether the rule was evaluated and does not hold."""
        return self.value is not None and not self.passed


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one batch measured.

    `failing_count` counts distinct rows over all decidable checks. `conflict_row_count` counts rows that share a key with
    a different row, `conflicting_key_count` their keys, over all unique keys.
    """

    batch_count: int
    counts: tuple[CheckCount, ...]
    failing_count: int
    conflict_row_count: int
    conflicting_key_count: int
    tables: tuple[TableResult, ...] = ()

    @property
    def failing_fraction(self) -> float:
        """Distinct failing rows / batch rows; 0 for an empty batch."""
        return self.failing_count / self.batch_count if self.batch_count else 0.0

    @property
    def failing(self) -> tuple[CheckCount, ...]:
        """The checks that rows fail, most rows first, conflicts too."""
        found = [count for count in self.counts if count.failing_count]
        return tuple(sorted(found, key=lambda count: -count.failing_count))

    @property
    def failed_tables(self) -> tuple[TableResult, ...]:
        """The rules about the batch as a whole that do not hold."""
        return tuple(result for result in self.tables if result.is_violated)

    @property
    def is_clean(self) -> bool:
        """Whether every check holds."""
        return not self.failing and not self.failed_tables


def measure(checks: Checks, session: Session) -> Measurement:
    """Count the batch, the failing rows of every check and in all. Reads only. Raises: `Rejected`, `Unavailable`."""
    landing, rows = checks.landing, checks.rows
    flags = [f"{check.failing_sql} AS f{number}" for number, check in enumerate(rows)]
    conflicts = [(number, check) for number, check in enumerate(rows) if not check.is_decidable]
    any_row = " OR ".join(f"f{number}" for number, check in enumerate(rows) if check.is_decidable) or "FALSE"
    any_conflict = " OR ".join(f"f{number}" for number, _ in conflicts) or "FALSE"
    keys = {number: [place.sql for place in map(landing.find, check.columns) if place] for number, check in conflicts}
    key_flags = [f"ROW({', '.join(keys[number])}) AS k{number}" for number, _ in conflicts]
    counted = [
        "count(*)",
        f"count(*) FILTER (WHERE {any_row})",
        f"count(*) FILTER (WHERE {any_conflict})",
        *(f"count(*) FILTER (WHERE f{number})" for number in range(len(rows))),
        *(f"count(DISTINCT k{number}) FILTER (WHERE f{number})" for number, _ in conflicts),
    ]
    columns = ", ".join([*flags, *key_flags]) or "1 AS one"
    flagged = f"SELECT {columns} FROM {landing.table} WHERE {landing.where} {landing.warehouse.idiom.fence}"
    sql = f"SELECT {', '.join(counted)} FROM ({flagged}) AS flagged"
    total, failing, in_conflict, *rest = (int(number) for number in session.rows(sql)[0])
    counts = tuple(
        CheckCount(check=check, failing_count=count, samples=_samples(checks, check, session) if count else ())
        for check, count in zip(rows, rest[: len(rows)], strict=True)
    )
    return Measurement(
        batch_count=total,
        counts=counts,
        failing_count=failing,
        conflict_row_count=in_conflict,
        conflicting_key_count=sum(rest[len(rows) :]),
        tables=tuple(_table_result(rule, checks, total, session) for rule in checks.tables),
    )


def broken_rules(checks: Checks, session: Session) -> tuple[TableResult, ...]:
    """The rules about the batch as a whole that do not hold now. Reads only."""
    if not checks.tables:
        return ()
    landing = checks.landing
    batch_count = int(session.rows(f"SELECT count(*) FROM {landing.table} WHERE {landing.where}")[0][0])
    results = (_table_result(rule, checks, batch_count, session) for rule in checks.tables)
    return tuple(result for result in results if result.is_violated)


def names_sql(checks: Checks) -> str:
    """An expression that gives, per row, the comma-separated names of the decidable checks that it fails."""
    parts = [
        f"CASE WHEN {check.failing_sql} THEN {text(check.name)} END" for check in checks.rows if check.is_decidable
    ]
    return f"concat_ws(',', {', '.join(parts)})" if parts else "''"


def _samples(checks: Checks, check: RowCheck, session: Session) -> tuple[dict[str, str | None], ...]:
    if not checks.key:
        return ()
    listed = ", ".join(f"CAST({place.sql} AS VARCHAR)" for place in checks.key)
    rows = session.rows(
        f"SELECT {listed} FROM {checks.landing.table} WHERE {checks.landing.where} AND {check.failing_sql}"
        f" ORDER BY {', '.join(str(number + 1) for number in range(len(checks.key)))} LIMIT {SAMPLE_COUNT}"
    )
    return tuple(
        {
            place.path: None if value is None else str(value)[:SAMPLE_LENGTH]
            for place, value in zip(checks.key, row, strict=True)
        }
        for row in rows
    )


def _table_result(rule: TableRule, checks: Checks, batch_count: int, session: Session) -> TableResult:
    try:
        value = float(batch_count) if rule.kind == "row_count" else _value(rule, checks, session)
    except Rejected as error:
        return TableResult(rule=rule, passed=False, value=None, detail=f"could not be evaluated: {error}")
    if value is None:
        return TableResult(rule=rule, passed=False, value=None, detail="gave no number")
    if rule.bound.unit == "percent":
        value = 100.0 * value / batch_count if batch_count else 0.0
    unit = "%" if rule.bound.unit == "percent" else ""
    return TableResult(
        rule=rule, passed=rule.bound.accepts(value), value=value, detail=f"is {value:g}{unit}, {rule.bound}{unit}"
    )


def _value(rule: TableRule, checks: Checks, session: Session) -> float | None:
    landing = checks.landing
    if rule.query is not None:
        batch = landing.table if landing.where == "TRUE" else f"(SELECT * FROM {landing.table} WHERE {landing.where})"
        place = landing.find(rule.columns[0]) if rule.columns else None
        rows = session.rows(fill(rule.query, batch, place.sql if place else ""))
        number = rows[0][0] if len(rows) == 1 and rows[0] else None
        return float(number) if isinstance(number, int | float | Decimal) else None
    return float(_metric(rule, checks, session))


def _metric(rule: TableRule, checks: Checks, session: Session) -> int:
    """The count of a metric that tolerates some rows (so that none of them can be blamed)."""
    places = [checks.landing.find(column) for column in rule.columns]
    found = [place.sql for place in places if place is not None]
    if len(found) != len(places):
        raise Rejected(f"`{checks.landing.name}` does not have {', '.join(rule.columns)}", operation="check")
    table, where, value = checks.landing.table, checks.landing.where, f"CAST({found[0]} AS VARCHAR)"
    listed = ", ".join(text(one) for one in rule.values)
    matches = checks.landing.warehouse.idiom.matches
    if rule.kind == "duplicate":
        key = ", ".join(found)
        repeated = f"SELECT count(*) - 1 AS surplus FROM {table} WHERE {where} GROUP BY {key} HAVING count(*) > 1"
        sql = f"SELECT coalesce(sum(surplus), 0) FROM ({repeated}) AS repeated"
    elif rule.kind == "invalid" and rule.values:
        sql = f"SELECT count(*) FROM {table} WHERE {where} AND {value} NOT IN ({listed})"
    elif rule.kind == "invalid":
        sql = f"SELECT count(*) FROM {table} WHERE {where} AND NOT {matches(value, rule.pattern or '')}"
    else:
        extra = f" OR {value} IN ({listed})" if listed else ""
        sql = f"SELECT count(*) FROM {table} WHERE {where} AND ({found[0]} IS NULL{extra})"
    return int(session.rows(sql)[0][0])
