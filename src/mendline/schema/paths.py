"""Leaf paths (`delivery.address.city`) as SQL expressions over the table that has them."""

from __future__ import annotations

from mendline.warehouses.base import TableSchema, Warehouse
from mendline.warehouses.types import fields


def leaf_sql(warehouse: Warehouse, schema: TableSchema, path: str, alias: str | None = None) -> str | None:
    """Give the expression that reads the leaf at `path` (any case); None when the table has no such leaf.

    `schema` is the table's own, not flattened: a column whose name holds a dot is told from a path into a struct.
    """
    prefix = f"{warehouse.quote(alias)}." if alias else ""
    for column in schema.columns:
        if column.name.lower() == path.lower():
            return prefix + warehouse.quote(column.name)
        inner = _after(path, column.name)
        if inner is not None:
            steps = _steps(column.type, inner, warehouse.dialect)
            if steps is not None:
                return "".join(
                    (f"({prefix}{warehouse.quote(column.name)})", *(f".{warehouse.quote(step)}" for step in steps))
                )
    return None


def _after(path: str, name: str) -> str | None:
    head = f"{name}.".lower()
    return path[len(head) :] if path.lower().startswith(head) else None


def _steps(spelling: str, path: str, dialect: str) -> list[str] | None:
    for name, kind in fields(spelling, dialect):
        if name.lower() == path.lower():
            return [name]
        inner = _after(path, name)
        if inner is not None:
            rest = _steps(kind, inner, dialect)
            if rest is not None:
                return [name, *rest]
    return None


def outermost(schema: TableSchema, path: str) -> str:
    """The top-level column that holds the leaf at `path` (the path itself when it is one)."""
    for column in schema.columns:
        if column.name.lower() == path.lower() or _after(path, column.name) is not None:
            return column.name
    return path
