"""The commands that read Mendline's own record, and the one that adds a person's word to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from mendline.approvals import WAITING, at, sentence
from mendline.config import Config, load_config
from mendline.errors import InputError
from mendline.incident import FailureType, Outcome, to_json
from mendline.report import terminal
from mendline.report.escape import clean
from mendline.reruns.kept_log import extent
from mendline.scorecard import score
from mendline.scorecard.score import is_open
from mendline.stores.base import Feedback, IncidentRecord, Store, existing
from mendline.stores.sql import SqlStore
from mendline.surfaces import tables
from mendline.surfaces.output import put, put_json, screen

Form = Literal["report", "markdown", "diff", "json"]


@dataclass(frozen=True, kw_only=True)
class Said:
    """A person's word as typed; None and "" where the person did not say."""

    type_word: Literal["right", "wrong"] | None
    right_type: str | None
    repair: Literal["helped", "harmed"] | None
    note: str


def incidents(config: Path, *, only_open: bool, as_json: bool) -> None:
    """Print the incidents, newest first."""
    with opened_store(load_config(config)) as store:
        records = store.incidents(open_only=only_open)
    if as_json:
        put_json([_summary(record) for record in records])
    elif records:
        screen().print(tables.incidents(records))
    else:
        put("No open incident." if only_open else "No incident yet.")


def show(config: Path, incident_id: str, form: Form) -> None:
    """Print one incident in one of its forms. Raises: `InputError` when there is none of that number."""
    with opened_store(load_config(config)) as store:
        record = existing(store, incident_id)
    if form == "json":
        put_json(json.loads(to_json(record)))
    elif form == "markdown":
        put(record.report_markdown or "The incident has not ended: there is no report yet.")
    elif form == "diff":
        put("\n".join(_details(record.outcome)))
    else:
        screen().print(terminal.render(record))


def show_log(config: Path, incident_id: str, *, as_json: bool) -> None:
    """Print the logs that are kept with an incident. Raises: `InputError` when there is none, of either."""
    with opened_store(load_config(config)) as store:
        record = existing(store, incident_id)
        kept = store.kept_logs(record.incident.id)
    if not kept:
        raise InputError(
            f"no log is kept with incident `{incident_id}`: only `reprocess_with_logging` keeps one, of its re-run; what led to "
            f"the verdict is quoted by `mendline show {incident_id}`"
        )
    if as_json:
        put_json([json.loads(to_json(log)) for log in kept])
        return
    for log in kept:
        put(clean(f"Run {log.run_id} ({extent(log)}, kept at {at(log.kept_at)}):"))
        put("\n".join(map(clean, log.lines)))


def feedback(config: Path, incident_id: str, said: Said) -> None:
    """Record a person's word. Raises: `InputError` when it says nothing, contradicts itself or names no incident."""
    right_type = _type(said.right_type)
    if said.type_word is None and right_type is None and said.repair is None and not said.note:
        raise InputError("say something: `--type right|wrong`, `--repair helped|harmed` or `--note TEXT`")
    if said.type_word == "right" and right_type is not None:
        raise InputError("`--type right` and `--right-type` contradict each other; leave one out")
    type_right = False if right_type else None if said.type_word is None else said.type_word == "right"
    with opened_store(load_config(config)) as store:
        record = existing(store, incident_id)
        if is_open(record):
            raise InputError(f"incident `{incident_id}` has not ended yet; judge it when it has")
        store.add_feedback(
            Feedback(
                incident_id=record.incident.id,
                given_at=datetime.now(UTC),
                type_right=type_right,
                right_type=right_type,
                repair=said.repair,
                note=said.note,
            )
        )
    put(f"Recorded for incident {record.incident.id}; `mendline scorecard` counts it.")


def scorecard(config: Path, *, as_json: bool) -> None:
    """Print how well Mendline has done."""
    with opened_store(load_config(config)) as store:
        card = score.scorecard(store.incidents(limit=1_000_000))
    if as_json:
        put_json(json.loads(to_json(card)))
    else:
        screen().print(tables.scorecard(card))


@contextmanager
def opened_store(config: Config) -> Iterator[Store]:
    """Only the state database: whoever looks at incidents needs neither engine nor warehouse to be there."""
    file = config.state_file
    if config.server_url is None and not file.exists():
        raise InputError(f"`{file}` does not exist: Mendline has not run on this configuration; start `mendline serve`")
    store = SqlStore(config.state_url)
    try:
        yield store
    finally:
        store.close()


def _type(word: str | None) -> str | None:
    if word is None:
        return None
    if word.upper() not in FailureType.__members__:
        raise InputError(f"`--right-type {word}` is no failure type; the types are {', '.join(FailureType)}")
    return word.upper()


def _summary(record: IncidentRecord) -> dict[str, Any]:
    incident, outcome = record.incident, record.outcome
    return {
        "id": incident.id,
        "pipeline": incident.pipeline,
        "stages": list(incident.stages),
        "failed_at": incident.failures[0].failed_at.isoformat(),
        "phase": record.phase,
        "outcome": outcome.kind.value if outcome and (not is_open(record) or record.phase == WAITING) else None,
        "type": outcome.classification.type.value if outcome else None,
        "subtype": outcome.classification.subtype if outcome else None,
        "confidence": outcome.classification.confidence if outcome else None,
        "ended_at": outcome.ended_at.isoformat() if outcome and not is_open(record) else None,
        "headline": outcome.headline if outcome else None,
    }


def _details(outcome: Outcome | None) -> Iterator[str]:
    """Every finding's data and every plan's statements, in full, one safe line each."""
    if outcome is None:
        yield "The incident has not ended: nothing is known yet."
        return
    for finding in outcome.findings:
        about = f" on {finding.dataset}" if finding.dataset else ""
        yield clean(f"{finding.tool}{about}: {finding.verdict.value}: {finding.summary}")
        yield from ("  " + clean(line) for line in _pretty(finding.data))
    for attempt in outcome.attempts:
        yield clean(f"{attempt.repair}: {attempt.decision}: {attempt.reason}")
        if attempt.answer:
            yield clean(f"  {sentence(attempt.answer)}")
        for statement in attempt.plan.statements if attempt.plan else ():
            yield from ("  " + clean(line) for line in statement.splitlines())
        for change in attempt.plan.changes if attempt.plan else ():
            yield clean(f"  {change.path}: {change.before} -> {change.after} (in this re-run only)")
        yield from (clean(f"  to repeat it: {each}") for each in (attempt.plan.evidence if attempt.plan else ()))
        if attempt.plan and attempt.plan.undo_summary:
            yield clean(f"  undo: {attempt.plan.undo_summary}")


def _pretty(data: Any) -> list[str]:
    return json.dumps(cast(Any, dict(data)), ensure_ascii=False, indent=2, default=str).splitlines() if data else []
