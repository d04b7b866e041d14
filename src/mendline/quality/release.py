"""Quarantined rows that go back into their table, or are given up: by a person's word, in one transaction, counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mendline.errors import Rejected
from mendline.quality.checks import RowCheck, text
from mendline.quality.quarantine import drop_temporary, make_quarantine, quarantine_of
from mendline.warehouses.base import Session, TableSchema, Warehouse
from mendline.warehouses.names import relation

WANTED, TYPED, FAILING = (
    "mendline_wanted",
    "mendline_typed",
    "mendline_failing",
)  # temporary tables, gone when the call ends
AGAIN = "stands in the table again: the batch was loaded again"
UNDECIDED = "what it failed cannot be checked now"
HELD = "incident_id = ? AND state = 'held'"
# `why` is why a row stays, NULL while nothing speaks against it; `place` numbers the copies of a row, of which there are `total`.
SELECT_WANTED = """
CREATE TEMP TABLE {wanted} AS
SELECT h.batch_id, h.row_hash, h.ordinal, h.payload, h.left_count, h.check_names, CAST(NULL AS VARCHAR) AS why,
       coalesce(c.place, 1) AS place, coalesce(c.total, 1) AS total, row_number() OVER () AS mendline_number
FROM (SELECT * FROM {quarantine} WHERE incident_id = {incident} AND state = 'held') AS h
LEFT JOIN (SELECT batch_id, row_hash, ordinal, row_number() OVER (PARTITION BY row_hash ORDER BY batch_id, ordinal) AS place,
                  count(*) OVER (PARTITION BY row_hash) AS total
           FROM {quarantine} WHERE incident_id = {incident} AND state = 'held' AND row_hash IN (
             SELECT row_hash FROM {quarantine} WHERE incident_id = {incident} AND state = 'held'
             GROUP BY row_hash HAVING count(*) > 1)) AS c
  ON c.batch_id = h.batch_id AND c.row_hash = h.row_hash AND c.ordinal = h.ordinal"""
# The same rows in the table's own columns, read once.
SELECT_TYPED = "CREATE TEMP TABLE {typed} AS {rows}"
UNLIKE = """
SELECT count(*) FROM (SELECT mendline_number, {payload} AS again FROM {typed}) AS t
JOIN {wanted} AS w ON w.mendline_number = t.mendline_number WHERE t.again <> w.payload"""
ALIKE = "{digest} IN (SELECT {digest} FROM {typed})"
MARK_LOADED_AGAIN = """
UPDATE {wanted} AS w SET why = {again}
FROM (SELECT md5(payload) AS row_hash, count(*) AS present_count
      FROM (SELECT {payload} AS payload FROM {table} AS t WHERE {alike}) AS present GROUP BY 1) AS p
WHERE p.row_hash = w.row_hash AND w.place <= p.present_count - w.left_count"""
MARK_UNDECIDED = "UPDATE {wanted} SET why = {undecided} WHERE why IS NULL AND check_names IN ({listed})"
PUT_IN = """
{insert} SELECT {columns} FROM {typed} WHERE mendline_number IN (SELECT mendline_number FROM {wanted} WHERE why IS NULL)"""
# Of a row that stands there more than once the latest copies come first: they are what was just put in.
SELECT_FAILING = """
CREATE TEMP TABLE {failing} AS
SELECT address, row_hash, why, row_number() OVER (PARTITION BY row_hash ORDER BY address DESC) AS place
FROM (SELECT {address} AS address, md5({payload}) AS row_hash, {why} AS why FROM {table} AS t WHERE {alike} AND ({fails})) AS f"""
OF_FAILING = "f.row_hash = w.row_hash AND f.place = w.total - w.place + 1 AND w.why IS NULL"
TAKE_OUT = (
    "DELETE FROM {table} WHERE {address} IN (SELECT f.address FROM {failing} AS f JOIN {wanted} AS w ON {of_failing})"
)
MARK_FAILING = "UPDATE {wanted} AS w SET why = f.why FROM {failing} AS f WHERE {of_failing}"
MARK_RELEASED = """
UPDATE {quarantine} AS q SET state = 'released', decided_at = CAST(? AS TIMESTAMP), decided_by = ?, note = ? FROM {wanted} AS w
WHERE w.why IS NULL AND q.batch_id = w.batch_id AND q.row_hash = w.row_hash AND q.ordinal = w.ordinal"""
BESIDE = """
UPDATE {quarantine} AS q SET left_count = CAST(q.left_count + w.back_count AS INTEGER)
FROM (SELECT batch_id, row_hash, count(*) AS back_count FROM {wanted} WHERE why IS NULL GROUP BY 1, 2) AS w
WHERE q.batch_id = w.batch_id AND q.row_hash = w.row_hash AND q.state = 'held'"""
DISCARD = f"""
UPDATE {{quarantine}} SET state = 'discarded', decided_at = CAST(? AS TIMESTAMP), decided_by = ?, note = ? WHERE {HELD}"""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A person's word on quarantined rows: who, when, why ("" where nothing was said)."""

    by: str
    at: datetime
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a row must pass: every one of `checks`. Rows with the `check_names` in `undecided` cannot be judged, and stay."""

    checks: tuple[RowCheck, ...]
    undecided: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Staying:
    """Rows that stay in quarantine for the same reason."""

    reason: str
    row_count: int


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What a release did: the rows that are in the table again, and those that are still held, by reason."""

    released_count: int
    staying: tuple[Staying, ...] = ()

    @property
    def staying_count(self) -> int:
        """The rows that are still held."""
        return sum(one.row_count for one in self.staying)


def put_in(
    session: Session,
    warehouse: Warehouse,
    table: str,
    incident_id: str,
    *,
    decision: Decision,
    conditions: Conditions | None,
) -> Moved:
    """Put an incident's held rows into their table again, all but those that would fail one of the conditions there.

    In the caller's transaction; a second call finds only what still fails. Rows keep their place in the quarantine, marked
    as released. Without conditions (None) every row goes in, also one that the table has got again by another load.

    Raises: `Rejected` when the rows do not fit the table any more, or when the counts do not agree (the caller's
    transaction must end).
    """
    schema = session.schema(table)
    if schema is None:
        raise Rejected(f"there is no table `{table}` to put rows into", system=warehouse.name, operation="release")
    make_quarantine(session, warehouse, table)
    session.lock(table)
    names = _names(session, warehouse, table, schema, incident_id)
    drop_temporary(session, warehouse, WANTED, TYPED, FAILING)
    session.execute(SELECT_WANTED.format(**names))
    held, before = _count(session, WANTED), _count(session, names["table"])
    _check_fit(session, warehouse, table, names, is_forced=conditions is None)
    if conditions is not None:
        _mark(session, names, conditions)
    session.execute(PUT_IN.format(**names))
    if conditions is not None and conditions.checks:
        _take_out(session, names, conditions.checks)
    session.execute(MARK_RELEASED.format(**names), [_stamp(decision.at), decision.by, decision.note])
    session.execute(BESIDE.format(**names))
    moved = _moved(session)
    still_held = int(session.rows(f"SELECT count(*) FROM {names['quarantine']} WHERE {HELD}", [incident_id])[0][0])
    after = _count(session, names["table"])
    drop_temporary(session, warehouse, WANTED, TYPED, FAILING)
    if after != before + moved.released_count or held != moved.released_count + still_held:
        raise Rejected(
            f"`{table}` had {before} rows and has {after}; of {held} held rows {moved.released_count} were released and "
            f"{still_held} are held: nothing was released",
            system=warehouse.name,
            operation="release",
        )
    return moved


def discard(session: Session, warehouse: Warehouse, table: str, incident_id: str, decision: Decision) -> int:
    """Mark an incident's held rows as given up, in the caller's transaction; how many. They are kept, and stay out."""
    make_quarantine(session, warehouse, table)
    quarantine = relation(warehouse, quarantine_of(table))
    held = int(session.rows(f"SELECT count(*) FROM {quarantine} WHERE {HELD}", [incident_id])[0][0])
    said = [_stamp(decision.at), decision.by, decision.note]
    session.execute(DISCARD.format(quarantine=quarantine), [*said, incident_id])
    return held


def _names(session: Session, warehouse: Warehouse, table: str, schema: TableSchema, incident_id: str) -> dict[str, str]:
    own = warehouse.idiom
    names = {
        "table": relation(warehouse, table),
        "quarantine": relation(warehouse, quarantine_of(table)),
        "wanted": WANTED,
        "failing": FAILING,
        "address": session.address(table),
        "digest": own.digest(schema.columns),
        "payload": own.payload(schema.columns),
        "rows": own.rows_of(schema.columns, f"SELECT payload, mendline_number FROM {WANTED}", "mendline_number"),
        "columns": ", ".join(warehouse.quote(name) for name in schema.names),
        "insert": own.insert_into(relation(warehouse, table), [warehouse.quote(name) for name in schema.names]),
        "typed": TYPED,
        "incident": text(incident_id),
        "again": text(AGAIN),
        "of_failing": OF_FAILING,
    }
    return names | {"alike": ALIKE.format(**names)}


def _check_fit(session: Session, warehouse: Warehouse, table: str, names: dict[str, str], *, is_forced: bool) -> None:
    try:
        session.execute(SELECT_TYPED.format(**names))
        unlike = int(session.rows(UNLIKE.format(**names))[0][0])
    except Rejected as error:
        raise Rejected(
            f"the rows do not fit `{table}` as it is now: {error}; they stay in `{quarantine_of(table)}`",
            system=warehouse.name,
            operation="release",
        ) from error
    if unlike and not is_forced:
        raise Rejected(
            f"{unlike} rows would come back into `{table}` otherwise than they were: its columns have changed since; "
            "`--force` puts them in as they fit",
            system=warehouse.name,
            operation="release",
        )


def _mark(session: Session, names: dict[str, str], conditions: Conditions) -> None:
    """Mark what stays without being tried."""
    session.execute(MARK_LOADED_AGAIN.format(**names))
    if conditions.undecided:
        listed = ", ".join(text(one) for one in conditions.undecided)
        session.execute(MARK_UNDECIDED.format(**names, undecided=text(UNDECIDED), listed=listed))


def _take_out(session: Session, names: dict[str, str], checks: Sequence[RowCheck]) -> None:
    """Take those out again that fail now that they stand among the others."""
    named = ", ".join(f"CASE WHEN {check.failing_sql} THEN {text(check.name)} END" for check in checks)
    fails = " OR ".join(f"({check.failing_sql})" for check in checks)
    session.execute(SELECT_FAILING.format(**names, why=f"concat_ws(', ', {named})", fails=fails))
    session.execute(TAKE_OUT.format(**names))
    session.execute(MARK_FAILING.format(**names))


def _moved(session: Session) -> Moved:
    counted = session.rows(f"SELECT why, count(*) FROM {WANTED} GROUP BY why ORDER BY 2 DESC, 1")
    staying = tuple(Staying(reason=str(why), row_count=int(count)) for why, count in counted if why is not None)
    return Moved(released_count=sum(int(count) for why, count in counted if why is None), staying=staying)


def _count(session: Session, table: str) -> int:
    return int(session.rows(f"SELECT count(*) FROM {table}")[0][0])


def _stamp(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(tzinfo=None)
