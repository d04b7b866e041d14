"""Target columns that are NOT NULL and get NULLs now: whether the rule may be dropped, and how it comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mendline.config import Dataset
from mendline.errors import Rejected
from mendline.quality.expectations import Contract
from mendline.schema.widening import source_of
from mendline.warehouses.base import Column, Session, Warehouse
from mendline.warehouses.names import relation
from mendline.warehouses.types import family


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One NOT NULL column of a target for which `null_count` of `row_count` rows have no value.

    `obstacle` is why the rule may not be dropped by itself.
    """

    target: str
    column: str
    null_count: int
    row_count: int
    obstacle: str = ""

    def as_json(self) -> dict[str, str]:
        """What `relax` and `tighten` need."""
        return {"target": self.target, "column": self.column}

    def __str__(self) -> str:
        return f"{self.null_count} of {self.row_count} rows have no `{self.column}`, which `{self.target}` wants"


def find_gaps(
    session: Session,
    warehouse: Warehouse,
    dataset: Dataset,
    given: tuple[tuple[str, str], ...],
    contract: Contract | None,
    names: Mapping[str, str],
    sql: str | None = None,
) -> tuple[Gap, ...]:
    """Find the NOT NULL columns of the targets that would get NULLs from what stages read (or `sql`, in its stead). No effect.

    `given` is what that gives; `names` maps an output (lower case) to the column of the landing table behind it, by which the contract knows it.
    """
    types = dict(given)
    by_name = {name.lower(): name for name in types}
    source = source_of(warehouse, dataset, sql)
    found: list[Gap] = []
    for target in dataset.targets:
        schema = session.schema(target)
        strict = [c for c in schema.columns if not c.is_nullable and c.name.lower() in by_name] if schema else []
        if not strict:
            continue
        counts = [f"count({warehouse.quote(by_name[column.name.lower()])})" for column in strict]
        try:
            ((row_count, *filled),) = session.rows(f"SELECT count(*), {', '.join(counts)} FROM {source}")
        except Rejected:
            return ()  # its values cannot be read at all: another cause, found elsewhere
        for column, count in zip(strict, filled, strict=True):
            if count < row_count:
                reason = _forbidden(contract, names.get(column.name.lower(), column.name), column.logical_type)
                reason = reason or session.obstacle_to("drop_not_null", target, column.name)
                found.append(_gap(target, column, row_count - count, row_count, reason))
    return tuple(found)


def _gap(target: str, column: Column, null_count: int, row_count: int, obstacle: str) -> Gap:
    return Gap(target=target, column=column.name, null_count=null_count, row_count=row_count, obstacle=obstacle)


def _forbidden(contract: Contract | None, name: str, kind: str) -> str:
    """What forbids NULLs in a column. Source: the table of change kinds, row "NULLs appear": key or measure columns."""
    column = contract.known_as(name) if contract else None
    if contract is None or column is None:
        return f"no contract says that `{name}` is optional"
    if contract.is_frozen:
        return "the contract is frozen"
    if column.is_required or column.is_unique or column.is_primary_key:
        return f"the contract says that `{name}` is never NULL"
    return f"`{name}` is a number, and sums over it would change their meaning" if family(kind) == "number" else ""


def relax_sql(warehouse: Warehouse, target: str, column: str) -> str:
    """The statement that lets a column of a table be NULL."""
    return f"ALTER TABLE {relation(warehouse, target)} ALTER COLUMN {warehouse.quote(column)} DROP NOT NULL"


def relax(session: Session, warehouse: Warehouse, one: Mapping[str, Any]) -> None:
    """Let one column be NULL in the caller's transaction."""
    session.lock(one["target"])
    session.execute(relax_sql(warehouse, one["target"], one["column"]))


def stays_loose(session: Session, warehouse: Warehouse, one: Mapping[str, Any]) -> str:
    """Why the rule cannot come back: there are NULLs by now; "" when it can, or when it is there. No effect."""
    schema = session.schema(one["target"])
    column = schema.column(one["column"]) if schema else None
    if column is None or not column.is_nullable:
        return ""
    place = f"`{one['target']}.{one['column']}`"
    query = f"SELECT count(*) - count({warehouse.quote(one['column'])}) FROM {relation(warehouse, one['target'])}"
    count = int(session.rows(query)[0][0])
    if count:
        return f"{place} may be NULL until its {count} rows without a value have one"
    obstacle = session.obstacle_to("drop_not_null", one["target"], one["column"])
    return f"{place} may be NULL until somebody sets NOT NULL: {obstacle}" if obstacle else ""


def tighten(session: Session, warehouse: Warehouse, one: Mapping[str, Any]) -> str:
    """Bring the rule back unless there are NULLs by now; why it did not come back, "" when it did."""
    reason = stays_loose(session, warehouse, one)
    schema = session.schema(one["target"])
    column = schema.column(one["column"]) if schema else None
    if not reason and column is not None and column.is_nullable:
        table, name = relation(warehouse, one["target"]), warehouse.quote(one["column"])
        session.execute(f"ALTER TABLE {table} ALTER COLUMN {name} SET NOT NULL")
    return reason
