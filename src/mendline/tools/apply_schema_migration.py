"""Repair `apply_schema_migration`: give the stage the schema it expects, through its contract view or a wider target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mendline.config import Dataset
from mendline.contracts import contract_of
from mendline.errors import ConfigError, NotSupported, Rejected
from mendline.incident import Check, Declined, FindingVerdict, Plan, Receipt, from_json, to_json
from mendline.ledger import plan_key
from mendline.schema.additions import add_sql
from mendline.schema.decide import Desired, decide
from mendline.schema.examine import Examination, examine, history
from mendline.schema.ground import check_kinds
from mendline.schema.judge import judge
from mendline.schema.migration import carry_out, digest, shape_digest
from mendline.schema.proof import Memory, prove, target_checks
from mendline.schema.relaxing import relax_sql
from mendline.schema.reversal import binds, obstacle_to_undo, take_back
from mendline.schema.trial import CannotDecideError, Refusal, SetAside
from mendline.schema.widening import widen_sql
from mendline.stores.base import Accommodation
from mendline.tools.base import ToolContext
from mendline.warehouses.base import Session, Warehouse
from mendline.warehouses.names import relation

NAME = "apply_schema_migration"


class ApplySchemaMigration:
    """Redefines the contract view over the landing table's new shape, sets aside what does not cast, widens and extends targets.

    `parameters` of a plan: `warehouse`, `dataset`, `view`, `landing`, `landing_digest`, `former_sql`, `former_stub`, `base_sql`, `sql`,
    `columns` ([name, type]), `mappings`, `row_count`, `set_aside` (predicate, columns, count), `row_checks`, `widen` (target, column,
    type, wider), `add` (target, column, type), `relax` (target, column), `batch_id`, `incident_id`, `former_accommodation` (None when there was none).
    `view`, with its SELECTs, is None for a dataset without one.
    `effects` of a receipt: `view_sql` (as the warehouse keeps it), `set_aside_count`, `landing_count`, `filled_from` (the run from
    which added columns have values).
    """

    name = NAME
    risk = "redefines a view that Mendline may redefine; widens or extends listed targets; moves rows that do not cast aside"
    cannot_undo = "a widened column stays wide, and an added one stays, once it holds values that need it"

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
            view = plan.parameters["view"]
            if view is None:
                return all(check.passed for check in target_checks(session, warehouse, plan.parameters))
            return bool(session.view_sql(view) == receipt.effects["view_sql"])

    def apply(self, plan: Plan, context: ToolContext) -> Receipt:
        parameters = plan.parameters
        warehouse = context.services.warehouses[parameters["warehouse"]]
        ledger = context.services.ledger
        receipt = ledger.in_warehouse(
            plan,
            parameters["incident_id"],
            warehouse,
            lambda session: carry_out(session, warehouse, plan, ledger.now()),
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
            return obstacle_to_undo(receipt, context, warehouse, session)

    def undo(self, receipt: Receipt, context: ToolContext) -> None:
        undo = receipt.undo
        if "former_sql" not in undo:
            raise NotSupported(f"the receipt `{receipt.key}` does not say what to restore", operation="undo")
        warehouse = context.services.warehouses[undo["warehouse"]]
        is_bound = binds(warehouse, undo["former_sql"])
        left: list[str] = []
        context.services.ledger.undo_in_warehouse(
            receipt, warehouse, lambda session: left.extend(take_back(session, warehouse, receipt, is_bound=is_bound))
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
        return _left_alone(seen, summary)
    warehouse, subtype = context.services.warehouses[dataset.warehouse], context.classification.subtype
    decision = decide(seen, context.services.config.policy, warehouse, subtype)
    if isinstance(decision, Refusal):
        return _declined(decision.reason, decision.needed)
    if not _changes_anything(seen, decision):
        return _declined(f"nothing to change: `{dataset.view or dataset.landing}` already gives what is expected")
    return _offer(seen, decision, context)


def _left_alone(seen: Examination, summary: str) -> Declined:
    """A change that does not explain the failure is not made up for; one that only a person may judge is no "no change"."""
    try:
        check_kinds(seen)
    except CannotDecideError as error:
        return _declined(error.refusal.reason, error.refusal.needed)
    return _declined(f"nothing to change: {summary}")


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
    if desired.set_aside or desired.widen or desired.add or desired.relax:
        return True
    if seen.dataset.view is None:
        return False
    return (not seen.is_as_expected or bool(seen.emptied)) and not _stands(seen, desired)


def _view_changes(seen: Examination, desired: Desired) -> bool:
    """Whether the view must be redefined: one that gives what it should is left alone, in whatever way it does so."""
    return not _stands(seen, desired) and (seen.view_columns != desired.columns or bool(seen.emptied))


def _stands(seen: Examination, desired: Desired) -> bool:
    """Whether the view is as desired; engines print a SELECT in their own way, so the mappings count too."""
    if seen.dataset.view is None or desired.sql == seen.current_sql:
        return True
    kept = seen.accommodation
    mappings = tuple(mapping.as_json() for mapping in desired.mappings)
    return seen.view_columns == desired.columns and kept is not None and kept.mappings == mappings


def _plan(seen: Examination, desired: Desired, context: ToolContext) -> Plan:
    dataset, view = seen.dataset, seen.dataset.view
    warehouse = context.services.warehouses[dataset.warehouse]
    sql = desired.sql if _view_changes(seen, desired) else seen.current_sql or ""
    view_statements = _view_statements(seen, sql, warehouse)
    statements = _statements(seen, desired, view_statements, warehouse)
    run_id = context.incident.failures[0].root_run_id
    former = context.services.store.accommodation(dataset.name) if seen.accommodation else None
    return Plan(
        repair=NAME,
        key=plan_key(context.incident.fingerprint, NAME, dataset.name, digest(*statements)),
        summary=_summary(seen, desired, sql, run_id),
        dataset=dataset.name,
        statements=statements,
        parameters={
            "warehouse": dataset.warehouse,
            "dataset": dataset.name,
            "view": view,
            "landing": dataset.landing,
            "landing_digest": shape_digest(seen.landing.columns) if seen.landing else "",
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
            "widen": [one.as_json() for one in desired.widen],
            "add": [one.as_json() for one in desired.add],
            "relax": [one.as_json() for one in desired.relax],
            "batch_id": run_id,
            "incident_id": context.incident.id,
            "former_accommodation": to_json(former) if former else None,
        },
        confidence=_confidence(desired, context),
        moved_row_count=sum(part.count for part in desired.set_aside),
        is_reversible=_is_reversible(seen, warehouse),
        undo_summary=_undo_summary(seen, desired, is_view_changed=bool(view_statements)),
    )


def _undo_summary(seen: Examination, desired: Desired, *, is_view_changed: bool) -> str:
    view, said = seen.dataset.view, []
    if is_view_changed:
        said.append(f"`{view}` is dropped again" if seen.is_view_gone else f"`{view}` gets its former SELECT back")
    if desired.set_aside:
        said.append("the rows set aside return")
    if desired.widen:
        said.append("widened columns are narrowed if their values allow it")
    if desired.add:
        said.append("added columns go if no value in them would be lost")
    if desired.relax:
        said.append("NOT NULL comes back once no NULL is there")
    return ", ".join(said)


def _is_reversible(seen: Examination, warehouse: Warehouse) -> bool:
    """Whether the former view can be made again: it binds, or it is gone, or the landing table can be parked meanwhile."""
    if seen.view_columns is not None or seen.is_view_gone or seen.dataset.view is None:
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
    statements.extend(relax_sql(warehouse, one.target, one.column) for one in desired.relax)
    statements.extend(widen_sql(warehouse, one.target, one.column, one.wider) for one in desired.widen)
    statements.extend(add_sql(warehouse, one.as_json()) for one in desired.add)
    return (*statements, *view_statements)


def _view_statements(seen: Examination, sql: str, warehouse: Warehouse) -> tuple[str, ...]:
    """What gives the view its SELECT; () when it has it. Raises: `NotSupported` when the engine cannot."""
    if sql == (seen.current_sql or ""):
        return ()
    with warehouse.reading() as session:
        return session.view_statements(str(seen.dataset.view), sql)


def _summary(seen: Examination, desired: Desired, sql: str, run_id: str) -> str:
    done: list[str] = []
    if sql != (seen.current_sql or ""):
        how = "gets the team's own SELECT back" if sql == seen.base_sql else "restores the expected columns"
        how = f"is made again and {how}" if seen.is_view_gone else how
        done.append(f"`{seen.dataset.view}` {how}")
    done.extend(f"`{one.target}.{one.column}` becomes {one.wider}" for one in desired.widen)
    done.extend(f"`{one.target}` gets `{one.column}` {one.type}, filled from run {run_id} on" for one in desired.add)
    done.extend(f"`{one.target}.{one.column}` may be NULL" for one in desired.relax)
    if desired.notes:
        done[-1:] = [f"{done[-1] if done else 'noted'} ({'; '.join(desired.notes)})"]
    done.extend(f"{one.count} rows whose `{one.column}` does not cast are set aside" for one in desired.set_aside)
    return "; ".join(done)


def _note(receipt: Receipt, parameters: Mapping[str, Any], context: ToolContext) -> None:
    """Remember (or heal the memory of) what stands in the view now."""
    store, dataset = context.services.store, parameters["dataset"]
    if parameters["view"] is None:
        return
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
