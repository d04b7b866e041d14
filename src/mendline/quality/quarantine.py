"""The quarantine: rows move out of a landing table with their reason, and come back exactly as they were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from mendline.errors import NotSupported, Rejected
from mendline.warehouses.base import Session, TableSchema, Warehouse
from mendline.warehouses.names import relation, with_suffix

SUFFIX = "__quarantine"
ASIDE, COPIES = "mendline_aside", "mendline_copies"  # temporary tables, gone when the call ends
CREATE = """
CREATE TABLE IF NOT EXISTS {quarantine} (
    incident_id VARCHAR NOT NULL, batch_id VARCHAR NOT NULL, check_names VARCHAR NOT NULL, reason VARCHAR NOT NULL,
    row_hash VARCHAR NOT NULL, ordinal INTEGER NOT NULL, payload VARCHAR NOT NULL, quarantined_at TIMESTAMP NOT NULL,
    {added}
)"""  # batch_id, row_hash and ordinal name a row: writers take turns, and each goes on counting where the last one ended
# In this order at the end of the table, also where the table is from a time before them.
ADDED = {
    "state": "VARCHAR DEFAULT 'held'",
    "left_count": "INTEGER DEFAULT 0",
    "decided_at": "TIMESTAMP",
    "decided_by": "VARCHAR",
    "note": "VARCHAR",
}
# One look at each row that goes. A digest finds rows that may be equal; whether they are is for their payloads to say.
SELECT_ASIDE = """
CREATE TEMP TABLE {aside} AS
SELECT address, payload, check_names, digest, is_unlike, md5(payload) AS row_hash
FROM (SELECT {address} AS address, {payload} AS payload, {check_names} AS check_names, {digest} AS digest, {unlike} AS is_unlike
      FROM {table} WHERE {predicate} {fence}) AS chosen"""
DELETE_ASIDE = "DELETE FROM {table} WHERE {address} IN (SELECT address FROM {aside})"
# Per distinct row that moves and is not the only one of its kind: how many move, its copies that stay, and what the
# quarantine has of it from earlier calls of the same batch. Copies that came back since (more stood in the table than were
# left there) are in a batch that was loaded again.
COUNT_COPIES = """
CREATE TEMP TABLE {copies} AS
SELECT moved.row_hash, moved.moved_count, coalesce(stays.left_count, 0) AS left_count,
       coalesce(kept.last_ordinal, 0) AS last_ordinal,
       greatest(0, least(coalesce(kept.held_count, 0),
                         moved.moved_count + coalesce(stays.left_count, 0) - coalesce(kept.left_count, 0))) AS returned_count
FROM (SELECT row_hash, count(*) AS moved_count FROM {aside}
      WHERE digest IN (SELECT digest FROM {aside} GROUP BY digest HAVING count(*) > 1)
         OR digest IN (SELECT {digest} FROM {table} WHERE {digest} IN (SELECT digest FROM {aside}))
         OR row_hash IN (SELECT row_hash FROM {quarantine} WHERE batch_id = {batch}) GROUP BY row_hash) AS moved
LEFT JOIN (SELECT md5(payload) AS row_hash, count(*) AS left_count
           FROM (SELECT {payload} AS payload FROM {table} WHERE {digest} IN (SELECT digest FROM {aside})) AS alike
           GROUP BY 1) AS stays ON stays.row_hash = moved.row_hash
LEFT JOIN (SELECT row_hash, max(ordinal) AS last_ordinal, count(*) FILTER (WHERE state = 'held') AS held_count,
                  max(left_count) FILTER (WHERE state = 'held') AS left_count
           FROM {quarantine} WHERE batch_id = {batch} GROUP BY row_hash) AS kept ON kept.row_hash = moved.row_hash
WHERE moved.moved_count > 1 OR stays.row_hash IS NOT NULL OR kept.row_hash IS NOT NULL"""
# A row that was loaded again since it was set aside belongs to the newer call, and stands here once.
TAKE_OVER = """
DELETE FROM {quarantine} WHERE batch_id = ? AND state = 'held' AND (row_hash, ordinal) IN (
  SELECT held.row_hash, held.ordinal
  FROM (SELECT row_hash, ordinal, row_number() OVER (PARTITION BY row_hash ORDER BY ordinal) AS place
        FROM {quarantine} WHERE batch_id = ? AND state = 'held') AS held
  JOIN {copies} AS c ON c.row_hash = held.row_hash WHERE held.place <= c.returned_count)"""
STILL_LEFT = """
UPDATE {quarantine} AS held SET left_count = CAST(c.left_count AS INTEGER) FROM {copies} AS c
WHERE c.row_hash = held.row_hash AND held.batch_id = ? AND held.state = 'held'"""
KEEP = """
INSERT INTO {quarantine} (incident_id, batch_id, check_names, reason, row_hash, ordinal, payload, quarantined_at, state, left_count)
SELECT ?, ?, a.check_names, ?, a.row_hash, 1, a.payload, CAST(? AS TIMESTAMP), 'held', 0
FROM {aside} AS a WHERE {is_single}"""
KEEP_COPIES = """
INSERT INTO {quarantine} (incident_id, batch_id, check_names, reason, row_hash, ordinal, payload, quarantined_at, state, left_count)
SELECT ?, ?, a.check_names, ?, a.row_hash,
       CAST(c.last_ordinal + row_number() OVER (PARTITION BY a.row_hash ORDER BY a.address) AS INTEGER), a.payload,
       CAST(? AS TIMESTAMP), 'held', CAST(c.left_count AS INTEGER)
FROM {aside} AS a JOIN {copies} AS c ON c.row_hash = a.row_hash"""
NOT_COPIED = "a.row_hash NOT IN (SELECT row_hash FROM {copies})"
KEPT = """
SELECT count(*), {bag} FROM {quarantine}
WHERE batch_id = ? AND quarantined_at = CAST(? AS TIMESTAMP) AND state = 'held'"""
MOVED = "SELECT count(*), {bag}, count(*) FILTER (WHERE is_unlike) FROM {aside}"
OF_CALL = (
    "incident_id = ? AND (CAST(? AS TIMESTAMP) IS NULL OR quarantined_at = CAST(? AS TIMESTAMP)) AND state = 'held'"
)
# Copies that go back into the table stand beside those that are still held.
BACK_BESIDE = """
UPDATE {quarantine} AS held SET left_count = CAST(held.left_count + back.back_count AS INTEGER)
FROM (SELECT batch_id, row_hash, count(*) AS back_count FROM {quarantine} WHERE {chosen} GROUP BY batch_id, row_hash) AS back
WHERE back.batch_id = held.batch_id AND back.row_hash = held.row_hash AND held.state = 'held'"""


class SqlText(str):
    """Text that is a SQL expression, not a value."""


def quarantine_of(table: str) -> str:
    """The dotted name of a table's quarantine."""
    return with_suffix(table, SUFFIX)


def set_aside(  # noqa: PLR0913 - the signature that the repairs agreed on; all but the first four are named
    session: Session,
    warehouse: Warehouse,
    table: str,
    predicate_sql: str,
    *,
    incident_id: str,
    batch_id: str,
    check_names: Sequence[str] | SqlText,
    reason: str,
    at: datetime | None = None,
) -> int:
    """Move the rows that match `predicate_sql` to `<table>__quarantine`, in the caller's transaction; how many.

    One row of the quarantine per row moved: incident_id, batch_id, check_names (comma-separated; a `SqlText` gives them
    per row), reason, row_hash (of the payload), ordinal (1, 2 ... for exact copies), payload (the row as JSON),
    quarantined_at (UTC; `at`, default now), state (`held`), left_count (exact copies that stay in the table). A held row of
    the same batch that was loaded again since is the newer incident's from now on.

    Raises: `Rejected` when a row would be lost or would not come back as it was (the caller's transaction must end),
    `NotSupported` for a table whose rows cannot be told apart.
    """
    schema = _schema(session, warehouse, table)
    names = _names(session, warehouse, table, schema, batch_id)
    names_sql = check_names if isinstance(check_names, SqlText) else _literal(",".join(_listed(check_names)))
    before = _count(session, names["table"])
    drop_temporary(session, warehouse, ASIDE, COPIES)
    make_quarantine(session, warehouse, table)
    session.execute(SELECT_ASIDE.format(**names, check_names=names_sql, predicate=f"({predicate_sql})"))
    moved, bag, unlike = session.rows(MOVED.format(**names))[0]
    if unlike:
        raise _not_set_aside(warehouse, f"rows of `{table}` would not come back from the quarantine as they were")
    session.execute(DELETE_ASIDE.format(**names))
    stamp = _stamp(at or datetime.now(UTC))
    kept, kept_bag = _keep(session, names, [incident_id, batch_id, reason, stamp])
    after = _count(session, names["table"])
    drop_temporary(session, warehouse, ASIDE, COPIES)
    if before != after + moved or (kept, kept_bag) != (moved, int(bag)):
        found = f"`{table}` had {before} rows; {after} are left and {kept} of {moved} stand in quarantine"
        raise _not_set_aside(warehouse, f"{found}: rows would be lost")
    return int(moved)


def _keep(session: Session, names: dict[str, str], call: list[object]) -> tuple[int, int]:
    """Write the rows that have left the table into the quarantine, copies of a row apart; how many, and their digest."""
    session.execute(COUNT_COPIES.format(**names))
    _, batch_id, _, stamp = call
    has_copies = bool(_count(session, COPIES))
    if has_copies:
        session.execute(TAKE_OVER.format(**names), [batch_id, batch_id])
        session.execute(STILL_LEFT.format(**names), [batch_id])
    before = session.rows(KEPT.format(**names), [batch_id, stamp])[0]
    if has_copies:
        session.execute(KEEP_COPIES.format(**names), call)
    session.execute(KEEP.format(**names, is_single=NOT_COPIED.format(**names) if has_copies else "TRUE"), call)
    after = session.rows(KEPT.format(**names), [batch_id, stamp])[0]
    return int(after[0]) - int(before[0]), int(after[1]) - int(before[1])


def _names(session: Session, warehouse: Warehouse, table: str, schema: TableSchema, batch_id: str) -> dict[str, str]:
    own = warehouse.idiom
    return {
        "table": relation(warehouse, table),
        "quarantine": relation(warehouse, quarantine_of(table)),
        "aside": ASIDE,
        "copies": COPIES,
        "address": session.address(table),
        "digest": own.digest(schema.columns),
        "payload": own.payload(schema.columns),
        "unlike": own.unlike(schema.columns),
        "bag": own.value_digest("payload"),
        "fence": own.fence,
        "batch": _literal(batch_id),
    }


def _not_set_aside(warehouse: Warehouse, reason: str) -> Rejected:
    return Rejected(f"{reason}; nothing was set aside", system=warehouse.name, operation="set rows aside")


def restore(session: Session, warehouse: Warehouse, table: str, *, incident_id: str, at: datetime | None = None) -> int:
    """Put the rows that an incident set aside back into `table` and take them out of the quarantine; how many.

    `at` limits it to the rows of one `set_aside` call. In the caller's transaction; a second call finds no rows and gives 0.
    Raises: `Rejected` when the rows do not fit the table any more or the counts do not agree.
    """
    if session.schema(quarantine_of(table)) is None:
        return 0
    make_quarantine(session, warehouse, table)
    schema = _schema(session, warehouse, table)
    target, quarantine = relation(warehouse, table), relation(warehouse, quarantine_of(table))
    stamp = _stamp(at) if at else None
    call = [incident_id, stamp, stamp]
    expected = session.rows(f"SELECT count(*) FROM {quarantine} WHERE {OF_CALL}", call)[0][0]
    before = _count(session, target)
    own, listed = warehouse.idiom, [warehouse.quote(name) for name in schema.names]
    back = own.rows_of(schema.columns, f"SELECT payload FROM {quarantine} WHERE {OF_CALL}")
    session.execute(f"{own.insert_into(target, listed)} {back}", call)
    others = f"SELECT count(*) FROM {quarantine} WHERE state = 'held' AND NOT ({OF_CALL})"
    if session.rows(others, call)[0][0]:
        session.execute(BACK_BESIDE.format(quarantine=quarantine, chosen=OF_CALL), call)
    session.execute(f"DELETE FROM {quarantine} WHERE {OF_CALL}", call)
    after = _count(session, target)
    if after != before + expected:
        raise Rejected(
            f"`{table}` has {after} rows after {expected} came back to {before}; nothing was put back",
            system=warehouse.name,
            operation="put rows back",
        )
    return int(expected)


def restored_rows(warehouse: Warehouse, schema: TableSchema) -> str:
    """A query that gives the quarantined rows of one `set_aside` call with their own columns and `check_names`.

    Its parameters: incident id, time, time.
    """
    quarantine = relation(warehouse, quarantine_of(schema.table))
    source = f"SELECT payload, check_names AS mendline_check_names FROM {quarantine} WHERE {OF_CALL}"
    return warehouse.idiom.rows_of(schema.columns, source, "mendline_check_names")


def make_quarantine(session: Session, warehouse: Warehouse, table: str) -> None:
    """Make the quarantine of `table`, or bring one from an earlier version up. Twice is once."""
    quarantine = relation(warehouse, quarantine_of(table))
    standing = session.schema(quarantine_of(table))
    if standing is None:
        added = ", ".join(f"{name} {kind}" for name, kind in ADDED.items())
        session.execute(CREATE.format(quarantine=quarantine, added=added))
        return
    for name, kind in ADDED.items():
        if standing.column(name) is None:
            session.execute(f"ALTER TABLE {quarantine} ADD COLUMN {name} {kind}")


def drop_temporary(session: Session, warehouse: Warehouse, *tables: str) -> None:
    """Drop temporary tables of this session, where they are."""
    for table in tables:
        session.execute(f"DROP TABLE IF EXISTS {warehouse.idiom.temporary}.{table}")


def _schema(session: Session, warehouse: Warehouse, table: str) -> TableSchema:
    schema = session.schema(table)
    if schema is None:
        raise NotSupported(f"there is no table `{table}`", system=warehouse.name, operation="set rows aside")
    obstacle = session.obstacle_to_moving(table)
    if obstacle:
        raise NotSupported(obstacle, system=warehouse.name, operation="set rows aside")
    session.lock(table)
    return schema


def _count(session: Session, table: str) -> int:
    return int(session.rows(f"SELECT count(*) FROM {table}")[0][0])


def _listed(check_names: Sequence[str]) -> tuple[str, ...]:
    return (check_names,) if isinstance(check_names, str) else tuple(check_names)


def _stamp(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(tzinfo=None)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
