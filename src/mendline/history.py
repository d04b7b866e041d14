"""What has been done and what has gone wrong of late: the part of the record that the gate decides by."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from mendline.incident import Incident
from mendline.scorecard.score import actions, is_open
from mendline.stores.base import IncidentRecord, Store

RECORDS_READ = 10_000
RESET = "breaker reset:"


@dataclass(frozen=True, kw_only=True)
class Deed:
    """A repair, or a command that changes data, that was begun; `key` is its plan's, so that one that was cut off and repeated is one deed."""

    key: str
    pipeline: str
    repair: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that speaks for opening the breaker of that name."""

    name: str
    incident_id: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class History:
    """Deeds, incidents in which a repair did not verify or harmed ("action:REPAIR@PIPELINE"), failures of stages
    ("stage:STAGE@PIPELINE", one per run), and when a person last closed a breaker.
    """

    deeds: tuple[Deed, ...] = ()
    mishaps: tuple[Event, ...] = ()
    failures: tuple[Event, ...] = ()
    resets: Mapping[str, datetime] = field(default_factory=dict)


EMPTY = History()


def read_history(store: Store, now: datetime, days: float) -> History:
    """The history of the last `days`, at least a week, from the store; so it survives every restart."""
    since = min(now - timedelta(days=max(days, 7.0)), datetime.combine(day_of(now), datetime.min.time(), UTC))
    records = store.incidents(since=since, limit=RECORDS_READ)
    mishaps = tuple(event for record in records for event in _mishaps(record))
    failures = tuple(_failures(record.incident for record in records))
    names = {event.name for event in (*mishaps, *failures)}
    return History(
        deeds=tuple(deed for record in records for deed in _deeds(store, record.incident)),
        mishaps=mishaps,
        failures=failures,
        resets={name: at for name in names if (at := reset_at(store, name)) is not None},
    )


def reset_breaker(store: Store, name: str, by: str, at: datetime) -> None:
    """Close a breaker: what has happened up to now speaks for opening it no more."""
    store.set_cursor(RESET + name, json.dumps({"at": at.astimezone(UTC).isoformat(), "by": by}))


def reset_at(store: Store, name: str) -> datetime | None:
    """When a person last closed a breaker; None when nobody has."""
    kept = store.cursor(RESET + name)
    return None if kept is None else datetime.fromisoformat(json.loads(kept)["at"])


def day_of(moment: datetime) -> date:
    """The UTC day of a moment."""
    return moment.astimezone(UTC).date()


def _deeds(store: Store, incident: Incident) -> Iterator[Deed]:
    for intent in store.intents(incident.id):
        yield Deed(key=intent.key, pipeline=incident.pipeline, repair=intent.repair, at=intent.intended_at)


def _mishaps(record: IncidentRecord) -> Iterator[Event]:
    """At most one per repair and incident: a retry that fails twice and then succeeds is none."""
    if record.outcome is None or is_open(record):
        return
    applied = actions(record)
    for repair in sorted({action.repair for action in applied}):
        own = [action for action in applied if action.repair == repair]
        if any(action.is_harmful for action in own) or own[-1].is_wrong:
            name = f"action:{repair}@{record.incident.pipeline}"
            yield Event(name=name, incident_id=record.incident.id, at=record.outcome.ended_at)


def _failures(incidents: Iterable[Incident]) -> Iterator[Event]:
    seen: set[tuple[str, str]] = set()
    for incident in incidents:
        for failure in incident.failures:
            mark = (failure.run.run_id, str(failure.stage))
            if failure.stage is not None and mark not in seen:
                seen.add(mark)
                name = f"stage:{failure.stage}@{incident.pipeline}"
                yield Event(name=name, incident_id=incident.id, at=failure.failed_at)
