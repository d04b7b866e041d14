"""The quarantine: rows move out of a landing table with their reason, and come back exactly as they were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from mendline.errors import NotSupported, Rejected
from mendline.quality.row_sql import check_addressable, row_sql
from mendline.warehouses.base import Session, TableSchema, Warehouse
from mendline.warehouses.names import relation, with_suffix

SUFFIX = "__quarantine"
ASIDE = "mendline_aside"  # a temporary table, gone when the call ends
CREATE = """
CREATE TABLE IF NOT EXISTS {quarantine} (
    incident_id VARCHAR NOT NULL, batch_id VARCHAR NOT NULL, check_names VARCHAR NOT NULL, reason VARCHAR NOT NULL,
    row_hash VARCHAR NOT NULL, ordinal INTEGER NOT NULL, payload VARCHAR NOT NULL, quarantined_at TIMESTAMP NOT NULL,
    UNIQUE (batch_id, row_hash, ordinal)
)"""
SELECT_ASIDE = """
CREATE TEMP TABLE {aside} AS
SELECT address, payload, check_names, md5(payload) AS row_hash,
       CAST(row_number() OVER (PARTITION BY payload ORDER BY address) AS INTEGER) AS ordinal
FROM (SELECT {address} AS address, {payload} AS payload, {check_names} AS check_names FROM {table} WHERE {predicate}) AS chosen"""
# A row that an earlier run of the same batch has set aside, and that was loaded again since, belongs to the newer incident.
KEEP = """
INSERT INTO {quarantine}
SELECT ?, ?, check_names, ?, row_hash, ordinal, payload, CAST(? AS TIMESTAMP) FROM {aside}
ON CONFLICT (batch_id, row_hash, ordinal) DO UPDATE SET incident_id = excluded.incident_id,
    check_names = excluded.check_names, reason = excluded.reason, quarantined_at = excluded.quarantined_at"""
KEPT = """
SELECT count(*) FROM {aside} AS a JOIN {quarantine} AS q
  ON q.row_hash = a.row_hash AND q.ordinal = a.ordinal AND q.payload = a.payload WHERE q.batch_id = ?"""
# Both ways, to the copy: what would come back is what goes.
CHANGED = """
SELECT count(*) FROM (
  (SELECT * FROM {table} WHERE {address} IN (SELECT address FROM {aside})
   EXCEPT ALL SELECT {columns} FROM {aside})
  UNION ALL
  (SELECT {columns} FROM {aside}
   EXCEPT ALL SELECT * FROM {table} WHERE {address} IN (SELECT address FROM {aside}))
) AS lost"""
OF_CALL = "incident_id = ? AND (CAST(? AS TIMESTAMP) IS NULL OR quarantined_at = CAST(? AS TIMESTAMP))"


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
    quarantined_at (UTC; `at`, default now). A row of the same batch that is already there is not added again.

    Raises: `Rejected` when a row would be lost or would not come back as it was (the caller's transaction must end),
    `NotSupported` for a table whose rows cannot be told apart.
    """
    schema = _schema(session, warehouse, table)
    own, quarantine = row_sql(warehouse), relation(warehouse, quarantine_of(table))
    names = {"table": relation(warehouse, table), "quarantine": quarantine, "aside": ASIDE, "address": own.address}
    names_sql = check_names if isinstance(check_names, SqlText) else _literal(",".join(_listed(check_names)))
    stamp = _stamp(at or datetime.now(UTC))
    before = _count(session, names["table"])
    session.execute(f"DROP TABLE IF EXISTS temp.{ASIDE}")
    session.execute(CREATE.format(**names))
    session.execute(
        SELECT_ASIDE.format(
            **names, payload=own.payload(schema.columns), check_names=names_sql, predicate=f"({predicate_sql})"
        )
    )
    moved = _count(session, ASIDE)
    changed = CHANGED.format(**names, columns=own.columns_of(schema.columns, "payload"))
    if session.rows(changed) != [(0,)]:
        raise Rejected(
            f"rows of `{table}` would not come back from the quarantine as they were; nothing was set aside",
            system=warehouse.name,
            operation="set rows aside",
        )
    session.execute(KEEP.format(**names), [incident_id, batch_id, reason, stamp])
    session.execute("DELETE FROM {table} WHERE {address} IN (SELECT address FROM {aside})".format(**names))
    after, kept = _count(session, names["table"]), session.rows(KEPT.format(**names), [batch_id])[0][0]
    session.execute(f"DROP TABLE temp.{ASIDE}")
    if before != after + moved or kept != moved:
        raise Rejected(
            f"`{table}` had {before} rows; {after} are left and {kept} of {moved} stand in quarantine: rows would be lost",
            system=warehouse.name,
            operation="set rows aside",
        )
    return moved


def restore(session: Session, warehouse: Warehouse, table: str, *, incident_id: str, at: datetime | None = None) -> int:
    """Put the rows that an incident set aside back into `table` and take them out of the quarantine; how many.

    `at` limits it to the rows of one `set_aside` call. In the caller's transaction; a second call finds no rows and gives 0.
    Raises: `Rejected` when the rows do not fit the table any more or the counts do not agree.
    """
    if session.schema(quarantine_of(table)) is None:
        return 0
    schema = _schema(session, warehouse, table)
    target, quarantine = relation(warehouse, table), relation(warehouse, quarantine_of(table))
    stamp = _stamp(at) if at else None
    call = [incident_id, stamp, stamp]
    expected = session.rows(f"SELECT count(*) FROM {quarantine} WHERE {OF_CALL}", call)[0][0]
    before = _count(session, target)
    listed = ", ".join(warehouse.quote(name) for name in schema.names)
    columns = row_sql(warehouse).columns_of(schema.columns, "payload")
    session.execute(f"INSERT INTO {target} ({listed}) SELECT {columns} FROM {quarantine} WHERE {OF_CALL}", call)
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
    columns = row_sql(warehouse).columns_of(schema.columns, "payload")
    return f"SELECT {columns}, check_names AS mendline_check_names FROM {quarantine} WHERE {OF_CALL}"


def _schema(session: Session, warehouse: Warehouse, table: str) -> TableSchema:
    schema = session.schema(table)
    if schema is None:
        raise NotSupported(f"there is no table `{table}`", system=warehouse.name, operation="set rows aside")
    check_addressable(warehouse, schema)
    return schema


def _count(session: Session, table: str) -> int:
    return int(session.rows(f"SELECT count(*) FROM {table}")[0][0])


def _listed(check_names: Sequence[str]) -> tuple[str, ...]:
    return (check_names,) if isinstance(check_names, str) else tuple(check_names)


def _stamp(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(tzinfo=None)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
