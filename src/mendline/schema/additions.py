"""Columns of the source that a target lacks, and the additive DDL that gives it them: nullable, at the end, taken back whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mendline.config import Dataset
from mendline.errors import Rejected
from mendline.quality.expectations import Contract
from mendline.schema.diff import normalised
from mendline.schema.paths import leaf_sql
from mendline.snapshots import looks_personal
from mendline.warehouses.base import Column, Session, TableSchema, Warehouse
from mendline.warehouses.ddl import ddl
from mendline.warehouses.names import relation
from mendline.warehouses.types import leaves, logical_type, same_type

Columns = tuple[tuple[str, str], ...]
MOST_AT_ONCE = 20  # more new columns than this are another table, or keys that became columns
MAP_OR_LIST = ("array", "map")


@dataclass(frozen=True, kw_only=True)
class Addition:
    """One column that `target` lacks and its source has now; `obstacle` is why a person must decide on it.

    `is_leaf`: `column` is a path into a struct that the target has.
    """

    target: str
    column: str
    type: str
    is_leaf: bool = False
    obstacle: str = ""

    def as_json(self) -> dict[str, Any]:
        """What `add` and `remove` need."""
        return {"target": self.target, "column": self.column, "type": self.type, "is_leaf": self.is_leaf}


def find_additions(
    session: Session,
    warehouse: Warehouse,
    dataset: Dataset,
    given: Columns,
    expected: Columns,
    contract: Contract | None,
) -> tuple[Addition, ...]:
    """Find what the configured targets lack of the columns that are new in `given`. No effect.

    Only a target that has every expected column is a copy of what is given, and so gets what is new.
    """
    new = new_columns(given, expected, warehouse)
    found: list[Addition] = []
    for target in dataset.targets if new else ():
        schema = session.schema(target)
        flat = leaves(schema, warehouse.dialect) if schema else None
        if schema is None or flat is None or not _is_copy(schema, expected):
            continue
        there = {name.lower() for name in (*schema.names, *flat.names)}
        lacking = [
            Addition(target=target, column=name, type=kind, is_leaf=name.lower() not in _lowered(given))
            for name, kind in new
            if name.lower() not in there
        ]
        obstacles = _Obstacles(session, warehouse, dataset, given, expected, contract, schema, len(lacking))
        found.extend(replace(one, obstacle=next(obstacles.of(one), "")) for one in lacking)
    return tuple(found)


def new_columns(given: Columns, expected: Columns, warehouse: Warehouse) -> Columns:
    """What `given` has beyond `expected`: whole columns, and leaves of a struct that has kept all its other leaves."""
    before = {name.lower(): kind for name, kind in expected}
    found: list[tuple[str, str]] = []
    for name, kind in given:
        was = before.get(name.lower())
        if was is None:
            found.append((name, kind))
        elif not same_type(was, kind, warehouse.dialect):
            found.extend(_new_leaves(name, was, kind, warehouse))
    return tuple(found)


def _new_leaves(name: str, was: str, kind: str, warehouse: Warehouse) -> Columns:
    old, now = ({leaf.name: leaf.type for leaf in _flat(name, one, warehouse)} for one in (was, kind))
    if len(old) < 2 and name in old:  # no struct before
        return ()
    has_kept = all(path in now and same_type(now[path], type_, warehouse.dialect) for path, type_ in old.items())
    return tuple((path, type_) for path, type_ in now.items() if path not in old) if has_kept else ()


def _flat(name: str, kind: str, warehouse: Warehouse) -> tuple[Column, ...]:
    column = Column(
        name=name, type=kind, logical_type=logical_type(kind, warehouse.dialect), is_nullable=True, position=1
    )
    return leaves(TableSchema(table="", columns=(column,)), warehouse.dialect).columns


def _is_copy(schema: TableSchema, expected: Columns) -> bool:
    there = {name.lower() for name in schema.names}
    return bool(expected) and all(name.lower() in there for name, _ in expected)


@dataclass(frozen=True)
class _Obstacles:
    """Why a column may not be added by itself. Source: the table of change kinds, row "Column added"."""

    session: Session
    warehouse: Warehouse
    dataset: Dataset
    given: Columns
    expected: Columns
    contract: Contract | None
    schema: TableSchema
    count: int

    def of(self, one: Addition) -> Iterator[str]:
        """The obstacles to one addition, the gravest first."""
        yield from self._by_contract(one)
        if looks_personal(one.column):
            yield f"its name says that `{one.column}` holds personal data"
        yield from self._by_name(one)
        yield from self._by_place(one)
        yield from self._by_engine(one)

    def _by_contract(self, one: Addition) -> Iterator[str]:
        column = self.contract.known_as(one.column) if self.contract else None
        if self.contract is not None and self.contract.is_frozen:
            yield "the contract is frozen"
        if column is not None and column.is_required:
            yield f"the contract says that `{one.column}` is never NULL, and the rows that are there have no value for it"

    def _by_name(self, one: Addition) -> Iterator[str]:
        spelt = Counter(normalised(name) for name, _ in self.given)
        spelt.update(normalised(name) for name in self.schema.names if name.lower() not in _lowered(self.given))
        if spelt[normalised(one.column)] > 1:
            yield f"another column is spelt almost like `{one.column}`"

    def _by_place(self, one: Addition) -> Iterator[str]:
        """What is new must come last: a stage that inserts by position would else mix up the columns."""
        if self.dataset.positional is False or one.is_leaf:
            return
        names = [name.lower() for name, _ in self.given]
        old = _lowered(self.expected)
        if any(name in old for name in names[names.index(one.column.lower()) :]):
            yield (
                f"`{one.column}` stands between columns that were there before, and it is not known that "
                f"stages insert by name (`datasets.{self.dataset.name}.positional: false` says so)"
            )

    def _by_engine(self, one: Addition) -> Iterator[str]:
        can = ddl(self.warehouse.dialect, "add_leaf" if one.is_leaf else "add_column")
        most = can.most_columns
        if self.count > MOST_AT_ONCE:
            yield f"{self.count} new columns at once are another table rather than an addition"
        if not can.is_possible or (most is not None and len(self.schema.columns) + self.count > most):
            yield f"`{one.target}` cannot take it: {can.source}"
        for change in ("add_column", "drop_column"):
            obstacle = self.session.obstacle_to(change, one.target, one.column)
            if obstacle:
                yield f"it could not be {'added' if change == 'add_column' else 'taken back'}: {obstacle}"


def _lowered(columns: Columns) -> set[str]:
    return {name.lower() for name, _ in columns}


def add_sql(warehouse: Warehouse, one: Mapping[str, Any]) -> str:
    """The statement that adds the column, nullable."""
    return f"ALTER TABLE {relation(warehouse, one['target'])} ADD COLUMN {_path(warehouse, one)} {one['type']}"


def _path(warehouse: Warehouse, one: Mapping[str, Any]) -> str:
    return ".".join(warehouse.quote(part) for part in (one["column"].split(".") if one["is_leaf"] else [one["column"]]))


def add(session: Session, warehouse: Warehouse, one: Mapping[str, Any]) -> None:
    """Add one column in the caller's transaction.

    Raises: `Rejected` when the target has such a column by now, or any row of it would not be as it was.
    """
    session.lock(one["target"])
    schema = session.schema(one["target"])
    if schema is None or leaf_sql(warehouse, schema, one["column"]) is not None:
        raise _changed(warehouse, one)
    before = _rows(session, warehouse, one["target"], schema)
    session.execute(add_sql(warehouse, one))
    if _rows(session, warehouse, one["target"], schema) != before:
        raise _changed(warehouse, one)


def _changed(warehouse: Warehouse, one: Mapping[str, Any]) -> Rejected:
    return Rejected(
        f"`{one['target']}` has changed since the plan was made, or would lose values; nothing was done, plan again",
        system=warehouse.name,
        operation="add a column",
    )


def _rows(session: Session, warehouse: Warehouse, target: str, schema: TableSchema) -> tuple[Any, ...]:
    """Rows, and per leaf of `schema` a digest of its values."""
    flat = leaves(schema, warehouse.dialect)
    digests = [
        warehouse.idiom.value_digest(f"CAST({leaf_sql(warehouse, schema, leaf.name)} AS VARCHAR)")
        for leaf in flat.columns
    ]
    return session.rows(f"SELECT {', '.join(['count(*)', *digests])} FROM {relation(warehouse, target)}")[0]


def remains(session: Session, warehouse: Warehouse, one: Mapping[str, Any], landing: str) -> str:
    """Why an added column must stay: what it holds stands nowhere else, or it is somebody else's by now; "" when it may go.

    A column that is gone already does not stay either. No effect.
    """
    place = f"`{one['target']}.{one['column']}`"
    schema = session.schema(one["target"])
    sql = leaf_sql(warehouse, schema, one["column"]) if schema else None
    column = _leaf(schema, one["column"], warehouse) if schema else None
    if sql is None or column is None:
        return ""
    if not same_type(column.type, one["type"], warehouse.dialect) or not column.is_nullable:
        return f"{place} stays: it has been given another definition since"
    obstacle = session.obstacle_to("drop_column", one["target"], one["column"])
    if obstacle:
        return f"{place} stays: {obstacle}"
    count = _only_there(
        session,
        warehouse,
        f"SELECT CAST({sql} AS VARCHAR) AS v FROM {relation(warehouse, one['target'])}",
        one,
        landing,
    )
    return f"{place} stays: {count} of its values stand nowhere else by now" if count else ""


def _leaf(schema: TableSchema, path: str, warehouse: Warehouse) -> Column | None:
    columns: Sequence[Column] = (*schema.columns, *leaves(schema, warehouse.dialect).columns)
    return next((column for column in columns if column.name.lower() == path.lower()), None)


def _only_there(session: Session, warehouse: Warehouse, values: str, one: Mapping[str, Any], landing: str) -> int:
    schema = session.schema(landing)
    sql = leaf_sql(warehouse, schema, one["column"]) if schema else None
    known = (
        f"SELECT CAST({sql} AS VARCHAR) AS v FROM {relation(warehouse, landing)}"
        if sql
        else "SELECT NULL AS v WHERE false"
    )
    left = f"SELECT v FROM ({values}) AS mine WHERE v IS NOT NULL EXCEPT ALL SELECT v FROM ({known}) AS theirs"
    return int(session.rows(f"SELECT count(*) FROM ({left}) AS only_there")[0][0])


def remove(session: Session, warehouse: Warehouse, one: Mapping[str, Any], landing: str) -> str:
    """Take an added column back unless it must stay; why it stays, "" when it is gone."""
    reason = remains(session, warehouse, one, landing)
    schema = session.schema(one["target"])
    if not reason and schema is not None and leaf_sql(warehouse, schema, one["column"]) is not None:
        session.execute(f"ALTER TABLE {relation(warehouse, one['target'])} DROP COLUMN {_path(warehouse, one)}")
    return reason
