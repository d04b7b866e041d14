"""What a landing table looked like after a good run: its flattened schema and a profile of every leaf."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from mendline.config import Dataset
from mendline.errors import Rejected
from mendline.schema.paths import leaf_sql
from mendline.stores.base import ColumnProfile, Snapshot
from mendline.tools.base import Services
from mendline.warehouses.base import Column, Session, TableSchema, Values, Warehouse
from mendline.warehouses.names import relation
from mendline.warehouses.traits import traits_of
from mendline.warehouses.types import leaves

LOG = logging.getLogger("mendline")
SKETCH_SIZE = 64
TOP_COUNT = 10
BY_TEXT = ("json", "array", "map", "struct", "other", "binary", "boolean", "uuid")
FEW_VALUES = 50  # a column with at most so many values has its most frequent ones kept
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
        view_sql = session.view_sql(dataset.view) if dataset.view else None
        traits = traits_of(session, warehouse, dataset.landing)
    return Snapshot(
        dataset=dataset.name,
        run_id=run_id,
        taken_at=datetime.now(UTC),
        schema=flat,
        row_count=row_count,
        profiles=profiles,
        view_sql=view_sql,
        traits=traits,
    )


def batch_sql(warehouse: Warehouse, dataset: Dataset) -> str:
    """The FROM and WHERE that select the current batch of the landing table."""
    where = f" WHERE ({dataset.batch})" if dataset.batch else ""
    return f"FROM {relation(warehouse, dataset.landing)}{where}"


def profile(
    session: Session, warehouse: Warehouse, dataset: Dataset, schema: TableSchema, columns: Iterable[Column]
) -> tuple[int, tuple[ColumnProfile, ...]]:
    """Profile leaves of the current batch, as `profile_of`."""
    return profile_of(session, warehouse, batch_sql(warehouse, dataset), schema, columns)


def profile_of(
    session: Session, warehouse: Warehouse, source: str, schema: TableSchema, columns: Iterable[Column]
) -> tuple[int, tuple[ColumnProfile, ...]]:
    """Profile leaves of what `source` (FROM and WHERE) gives: the rows, their figures, then a sketch of their values.

    The sketch is of the values' hashes (bottom-k), with the frequencies of columns with few values. Distinct counts are
    approximate (a few percent) where there are many.
    """
    row_count = int(session.rows(f"SELECT count(*) {source}")[0][0])
    wanted = [(column, str(leaf_sql(warehouse, schema, column.name))) for column in columns]
    if not wanted:
        return row_count, ()
    figures = _figures(session, warehouse, wanted, source, row_count)
    asked = [_values_of(sql, int(figure[1])) for (_, sql), figure in zip(wanted, figures, strict=True)]
    found = session.rows(warehouse.idiom.values_query(asked, source, SKETCH_SIZE))[0]
    return row_count, tuple(
        _profile(column, row_count, figure, found[2 * index] or (), found[2 * index + 1] or {})
        for index, ((column, _), figure) in enumerate(zip(wanted, figures, strict=True))
    )


def _figures(
    session: Session, warehouse: Warehouse, wanted: Sequence[tuple[Column, str]], source: str, row_count: int
) -> list[tuple[Any, ...]]:
    """Per leaf: filled rows, distinct values, the least and the greatest as text. One pass over the table."""
    counts = [
        f"count({sql}), {warehouse.idiom.distinct_count(_text(sql), row_count)}, "
        f"CAST(min({_ordered(column, sql)}) AS VARCHAR), CAST(max({_ordered(column, sql)}) AS VARCHAR)"
        for column, sql in wanted
    ]
    ((*found,),) = session.rows(f"SELECT {', '.join(counts)} {source}")
    return [tuple(found[index * 4 : index * 4 + 4]) for index in range(len(wanted))]


def _text(sql: str) -> str:
    return f"CAST({sql} AS VARCHAR)"


def _ordered(column: Column, sql: str) -> str:
    """What min and max are taken of: values without an order of use, or in some engine without any, by their text."""
    return _text(sql) if column.logical_type in BY_TEXT else sql


def _values_of(sql: str, distinct_count: int) -> Values:
    return Values(text=_text(sql), distinct_count=distinct_count, is_few=distinct_count <= FEW_VALUES)


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
