"""What a landing table looked like after a good run: its flattened schema and a profile of every leaf."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mendline.config import Dataset
from mendline.errors import Rejected
from mendline.schema.documents import profile_documents
from mendline.schema.paths import leaf_sql
from mendline.stores.base import ColumnProfile, Snapshot
from mendline.tools.base import Services
from mendline.warehouses.base import Column, Session, TableSchema, Warehouse
from mendline.warehouses.names import relation
from mendline.warehouses.traits import traits_of
from mendline.warehouses.types import leaves

LOG = logging.getLogger("mendline")
SKETCH_SIZE = 64
TOP_COUNT = 10
BY_TEXT = ("json", "array", "map", "struct", "other", "binary", "boolean", "uuid")
SAMPLED = 2**16  # about so many hashes of a column are kept while it is looked at: their number tells that of all
MOST_SHARE = 64
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
        documents = profile_documents(session, warehouse, batch_sql(warehouse, dataset), schema, row_count)
        view_sql = session.view_sql(dataset.view) if dataset.view else None
        traits = traits_of(session, warehouse, dataset.landing)
    return Snapshot(
        dataset=dataset.name,
        run_id=run_id,
        taken_at=datetime.now(UTC),
        schema=flat,
        row_count=row_count,
        profiles=(*profiles, *documents),
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
    exact up to some thousands, and estimated to a percent or so above.
    """
    row_count = int(session.rows(f"SELECT count(*) {source}")[0][0])
    wanted = [(column, str(leaf_sql(warehouse, schema, column.name))) for column in columns]
    if not wanted:
        return row_count, ()
    share = min(MOST_SHARE, max(1, row_count // SAMPLED))
    figures = _figures(session, warehouse, wanted, source, share)
    few = [
        (place, sql)
        for place, ((_, sql), figure) in enumerate(zip(wanted, figures, strict=True))
        if figure.filled and (figure.hash_count <= FEW_VALUES if share == 1 else figure.hash_count < SKETCH_SIZE)
    ]
    counted = _frequencies(session, warehouse, few, source)
    return row_count, tuple(
        _profile(column, row_count, figure, share, counted.get(place))
        for place, ((column, _), figure) in enumerate(zip(wanted, figures, strict=True))
    )


@dataclass(frozen=True, kw_only=True)
class _Figure:
    """One leaf in one pass: filled rows, the limits as text, the hashes in the lowest share of their range and the least of them."""

    filled: int
    smallest: str | None
    largest: str | None
    hash_count: int
    hashes: tuple[int, ...]


def _figures(
    session: Session, warehouse: Warehouse, wanted: Sequence[tuple[Column, str]], source: str, share: int
) -> list[_Figure]:
    """One figure per leaf, from one pass over the table that makes each value's text, and its hash, once."""
    own, places = warehouse.idiom, range(len(wanted))
    looked = [
        f"{_ordered(column, sql)} AS v{place}, {own.value_hash(_text(sql))} AS h{place}"
        for place, (column, sql) in enumerate(wanted)
    ]
    counted = [
        f"count(v{place}) AS c{place}, CAST(min(v{place}) AS VARCHAR) AS n{place}, CAST(max(v{place}) AS VARCHAR) AS x{place}, "
        f"{own.smallest(f'h{place}', share)} AS s{place}"
        for place in places
    ]
    shown = [f"c{place}, n{place}, x{place}, {own.size(f's{place}')}, s{place}[1:{SKETCH_SIZE}]" for place in places]
    inner = f"SELECT {', '.join(counted)} FROM (SELECT {', '.join(looked)} {source} {own.fence}) AS looked"
    ((*found,),) = session.rows(f"SELECT {', '.join(shown)} FROM ({inner}) AS counted")
    return [
        _Figure(
            filled=int(filled),
            smallest=smallest,
            largest=largest,
            hash_count=int(size),
            hashes=tuple(int(value) for value in hashes or ()),
        )
        for filled, smallest, largest, size, hashes in (found[5 * place : 5 * place + 5] for place in places)
    ]


_Frequencies = dict[str, tuple[int, int]]  # text -> (hash, rows)


def _frequencies(
    session: Session, warehouse: Warehouse, few: Sequence[tuple[int, str]], source: str
) -> dict[int, _Frequencies]:
    """Every value of the leaves that have few, by the leaf's place; one pass over the table for all of them."""
    counted: dict[int, _Frequencies] = {place: {} for place, _ in few}
    if not few:
        return counted
    texts = ", ".join(f"{_text(sql)} AS t{place}" for place, sql in few)
    names = [f"t{place}" for place, _ in few]
    either = f"coalesce({', '.join([*names, 'NULL'])})"
    sets = ", ".join(f"({name})" for name in names)
    for *values, hashed, count in session.rows(
        f"SELECT {', '.join(names)}, {warehouse.idiom.value_hash(either)}, count(*) FROM (SELECT {texts} {source}) AS looked"
        f" GROUP BY GROUPING SETS ({sets})"
    ):
        for (place, _), value in zip(few, values, strict=True):
            if value is not None:
                counted[place][value] = (int(hashed), int(count))
    return counted


def _text(sql: str) -> str:
    return f"CAST({sql} AS VARCHAR)"


def _ordered(column: Column, sql: str) -> str:
    """What min and max are taken of: values without an order of use, or in some engine without any, by their text."""
    return _text(sql) if column.logical_type in BY_TEXT else sql


def _profile(
    column: Column, row_count: int, figure: _Figure, share: int, counted: _Frequencies | None
) -> ColumnProfile:
    distinct = len(counted) if counted is not None else min(figure.filled, figure.hash_count * share)
    hashes = sorted(hashed for hashed, _ in counted.values()) if counted is not None else figure.hashes
    frequencies = {text: count for text, (_, count) in (counted or {}).items()} if distinct <= FEW_VALUES else {}
    is_personal = looks_personal(column.name)
    is_unique = distinct >= figure.filled > 1
    top = sorted(frequencies.items(), key=lambda item: (-item[1], item[0]))[:TOP_COUNT]
    return ColumnProfile(
        column=column.name,
        type=column.type,
        row_count=row_count,
        null_count=row_count - figure.filled,
        distinct_count=distinct,
        min_value=_kept(figure.smallest, is_personal=is_personal),
        max_value=_kept(figure.largest, is_personal=is_personal),
        value_hashes=tuple(hashes[:SKETCH_SIZE]),
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
