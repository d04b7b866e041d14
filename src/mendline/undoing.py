"""Take back what Mendline did for an incident, by a person's word: newest first, once, and only what is still there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from mendline.errors import InputError, MendlineError
from mendline.incident import Attempt, Classification, FailureType, LogExcerpt, Plan, Receipt, from_json
from mendline.intervention import by_hand, stages_after
from mendline.report.escape import clean, markdown_prose
from mendline.scorecard.score import is_open
from mendline.stores.base import Feedback, IncidentRecord, Intent, existing
from mendline.tools.base import Repair, Services, ToolContext

NOTHING_KNOWN = Classification(
    type=FailureType.UNKNOWN, subtype="", confidence=0.0, evidence=(), recommended_next_step="escalate"
)


@dataclass(frozen=True, kw_only=True)
class Undoing:
    """One applied repair, and whether it can be taken back.

    `obstacle` says why it cannot, "" when it can or when it is undone. `is_lasting`: it never could be. `rerun_stages` read
    what it changed, and have to run again to see that it is gone.
    """

    key: str
    repair: str
    dataset: str | None
    applied_at: datetime
    did: str
    undo: str
    obstacle: str = ""
    is_lasting: bool = False
    undone_at: datetime | None = None
    rerun_stages: tuple[str, ...] = ()

    @property
    def is_due(self) -> bool:
        """Whether it is there and can be undone."""
        return not self.obstacle and not self.is_lasting and self.undone_at is None


@dataclass(frozen=True, kw_only=True)
class _Deed:
    plan: Plan
    receipt: Receipt
    undone_at: datetime | None


def survey(services: Services, repairs: Mapping[str, Repair], incident_id: str) -> tuple[Undoing, ...]:
    """The applied repairs of an incident, newest first, and what stands in the way of undoing each.

    An older repair of the same dataset is looked at when its turn comes, unless the newer one cannot be undone.
    Raises: `InputError` when there is no such incident, or no repair was applied for it.
    """
    record = existing(services.store, incident_id)
    found: list[Undoing] = []
    for deed in _deeds(services, repairs, record):
        newer = [one for one in found if one.dataset == deed.plan.dataset and one.undone_at is None]
        found.append(_looked_at(services, repairs, record, deed, [one for one in newer if not one.is_lasting]))
    if not found:
        raise InputError(f"no repair was applied for incident `{incident_id}`, so there is nothing to undo")
    return tuple(found)


def undo(
    services: Services, repairs: Mapping[str, Repair], incident_id: str, *, by: str, at: datetime, is_served: bool
) -> tuple[Undoing, ...]:
    """Undo every repair of an incident that can be undone; how they stand then, newest first.

    Twice is once. Who did it, and when, stands in the incident's record. Raises: `InputError` as `survey`, `Unavailable`
    when somebody else is at the pipeline.
    """
    record = existing(services.store, incident_id)
    survey(services, repairs, incident_id)
    problems: dict[str, str] = {}
    with by_hand(services, record, is_served=is_served):
        blocked: set[str | None] = set()
        for deed in _deeds(services, repairs, record):
            if deed.plan.dataset in blocked:
                continue
            problem = _take_back(services, repairs, record, deed)
            if problem:
                blocked.add(deed.plan.dataset)
                problems[deed.receipt.key] = problem
        _note(services, repairs, record, by, at)
    after = survey(services, repairs, incident_id)
    return tuple(replace(one, obstacle=problems.get(one.key, one.obstacle)) for one in after)


def _deeds(services: Services, repairs: Mapping[str, Repair], record: IncidentRecord) -> Iterator[_Deed]:
    for known in reversed(services.store.intents(record.incident.id)):
        if known.repair not in repairs:
            continue
        plan: Plan = from_json(Plan, known.plan_json)
        intent = _recalled(services, known, plan)
        if intent.receipt is not None:
            yield _Deed(plan=plan, receipt=intent.receipt, undone_at=intent.undone_at)


def _recalled(services: Services, intent: Intent, plan: Plan) -> Intent:
    dataset = services.config.datasets.get(plan.dataset or "")
    return intent if dataset is None else services.ledger.recall(intent, services.warehouses[dataset.warehouse])


def _looked_at(
    services: Services, repairs: Mapping[str, Repair], record: IncidentRecord, deed: _Deed, newer: list[Undoing]
) -> Undoing:
    plan, receipt = deed.plan, deed.receipt
    obstacle = ""
    if plan.is_reversible and deed.undone_at is None:
        in_the_way = [one for one in newer if one.obstacle]
        if in_the_way:
            obstacle = f"the later `{in_the_way[0].repair}` of the same dataset cannot be undone"
        elif not newer:
            obstacle = _obstacle(services, repairs, record, deed)
    dataset = services.config.datasets.get(plan.dataset or "")
    return Undoing(
        key=receipt.key,
        repair=plan.repair,
        dataset=plan.dataset,
        applied_at=receipt.applied_at,
        did=receipt.summary,
        undo=plan.undo_summary or repairs[plan.repair].cannot_undo,
        obstacle=obstacle,
        is_lasting=not plan.is_reversible,
        undone_at=deed.undone_at,
        rerun_stages=stages_after(services, record.incident, dataset) if dataset else (),
    )


def _obstacle(services: Services, repairs: Mapping[str, Repair], record: IncidentRecord, deed: _Deed) -> str:
    if deed.plan.dataset is not None and deed.plan.dataset not in services.config.datasets:
        return f"dataset `{deed.plan.dataset}` is not in the configuration any more"
    try:
        return repairs[deed.plan.repair].obstacle(deed.receipt, _context(services, record))
    except MendlineError as error:
        return str(error)


def _take_back(services: Services, repairs: Mapping[str, Repair], record: IncidentRecord, deed: _Deed) -> str:
    """Undo one repair; why it could not be undone, "" when it is.

    One that is undone is undone again, which changes nothing but what a crash may have left of it in the state database.
    """
    if not deed.plan.is_reversible:
        return ""
    obstacle = "" if deed.undone_at is not None else _obstacle(services, repairs, record, deed)
    if obstacle:
        return obstacle
    try:
        repairs[deed.plan.repair].undo(deed.receipt, _context(services, record))
    except MendlineError as error:
        return str(error)
    return ""


def _context(services: Services, record: IncidentRecord) -> ToolContext:
    return ToolContext(
        services=services,
        incident=record.incident,
        log=LogExcerpt(source="none", lines=(), total_count=0),
        classification=NOTHING_KNOWN,
        datasets=services.config.pipeline_datasets(record.incident.pipeline),
    )


def _note(services: Services, repairs: Mapping[str, Repair], before: IncidentRecord, by: str, at: datetime) -> None:
    """Write into the incident's record what is undone by now and does not stand there yet."""
    record = existing(services.store, before.incident.id)
    undone = {deed.receipt.key: deed.plan for deed in _deeds(services, repairs, record) if deed.undone_at is not None}
    if record.outcome is None or is_open(record):
        if undone:
            said = f"undone by {by}: {', '.join(plan.repair for plan in undone.values())}"
            services.store.add_feedback(Feedback(incident_id=record.incident.id, given_at=at, note=said))
        return
    attempts = tuple(_noted(attempt, undone, by, at) for attempt in record.outcome.attempts)
    fresh = [new for new, old in zip(attempts, record.outcome.attempts, strict=True) if new != old]
    if not fresh:
        return
    headline = f"Undone by {by}: {record.outcome.headline}"
    lines = [markdown_prose(f"`{clean(one.repair)}` by `{clean(by)}` at {at:%Y-%m-%d %H:%M:%S} UTC") for one in fresh]
    report = "\n".join([record.report_markdown.rstrip("\n"), *(f"- **Undone:** {line}" for line in lines), ""])
    services.store.close_incident(
        record.incident.id, replace(record.outcome, attempts=attempts, headline=headline), report
    )


def _noted(attempt: Attempt, undone: Mapping[str, Plan], by: str, at: datetime) -> Attempt:
    if attempt.undone or attempt.receipt is None or attempt.receipt.key not in undone:
        return attempt
    return replace(attempt, undone=True, undone_by=by, undone_at=at)
