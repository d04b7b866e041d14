"""The one-page diagnostic report as a value: what it says and in which order, not how it looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mendline.approvals import WAITING, sentence
from mendline.incident import (
    Attempt,
    Classification,
    Evidence,
    Failure,
    Finding,
    FindingVerdict,
    LogExcerpt,
    Outcome,
    OutcomeKind,
    Sentence,
)
from mendline.report.escape import clean, cut, name
from mendline.stores.base import IncidentRecord

QUOTES_SHOWN = 5
FINDINGS_SHOWN = 8
ATTEMPTS_SHOWN = 5
CODE_LINES_SHOWN = 10
VERDICT_WORDS = {
    FindingVerdict.SUPPORTS: "supports it",
    FindingVerdict.REFUTES: "refutes it",
    FindingVerdict.CANNOT_TELL: "cannot tell",
}
DECISION_WORDS = {
    "auto": "allowed by policy",
    "ask": "needs approval",
    "suggest": "proposed only, policy does not let it act",
    "off": "switched off by policy",
    "declined": "declined",
}
SHADOW_WORDS = {"auto": "would have been done (shadow mode)", "ask": "would have been asked for (shadow mode)"}


@dataclass(frozen=True, kw_only=True)
class Quote:
    """Foreign text, word for word: where it stands and what it says."""

    where: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Code:
    """Statements, one line each; `left_out_count` lines were cut."""

    lines: tuple[str, ...]
    left_out_count: int = 0


@dataclass(frozen=True, kw_only=True)
class Step:
    """One numbered step and what belongs to it."""

    text: str
    details: tuple[Quote | Code, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of the report: its label, its sentence (names between backticks), what supports it."""

    label: str
    text: str
    items: tuple[Step | Quote | Code, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """The report. `fields` stand in the agreed order; `runbook` is the link of the last field, None when there is none."""

    headline: str
    fields: tuple[Field, ...]
    runbook: str | None


def page(record: IncidentRecord, log: LogExcerpt | None) -> Page:
    """Build the report of one incident, also of one that is still being handled.

    A quote that is not in `log` is left out and counted; without a log (None) quotes are shown as they were recorded.
    """
    record = _with_plain_sources(record, log)
    outcome = record.outcome
    return Page(
        headline=cut(clean(outcome.headline), 300) if outcome and not _is_at_work(record) else _open_headline(record),
        fields=(
            _stage(record),
            Field(label="Failure time", text=_at(record.incident.failures[0].failed_at)),
            _error(record.incident.failures[0], log, outcome.classification.evidence if outcome else ()),
            _diagnostics(record, log),
            _classification(outcome.classification if outcome else None, log),
            _remediation(outcome.attempts if outcome else (), record.incident.id),
            _outcome(record),
            *_narrative(outcome, log),
            Field(label="Recommended resolution", text=_recommended(record)),
            Field(label="Relevant runbook", text="" if outcome and outcome.runbook else "none is configured"),
        ),
        runbook=outcome.runbook if outcome else None,
    )


def _with_plain_sources(record: IncidentRecord, log: LogExcerpt | None) -> IncidentRecord:
    """Call the log of the failed run simply "log" wherever it is quoted; only other sources need their name."""
    if record.outcome is None:
        return record
    belief = record.outcome.classification
    runs = tuple(failure.run.run_id for failure in record.incident.failures)
    evidence = tuple(
        replace(item, source="log") if (log and item.source == log.source) or item.source.endswith(runs) else item
        for item in belief.evidence
    )
    return replace(record, outcome=replace(record.outcome, classification=replace(belief, evidence=evidence)))


def _is_at_work(record: IncidentRecord) -> bool:
    """Whether Mendline goes on with the incident, also after a person has let it."""
    if record.outcome is None:
        return True
    return record.outcome.kind is OutcomeKind.AWAITING_APPROVAL and record.phase not in ("closed", WAITING)


def _open_headline(record: IncidentRecord) -> str:
    stages = record.incident.stages
    broken = f"Stage {name(stages[0])}" if stages else f"A run of {name(record.incident.pipeline)}"
    more = f" and {len(stages) - 1} more" if len(stages) > 1 else ""
    return f"{broken}{more} failed; Mendline is at work on it (step: {clean(record.phase)})"


def _stage(record: IncidentRecord) -> Field:
    incident = record.incident
    stages = _listed([name(stage) for stage in incident.stages], 6) or "the run as a whole"
    run = f"pipeline {name(incident.pipeline)}, engine {name(incident.engine)}, run {name(incident.run.run_id)}"
    return Field(label="Stage", text=f"{stages} ({run}; incident {name(incident.id)})")


def _error(first: Failure, log: LogExcerpt | None, evidence: Sequence[Evidence]) -> Field:
    message = cut(clean(first.message.strip()), 400)
    if not message and not first.error_class:
        return Field(label="Error", text=f"{first.kind.value.replace('_', ' ')}; the engine recorded no message")
    label = name(first.error_class) if first.error_class else first.kind.value.replace("_", " ")
    where = _line_of(first.message, log, evidence) or "recorded by the engine"
    return Field(label="Error", text=label, items=(Quote(where=where, text=message),) if message else ())


def _line_of(message: str, log: LogExcerpt | None, evidence: Sequence[Evidence]) -> str | None:
    """Say where in the log the message's first line stands, by the log or else by what was quoted of it; else None."""
    first = next((line.strip() for line in message.splitlines() if line.strip()), "")
    if not first:
        return None
    lines = [(line.number, line.text) for line in log.lines] if log else []
    quoted = [(item.line, item.quote) for item in evidence if item.source == "log"]
    number = next((number for number, text in (*lines, *quoted) if first in text), None)
    return None if number is None else f"log line {number}"


def _diagnostics(record: IncidentRecord, log: LogExcerpt | None) -> Field:
    steps = []
    if log is not None:
        folded = f", {log.folded_count:,} folded" if log.folded_count else ""
        steps.append(Step(text=f"`retrieve_logs`: {log.total_count:,} lines read{folded}"))
    findings = record.outcome.findings if record.outcome else ()
    steps += [_finding(finding) for finding in findings[:FINDINGS_SHOWN]]
    steps += _left_out(len(findings) - FINDINGS_SHOWN, "finding", record.incident.id)
    return Field(label="Diagnostic steps taken", text="" if steps else "none", items=tuple(steps))


def _finding(finding: Finding) -> Step:
    about = f" on {name(finding.dataset)}" if finding.dataset else ""
    summary = cut(clean(finding.summary), 300)
    return Step(text=f"{name(finding.tool)}{about}: {VERDICT_WORDS[finding.verdict]}: {summary}")


def _classification(classification: Classification | None, log: LogExcerpt | None) -> Field:
    label = "Failure classification"
    if classification is None:
        return Field(label=label, text="not yet known")
    subtype = f" / {clean(classification.subtype)}" if classification.subtype else ""
    text = f"{classification.type}{subtype} (confidence {percent(classification.confidence)})"
    others = [f"{other.type} {percent(other.confidence)}" for other in classification.alternatives[:3]]
    if others:
        text += f"; also possible: {', '.join(others)}"
    real = [evidence for evidence in classification.evidence if _is_verbatim(evidence, log)]
    dropped = len(classification.evidence) - len(real)
    if dropped:
        text += f"; left out because it is not in the log: {dropped} quote{'s' if dropped > 1 else ''}"
    if not real:
        text += "; no line of the log bears it out"
    quotes = [Quote(where=_where(evidence), text=cut(clean(evidence.quote))) for evidence in real[:QUOTES_SHOWN]]
    more = _left_out(len(real) - QUOTES_SHOWN, "quote", None)
    return Field(label=label, text=text, items=(*quotes, *more))


def _where(evidence: Evidence) -> str:
    source = "log" if evidence.source == "log" else f"{cut(clean(evidence.source), 60)},"
    return f"{source} line {evidence.line}"


def _is_verbatim(evidence: Evidence, log: LogExcerpt | None) -> bool:
    if log is None or evidence.source != "log":
        return True
    return any(line.number == evidence.line and evidence.quote in line.text for line in log.lines)


def _remediation(attempts: Sequence[Attempt], incident_id: str) -> Field:
    applied = [attempt for attempt in attempts if attempt.receipt is not None]
    shown = attempts[:ATTEMPTS_SHOWN]
    spelled_out = _most_telling(shown)
    steps = [_attempt(attempt, incident_id, with_code=attempt is spelled_out) for attempt in shown]
    steps += _left_out(len(attempts) - ATTEMPTS_SHOWN, "attempt", None)
    text = "yes" if applied else "no"
    if not attempts:
        text += "; no repair was considered"
    return Field(label="Remediation attempted", text=text, items=tuple(steps))


def _most_telling(attempts: Sequence[Attempt]) -> Attempt | None:
    """The one attempt whose statements are printed: the last applied, else the last that was planned."""
    planned = [attempt for attempt in attempts if attempt.plan is not None and attempt.plan.statements]
    applied = [attempt for attempt in planned if attempt.receipt is not None and not attempt.undone]
    candidates = applied or planned
    return candidates[-1] if candidates else None


def _attempt(attempt: Attempt, incident_id: str, *, with_code: bool) -> Step:
    about = f" on {name(attempt.plan.dataset)}" if attempt.plan and attempt.plan.dataset else ""
    said = [_decision(attempt)]
    if attempt.plan:
        said.append(cut(clean(attempt.plan.summary), 240))
    if attempt.plan and attempt.plan.evidence:
        said.append(f"to repeat it: {cut(clean('; '.join(attempt.plan.evidence)), 300)}")
    # The policy's reason for letting a repair act says nothing that its result does not.
    if attempt.reason and attempt.decision != "auto":
        said.append(cut(clean(attempt.reason), 240))
    if attempt.receipt:
        said.append(f"applied at {_at(attempt.receipt.applied_at)}")
        if not attempt.plan or attempt.receipt.summary != attempt.plan.summary:
            said[-1] += f": {cut(clean(attempt.receipt.summary), 240)}"
    if attempt.verification:
        said.append(f"verification: {cut(clean(attempt.verification.summary), 300)}")
    if attempt.kept_log:
        said.append(f"its log is kept ({attempt.kept_log}): `mendline show {clean(incident_id)} --log`")
    if attempt.undone:
        said.append(f"undone{f' by {name(attempt.undone_by)}' if attempt.undone_by else ''}{_on(attempt.undone_at)}")
    code = (_code(attempt.plan.statements),) if with_code and attempt.plan else ()
    return Step(text=f"{name(attempt.repair)}{about}: {'; '.join(part.rstrip('.') for part in said)}", details=code)


def _decision(attempt: Attempt) -> str:
    if attempt.answer is not None:
        is_approved = attempt.answer.decision == "approved"
        return cut(clean(sentence(attempt.answer)), 200) if is_approved else "not approved"
    if attempt.shadowed in ("auto", "ask"):
        return SHADOW_WORDS[attempt.shadowed]
    return DECISION_WORDS.get(attempt.decision, clean(attempt.decision))


def _code(statements: Iterable[str]) -> Code:
    lines = [line.rstrip() for text in statements for line in f"{text.rstrip().rstrip(';')};".splitlines()]
    shown = tuple(cut(clean(line), 160) for line in lines[:CODE_LINES_SHOWN])
    return Code(lines=shown, left_out_count=max(0, len(lines) - CODE_LINES_SHOWN))


def _outcome(record: IncidentRecord) -> Field:
    outcome = record.outcome
    if outcome is None or _is_at_work(record):
        said = "".join(f"; {cut(clean(word.note), 120)}{_on(word.given_at)}" for word in record.feedback if word.note)
        return Field(label="Outcome", text=f"open; step {name(record.phase)} since {_at(record.updated_at)}{said}")
    since = (outcome.ended_at - record.incident.failures[0].failed_at).total_seconds()
    text = f"{outcome.kind.value.replace('_', ' ')}, {duration(since)} after the failure"
    if outcome.seconds:
        text += f" ({', '.join(f'{phase} {duration(spent)}' for phase, spent in outcome.seconds.items())})"
    return Field(label="Outcome", text=text)


def _narrative(outcome: Outcome | None, log: LogExcerpt | None) -> tuple[Field, ...]:
    """What a model said of the incident, and what it cost; no field where none was configured, or none was needed."""
    if outcome is None or outcome.model is None or not (outcome.model.request_count or outcome.model.remarks):
        return ()
    use = outcome.model
    text = f"by {name(use.name)}; {use.request_count} request{'s' if use.request_count != 1 else ''}"
    text += f", {use.input_token_count + use.output_token_count:,} tokens"
    text += f", {use.cost:.4f} USD" if use.cost is not None else ""
    if use.remarks:
        text += f"; not heard: {cut(clean('; '.join(use.remarks)), 240)}"
    steps = [Step(text=f"{_unspoken(sentence.text)} ({_references(sentence, log)})") for sentence in outcome.narrative]
    return (Field(label="Model's account", text=text, items=tuple(steps)),)


def _unspoken(text: str) -> str:
    """A model's sentence as plain text: what it puts between backticks is no name of ours."""
    return cut(clean(text).replace("`", "'"), 320)


def _references(sentence: Sentence, log: LogExcerpt | None) -> str:
    before = 0 if log is None else 1  # the log itself is the first of the diagnostic steps
    words = {"L": "log line", "F": "diagnostic step", "R": "repair"}
    numbers = [(key[0], int(key[1:]) + (before if key[0] == "F" else 0)) for key in sentence.references]
    return ", ".join(f"{words[kind]} {number}" for kind, number in numbers)


def _recommended(record: IncidentRecord) -> str:
    outcome = record.outcome
    if outcome is None or _is_at_work(record):
        return "wait for Mendline to finish"
    if outcome.recommended.strip():
        return cut(clean(outcome.recommended), 600)
    settled = outcome.kind in (OutcomeKind.RESOLVED, OutcomeKind.RECOVERED)
    return "nothing to do" if settled else "read the log of the failed stage; Mendline found nothing to recommend"


def percent(share: float) -> str:
    """Say a share in whole percent; only certainty itself is 100%."""
    return f"{min(round(share * 100), 99 if share < 1 else 100)}%"


def duration(seconds: float) -> str:
    """Say a duration the short way: "0.4 s", "12 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _on(moment: datetime | None) -> str:
    return "" if moment is None else f" at {_at(moment)}"


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _listed(words: Sequence[str], limit: int) -> str:
    more = f" and {len(words) - limit} more" if len(words) > limit else ""
    return ", ".join(words[:limit]) + more


def _left_out(count: int, noun: str, incident_id: str | None) -> list[Step]:
    if count <= 0:
        return []
    hint = f"; all of them: `mendline show {clean(incident_id)} --json`" if incident_id else ""
    return [Step(text=f"… and {count} more {noun}{'s' if count > 1 else ''}{hint}")]
