"""Repair `apply_quality_filter`: set the failing rows of a batch aside, when they are few and certain, and load the rest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mendline.config import Dataset, Quality
from mendline.errors import MendlineError, NotSupported, Rejected, Unavailable
from mendline.incident import Check, Declined, Plan, Receipt
from mendline.ledger import plan_key
from mendline.quality.checks import text
from mendline.quality.examine import Examination, Suspicion, examine
from mendline.quality.holdings import changed_since, held_count
from mendline.quality.measure import CheckCount, names_sql
from mendline.quality.quarantine import SqlText, quarantine_of, restore, restored_rows, set_aside
from mendline.tools.base import ToolContext
from mendline.warehouses.base import Session, Warehouse
from mendline.warehouses.names import relation

NAME = "apply_quality_filter"


class ApplyQualityFilter:
    """Moves failing rows from the landing table to its quarantine; readers of the dataset then run again without them.

    Plans only what is certain: some but not all rows fail, no more than the dataset allows (in all and per check), no key
    has rows that contradict each other, every rule about the batch as a whole holds, and the stage that loads the table
    does not run again (it would bring the rows back).
    """

    name = NAME
    risk = "moves rows out of a landing table; nothing is deleted"
    cannot_undo = "nothing, until the landing table is loaded again: then the rows stay in quarantine"

    def plan(self, context: ToolContext) -> Plan | Declined:
        """Plan for the first dataset whose rows fail and can be what the log is about; the next is the next attempt's.

        A dataset that is at fault and may not be filtered ends it: with its rows in place no later one can help.
        """
        doubts: list[str] = []
        for dataset in context.datasets:
            try:
                answer = self._plan_one(dataset, context, doubts)
            except Unavailable:
                raise
            except MendlineError as error:
                doubts.append(f"`{dataset.landing}` could not be examined: {error}")
                continue
            if answer is not None:
                return answer
        return Declined(
            repair=NAME,
            reason="; ".join(doubts) or "no row of the datasets involved fails a check",
            needed="the check that the failing rows break, written into the dataset's contract",
        )

    def _plan_one(self, dataset: Dataset, context: ToolContext, doubts: list[str]) -> Plan | Declined | None:
        """None when this dataset is not at fault (why it might be all the same is added to `doubts`)."""
        warehouse = context.services.warehouses[dataset.warehouse]
        suspicion = Suspicion(classification=context.classification, log=context.log)
        with warehouse.reading() as session:
            examination = examine(dataset, context.services.config, warehouse, session, suspicion)
            measured = examination.measurement
            if measured.is_clean:
                return None
            reason = refusal(examination)
            if not examination.explains and not measured.failed_tables:
                doubts.append(reason)
                return None
            reason = reason or _loader_runs_again(dataset, context)
            if reason:
                return Declined(repair=NAME, reason=reason, needed="a person who knows which rows are right")
            everything = _checksum(session, warehouse, dataset.landing, "TRUE")
            rest = _checksum(session, warehouse, dataset.landing, f"NOT ({examination.checks.failing_sql})")
        return _plan(examination, context, warehouse, {"everything": everything, "rest": rest})

    def is_done(self, plan: Plan, context: ToolContext) -> bool:
        warehouse = _warehouse(plan.parameters, context)
        landing = plan.parameters["landing"]
        with warehouse.reading() as session:
            return (
                session.schema(quarantine_of(landing)) is not None
                and _checksum(session, warehouse, landing, "TRUE") == plan.parameters["rest"]
            )

    def apply(self, plan: Plan, context: ToolContext) -> Receipt:
        warehouse = _warehouse(plan.parameters, context)
        return context.services.ledger.in_warehouse(
            plan, context.incident.id, warehouse, lambda session: self._effect(plan, context, warehouse, session)
        )

    def _effect(self, plan: Plan, context: ToolContext, warehouse: Warehouse, session: Session) -> Receipt:
        wanted, at = plan.parameters, context.services.ledger.now()
        landing = wanted["landing"]
        session.lock(landing)
        if _checksum(session, warehouse, landing, "TRUE") != wanted["everything"]:
            raise Rejected(
                f"`{landing}` has changed since the plan was made; nothing was set aside, plan again",
                system=warehouse.name,
                operation=NAME,
            )
        count = set_aside(
            session,
            warehouse,
            landing,
            wanted["predicate"],
            incident_id=context.incident.id,
            batch_id=wanted["batch_id"],
            check_names=SqlText(wanted["names_sql"]),
            reason=wanted["reason"],
            at=at,
        )
        if count != wanted["failing_count"] or _checksum(session, warehouse, landing, "TRUE") != wanted["rest"]:
            raise Rejected(
                f"{count} rows of `{landing}` would be set aside, {wanted['failing_count']} were planned, or other rows "
                "would change; nothing was done",
                system=warehouse.name,
                operation=NAME,
            )
        return Receipt(
            repair=NAME,
            key=plan.key,
            applied_at=at,
            summary=f"{count} rows of `{landing}` stand in `{quarantine_of(landing)}`",
            effects={"quarantined_count": count, "rest": wanted["rest"], "quarantine": quarantine_of(landing)},
            undo={key: wanted[key] for key in ("dataset", "landing", "everything", "rest")}
            | {"incident_id": context.incident.id, "at": at.isoformat()},
        )

    def verify(self, plan: Plan, receipt: Receipt, context: ToolContext) -> tuple[Check, ...]:
        """Conservation, no failing row left, no key on both sides, every other row as it was, no column emptied since the
        last good run, nothing to do again.
        """
        wanted = plan.parameters
        dataset = context.services.config.datasets[wanted["dataset"]]
        warehouse, landing = _warehouse(wanted, context), wanted["landing"]
        suspicion = Suspicion(classification=context.classification, log=context.log)
        call = [receipt.undo["incident_id"], *[_stamp(receipt.undo["at"])] * 2]
        with warehouse.reading() as session:
            left = examine(dataset, context.services.config, warehouse, session, suspicion)
            now = _checksum(session, warehouse, landing, "TRUE")
            kept = session.rows(
                f"SELECT count(*) FROM {relation(warehouse, quarantine_of(landing))}"
                " WHERE incident_id = ? AND (CAST(? AS TIMESTAMP) IS NULL OR quarantined_at = CAST(? AS TIMESTAMP))",
                call,
            )[0][0]
            shared = _shared_keys(left, session, call)
            emptied = _emptied(left, context, session)
        before, after = int(wanted["everything"][0]), int(now[0])
        failing = left.measurement.failing_count
        return (
            Check(
                name="rows before = rows left + rows set aside",
                passed=before == after + kept and kept == wanted["failing_count"],
                detail=f"{before} = {after} + {kept}",
            ),
            Check(name="no failing row is left", passed=failing == 0, detail=f"{failing} left"),
            Check(name="no key is on both sides", passed=shared == 0, detail=f"{shared} are"),
            Check(name="every other row is as it was", passed=list(now) == list(wanted["rest"]), detail=":".join(now)),
            Check(name="no column has gone empty", passed=not emptied, detail=", ".join(emptied)),
            Check(name="the repair run again would change nothing", passed=not left.measurement.failing),
        )

    def obstacle(self, receipt: Receipt, context: ToolContext) -> str:
        warehouse = _warehouse(receipt.undo, context)
        with warehouse.reading() as session:
            return _obstacle(receipt, warehouse, session)

    def undo(self, receipt: Receipt, context: ToolContext) -> None:
        warehouse = _warehouse(receipt.undo, context)
        context.services.ledger.undo_in_warehouse(
            receipt, warehouse, lambda session: _put_back(receipt, warehouse, session)
        )


def refusal(examination: Examination) -> str:
    """Why the failing rows may not be set aside without a person, with the figures; "" when they may."""
    measured, landing = examination.measurement, examination.dataset.landing
    if measured.batch_count == 0:
        return f"the batch in `{landing}` is empty"
    if measured.failed_tables:
        failed = "; ".join(f"{result.rule.name} {result.detail}" for result in measured.failed_tables)
        return f"a rule about the whole batch of `{landing}` does not hold, which no row can be blamed for: {failed}"
    if measured.conflicting_key_count:
        return (
            f"{measured.conflicting_key_count} keys in `{landing}` have rows that contradict each other "
            f"({measured.conflict_row_count} rows): which are right cannot be told from the data"
        )
    if not examination.explains:
        return f"{measured.failing_count} rows of `{landing}` fail, but in other columns than the log names"
    return _excess(examination)


def _excess(examination: Examination) -> str:
    """Why so many failing rows are too many; "" when they are few enough."""
    measured, landing = examination.measurement, examination.dataset.landing
    quality, of = examination.dataset.quality, f"of {measured.batch_count} rows of `{landing}`"
    if measured.failing_count == measured.batch_count:
        return f"all {measured.batch_count} rows of `{landing}` fail: the batch itself, or a check, is wrong"
    if measured.failing_fraction > quality.max_failing_fraction:
        return (
            f"{measured.failing_count} {of} fail ({measured.failing_fraction:.2%}); "
            f"`quality.max_failing_fraction` allows {quality.max_failing_fraction:.2%}"
        )
    over = [count for count in measured.failing if _is_over(count, measured.batch_count, quality)]
    if not over:
        return ""
    name, number = over[0].check.name, over[0].failing_count
    share, bound = number / measured.batch_count, quality.checks[name]
    return f"{number} {of} fail {name} ({share:.2%}); `quality.checks` allows {bound:.2%}"


def _is_over(count: CheckCount, batch_count: int, quality: Quality) -> bool:
    bound = quality.checks.get(count.check.name)
    return bound is not None and count.failing_count / batch_count > bound


def _loader_runs_again(dataset: Dataset, context: ToolContext) -> str:
    """Whether verification would load the table again: its loader failed, or waits for a stage that failed."""
    loader, upstream = dataset.loaded_by, context.options.get("upstream", {})
    reached, pending = set(), [loader] if loader else []
    while pending:
        stage = pending.pop()
        if stage not in reached:
            reached.add(stage)
            pending.extend(upstream.get(stage, ()))
    failed = [stage for stage in context.incident.stages if stage in reached]
    if not failed:
        return ""
    return (
        f"stage `{failed[0]}` failed and has to run again, and with it `{loader}`, which loads `{dataset.landing}`: "
        "that would bring the rows back"
    )


def _plan(
    examination: Examination, context: ToolContext, warehouse: Warehouse, checksums: Mapping[str, list[str]]
) -> Plan:
    dataset, checks, measured = examination.dataset, examination.checks, examination.measurement
    batch_id = context.incident.failures[0].root_run_id
    reason = "; ".join(f"{count.failing_count} fail {count.check.name}" for count in examination.failing)
    table, quarantine = relation(warehouse, dataset.landing), relation(warehouse, quarantine_of(dataset.landing))
    parameters: dict[str, Any] = {
        "dataset": dataset.name,
        "warehouse": dataset.warehouse,
        "landing": dataset.landing,
        "predicate": checks.failing_sql,
        "names_sql": names_sql(checks),
        "reason": reason,
        "batch_id": batch_id,
        "batch_count": measured.batch_count,
        "failing_count": measured.failing_count,
        "row_checks": {check.name: check.failing_sql for check in checks.rows if check.is_from_log},
        **checksums,
    }
    return Plan(
        repair=NAME,
        key=plan_key(
            context.incident.fingerprint,
            NAME,
            context.attempt,
            dataset.name,
            batch_id,
            *parameters["everything"],
            *parameters["rest"],
        ),
        summary=f"Set {measured.failing_count} of {measured.batch_count} rows of `{dataset.landing}` aside: {reason}",
        dataset=dataset.name,
        statements=(
            f"INSERT INTO {quarantine} SELECT {text(context.incident.id)} AS incident_id, {text(batch_id)} AS batch_id, "
            f"{parameters['names_sql']} AS check_names, {text(reason)} AS reason, <md5, ordinal and JSON of the row>, "
            f"<now> AS quarantined_at FROM {table} WHERE {checks.failing_sql}",
            f"DELETE FROM {table} WHERE {checks.failing_sql}",
        ),
        parameters=parameters,
        confidence=context.classification.confidence,
        moved_row_count=measured.failing_count,
        undo_summary=f"the {measured.failing_count} rows go back from `{quarantine_of(dataset.landing)}`",
    )


def _obstacle(receipt: Receipt, warehouse: Warehouse, session: Session) -> str:
    undo, landing, at = receipt.undo, receipt.undo["landing"], datetime.fromisoformat(receipt.undo["at"])
    if session.schema(landing) is None:
        return f"`{landing}` is gone"
    is_as_left = _checksum(session, warehouse, landing, "TRUE") == list(undo["rest"])
    held = held_count(session, warehouse, landing, undo["incident_id"], at)
    if is_as_left and held == receipt.effects["quarantined_count"]:
        return ""
    known = changed_since(session, warehouse, landing, undo["incident_id"], at)
    return f"`{landing}` has changed since: {known or 'it has been loaded again, or somebody has written to it'}"


def _put_back(receipt: Receipt, warehouse: Warehouse, session: Session) -> None:
    undo = receipt.undo
    session.lock(undo["landing"])
    if _checksum(session, warehouse, undo["landing"], "TRUE") != list(undo["rest"]):
        raise NotSupported(
            f"`{undo['landing']}` has been loaded again since; its rows stay in `{quarantine_of(undo['landing'])}`",
            system=warehouse.name,
            operation="undo",
        )
    restore(session, warehouse, undo["landing"], incident_id=undo["incident_id"], at=datetime.fromisoformat(undo["at"]))
    if _checksum(session, warehouse, undo["landing"], "TRUE") != list(undo["everything"]):
        raise Rejected(
            f"`{undo['landing']}` would not be as it was before; nothing was put back",
            system=warehouse.name,
            operation="undo",
        )


def _warehouse(parameters: Mapping[str, Any], context: ToolContext) -> Warehouse:
    return context.services.warehouses[context.services.config.datasets[parameters["dataset"]].warehouse]


def _checksum(session: Session, warehouse: Warehouse, table: str, where: str) -> list[str]:
    """Count and order-free hashes of the rows, as text (they outgrow what JSON numbers hold)."""
    sums = warehouse.idiom.checksum("t")
    rows = session.rows(f"SELECT {sums} FROM (SELECT * FROM {relation(warehouse, table)} WHERE {where}) AS t")
    return [str(value) for value in rows[0]]


def _stamp(at: str) -> datetime:
    return datetime.fromisoformat(at).astimezone(UTC).replace(tzinfo=None)


def _emptied(left: Examination, context: ToolContext, session: Session) -> list[str]:
    """The columns that always had a value when all was well, and have none in the batch: rows alone do not show it."""
    landing = left.checks.landing
    snapshot = next(iter(context.services.store.snapshots(left.dataset.name, limit=1)), None)
    always = [one.column for one in snapshot.profiles if one.row_count and not one.null_count] if snapshot else []
    places = [place for place in map(landing.find, always) if place is not None]
    if not places or not left.measurement.batch_count:
        return []
    counts = ", ".join(f"count({place.sql})" for place in places)
    (filled,) = session.rows(f"SELECT {counts} FROM {landing.table} WHERE {landing.where}")
    return [place.path for place, count in zip(places, filled, strict=True) if not count]


def _shared_keys(left: Examination, session: Session, call: list[Any]) -> int:
    """Keys that stand in quarantine and in the batch; copies that were set aside as such are meant to."""
    checks = left.checks
    if not checks.key:
        return 0
    keys = ", ".join(place.sql for place in checks.key)
    key = keys if len(checks.key) == 1 else f"({keys})"
    present = " AND ".join(f"{place.sql} IS NOT NULL" for place in checks.key)
    landing = checks.landing
    aside = restored_rows(landing.warehouse, landing.schema)
    return int(
        session.rows(
            f"SELECT count(*) FROM ({aside}) AS aside WHERE mendline_check_names NOT LIKE 'unique:%' AND {present}"
            f" AND {key} IN (SELECT {keys} FROM {landing.table} WHERE {landing.where} AND {present})",
            call,
        )[0][0]
    )
