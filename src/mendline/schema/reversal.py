"""A migration taken back: the rows, the view and the tables as they were, or the reason why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from mendline.errors import NotSupported, Rejected
from mendline.incident import Receipt
from mendline.quality.holdings import changed_since, held_count
from mendline.quality.quarantine import quarantine_of, restore
from mendline.schema.additions import remains, remove
from mendline.schema.migration import landing_rows
from mendline.schema.relaxing import stays_loose, tighten
from mendline.schema.widening import narrow
from mendline.tools.base import ToolContext
from mendline.warehouses.base import Session, Warehouse
from mendline.warehouses.names import name_parts, relation, with_suffix


def binds(warehouse: Warehouse, sql: str | None) -> bool:
    """Asked before the transaction: a SELECT that does not bind would end it."""
    with warehouse.reading() as session:
        try:
            return sql is None or bool(session.outputs(sql))
        except Rejected:
            return False


def _restore_view(session: Session, warehouse: Warehouse, undo: Mapping[str, Any], *, is_bound: bool) -> None:
    """Give the view its former SELECT back, or none where there was none."""
    if undo["former_sql"] is None:
        session.execute(f"DROP VIEW {relation(warehouse, undo['view'])}")
    elif is_bound:
        _redefine(session, undo)
    else:
        _restore_unbound(session, warehouse, undo)


def _redefine(session: Session, undo: Mapping[str, Any]) -> None:
    for statement in session.view_statements(undo["view"], undo["former_sql"]):
        session.execute(statement)


def _restore_unbound(session: Session, warehouse: Warehouse, undo: Mapping[str, Any]) -> None:
    """Make a view again that does not bind to the landing table of today, which engines refuse.

    So, for the length of this call and inside the caller's transaction, an empty table of the shape that it binds to
    stands under the landing table's name.
    """
    obstacle = session.obstacle_to_parking(undo["landing"])
    if obstacle:
        raise NotSupported(
            f"the former SELECT of `{undo['view']}` does not fit `{undo['landing']}` as it is now: {obstacle}",
            system=warehouse.name,
            operation="undo",
        )
    landing = relation(warehouse, undo["landing"])
    own = warehouse.quote(name_parts(undo["landing"])[-1])
    parked = with_suffix(undo["landing"], "__mendline_parked")
    session.execute(f"ALTER TABLE {landing} RENAME TO {warehouse.quote(name_parts(parked)[-1])}")
    session.execute(f"CREATE TABLE {landing} AS {undo['former_stub']}")
    _redefine(session, undo)
    session.execute(f"DROP TABLE {landing}")
    session.execute(f"ALTER TABLE {relation(warehouse, parked)} RENAME TO {own}")


def obstacle_to_undo(receipt: Receipt, context: ToolContext, warehouse: Warehouse, session: Session) -> str:
    """Why the state before cannot be brought back as the world is now; "" when it can. No effect."""
    return (
        _view_obstacle(receipt, context, session)
        or _rows_obstacle(receipt, warehouse, session)
        or "; ".join(_target_obstacles(receipt, warehouse, session))
    )


def _target_obstacles(receipt: Receipt, warehouse: Warehouse, session: Session) -> Iterator[str]:
    """What was added or relaxed and must stay so; that a wide column stays wide is said beforehand."""
    undo = receipt.undo
    reasons = [remains(session, warehouse, one, undo["landing"]) for one in undo.get("add") or ()]
    reasons += [stays_loose(session, warehouse, one) for one in undo.get("relax") or ()]
    yield from (reason for reason in reasons if reason)


def _view_obstacle(receipt: Receipt, context: ToolContext, session: Session) -> str:
    undo, view = receipt.undo, receipt.undo["view"]
    if view is None:
        return ""
    ours, former = receipt.effects["view_sql"], undo["former_sql"]
    if ours == former or session.view_sql(view) in (ours, former):
        return ""
    standing = context.services.store.accommodation(undo["dataset"])
    if standing is not None and standing.incident_id != undo["incident_id"]:
        number = standing.incident_id
        return f"incident `{number}` has changed `{view}` since (`mendline undo {number}` first)"
    return f"`{view}` has been redefined since: what Mendline wrote there is gone"


def _rows_obstacle(receipt: Receipt, warehouse: Warehouse, session: Session) -> str:
    undo, landing = receipt.undo, receipt.undo["landing"]
    held = _held_count(session, warehouse, undo)
    if not held or (
        session.schema(landing) is not None
        and landing_rows(session, warehouse, landing) == list(receipt.effects["landing_rows"])
    ):
        return ""
    at, number = datetime.fromisoformat(undo["set_aside_at"]), undo["incident_id"]
    known = changed_since(session, warehouse, landing, number, at)
    return (
        f"{held} rows cannot go back, `{landing}` has changed since: {known or 'it has been loaded again'} "
        f"(decide on them first: `mendline quarantine release {number}` or `discard`)"
    )


def _held_count(session: Session, warehouse: Warehouse, undo: Mapping[str, Any]) -> int:
    """The rows of this repair that are still held; those that a person has released or given up stay as decided."""
    if not undo["set_aside_at"]:
        return 0
    at = datetime.fromisoformat(undo["set_aside_at"])
    return held_count(session, warehouse, undo["landing"], undo["incident_id"], at)


def take_back(session: Session, warehouse: Warehouse, receipt: Receipt, *, is_bound: bool) -> list[str]:
    """Bring back the former view, the rows and, where their values allow it, the tables; what could not come back.

    `is_bound` says whether the former view binds to the landing table as it is now.
    """
    undo = receipt.undo
    left: list[str] = []
    if _held_count(session, warehouse, undo):
        at = datetime.fromisoformat(undo["set_aside_at"])
        if landing_rows(session, warehouse, undo["landing"]) == list(receipt.effects["landing_rows"]):
            restore(session, warehouse, undo["landing"], incident_id=undo["incident_id"], at=at)
        else:  # the rows are in the new load too, or were corrected there: put back they would be doubled
            left.append(
                f"`{undo['landing']}` has been loaded again since; its rows stay in `{quarantine_of(undo['landing'])}`"
            )
    if undo["view"] and session.view_sql(undo["view"]) == receipt.effects["view_sql"]:
        _restore_view(session, warehouse, undo, is_bound=is_bound)
    for one in undo["widen"]:
        narrow(session, warehouse, one)
    left.extend(remove(session, warehouse, one, undo["landing"]) for one in undo.get("add") or ())
    left.extend(tighten(session, warehouse, one) for one in undo.get("relax") or ())
    return [reason for reason in left if reason]
