"""Whether a batch still has one row per key: that columns are the same says nothing about what a row is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mendline.config import Dataset
from mendline.schema.paths import leaf_sql
from mendline.snapshots import batch_sql
from mendline.stores.base import ColumnProfile
from mendline.warehouses.base import Session, TableSchema, Warehouse


def find_grain_change(
    session: Session,
    warehouse: Warehouse,
    dataset: Dataset,
    landing: TableSchema,
    key: tuple[str, ...],
    before: Mapping[str, ColumnProfile],
) -> str:
    """Say how the rows of the batch are no longer one per key; "" when they are, or when it cannot be told.

    Copies of whole rows are no other grain (a batch that was loaded twice), and neither are a few double keys (bad rows):
    at most `quality.max_failing_fraction` of the batch.
    """
    parts = [leaf_sql(warehouse, landing, name) for name in key]
    if not key or any(part is None for part in parts) or _was_repeated(key, before):
        return ""
    sql = [str(part) for part in parts]
    row_count, key_count = count_keys(session, sql, batch_sql(warehouse, dataset))
    if row_count - key_count <= dataset.quality.max_failing_fraction * row_count:
        return ""
    content = [column for column in landing.columns if not column.name.startswith("_")]
    distinct = f"SELECT DISTINCT {warehouse.idiom.exactly(content)} {batch_sql(warehouse, dataset)}"
    different = int(session.rows(f"SELECT count(*) FROM ({distinct}) AS different")[0][0])
    if different <= key_count:
        return ""
    names = ", ".join(f"`{name}`" for name in key)
    return f"{row_count} rows have {key_count} different keys ({names}), and {different} of them are different rows"


def _was_repeated(key: tuple[str, ...], before: Mapping[str, ColumnProfile]) -> bool:
    """Whether the key was not one per row in the last good batch either; of a key of several columns nothing is known."""
    profile = next((one for name, one in before.items() if name.lower() == key[0].lower()), None)
    return len(key) == 1 and profile is not None and profile.distinct_count < 0.9 * profile.row_count


def count_keys(session: Session, key: Sequence[str], source: str) -> tuple[int, int]:
    """The rows of `source` (FROM and WHERE), and how many different keys they have; a key with a NULL in it is none."""
    filled = " AND ".join(f"{part} IS NOT NULL" for part in key)
    sql = f"SELECT count(*), count(DISTINCT ({', '.join(key)})) FILTER (WHERE {filled}) {source}"
    row_count, key_count = session.rows(sql)[0]
    return int(row_count), int(key_count)
