"""What stands in quarantine: per incident, and row by row. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mendline.quality.quarantine import ADDED, quarantine_of
from mendline.warehouses.base import Session, Warehouse
from mendline.warehouses.names import relation

HELD, RELEASED, DISCARDED = "held", "released", "discarded"
# A quarantine from a time before the states has nothing but held rows.
BEFORE = {name: "'held'" if name == "state" else f"CAST(NULL AS {kind.split()[0]})" for name, kind in ADDED.items()}
GROUPS = """
SELECT incident_id, {state}, {decided_by}, {note}, {decided_at}, count(*), string_agg(DISTINCT check_names, '{separator}'),
       string_agg(DISTINCT reason, '{separator}'), min(quarantined_at), max(quarantined_at)
FROM {quarantine} WHERE {where} GROUP BY 1, 2, 3, 4, 5 ORDER BY 9, 1, 2, 5"""
ROWS = """
SELECT incident_id, {state}, check_names, reason, quarantined_at, payload FROM {quarantine} WHERE {where}
ORDER BY quarantined_at, incident_id, row_hash, ordinal LIMIT {limit}"""
SEPARATOR = " | "
SINCE = """
SELECT incident_id, {state}, {decided_by}, quarantined_at, count(*) FROM {quarantine}
WHERE {where} AND (quarantined_at >= CAST(? AS TIMESTAMP) OR {decided_at} >= CAST(? AS TIMESTAMP))
GROUP BY 1, 2, 3, 4 ORDER BY 4, 1, 2, 3"""


@dataclass(frozen=True, kw_only=True)
class Holding:
    """The rows of one incident in one quarantine that have the same fate.

    `state` is `held`, `released` or `discarded`; the last three fields are a person's, None and "" for held rows.
    `check_names` and `reasons` are those that occur, each once, as they were written down.
    """

    incident_id: str
    state: str
    row_count: int
    check_names: tuple[str, ...]
    reasons: tuple[str, ...]
    first_at: datetime
    last_at: datetime
    decided_at: datetime | None = None
    decided_by: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class HeldRow:
    """One quarantined row; `payload` is the row as JSON text."""

    incident_id: str
    state: str
    check_names: str
    reason: str
    quarantined_at: datetime
    payload: str


def holdings(session: Session, warehouse: Warehouse, table: str, incident_id: str | None = None) -> tuple[Holding, ...]:
    """What stands in a table's quarantine, oldest first; () when it has none."""
    asked = _asked(session, warehouse, table, incident_id)
    if asked is None:
        return ()
    names, parameters = asked
    return tuple(
        Holding(
            incident_id=row[0],
            state=row[1],
            decided_by=row[2] or "",
            note=row[3] or "",
            decided_at=None if row[4] is None else row[4].replace(tzinfo=UTC),
            row_count=int(row[5]),
            check_names=tuple(sorted(row[6].split(SEPARATOR))),
            reasons=tuple(sorted(row[7].split(SEPARATOR))),
            first_at=row[8].replace(tzinfo=UTC),
            last_at=row[9].replace(tzinfo=UTC),
        )
        for row in session.rows(GROUPS.format(**names, separator=SEPARATOR), parameters)
    )


def held_rows(
    session: Session, warehouse: Warehouse, table: str, limit: int, incident_id: str | None = None
) -> tuple[HeldRow, ...]:
    """Rows of a table's quarantine, oldest first, whatever their state."""
    asked = _asked(session, warehouse, table, incident_id)
    if asked is None:
        return ()
    names, parameters = asked
    return tuple(
        HeldRow(
            incident_id=row[0],
            state=row[1],
            check_names=row[2],
            reason=row[3],
            quarantined_at=row[4].replace(tzinfo=UTC),
            payload=row[5],
        )
        for row in session.rows(ROWS.format(**names, limit=limit), parameters)
    )


def held_count(session: Session, warehouse: Warehouse, table: str, incident_id: str, at: datetime) -> int:
    """How many of the rows that an incident set aside at that moment are still held."""
    own = [row for row in _since(session, warehouse, table, at) if row[0] == incident_id and row[3] == _stamp(at)]
    return sum(int(row[4]) for row in own if row[1] == HELD)


def changed_since(session: Session, warehouse: Warehouse, table: str, incident_id: str, at: datetime) -> str:
    """What the quarantine knows of changes to its table since an incident set rows aside; "" when it knows of none."""
    others: dict[str, None] = {}
    decided: dict[str, None] = {}
    for incident, state, by, quarantined_at, _ in _since(session, warehouse, table, at):
        if state != HELD:
            decided.setdefault(f"rows of incident `{incident}` were {state} by {by}")
        elif incident != incident_id or quarantined_at != _stamp(at):
            others.setdefault(f"incident `{incident}` has set rows aside (`mendline undo {incident}` first)")
    return "; ".join((*others, *decided))


def _since(session: Session, warehouse: Warehouse, table: str, at: datetime) -> list[tuple[Any, ...]]:
    asked = _asked(session, warehouse, table, None)
    return [] if asked is None else session.rows(SINCE.format(**asked[0]), [_stamp(at), _stamp(at)])


def _stamp(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(tzinfo=None)


def _asked(
    session: Session, warehouse: Warehouse, table: str, incident_id: str | None
) -> tuple[dict[str, Any], list[str]] | None:
    standing = session.schema(quarantine_of(table))
    if standing is None:
        return None
    names = {name: name if standing.column(name) else before for name, before in BEFORE.items()}
    where, parameters = ("TRUE", []) if incident_id is None else ("incident_id = ?", [incident_id])
    return {**names, "quarantine": relation(warehouse, quarantine_of(table)), "where": where}, parameters
