"""What a view was written for: its SELECT as it is remembered, and the first known shape over which that binds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mendline.contracts import Contract
from mendline.errors import Rejected
from mendline.schema.view import Reading, stub_sql
from mendline.stores.base import Accommodation, Snapshot
from mendline.warehouses.base import Column, Session, TableSchema, Warehouse
from mendline.warehouses.types import column_type, family, logical_type

Columns = tuple[tuple[str, str], ...]
Shape = tuple[str, tuple[Column, ...]]  # where it is known from, and its leaves
UNTYPED = ("array", "map", "struct", "other")


def remembered_sql(kept: Accommodation | None, snapshots: Sequence[Snapshot]) -> str | None:
    """What a view that is gone was defined by, as it was last seen; None when nobody remembers."""
    latest = snapshots[0] if snapshots else None
    if kept is None:
        return latest.view_sql if latest else None
    is_latest = latest is None or latest.taken_at <= kept.changed_at or latest.view_sql in (None, kept.base_sql)
    return kept.current_sql if is_latest or latest is None else latest.view_sql


def in_force(kept: Accommodation | None, current: str | None) -> Accommodation | None:
    """What Mendline did to the view; None when the team has redefined it since."""
    return kept if kept is not None and kept.current_sql == current else None


def shapes_of(
    kept: Accommodation | None,
    snapshots: Sequence[Snapshot],
    contract: Contract | None,
    now: TableSchema,
    warehouse: Warehouse,
) -> Iterator[Shape]:
    """The shapes that the view may have been written for, the most credible first; `now` are the landing table's leaves."""
    if kept is not None:
        yield "accommodation", _columns([(m["column"], m["type"]) for m in kept.mappings], warehouse)
    for snapshot in snapshots:
        yield "snapshot", snapshot.schema.columns
    if contract is not None:
        yield "contract", _contract_columns(contract, now, warehouse)


def _columns(pairs: Sequence[tuple[str, str]], warehouse: Warehouse) -> tuple[Column, ...]:
    return tuple(
        Column(
            name=name, type=kind, logical_type=logical_type(kind, warehouse.dialect), is_nullable=True, position=place
        )
        for place, (name, kind) in enumerate(pairs, start=1)
    )


def _contract_columns(contract: Contract, now: TableSchema, warehouse: Warehouse) -> tuple[Column, ...]:
    """The contract's leaves; where the landing table has the column in the same family of types, with its type."""
    there = {column.name.lower(): column for column in now.columns}
    pairs: list[tuple[str, str]] = []
    for column in contract.columns:
        match = there.get(column.name.lower())
        if match is not None and (
            family(match.logical_type) == family(column.logical_type) or column.logical_type in UNTYPED
        ):
            pairs.append((column.name, match.type))
        elif column.logical_type not in UNTYPED:
            pairs.append((column.name, column_type(column.logical_type, warehouse.dialect)))
    return _columns(pairs, warehouse)


def expectation(
    session: Session, warehouse: Warehouse, reading: Reading | None, shapes: Sequence[Shape], landing: TableSchema
) -> tuple[str, tuple[Column, ...], Columns]:
    """The first shape over which the view's own SELECT binds (origin and leaves), and what the SELECT gives then.

    Without a view the newest shape counts. A shape that the SELECT does not bind to is not the one it was written for (a
    snapshot taken while another shape was accommodated, say).
    """
    if reading is None:
        return (*shapes[0], ()) if shapes else ("", (), ())
    for origin, columns in shapes:
        if not columns:
            continue
        try:
            return origin, columns, session.outputs(reading.over(stub_sql(columns, landing, warehouse)))
        except Rejected:
            continue
    return "", (), ()


def former_stub(
    session: Session,
    warehouse: Warehouse,
    reading: Reading | None,
    shapes: Sequence[tuple[Column, ...]],
    landing: TableSchema,
) -> str:
    """An empty table over which the view that stands there binds; "" when there is none, or no shape fits."""
    for columns in shapes if reading else ():
        stub = stub_sql(columns, landing, warehouse) if columns else ""
        try:
            if stub and reading and session.outputs(reading.over(stub)):
                return stub
        except Rejected:
            continue
    return ""
