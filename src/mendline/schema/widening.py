"""Target columns that are too narrow for what the view gives, and the additive DDL that widens them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mendline.config import Dataset
from mendline.errors import Rejected
from mendline.schema.casts import failing_sql
from mendline.snapshots import batch_sql
from mendline.warehouses.base import Column, Session, Warehouse
from mendline.warehouses.names import relation
from mendline.warehouses.types import is_widening, logical_type


@dataclass(frozen=True, kw_only=True)
class Overflow:
    """One target column that cannot hold `failing_count` of the view's values; `obstacle` is why it cannot be widened."""

    target: str
    column: str
    type: str
    wider: str
    failing_count: int
    obstacle: str = ""

    def as_json(self) -> dict[str, str]:
        """What `widen` and `narrow` need."""
        return {"target": self.target, "column": self.column, "type": self.type, "wider": self.wider}


def find_overflows(
    session: Session, warehouse: Warehouse, dataset: Dataset, given: tuple[tuple[str, str], ...], sql: str | None = None
) -> tuple[Overflow, ...]:
    """Find the columns of the configured targets that are a narrower type than the view's column of the same name and do
    not hold all of its present values. `given` is what the view (or `sql`, in its stead) gives. No effect.
    """
    if not given:
        return ()
    source = source_of(warehouse, dataset, sql)
    types = {name.lower(): (name, kind) for name, kind in given}
    found: list[Overflow] = []
    for target in dataset.targets:
        schema = session.schema(target)
        for column in schema.columns if schema else ():
            name, kind = types.get(column.name.lower(), ("", ""))
            if not name or not is_widening(column.type, kind, warehouse.dialect):
                continue
            count = _failing(session, warehouse, source, _column(name, kind, warehouse), column)
            if count:
                found.append(
                    Overflow(
                        target=target,
                        column=column.name,
                        type=column.type,
                        wider=kind,
                        failing_count=count,
                        obstacle=session.obstacle_to("widen_column", target, column.name),
                    )
                )
    return tuple(found)


def widen_sql(warehouse: Warehouse, target: str, column: str, kind: str) -> str:
    """The statement that gives a column of a table another type."""
    return f"ALTER TABLE {relation(warehouse, target)} ALTER COLUMN {warehouse.quote(column)} SET DATA TYPE {kind}"


def widen(session: Session, warehouse: Warehouse, one: Mapping[str, Any]) -> None:
    """Widen one column of a target in the caller's transaction. Raises: `Rejected` when any value of the table changed."""
    session.lock(one["target"])
    before = _digests(session, warehouse, one)
    session.execute(widen_sql(warehouse, one["target"], one["column"], one["wider"]))
    after = _digests(session, warehouse, one)
    if before != after:
        raise Rejected(
            f"widening `{one['target']}.{one['column']}` would change its values or others; nothing was done",
            system=warehouse.name,
            operation="widen",
        )


def _digests(session: Session, warehouse: Warehouse, one: Mapping[str, Any]) -> tuple[Any, ...]:
    """Rows, and per column a digest of its values' text, that of the widened column as it is in the wider type."""
    schema = session.schema(one["target"])
    digests = ["count(*)"]
    for column in schema.columns if schema else ():
        value = warehouse.quote(column.name)
        value = f"CAST({value} AS {one['wider']})" if column.name == one["column"] else value
        digests.append(warehouse.idiom.value_digest(f"CAST({value} AS VARCHAR)"))
    return session.rows(f"SELECT {', '.join(digests)} FROM {relation(warehouse, one['target'])}")[0]


def source_of(warehouse: Warehouse, dataset: Dataset, sql: str | None = None) -> str:
    """What stages read, as a FROM item: `sql` in the view's stead, the view, or the landing table's batch without one."""
    if sql:
        return f"({sql}) AS given"
    if dataset.view is not None:
        return relation(warehouse, dataset.view)
    return f"(SELECT * {batch_sql(warehouse, dataset)}) AS given"


def _failing(session: Session, warehouse: Warehouse, source: str, given: Column, target: Column) -> int:
    """The values that the target's type does not hold as they are: too large, too long, too exact."""
    predicate = failing_sql(warehouse, given, target, warehouse.quote(given.name))
    try:
        rows = session.rows(f"SELECT count(*) FILTER (WHERE {predicate}) FROM {source}")
    except Rejected:
        return 0  # the view's values cannot be read at all: another cause, found elsewhere
    return int(rows[0][0])


def _column(name: str, kind: str, warehouse: Warehouse) -> Column:
    return Column(
        name=name, type=kind, logical_type=logical_type(kind, warehouse.dialect), is_nullable=True, position=1
    )


def narrow(session: Session, warehouse: Warehouse, one: Mapping[str, Any]) -> None:
    """Give a widened column its former type back, if it is still the one that was widened and its values allow it."""
    schema = session.schema(one["target"])
    column = schema.column(one["column"]) if schema else None
    if (
        column is None
        or column.type != one["wider"]
        or session.obstacle_to("widen_column", one["target"], one["column"])
    ):
        return
    former = _column(one["column"], one["type"], warehouse)
    if not _failing(session, warehouse, relation(warehouse, one["target"]), column, former):
        session.execute(widen_sql(warehouse, one["target"], one["column"], one["type"]))
