"""What the warehouse of some rows says in its own way."""

from __future__ import annotations

from mendline.warehouses.base import Idiom, Warehouse


def row_sql(warehouse: Warehouse) -> Idiom:
    """The warehouse's own way to say what SQL says differently everywhere."""
    return warehouse.idiom
