"""Weigh what a log says into one verdict: a type, how sure, the lines that say so, and what else it could be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mendline.classify import error_codes, log_reader
from mendline.classify.entities import entities_in
from mendline.classify.error_codes import CLASS, CONTEXT, Hit, Meaning
from mendline.classify.log_reader import ErrorRecord, LogReading
from mendline.incident import (
    Alternative,
    Classification,
    Evidence,
    FailureKind,
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

ABSTAIN_BELOW = 0.45  # a wrong automatic action costs far more than an escalation
EVIDENCE_COUNT = 5
QUOTE_LENGTH = 320
FACTOR_WRAPPER = 0.3  # an error that another error of its chain explains
FACTOR_HANDLED = 0.12  # the program went on after it
FACTOR_ENDED_PROCESS = 0.75  # whatever the level: runners report a killed process as information
FACTOR_LATER = 0.55  # an error after the first one that says something
FACTOR_UNMARKED = 0.7  # words of trouble in a line with no error level and no class, beside lines that have them
FACTOR_OVERRULED = 0.25  # a class name whose message says something else
CORROBORATION = 0.3

_LOST_CONNECTION = frozenset(
    {"connection_lost", "connection_reset", "connection_refused", "timeout", "outage", "general_error", "network"}
)
_EXPLAINED_BY_PAGE = frozenset(
    {"malformed_file", "column_missing", "field_missing", "code_bug", "truncated_file", "invalid_value"}
)
_ENDS_PROCESSES = frozenset({"killed_process", "out_of_memory", "evicted"})
_SAYS_NOTHING = frozenset({"wrapper", "general_error", "aftermath", "raised_by_code"})
# What engines print back from the data or the statement: never the error's own words.
_ECHO = re.compile(
    r"(?:Failing row contains|input_value=|\[SQL:|\[parameters:|STATEMENT:|QUERY:|LINE \d+:|Offending line:|Original Line:|input: )[^\n]*"
    r"|\bCOPY \w+, line \d+[^\n]*|^\s*\^+\s*$",
    re.MULTILINE,
)
_HELP = re.compile(r"(?i)(?:for (?:more|further) information|background on this error|see also|documentation)[^\n]*")
_QUOTED = re.compile(r"'[^'\n]{24,}'|\"[^\"\n]{24,}\"")


@dataclass(frozen=True)
class _Belief:
    """How far one meaning of one record counts."""

    type: FailureType
    subtype: str
    weight: float
    record: ErrorRecord | None
    hit: Hit | None


def classify_text(text: str | Iterable[str], *, hints: Mapping[str, str] | None = None) -> Classification:
    """Classify a log given as one text or as lines."""
    lines = text.split("\n") if isinstance(text, str) else text
    return classify(log_reader.read(lines), hints=hints)


def classify(log: LogExcerpt | LogReading, *, hints: Mapping[str, str] | None = None) -> Classification:
    """Say what kind of failure a log tells of; `UNKNOWN` rather than a guess.

    1. Find what every error of the log means by the tables of `error_codes`.
    2. Count the root of the fatal error most, wrappers and handled errors little.
    3. Let causes overrule their symptoms (a killed process explains a lost connection).
    4. Turn the beliefs into shares; below the threshold, abstain.

    `hints["kind"]` is what the monitor saw (a value of `FailureKind`): `run_lost` speaks for a killed process, `bad_data`
    for a data-quality failure. Unknown keys and values are passed over.
    """
    reading = log if isinstance(log, LogReading) else log_reader.read_excerpt(log)
    beliefs = _explain(_beliefs(reading) + _hinted(hints or {}, reading))
    strengths = _strengths(beliefs)
    shares = _with_declared(_shares(strengths), beliefs)
    kind = max(shares, key=lambda each: shares[each], default=FailureType.UNKNOWN)
    confidence = round(shares.get(kind, 0.0) * (0.6 if reading.ended_well and not reading.fatal else 1.0), 3)
    says_something = any(belief.subtype and belief.subtype not in _SAYS_NOTHING for belief in beliefs)
    if not says_something or (confidence < ABSTAIN_BELOW and kind is not FailureType.UNKNOWN):
        return _abstain(reading, beliefs, shares)
    leading = [belief for belief in beliefs if belief.type is kind]
    return Classification(
        type=kind,
        subtype=max(leading, key=_specificity).subtype,
        confidence=confidence,
        evidence=_evidence(leading, reading),
        recommended_next_step=NEXT_STEP[kind],
        alternatives=_alternatives(shares, beliefs, kind),
        entities=_entities(leading),
    )


def _beliefs(reading: LogReading) -> list[_Belief]:
    found: list[_Belief] = []
    speaking_chain: int | None = None
    fatal = {id(error) for error in reading.fatal}
    has_marked = any(error.class_name or error.level for error in reading.fatal)
    for record in reading.errors:
        hits = _hits(record)
        factor = _factor(record, id(record) in fatal, speaking_chain)
        if has_marked and not record.class_name and not record.level:
            factor *= FACTOR_UNMARKED
        if any(hit.meaning.subtype in _ENDS_PROCESSES and hit.meaning.weight >= 0.85 for hit in hits):
            factor = max(factor, FACTOR_ENDED_PROCESS)
        says_something = any(hit.meaning.subtype not in _SAYS_NOTHING for hit in hits)
        if id(record) in fatal and says_something and speaking_chain is None and factor >= FACTOR_UNMARKED:
            speaking_chain = record.chain
        found.extend(_of_record(record, hits, factor))
    return found + _page_before(reading, found)


def _page_before(reading: LogReading, beliefs: list[_Belief]) -> list[_Belief]:
    """A reply that is a web page explains the parse error that comes after it."""
    failed = [
        b
        for b in beliefs
        if b.record is not None and b.subtype in ("malformed_file", "outage_page") and b.weight >= 0.3
    ]
    if not failed or failed[0].record is None:
        return []
    record = failed[0].record
    for line in reversed([each for each in reading.context if each.number < record.line]):
        hits = [hit for hit in error_codes.messages_in(line.text) if hit.meaning.subtype == "outage_page"]
        if hits:
            reply = ErrorRecord(class_name="", message=line.text.strip(), line=line.number, lines=(line,))
            return [_Belief(hits[0].meaning.type, "outage_page", hits[0].meaning.weight * 0.85, reply, hits[0])]
    return []


def _factor(record: ErrorRecord, is_fatal: bool, speaking_chain: int | None) -> float:
    factor = 1.0 if is_fatal and not record.is_handled else 0.6 if is_fatal else FACTOR_HANDLED
    if not record.is_root:
        factor *= FACTOR_WRAPPER
    if speaking_chain is not None and record.chain != speaking_chain:
        factor *= FACTOR_LATER
    return factor


def _hits(record: ErrorRecord) -> list[Hit]:
    text = _ECHO.sub(lambda match: " " * len(match.group()), record.text)
    hits = error_codes.messages_in(text) + error_codes.codes_in(text) + error_codes.classes_in(text)
    if record.class_name and not any(hit.kind is CLASS for hit in hits):
        meaning = error_codes.class_meaning(record.class_name)
        if meaning is not None:
            hits.append(Hit(meaning=meaning, kind=CLASS, start=0, end=0))
    in_context = error_codes.meaning_in_context(record.class_name, record.text + "\n" + "\n".join(record.frames))
    if in_context is not None:
        hits.append(in_context)
    return _outside_values(text, hits)


def _outside_values(text: str, hits: list[Hit]) -> list[Hit]:
    """Drop what stands inside a long quoted value when the words outside it say something themselves."""
    quoted = [match.span() for match in _QUOTED.finditer(text)]
    outside = [
        hit
        for hit in hits
        if not any(start < hit.start and hit.end < end for start, end in quoted) or hit.kind == CONTEXT
    ]
    speaks = any(hit.kind != CLASS and hit.meaning.weight >= 0.7 for hit in outside)
    return outside if speaks else hits


def _of_record(record: ErrorRecord, hits: list[Hit], factor: float) -> list[_Belief]:
    """Give one belief per hit; a place overrules words, and words overrule a class name."""
    top = CONTEXT if any(hit.kind == CONTEXT for hit in hits) else ""
    spoken = {hit.meaning.type for hit in hits if hit.kind != CLASS and hit.meaning.subtype not in _SAYS_NOTHING}
    found = []
    for hit in hits:
        scale = factor
        if hit.kind == CLASS and spoken and hit.meaning.type not in spoken:
            scale *= FACTOR_OVERRULED
        if top and hit.kind != top and hit.kind == CLASS:
            scale *= FACTOR_OVERRULED
        meaning: Meaning = hit.meaning
        found.append(_Belief(meaning.type, meaning.subtype, meaning.weight * scale, record, hit))
    return found


def _specificity(belief: _Belief) -> float:
    """Rank subtypes: what the words say before what a class name alone says; an alternative names none."""
    if not belief.subtype:
        return 0.0
    return belief.weight * (0.5 if belief.hit is not None and belief.hit.kind == CLASS else 1.0)


def _hinted(hints: Mapping[str, str], reading: LogReading) -> list[_Belief]:
    kind = hints.get("kind", "")
    if kind == FailureKind.RUN_LOST:
        return [_Belief(FailureType.RESOURCE, "killed_process", 0.84 if not reading.fatal else 0.6, None, None)]
    if kind == FailureKind.BAD_DATA:
        return [
            _Belief(FailureType.DATA_QUALITY, "check_violation", 0.78, None, None),
            _Belief(FailureType.SCHEMA_CHANGE, "", 0.18, None, None),
        ]
    return []


def _explain(beliefs: list[_Belief]) -> list[_Belief]:
    """Lower the symptoms that a stronger cause explains."""
    is_resource = any(b.type is FailureType.RESOURCE and b.weight >= 0.5 and b.subtype for b in beliefs)
    is_page = any(b.subtype == "outage_page" and b.weight >= 0.55 for b in beliefs)
    found = []
    for belief in beliefs:
        scale = 1.0
        if is_resource and belief.type is FailureType.API_FAILURE and belief.subtype in _LOST_CONNECTION:
            scale = 0.3
        if is_page and belief.subtype in _EXPLAINED_BY_PAGE:
            scale = 0.35
        found.append(_Belief(belief.type, belief.subtype, belief.weight * scale, belief.record, belief.hit))
    return found


def _strengths(beliefs: list[_Belief]) -> dict[FailureType, float]:
    """Join the beliefs of each type: the strongest, raised a little by the strongest of another record."""
    by_type: dict[FailureType, dict[int, float]] = {}
    for belief in beliefs:
        records = by_type.setdefault(belief.type, {})
        records[id(belief.record)] = max(records.get(id(belief.record), 0.0), belief.weight)
    joined = {}
    for kind, records in by_type.items():
        first, second = [*sorted(records.values(), reverse=True), 0.0][:2]
        joined[kind] = min(0.98, first + (1 - first) * CORROBORATION * second)
    return joined


def _shares(strengths: Mapping[FailureType, float]) -> dict[FailureType, float]:
    """Turn strengths into shares by their odds; what no belief claims stays with nobody."""
    odds = {kind: strength / (1 - strength) for kind, strength in strengths.items()}
    total = 1.0 + sum(odds.values())
    return {kind: each / total for kind, each in odds.items()}


def _with_declared(shares: Mapping[FailureType, float], beliefs: list[_Belief]) -> dict[FailureType, float]:
    """Keep for every alternative of the leading meaning at least the share that its table row declares."""
    raised = dict(shares)
    lead = max((b for b in beliefs if b.hit is not None), key=lambda belief: belief.weight, default=None)
    if lead is None or lead.hit is None or lead.type is not max(shares, key=lambda each: shares[each]):
        return raised
    for kind, declared in lead.hit.meaning.alternatives.items():
        raised[kind] = max(raised.get(kind, 0.0), declared * min(1.0, shares[lead.type] / lead.hit.meaning.weight))
    total = max(1.0, sum(raised.values()))
    return {kind: share / total for kind, share in raised.items()}


def _abstain(reading: LogReading, beliefs: list[_Belief], shares: Mapping[FailureType, float]) -> Classification:
    subtype = "empty_log" if reading.is_empty else "binary_log" if reading.is_binary else "undetermined"
    if not (reading.errors or reading.is_empty or reading.is_binary):
        subtype = "no_error_in_log"
    known = [belief for belief in beliefs if belief.record is not None]
    return Classification(
        type=FailureType.UNKNOWN,
        subtype=subtype,
        confidence=round(max(0.2, min(0.5, 1 - sum(s for k, s in shares.items() if k is not FailureType.UNKNOWN))), 3),
        evidence=_evidence(known, reading) if known else _quotes(_first_words(reading), reading),
        recommended_next_step=NEXT_STEP[FailureType.UNKNOWN],
        alternatives=_alternatives(shares, beliefs, FailureType.UNKNOWN),
        entities=_entities(known),
    )


def _first_words(reading: LogReading) -> list[LogLine]:
    roots = [error.lines[0] for error in reading.fatal if error.is_root]
    return roots[:3] or [line for line in reading.excerpt.lines[-3:] if line.text.strip()][-1:]


def _alternatives(
    shares: Mapping[FailureType, float], beliefs: list[_Belief], chosen: FailureType
) -> tuple[Alternative, ...]:
    found = []
    for kind, share in sorted(shares.items(), key=lambda item: -item[1]):
        if kind is chosen or share < 0.02:
            continue
        named = [belief for belief in beliefs if belief.type is kind and belief.subtype]
        subtype = max(named, key=lambda belief: belief.weight).subtype if named else ""
        found.append(Alternative(type=kind, confidence=round(share, 3), subtype=subtype))
    return tuple(found)


def _evidence(beliefs: list[_Belief], reading: LogReading) -> tuple[Evidence, ...]:
    """Quote the lines that carry the belief, strongest first, each line once."""
    lines: list[LogLine] = []
    for belief in sorted(beliefs, key=lambda each: -each.weight):
        if belief.record is None or belief.hit is None:
            continue
        lines.append(_line_of(belief.record, belief.hit))
    if not lines:
        lines = [line for line in reading.excerpt.lines if line.text.strip()][-1:]
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


def _entities(beliefs: list[_Belief]) -> dict[str, tuple[str, ...]]:
    ranked = sorted((b for b in beliefs if b.record is not None), key=lambda each: -each.weight)
    records = {id(b.record): b.record for b in ranked if b.record is not None and b.weight >= 0.3 * ranked[0].weight}
    text = "\n".join(_HELP.sub("", _ECHO.sub("", record.text)) for record in records.values())
    return entities_in(text, [b.hit.slots for b in ranked if b.hit is not None and id(b.record) in records])
