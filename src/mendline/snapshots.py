"""What a landing table looked like after a good run: its flattened schema and a profile of every leaf."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from mendline.config import Dataset
from mendline.errors import Rejected
from mendline.schema.paths import leaf_sql
from mendline.stores.base import ColumnProfile, Snapshot
from mendline.tools.base import Services
from mendline.warehouses.base import Column, Session, TableSchema, Warehouse
from mendline.warehouses.names import relation
from mendline.warehouses.types import leaves

LOG = logging.getLogger("mendline")
SKETCH_SIZE = 64
TOP_COUNT = 10
FEW_VALUES = 50  # a column with at most so many values has its most frequent ones kept
HASH_SPACE = 2**64
# Words of column names that speak of a person; such a column has no values kept, only their shape.
PERSONAL = frozenset(
    [
        "email",
        "mail",
        "phone",
        "mobile",
        "fax",
        "address",
        "street",
        "birth",
        "birthday",
        "dob",
        "ssn",
        "iban",
        "passport",
        "surname",
        "firstname",
        "lastname",
        "fullname",
        "nickname",
        "username",
        "login",
        "ip",
        "password",
        "token",
        "secret",
        "gender",
        "religion",
        "latitude",
        "longitude",
    ]
)


def remember(dataset: Dataset, run_id: str, services: Services) -> None:
    """Keep a snapshot of the dataset as the good run `run_id` left it; twice is once.

    Nothing is kept when the landing table is gone or cannot be described, nor (unless it would be the first) while
    another run of the pipeline is under way, since the table may then hold that run's batch.

    Raises: `Unavailable` when the warehouse or the engine is away.
    """
    latest = services.store.snapshots(dataset.name, limit=1)
    if latest and (latest[0].run_id == run_id or _is_running(dataset, services)):
        return
    try:
        snapshot = take_snapshot(dataset, run_id, services.warehouses[dataset.warehouse])
    except Rejected as error:
        LOG.warning("no snapshot of `%s`: %s", dataset.name, error)
        return
    if snapshot is not None:
        services.store.save_snapshot(snapshot)


def _is_running(dataset: Dataset, services: Services) -> bool:
    pipeline = services.config.pipelines[dataset.pipeline]
    job = pipeline.job or dataset.pipeline
    return any(run.pipeline == job for run in services.engines[pipeline.engine].active_runs())


def take_snapshot(dataset: Dataset, run_id: str, warehouse: Warehouse) -> Snapshot | None:
    """Describe and profile the current batch of a landing table; None when there is no such table. No effect.

    Raises: `Unavailable` when the warehouse is away, `Rejected` when the batch predicate does not fit the table.
    """
    with warehouse.reading() as session:
        schema = session.schema(dataset.landing)
        if schema is None:
            return None
        flat = leaves(schema, warehouse.dialect)
        row_count, profiles = profile(session, warehouse, dataset, schema, flat.columns)
    return Snapshot(
        dataset=dataset.name,
        run_id=run_id,
        taken_at=datetime.now(UTC),
        schema=flat,
        row_count=row_count,
        profiles=profiles,
    )


def batch_sql(warehouse: Warehouse, dataset: Dataset) -> str:
    """The FROM and WHERE that select the current batch of the landing table."""
    where = f" WHERE ({dataset.batch})" if dataset.batch else ""
    return f"FROM {relation(warehouse, dataset.landing)}{where}"


def profile(
    session: Session, warehouse: Warehouse, dataset: Dataset, schema: TableSchema, columns: Iterable[Column]
) -> tuple[int, tuple[ColumnProfile, ...]]:
    """Profile leaves of the current batch in two passes over the table, however many leaves there are.

    Pass 1 counts; pass 2 takes a bottom-k sketch of the values' hashes, looking only at hashes small enough to be in it,
    and the frequencies of columns with few values. Distinct counts are approximate (about 2 %) above a few thousand.
    """
    wanted = [(column, str(leaf_sql(warehouse, schema, column.name))) for column in columns]
    source = batch_sql(warehouse, dataset)
    counts = [
        f"count({sql}), approx_count_distinct({_text(sql)}), CAST(min({_ordered(column, sql)}) AS VARCHAR), "
        f"CAST(max({_ordered(column, sql)}) AS VARCHAR)"
        for column, sql in wanted
    ]
    ((row_count, *figures),) = session.rows(f"SELECT {', '.join(['count(*)', *counts])} {source}")
    passes = [tuple(figures[index * 4 : index * 4 + 4]) for index in range(len(wanted))]
    values = [_values_sql(sql, int(figure[1])) for (_, sql), figure in zip(wanted, passes, strict=True)]
    second = session.rows(f"SELECT {', '.join(values)} {source}")[0] if values else ()
    found = []
    for index, ((column, _), figure) in enumerate(zip(wanted, passes, strict=True)):
        hashes, frequencies = second[index * 2], second[index * 2 + 1]
        found.append(_profile(column, int(row_count), figure, hashes or (), frequencies or {}))
    return int(row_count), tuple(found)


def _text(sql: str) -> str:
    return f"CAST({sql} AS VARCHAR)"


def _ordered(column: Column, sql: str) -> str:
    """What min and max are taken of: nested and JSON values have no useful order but that of their text."""
    return _text(sql) if column.logical_type in ("json", "array", "map", "struct", "other", "binary") else sql


def _values_sql(sql: str, distinct_count: int) -> str:
    hashed = f"hash({_text(sql)})"
    # Eight times the hashes that the sketch needs pass this bound on average, so that the k smallest are among them.
    bound = HASH_SPACE - 1 if distinct_count <= SKETCH_SIZE * 16 else HASH_SPACE * SKETCH_SIZE * 8 // distinct_count
    sketch = (
        f"list_sort(list(DISTINCT {hashed}) FILTER (WHERE {sql} IS NOT NULL AND {hashed} <= {bound}))[1:{SKETCH_SIZE}]"
    )
    frequencies = f"histogram({_text(sql)})" if distinct_count <= FEW_VALUES else "NULL"
    return f"{sketch}, {frequencies}"


def _profile(
    column: Column, row_count: int, figure: tuple[object, ...], hashes: Iterable[int], frequencies: dict[str, int]
) -> ColumnProfile:
    filled, distinct, smallest, largest = figure
    sketch = tuple(int(value) for value in hashes)
    exact = len(sketch) if len(sketch) < SKETCH_SIZE else int(str(distinct))
    is_personal = looks_personal(column.name)
    is_unique = exact >= int(str(filled)) > 1
    top = sorted(frequencies.items(), key=lambda item: (-item[1], item[0]))[:TOP_COUNT]
    return ColumnProfile(
        column=column.name,
        type=column.type,
        row_count=row_count,
        null_count=row_count - int(str(filled)),
        distinct_count=exact,
        min_value=_kept(smallest, is_personal=is_personal),
        max_value=_kept(largest, is_personal=is_personal),
        value_hashes=sketch,
        top_values=() if is_personal or is_unique else tuple(top),
    )


def looks_personal(column: str) -> bool:
    """Whether a column's name says that it holds personal data."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", column).lower())
    if PERSONAL.intersection(words):
        return True
    return "name" in words and bool({"first", "last", "full", "user", "family", "given", "person"}.intersection(words))


def _kept(value: object, *, is_personal: bool) -> str | None:
    """A limit as it is kept: of personal text only the shape (`a` for a letter, `9` for a digit)."""
    if value is None:
        return None
    text = str(value)[:200]
    return re.sub(r"\d", "9", re.sub(r"[^\W\d_]", "a", text)) if is_personal else text
