"""A planned migration carried out: rows set aside, targets changed, the view redefined, all in the caller's transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mendline.errors import Rejected
from mendline.incident import Plan, Receipt
from mendline.quality.quarantine import set_aside
from mendline.schema.additions import add
from mendline.schema.relaxing import relax
from mendline.schema.widening import widen
from mendline.warehouses.base import Column, Session, Warehouse
from mendline.warehouses.names import relation

KEPT_FOR_UNDO = (
    "warehouse",
    "dataset",
    "view",
    "landing",
    "former_sql",
    "former_stub",
    "former_accommodation",
    "incident_id",
    "widen",
    "add",
    "relax",
)


def carry_out(session: Session, warehouse: Warehouse, plan: Plan, at: datetime) -> Receipt:
    """Do everything in the caller's transaction, if the world is still the one that was planned for."""
    parameters = plan.parameters
    view = parameters["view"] or parameters["landing"]
    if not _is_world_of(session, parameters):
        raise Rejected(
            f"`{view}` or `{parameters['landing']}` has changed since the plan was made; nothing was done, plan again",
            system=warehouse.name,
            operation=plan.repair,
        )
    moved = _move_aside(session, warehouse, parameters, at)
    for one in parameters.get("relax", ()):
        relax(session, warehouse, one)
    for one in parameters["widen"]:
        widen(session, warehouse, one)
    for one in parameters.get("add", ()):
        add(session, warehouse, one)
    for statement in parameters["view_statements"]:
        session.execute(statement)
    return Receipt(
        repair=plan.repair,
        key=plan.key,
        applied_at=at,
        summary=plan.summary,
        effects={
            "view_sql": session.view_sql(parameters["view"]) if parameters["view"] else None,
            "set_aside_count": moved,
            "landing_count": _count(session, warehouse, parameters),
            "landing_rows": landing_rows(session, warehouse, parameters["landing"]) if moved else [],
            "filled_from": parameters["batch_id"] if parameters.get("add") else None,
        },
        undo={
            **{key: parameters.get(key) for key in KEPT_FOR_UNDO},
            "set_aside_at": at.isoformat() if moved else None,
        },
    )


def _is_world_of(session: Session, parameters: Mapping[str, Any]) -> bool:
    """Whether view and landing table are still what the plan was made for; from now on nobody changes the latter."""
    landing = session.schema(parameters["landing"])
    view_sql = session.view_sql(parameters["view"]) if parameters["view"] else None
    if landing is None or view_sql != parameters["former_sql"]:
        return False
    session.lock(parameters["landing"])
    if shape_digest(landing.columns) != parameters["landing_digest"]:
        return False
    planned = parameters["view_statements"]
    return not planned or list(session.view_statements(parameters["view"], parameters["sql"])) == planned


def _move_aside(session: Session, warehouse: Warehouse, parameters: Mapping[str, Any], at: datetime) -> int:
    aside = parameters["set_aside"]
    if not aside:
        return 0
    moved = set_aside(
        session,
        warehouse,
        parameters["landing"],
        aside["predicate"],
        incident_id=parameters["incident_id"],
        batch_id=parameters["batch_id"],
        check_names=[f"type_castable:{column}" for column in aside["columns"]],
        reason="the value does not cast to the type that the contract view expects",
        at=at,
    )
    if moved > aside["count"]:
        raise Rejected(
            f"{moved} rows of `{parameters['landing']}` would be set aside, {aside['count']} were planned; plan again",
            system=warehouse.name,
            operation="set aside",
        )
    return moved


def _count(session: Session, warehouse: Warehouse, parameters: Mapping[str, Any]) -> int:
    return int(session.rows(f"SELECT count(*) FROM {relation(warehouse, parameters['landing'])}")[0][0])


def landing_rows(session: Session, warehouse: Warehouse, landing: str) -> list[str]:
    """Count and order-free hashes of the rows: whether a landing table still holds the load that it held."""
    sums = warehouse.idiom.checksum("t")
    return [str(value) for value in session.rows(f"SELECT {sums} FROM {relation(warehouse, landing)} AS t")[0]]


def shape_digest(columns: Sequence[Column]) -> str:
    """A digest of names and types, in order."""
    return digest(*(f"{column.name} {column.type}" for column in columns))


def digest(*parts: str) -> str:
    """A short digest of several texts."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:16]
