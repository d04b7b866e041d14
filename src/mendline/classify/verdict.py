"""Weigh what a log says into one verdict: a type, how sure, the lines that say so, and what else it could be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mendline.classify import log_reader, statistical
from mendline.classify.beliefs import (
    ECHO,
    SAYS_NOTHING,
    Belief,
    shares_of,
    strengths,
    with_declared,
)
from mendline.classify.deductions import believed
from mendline.classify.entities import entities_in
from mendline.classify.error_codes import CLASS, Hit
from mendline.classify.log_reader import ErrorRecord, LogReading
from mendline.incident import (
    Alternative,
    Classification,
    Evidence,
    FailureType,
    LogExcerpt,
    LogLine,
)

NEXT_STEP: Mapping[FailureType, str] = {
    FailureType.SCHEMA_CHANGE: "inspect_schema_diff",
    FailureType.DATA_QUALITY: "profile_failed_batch",
    FailureType.API_FAILURE: "check_api_status",
    FailureType.RESOURCE: "escalate",
    FailureType.UNKNOWN: "escalate",
}

ABSTAIN_BELOW = 0.4  # a wrong automatic action costs far more than an escalation
MOST_WHEN_ABSTAINING = 0.5
FAINT = 0.4  # what only calm lines say must be this strong to count
UNSPECIFIED = "unspecified"
EVIDENCE_COUNT = 5
QUOTE_LENGTH = 320
_HELP = re.compile(r"(?i)(?:for (?:more|further) information|background on this error|see also|documentation)[^\n]*")


def classify_text(text: str | Iterable[str], *, hints: Mapping[str, str] | None = None) -> Classification:
    """Classify a log given as one text or as lines."""
    lines = text.split("\n") if isinstance(text, str) else text
    return classify(log_reader.read(lines), hints=hints)


def classify(log: LogExcerpt | LogReading, *, hints: Mapping[str, str] | None = None) -> Classification:
    """Say what kind of failure a log tells of; `UNKNOWN` rather than a guess.

    1. Find what every error of the log means by the tables of `error_codes`.
    2. Count the root of the fatal error most, wrappers and handled errors little; let causes overrule their symptoms.
    3. Hand what the tables say and the words of the errors to the statistical model, whose probabilities are calibrated.
    4. Take the likeliest type; abstain when it is not likely enough, or when nothing in the log says anything.

    The confidence is the probability that the given type is the true one, also where the answer is `UNKNOWN`.
    `hints["kind"]` is what the monitor saw (a value of `FailureKind`): `run_lost` speaks for a killed process, `bad_data`
    for a data-quality failure. Unknown keys and values are passed over.
    """
    reading = log if isinstance(log, LogReading) else log_reader.read_excerpt(log)
    beliefs, cues = believed(reading, hints)
    told = with_declared(shares_of(strengths(beliefs)), beliefs)
    shares = statistical.probabilities(statistical.inputs(reading, beliefs, told, cues))
    kind = max(shares, key=lambda each: shares[each])
    if shares[kind] < ABSTAIN_BELOW or not _says_anything(reading, beliefs):
        return _abstain(reading, beliefs, shares)
    leading = [belief for belief in beliefs if belief.type is kind]
    return Classification(
        type=kind,
        subtype=max(leading, key=_specificity).subtype if leading else UNSPECIFIED,
        confidence=round(shares[kind], 3),
        evidence=_evidence(leading, reading),
        recommended_next_step=NEXT_STEP[kind],
        alternatives=_alternatives(shares, beliefs, kind),
        entities=_entities(leading or beliefs),
    )


def _says_anything(reading: LogReading, beliefs: list[Belief]) -> bool:
    return bool(reading.errors) or any(b.weight >= FAINT and b.subtype not in SAYS_NOTHING for b in beliefs)


def _specificity(belief: Belief) -> float:
    """Rank subtypes: what the words say before what a class name alone says; an alternative names none."""
    if not belief.subtype:
        return 0.0
    return belief.weight * (0.5 if belief.hit is not None and belief.hit.kind == CLASS else 1.0)


def _abstain(reading: LogReading, beliefs: list[Belief], shares: Mapping[FailureType, float]) -> Classification:
    subtype = "empty_log" if reading.is_empty else "binary_log" if reading.is_binary else "undetermined"
    if not (reading.errors or reading.is_empty or reading.is_binary):
        subtype = "no_error_in_log"
    known = [belief for belief in beliefs if belief.record is not None]
    return Classification(
        type=FailureType.UNKNOWN,
        subtype=subtype,
        confidence=round(min(shares[FailureType.UNKNOWN], MOST_WHEN_ABSTAINING), 3),
        evidence=_evidence(known, reading) if known else _quotes(_first_words(reading), reading),
        recommended_next_step=NEXT_STEP[FailureType.UNKNOWN],
        alternatives=_alternatives(shares, beliefs, FailureType.UNKNOWN),
        entities=_entities(known),
    )


def _first_words(reading: LogReading) -> list[LogLine]:
    roots = [error.lines[0] for error in reading.fatal if error.is_root]
    return roots[:3] or [line for line in reading.excerpt.lines[-3:] if line.text.strip()][-1:]


def _alternatives(
    shares: Mapping[FailureType, float], beliefs: list[Belief], chosen: FailureType
) -> tuple[Alternative, ...]:
    found = []
    for kind, share in sorted(shares.items(), key=lambda item: -item[1]):
        if kind is chosen or share < 0.02:
            continue
        named = [belief for belief in beliefs if belief.type is kind and belief.subtype]
        subtype = max(named, key=lambda belief: belief.weight).subtype if named else ""
        found.append(Alternative(type=kind, confidence=round(share, 3), subtype=subtype))
    return tuple(found)


def _evidence(beliefs: list[Belief], reading: LogReading) -> tuple[Evidence, ...]:
    """Quote the lines that carry the belief, strongest first, each line once."""
    lines: list[LogLine] = []
    for belief in sorted(beliefs, key=lambda each: -each.weight):
        if belief.record is None or belief.hit is None:
            continue
        lines.append(_line_of(belief.record, belief.hit))
    if not lines:
        lines = _first_words(reading)
    return _quotes(lines, reading)


def _line_of(record: ErrorRecord, hit: Hit) -> LogLine:
    passed = 0
    for line in record.lines:
        if hit.start <= passed + len(line.text):
            return LogLine(number=line.number, text=_around(line.text, hit.start - passed))
        passed += len(line.text) + 1
    return record.lines[0]


def _around(text: str, position: int) -> str:
    if len(text) <= QUOTE_LENGTH:
        return text
    start = max(0, min(position - 80, len(text) - QUOTE_LENGTH))
    return text[start : start + QUOTE_LENGTH]


def _quotes(lines: list[LogLine], reading: LogReading) -> tuple[Evidence, ...]:
    """Make verbatim quotes; words that do not stand in their line as they are (colour codes between) are dropped."""
    originals = {line.number: line.text for line in reading.excerpt.lines}
    found: dict[int, Evidence] = {}
    for line in lines:
        quote = _around(line.text, 0).strip()
        original = originals.get(line.number)
        if original is not None and quote not in original:
            quote = max(re.split(r"\x1b\[[0-9;?]*[A-Za-z]", original), key=len).strip()[:QUOTE_LENGTH]
        if quote:
            found.setdefault(line.number, Evidence(line=line.number, quote=quote, source=reading.excerpt.source))
    return tuple(found.values())[:EVIDENCE_COUNT]


def _entities(beliefs: list[Belief]) -> dict[str, tuple[str, ...]]:
    ranked = sorted((b for b in beliefs if b.record is not None), key=lambda each: -each.weight)
    records = {id(b.record): b.record for b in ranked if b.record is not None and b.weight >= 0.3 * ranked[0].weight}
    text = "\n".join(_HELP.sub("", ECHO.sub("", record.text)) for record in records.values())
    return entities_in(text, [b.hit.slots for b in ranked if b.hit is not None and id(b.record) in records])
