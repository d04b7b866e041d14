"""Repair `apply_schema_migration`: give the stage the schema it expects, through its contract view or a wider target."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mendline.config import Dataset
from mendline.contracts import contract_of
from mendline.errors import ConfigError, NotSupported, Rejected
from mendline.incident import Check, Declined, FindingVerdict, Plan, Receipt, from_json, to_json
from mendline.ledger import plan_key
from mendline.quality.holdings import changed_since, held_count
from mendline.quality.quarantine import quarantine_of, restore, set_aside
from mendline.schema.decide import Desired, Refusal, SetAside, decide
from mendline.schema.examine import Examination, examine, history
from mendline.schema.judge import judge
from mendline.schema.proof import Memory, prove
from mendline.schema.widening import narrow, widen, widen_sql
from mendline.stores.base import Accommodation
from mendline.tools.base import ToolContext
from mendline.warehouses.base import Session, Warehouse
from mendline.warehouses.names import name_parts, relation, with_suffix

NAME = "apply_schema_migration"


class ApplySchemaMigration:
    """Redefines the contract view over the landing table's new shape, sets aside what does not cast, widens targets.

    `parameters` of a plan: `warehouse`, `dataset`, `view`, `landing`, `landing_digest`, `former_sql`, `former_stub`, `base_sql`, `sql`,
    `columns` ([name, type]), `mappings`, `row_count`, `set_aside` (predicate, columns, count), `row_checks`, `widen` (target, column,
    type, wider), `batch_id`, `incident_id`, `former_accommodation` (None when there was none).
    `effects` of a receipt: `view_sql` (as the warehouse keeps it), `set_aside_count`, `landing_count`.
    """

    name = NAME
    risk = "redefines a view that Mendline may redefine; widens listed targets; moves rows that do not cast aside"
    cannot_undo = "a widened column stays wide once it holds values that need it"

    def plan(self, context: ToolContext) -> Plan | Declined:
        declined: list[Declined] = []
        for dataset in context.datasets:
            answer = _answer(dataset, context)
            if isinstance(answer, Plan):
                return answer
            # A refusal says more than a dataset that is as it should be.
            declined.insert(0 if answer.needed else len(declined), answer)
        return declined[0] if declined else _declined("no dataset is configured for the failed stages")

    def is_done(self, plan: Plan, context: ToolContext) -> bool:
        warehouse = context.services.warehouses[plan.parameters["warehouse"]]
        with warehouse.reading() as session:
            receipt = _recorded(session, warehouse, plan.key)
            if receipt is None:
                return False
            return bool(session.view_sql(plan.parameters["view"]) == receipt.effects["view_sql"])

    def apply(self, plan: Plan, context: ToolContext) -> Receipt:
        parameters = plan.parameters
        warehouse = context.services.warehouses[parameters["warehouse"]]
        ledger = context.services.ledger
        receipt = ledger.in_warehouse(
            plan,
            parameters["incident_id"],
            warehouse,
            lambda session: _effect(session, warehouse, plan, ledger.now()),
        )
        _note(receipt, parameters, context)
        return receipt

    def verify(self, plan: Plan, receipt: Receipt, context: ToolContext) -> tuple[Check, ...]:
        warehouse = context.services.warehouses[plan.parameters["warehouse"]]
        dataset = context.services.config.datasets[plan.parameters["dataset"]]
        contract = contract_of(dataset, context.services.config, warehouse.dialect)
        profiles, _ = history(context.services.store.snapshots(dataset.name))
        memory = Memory(profiles=profiles, key=contract.key if contract else ())
        with warehouse.reading() as session:
            checks = prove(session, warehouse, plan.parameters, receipt.effects, memory)
        again = _answer(dataset, context)
        changes_nothing = Check(
            name="the repair run again would change nothing",
            passed=isinstance(again, Declined),
            detail=again.summary if isinstance(again, Plan) else again.reason,
        )
        return (*checks, changes_nothing)

    def obstacle(self, receipt: Receipt, context: ToolContext) -> str:
        warehouse = context.services.warehouses[receipt.undo["warehouse"]]
        with warehouse.reading() as session:
            return _view_obstacle(receipt, context, session) or _rows_obstacle(receipt, warehouse, session)

    def undo(self, receipt: Receipt, context: ToolContext) -> None:
        undo = receipt.undo
        if "former_sql" not in undo:
            raise NotSupported(f"the receipt `{receipt.key}` does not say what to restore", operation="undo")
        warehouse = context.services.warehouses[undo["warehouse"]]
        is_bound = _binds(warehouse, undo["former_sql"])
        left: list[str] = []
        context.services.ledger.undo_in_warehouse(
            receipt, warehouse, lambda session: left.extend(_inverse(session, warehouse, receipt, is_bound=is_bound))
        )
        self._forget(receipt, context)
        if left:
            raise NotSupported("; ".join(left), system=warehouse.name, operation="undo")

    def _forget(self, receipt: Receipt, context: ToolContext) -> None:
        undo = receipt.undo
        former = undo["former_accommodation"]
        standing = context.services.store.accommodation(undo["dataset"])
        if standing is None or standing.incident_id != undo["incident_id"]:
            return
        if standing.current_sql != receipt.effects["view_sql"]:
            return
        if former is None:
            context.services.store.delete_accommodation(undo["dataset"])
        else:
            context.services.store.save_accommodation(from_json(Accommodation, former))


def _declined(reason: str, needed: str = "") -> Declined:
    return Declined(repair=NAME, reason=reason, needed=needed)


def _answer(dataset: Dataset, context: ToolContext) -> Plan | Declined:
    """What is to be done about one dataset, if anything."""
    try:
        seen = examine(dataset, context.services)
    except (Rejected, ConfigError) as error:
        return _declined(f"`{dataset.name}` could not be examined: {error}")
    verdict, summary = judge(seen, context)
    if verdict is not FindingVerdict.SUPPORTS:
        return _declined(f"nothing to change: {summary}")
    decision = decide(seen, context.services.config.policy, context.services.warehouses[dataset.warehouse])
    if isinstance(decision, Refusal):
        return _declined(decision.reason, decision.needed)
    if not _changes_anything(seen, decision):
        return _declined(f"nothing to change: `{dataset.view}` already gives what is expected")
    return _offer(seen, decision, context)


def _offer(seen: Examination, decision: Desired, context: ToolContext) -> Plan | Declined:
    """The plan, unless the engine cannot carry it out or take it back."""
    try:
        plan = _plan(seen, decision, context)
    except NotSupported as error:
        return _declined(str(error), f"change `{seen.dataset.view}` by hand")
    if not plan.is_reversible:
        return _declined(f"changing `{seen.dataset.view}` could not be undone", "change it by hand")
    return plan


def _changes_anything(seen: Examination, desired: Desired) -> bool:
    if desired.set_aside or desired.widen:
        return True
    return (not seen.is_as_expected or bool(seen.emptied)) and not _stands(seen, desired)


def _view_changes(seen: Examination, desired: Desired) -> bool:
    """Whether the view must be redefined: one that gives what it should is left alone, in whatever way it does so."""
    return not _stands(seen, desired) and (seen.view_columns != desired.columns or bool(seen.emptied))


def _stands(seen: Examination, desired: Desired) -> bool:
    """Whether the view is as desired; engines print a SELECT in their own way, so the mappings count too."""
    if desired.sql == seen.current_sql:
        return True
    kept = seen.accommodation
    mappings = tuple(mapping.as_json() for mapping in desired.mappings)
    return seen.view_columns == desired.columns and kept is not None and kept.mappings == mappings


def _plan(seen: Examination, desired: Desired, context: ToolContext) -> Plan:
    dataset, view = seen.dataset, str(seen.dataset.view)
    warehouse = context.services.warehouses[dataset.warehouse]
    sql = desired.sql if _view_changes(seen, desired) else str(seen.current_sql)
    view_statements = _view_statements(seen, sql, warehouse)
    statements = _statements(seen, desired, view_statements, warehouse)
    former = context.services.store.accommodation(dataset.name) if seen.accommodation else None
    return Plan(
        repair=NAME,
        key=plan_key(context.incident.fingerprint, NAME, dataset.name, _digest(*statements)),
        summary=_summary(seen, desired, sql),
        dataset=dataset.name,
        statements=statements,
        parameters={
            "warehouse": dataset.warehouse,
            "dataset": dataset.name,
            "view": view,
            "landing": dataset.landing,
            "landing_digest": _shape_digest(seen),
            "batch": dataset.batch,
            "former_sql": seen.current_sql,
            "former_stub": seen.former_stub,
            "base_sql": seen.base_sql,
            "sql": sql,
            "view_statements": list(view_statements),
            "columns": [list(pair) for pair in desired.columns],
            "mappings": [mapping.as_json() for mapping in desired.mappings],
            "row_count": seen.row_count,
            "set_aside": _set_aside_json(dataset, desired.set_aside),
            "row_checks": {f"type_castable:{part.column}": part.predicate for part in desired.set_aside},
            "widen": [
                {"target": one.target, "column": one.column, "type": one.type, "wider": one.wider}
                for one in desired.widen
            ],
            "batch_id": context.incident.failures[0].root_run_id,
            "incident_id": context.incident.id,
            "former_accommodation": to_json(former) if former else None,
        },
        confidence=_confidence(desired, context),
        moved_row_count=sum(part.count for part in desired.set_aside),
        is_reversible=_is_reversible(seen, warehouse),
        undo_summary=(f"`{view}` is dropped again" if seen.is_view_gone else f"`{view}` gets its former SELECT back")
        + (", the rows set aside return" if desired.set_aside else "")
        + (", widened columns are narrowed if their values allow it" if desired.widen else ""),
    )


def _is_reversible(seen: Examination, warehouse: Warehouse) -> bool:
    """Whether the former view can be made again: it binds, or it is gone, or the landing table can be parked meanwhile."""
    if seen.view_columns is not None or seen.is_view_gone:
        return True
    with warehouse.reading() as session:
        return bool(seen.former_stub) and not session.obstacle_to_parking(seen.dataset.landing)


def _confidence(desired: Desired, context: ToolContext) -> float:
    return min((context.classification.confidence, *(rename.score for rename in desired.renames)))


def _set_aside_json(dataset: Dataset, parts: tuple[SetAside, ...]) -> dict[str, Any] | None:
    if not parts:
        return None
    predicate = " OR ".join(part.predicate for part in parts)
    if dataset.batch:
        predicate = f"({dataset.batch}) AND ({predicate})"
    return {
        "predicate": predicate,
        "columns": [part.column for part in parts],
        "count": sum(part.count for part in parts),
    }


def _statements(
    seen: Examination, desired: Desired, view_statements: tuple[str, ...], warehouse: Warehouse
) -> tuple[str, ...]:
    """The exact SQL, in the order of `_effect`; the rows set aside are shown by their selection."""
    statements: list[str] = []
    aside = _set_aside_json(seen.dataset, desired.set_aside)
    if aside:
        landing = relation(warehouse, seen.dataset.landing)
        statements.append(f"-- set aside: SELECT * FROM {landing} WHERE {aside['predicate']}")
    statements.extend(widen_sql(warehouse, one.target, one.column, one.wider) for one in desired.widen)
    return (*statements, *view_statements)


def _view_statements(seen: Examination, sql: str, warehouse: Warehouse) -> tuple[str, ...]:
    """What gives the view its SELECT; () when it has it. Raises: `NotSupported` when the engine cannot."""
    if sql == seen.current_sql:
        return ()
    with warehouse.reading() as session:
        return session.view_statements(str(seen.dataset.view), sql)


def _summary(seen: Examination, desired: Desired, sql: str) -> str:
    done: list[str] = []
    if sql != seen.current_sql:
        how = "gets the team's own SELECT back" if sql == seen.base_sql else "restores the expected columns"
        how = f"is made again and {how}" if seen.is_view_gone else how
        done.append(f"`{seen.dataset.view}` {how}" + (f" ({'; '.join(desired.notes)})" if desired.notes else ""))
    done.extend(f"`{one.target}.{one.column}` becomes {one.wider}" for one in desired.widen)
    done.extend(f"{one.count} rows whose `{one.column}` does not cast are set aside" for one in desired.set_aside)
    return "; ".join(done)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:16]


def _shape_digest(seen: Examination) -> str:
    return _columns_digest([(column.name, column.type) for column in seen.landing.columns]) if seen.landing else ""


def _columns_digest(columns: list[tuple[str, str]]) -> str:
    return _digest(*(f"{name} {kind}" for name, kind in columns))


def _effect(session: Session, warehouse: Warehouse, plan: Plan, at: datetime) -> Receipt:
    """Do everything in the caller's transaction, if the world is still the one that was planned for."""
    parameters = plan.parameters
    view = parameters["view"]
    if not _is_world_of(session, parameters):
        raise Rejected(
            f"`{view}` or `{parameters['landing']}` has changed since the plan was made; nothing was done, plan again",
            system=warehouse.name,
            operation=NAME,
        )
    moved = _move_aside(session, warehouse, parameters, at)
    for one in parameters["widen"]:
        widen(session, warehouse, one)
    for statement in parameters["view_statements"]:
        session.execute(statement)
    return Receipt(
        repair=NAME,
        key=plan.key,
        applied_at=at,
        summary=plan.summary,
        effects={
            "view_sql": session.view_sql(view),
            "set_aside_count": moved,
            "landing_count": _count(session, warehouse, parameters),
            "landing_rows": _landing_rows(session, warehouse, parameters["landing"]) if moved else [],
        },
        undo={
            **{
                key: parameters[key]
                for key in (
                    "warehouse",
                    "dataset",
                    "view",
                    "landing",
                    "former_sql",
                    "former_stub",
                    "incident_id",
                    "widen",
                )
            },
            "former_accommodation": parameters["former_accommodation"],
            "set_aside_at": at.isoformat() if moved else None,
        },
    )


def _is_world_of(session: Session, parameters: Mapping[str, Any]) -> bool:
    """Whether view and landing table are still what the plan was made for; from now on nobody changes the latter."""
    landing = session.schema(parameters["landing"])
    if landing is None or session.view_sql(parameters["view"]) != parameters["former_sql"]:
        return False
    session.lock(parameters["landing"])
    now = [(column.name, column.type) for column in landing.columns]
    if _columns_digest(now) != parameters["landing_digest"]:
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
            operation=NAME,
        )
    return moved


def _count(session: Session, warehouse: Warehouse, parameters: Mapping[str, Any]) -> int:
    return int(session.rows(f"SELECT count(*) FROM {relation(warehouse, parameters['landing'])}")[0][0])


def _landing_rows(session: Session, warehouse: Warehouse, landing: str) -> list[str]:
    """Count and order-free hashes of the rows: whether a landing table still holds the load that it held."""
    sums = warehouse.idiom.checksum("t")
    return [str(value) for value in session.rows(f"SELECT {sums} FROM {relation(warehouse, landing)} AS t")[0]]


def _note(receipt: Receipt, parameters: Mapping[str, Any], context: ToolContext) -> None:
    """Remember (or heal the memory of) what stands in the view now."""
    store, dataset = context.services.store, parameters["dataset"]
    if parameters["sql"] == parameters["base_sql"]:
        store.delete_accommodation(dataset)
        return
    if parameters["sql"] == parameters["former_sql"]:
        return
    store.save_accommodation(
        Accommodation(
            dataset=dataset,
            view=parameters["view"],
            base_sql=parameters["base_sql"],
            current_sql=receipt.effects["view_sql"],
            mappings=tuple(dict(mapping) for mapping in parameters["mappings"]),
            incident_id=parameters["incident_id"],
            changed_at=receipt.applied_at,
        )
    )


def _recorded(session: Session, warehouse: Warehouse, key: str) -> Receipt | None:
    if session.schema(warehouse.ledger_table) is None:
        return None
    query = f"SELECT receipt FROM {warehouse.ledger_table} WHERE key = ? AND undone_at IS NULL"
    rows = session.rows(query, [key])
    return from_json(Receipt, rows[0][0]) if rows else None


def _binds(warehouse: Warehouse, sql: str | None) -> bool:
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


def _view_obstacle(receipt: Receipt, context: ToolContext, session: Session) -> str:
    undo, view = receipt.undo, receipt.undo["view"]
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
        and _landing_rows(session, warehouse, landing) == list(receipt.effects["landing_rows"])
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


def _inverse(session: Session, warehouse: Warehouse, receipt: Receipt, *, is_bound: bool) -> list[str]:
    """Bring back the former view, the rows and, where their values allow it, the former types; what could not come back."""
    undo, left = receipt.undo, []
    if _held_count(session, warehouse, undo):
        at = datetime.fromisoformat(undo["set_aside_at"])
        if _landing_rows(session, warehouse, undo["landing"]) == list(receipt.effects["landing_rows"]):
            restore(session, warehouse, undo["landing"], incident_id=undo["incident_id"], at=at)
        else:  # the rows are in the new load too, or were corrected there: put back they would be doubled
            left.append(
                f"`{undo['landing']}` has been loaded again since; its rows stay in `{quarantine_of(undo['landing'])}`"
            )
    if session.view_sql(undo["view"]) == receipt.effects["view_sql"]:
        _restore_view(session, warehouse, undo, is_bound=is_bound)
    for one in undo["widen"]:
        narrow(session, warehouse, one)
    return left
