"""What a person does with quarantined rows: look at them, put them back into their table, or give them up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mendline.config import Dataset
from mendline.contracts import contract_of
from mendline.errors import InputError, MendlineError, NotSupported, RefusedByPolicy
from mendline.incident import Incident, Plan, Receipt, from_json
from mendline.intervention import by_hand, replaced_by, stages_after
from mendline.ledger import plan_key
from mendline.quality.checks import Checks, RowCheck, build_checks
from mendline.quality.expectations import Contract
from mendline.quality.holdings import HELD, HeldRow, Holding, held_rows, holdings
from mendline.quality.landing import open_landing
from mendline.quality.measure import TableResult, broken_rules
from mendline.quality.release import Conditions, Decision, Moved, Staying, discard, put_in
from mendline.stores.base import existing
from mendline.tools.base import Services
from mendline.warehouses.base import Session, Warehouse

RELEASE, DISCARD = "release", "discard"  # as the ledger calls them
ROW_CHECKS = "row_checks"  # what a repair writes into its plan's parameters: {name of a check: its condition}


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What one dataset's quarantine holds of one incident in one state."""

    dataset: str
    holding: Holding


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What became of an incident's held rows in one dataset; `rerun_stages` read it and have to run again to see it."""

    dataset: str
    landing: str
    moved_count: int
    staying: tuple[Staying, ...] = ()
    rerun_stages: tuple[str, ...] = ()


class NothingPasses(Exception):
    """No row may go back: the transaction ends as if it had not begun."""

    def __init__(self, moved: Moved) -> None:
        super().__init__()
        self.moved = moved


def kept(services: Services, *, dataset: str | None = None, incident_id: str | None = None) -> tuple[Kept, ...]:
    """What stands in quarantine, in the order of the configuration. Raises: `InputError` for an unknown dataset."""
    found: list[Kept] = []
    for one in _datasets(services, dataset):
        warehouse = services.warehouses[one.warehouse]
        with warehouse.reading() as session:
            standing = holdings(session, warehouse, one.landing, incident_id)
        found.extend(Kept(dataset=one.name, holding=holding) for holding in standing)
    return tuple(found)


def rows(services: Services, about: str, limit: int) -> tuple[tuple[str, HeldRow], ...]:
    """At most `limit` quarantined rows (dataset, row) of a dataset, or of an incident in all datasets.

    Raises: `InputError` when `about` is neither.
    """
    is_dataset = about in services.config.datasets
    incident_id = None if is_dataset else existing(services.store, about).incident.id
    found: list[tuple[str, HeldRow]] = []
    for one in _datasets(services, about if is_dataset else None):
        warehouse = services.warehouses[one.warehouse]
        with warehouse.reading() as session:
            read = held_rows(session, warehouse, one.landing, limit - len(found), incident_id)
        found.extend((one.name, row) for row in read)
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Word:
    """A person's word: on which incident's rows, in which dataset (None: all), and `is_forced`, whatever speaks against it."""

    incident_id: str
    decision: Decision
    dataset: str | None = None
    is_forced: bool = False


def release(services: Services, word: Word, *, is_served: bool) -> tuple[Decided, ...]:
    """Put an incident's held rows back into their tables, those that pass the checks now, or all when forced.

    Each dataset in one warehouse transaction with its record; a second call finds what is still held. Raises: `InputError`
    when the incident has no rows in quarantine, `Unavailable` when somebody is at it, `Rejected` when the rows do not fit
    their table any more, and, when it is not forced, `RefusedByPolicy` when the tables may hold another batch by now, or
    when a rule about the whole batch would hold no more.
    """
    record = existing(services.store, word.incident_id)
    datasets = _of_incident(services, word)
    with by_hand(services, record, is_served=is_served):
        _settle(services, record.incident)
        if not word.is_forced and any(_held_count(services, dataset, word) for dataset in datasets):
            _check_batch(services, record.incident)
        return tuple(_release_one(services, record.incident, dataset, word) for dataset in datasets)


def give_up(services: Services, word: Word, *, is_served: bool) -> tuple[Decided, ...]:
    """Mark an incident's held rows as discarded: they are kept, and go back no more. Raises: as `release`."""
    record = existing(services.store, word.incident_id)
    datasets = _of_incident(services, word)
    with by_hand(services, record, is_served=is_served):
        _settle(services, record.incident)
        return tuple(_discard_one(services, record.incident, dataset, word) for dataset in datasets)


def _datasets(services: Services, name: str | None) -> tuple[Dataset, ...]:
    known = services.config.datasets
    if name is None:
        return tuple(known.values())
    if name not in known:
        raise InputError(f"there is no dataset `{name}`; there are {', '.join(sorted(known)) or 'none'}")
    return (known[name],)


def _of_incident(services: Services, word: Word) -> tuple[Dataset, ...]:
    """The datasets that hold, or held, rows of the incident."""
    standing = kept(services, dataset=word.dataset, incident_id=word.incident_id)
    if not standing:
        where = f" of dataset `{word.dataset}`" if word.dataset else ""
        raise InputError(
            f"incident `{word.incident_id}` has set no rows{where} aside; `mendline quarantine list` shows those that have"
        )
    return tuple(services.config.datasets[name] for name in dict.fromkeys(one.dataset for one in standing))


def _held_count(services: Services, dataset: Dataset, word: Word) -> int:
    standing = kept(services, dataset=dataset.name, incident_id=word.incident_id)
    return sum(one.holding.row_count for one in standing if one.holding.state == HELD)


def _settle(services: Services, incident: Incident) -> None:
    """Copy into the state database what a command that was killed had done, and recorded, in a warehouse."""
    for intent in services.store.intents(incident.id):
        if intent.repair in (RELEASE, DISCARD) and intent.receipt is None:
            plan: Plan = from_json(Plan, intent.plan_json)
            services.ledger.recall(intent, services.warehouses[plan.parameters["warehouse"]])


def _check_batch(services: Services, incident: Incident) -> None:
    try:
        later = replaced_by(services.engines[incident.engine], incident)
        doubt = f"run `{later}` has ended since, so the tables hold its batch, not the one of these rows"
    except MendlineError as error:
        later, doubt = "", f"whether a newer batch has been loaded since cannot be told: {error}"
    if later is not None:
        raise RefusedByPolicy(
            f"{doubt}; look at them with `mendline quarantine show {incident.id}`, and add `--force` if they belong there",
            operation=RELEASE,
        )


def _release_one(services: Services, incident: Incident, dataset: Dataset, word: Word) -> Decided:
    warehouse = services.warehouses[dataset.warehouse]
    plan = _plan(services, incident, dataset, word, RELEASE)
    result = Moved(released_count=0)

    def effect(session: Session) -> Receipt:
        nonlocal result
        checks = None if word.is_forced else _checks(services, session, dataset)
        conditions = None if checks is None else _conditions(services, session, incident, dataset, checks)
        before = () if checks is None else broken_rules(checks, session)
        result = put_in(session, warehouse, dataset.landing, incident.id, decision=word.decision, conditions=conditions)
        if checks is not None and result.released_count:
            _check_rules(incident, result, before, broken_rules(checks, session))
        if not result.released_count:
            raise NothingPasses(result)
        return _receipt(plan, word, f"{result.released_count} rows went back into `{dataset.landing}`")

    if plan.moved_row_count:
        try:
            services.ledger.in_warehouse(plan, incident.id, warehouse, effect)
        except NothingPasses as stopped:
            result = stopped.moved
    return Decided(
        dataset=dataset.name,
        landing=dataset.landing,
        moved_count=result.released_count,
        staying=result.staying,
        rerun_stages=stages_after(services, incident, dataset) if result.released_count else (),
    )


def _discard_one(services: Services, incident: Incident, dataset: Dataset, word: Word) -> Decided:
    warehouse = services.warehouses[dataset.warehouse]
    plan = _plan(services, incident, dataset, word, DISCARD)

    def effect(session: Session) -> Receipt:
        count = discard(session, warehouse, dataset.landing, incident.id, word.decision)
        return _receipt(plan, word, f"{count} quarantined rows of `{dataset.landing}` were given up")

    if plan.moved_row_count:
        services.ledger.in_warehouse(plan, incident.id, warehouse, effect)
    return Decided(dataset=dataset.name, landing=dataset.landing, moved_count=plan.moved_row_count)


def _plan(services: Services, incident: Incident, dataset: Dataset, word: Word, action: str) -> Plan:
    """The same held rows and the same word give the same key: what was done to them is not done again."""
    standing = [
        one.holding
        for one in kept(services, dataset=dataset.name, incident_id=incident.id)
        if one.holding.state == HELD
    ]
    rows_held = sum(holding.row_count for holding in standing)
    times = [(holding.first_at.isoformat(), holding.last_at.isoformat()) for holding in standing]
    return Plan(
        repair=action,
        key=plan_key(incident.fingerprint, action, dataset.name, rows_held, times, word.is_forced),
        summary=f"{action} {rows_held} quarantined rows of `{dataset.landing}`, by {word.decision.by}",
        dataset=dataset.name,
        parameters={"warehouse": dataset.warehouse, "by": word.decision.by, "note": word.decision.note},
        is_reversible=False,
        moved_row_count=rows_held,
    )


def _receipt(plan: Plan, word: Word, summary: str) -> Receipt:
    by, note = word.decision.by, word.decision.note
    return Receipt(
        repair=plan.repair,
        key=plan.key,
        applied_at=word.decision.at,
        summary=f"{summary}, by {by}{f' ({note})' if note else ''}",
        effects={"by": by, "note": note, "forced": word.is_forced},
    )


def _check_rules(incident: Incident, moved: Moved, before: Sequence[TableResult], after: Sequence[TableResult]) -> None:
    """Refuse a release with which a rule about the batch as a whole holds no more that held without it."""
    known = {result.rule.name for result in before}
    broken = [f"{result.rule.name} {result.detail}" for result in after if result.rule.name not in known]
    if broken:
        raise RefusedByPolicy(
            f"with the {moved.released_count} rows that pass, a rule about the whole batch would not hold any more: "
            f"{'; '.join(broken)}; they stay in quarantine: look at them with `mendline quarantine show {incident.id}`, "
            "and add `--force` if they belong there all the same",
            operation=RELEASE,
        )


def _checks(services: Services, session: Session, dataset: Dataset) -> Checks:
    """The contract's checks as they are now."""
    warehouse = services.warehouses[dataset.warehouse]
    landing = open_landing(dataset, session, warehouse)
    if landing is None:
        raise NotSupported(f"there is no table `{dataset.landing}` to put rows into", operation=RELEASE)
    contract = contract_of(dataset, services.config, warehouse.dialect) or Contract(name=dataset.name, columns=())
    return build_checks(dataset, contract, session, landing, services.config)


def _conditions(
    services: Services, session: Session, incident: Incident, dataset: Dataset, checks: Checks
) -> Conditions:
    """The contract's checks on rows, and what else the incident's repairs had against these rows."""
    warehouse = services.warehouses[dataset.warehouse]
    known = {check.name: check for check in checks.rows}
    own = dict(_own_checks(services, incident, dataset))
    all_checks = (*checks.rows, *(check for name, check in own.items() if name not in known))
    names = [check.name for check in all_checks]
    return Conditions(
        checks=tuple(_in_batch(check, checks.landing.where) for check in all_checks),
        undecided=_undecided(session, warehouse, dataset, incident, names) if checks.notes else (),
    )


def _in_batch(check: RowCheck, where: str) -> RowCheck:
    condition = f"({where}) AND ({check.failing_sql})"
    return RowCheck(name=check.name, kind=check.kind, columns=check.columns, failing_sql=condition)


def _own_checks(services: Services, incident: Incident, dataset: Dataset) -> Iterator[tuple[str, RowCheck]]:
    for intent in services.store.intents(incident.id):
        plan: Plan = from_json(Plan, intent.plan_json)
        conditions: Mapping[str, str] = plan.parameters.get(ROW_CHECKS, {}) if plan.dataset == dataset.name else {}
        for name, condition in conditions.items():
            yield name, RowCheck(name=name, kind="custom", columns=(), failing_sql=condition)


def _undecided(
    session: Session, warehouse: Warehouse, dataset: Dataset, incident: Incident, names: list[str]
) -> tuple[str, ...]:
    """The written-down names that hold one of a check that cannot be applied to the table as it is now."""
    standing = holdings(session, warehouse, dataset.landing, incident.id)
    written = {names for holding in standing if holding.state == HELD for names in holding.check_names}
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    known = re.compile(f"(?:{either})(?:,(?:{either}))*" if names else "(?!)")
    return tuple(sorted(one for one in written if not known.fullmatch(one)))
