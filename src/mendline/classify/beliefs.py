"""What the tables say of a log: one belief per meaning found, weighed by where in the log it stands."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mendline.classify import error_codes, log_grammar
from mendline.classify.error_codes import CLASS, CONTEXT, MESSAGE, Hit, Meaning
from mendline.classify.log_reader import ErrorRecord, LogReading
from mendline.incident import FailureKind, FailureType

FACTOR_WRAPPER = 0.3  # an error that another error of its chain explains
FACTOR_OF_LOOKUP = 3.0  # which explains no more than a name that was not found in some mapping
FACTOR_HANDLED = 0.12  # the program went on after it
FACTOR_ANNOUNCES = 0.5
WENT_ON = 2  # calm lines between two errors
FACTOR_GAVE_UP = 0.8  # an error that was retried until the program gave up, in words or by saying nothing else
FACTOR_ENDED_PROCESS = 0.75  # whatever the level: runners report a killed process as information
FACTOR_LATER = 0.55  # an error after the first one that says something
FACTOR_UNMARKED = 0.7  # words of trouble in a line with no error level and no class, beside lines that have them
FACTOR_OVERRULED = 0.25  # a class name whose message says something else
FACTOR_CALM = 0.75  # a line that nothing marks as trouble, when no error says anything
FACTOR_CALM_BESIDE = 0.2
FACTOR_CALM_LEVEL = 0.5  # its level says that nothing is wrong
CALM_COUNT = 12
FAINT = 0.3
REPLY_DISTANCE = 8  # lines between a reply and the error that it explains
CORROBORATION = 0.3

_LOST_CONNECTION = frozenset(
    {"connection_lost", "connection_reset", "connection_refused", "timeout", "outage", "general_error", "network"}
)
_PARSED_A_PAGE = frozenset(
    {"malformed_file", "column_missing", "field_missing", "code_bug", "truncated_file", "invalid_value"}
)
_EXPLAINED_BY_PAGE = _PARSED_A_PAGE | {
    *("null_violation", "incomplete", "type_changed", "contract_mismatch", "query_no_longer_fits", "check_violation")
}
_REPLY_IN_TROUBLE = re.compile(
    r"\bOK\b[^\n]{0,20}text/html|"
    r"(?:->|=>|\b[Ss]tatus(?:[ _]?code)?\b|HTTP/?[\d.]*|returned|answered|[Rr]eply|[Rr]esponse)[^\n]{0,24}?\b(?:5\d\d|429|410|401)\b"
    r"|\\?[\"'](?:status|code|statusCode)\\?[\"']\s?:\s?(?:5\d\d|429)\b|\\?[\"'](?:ok|success)\\?[\"']\s?:\s?(?i:false)\b"
    r"|(?i:content-type\W{1,4}text/html|\b200\b[^\n]{0,40}text/html|<html|<!doctype)|<Error><Code>(?:ServiceUnavailable|SlowDown|InternalError)"
    r"|(?i:temporarily (?:unavailable|unreachable))"
    r"|\\?[\"'](?:status|state|code|error|errorCode|reason)\\?[\"']\s?:\s?\\?[\"']"
    r"(?:error|degraded|fail(?:ed|ure)|unavailable|down|maintenance|throttled"
    r"|[A-Z_]*(?:DOWN|UNAVAILABLE|SUNSET|MAINTENANCE|THROTTL\w*|RATE_LIMIT\w*|TOO_MANY\w*|UNREACHABLE|TIMEOUT))\\?[\"']"
)
_TRIED_AGAIN = re.compile(r"(?i)\b(?:attempt|try|tr\w+ no\.?) \d+ (?:of|/) \d+|\bretrying\b|\bwill retry\b")
_WRAPS = re.compile(
    r"^(?:[\w.]+\.)?\w*(?:Task|Remote|Worker)\w*Error\(\w+\)"
)  # Ray and its like: Outer(Inner), then Inner itself
_TRY = re.compile(r"(?i)\b(?:attempt|try|retry) #?\d{1,2}\b")
_REPORT_OF_CHECKS = re.compile(r"expectation|observed_value|unexpected_(?:count|percent)")
_CHECK_RAISED = re.compile(
    r"[\"']raised_exception[\"']\s?:\s?(?i:true)"
)  # Great Expectations: the check could not be computed
_REPLY_WELL = re.compile(r"(?:->|=>|\b[Ss]tatus(?:[ _]?code)?\b|HTTP/?[\d.]*)[\s:=\"']{1,3}2\d\d\b")
_GAVE_UP = re.compile(
    r"(?i)giv(?:ing|en) up|gave up|retries exhausted|retry limit|limit for retries|max(?:imum)?[ _](?:retries|attempts)"
    r"|no more retries|after \d+ (?:attempts|retries|tries)|all (?:attempts|retries) failed|abandon"
)
_TROUBLED = Meaning(
    family="reply",
    code="a reply that tells of trouble",
    type=FailureType.API_FAILURE,
    subtype="outage",
    weight=0.95,
    source="RFC 9110 section 15, RFC 9457: how a server tells of its own trouble",
)
_NO_ROOM = frozenset({"disk_full", "disk_quota", "out_of_memory", "insufficient_resources"})
_ENDS_PROCESSES = frozenset({"killed_process", "out_of_memory", "evicted"})
_PRINTS_THE_VALUE = frozenset({"unparsable_value", "invalid_date", "invalid_value", "value_too_long"})
_LOOKUPS = frozenset({"KeyError", "IndexError"})
_COUNTED = frozenset({"incomplete", "column_count", "malformed_file"})
SAYS_NOTHING = frozenset({"wrapper", "general_error", "aftermath", "raised_by_code"})
# What engines print back from the data or the statement: never the error's own words.
ECHO = re.compile(
    r"(?:Failing row contains|input_value=|\[SQL:|\[parameters:|STATEMENT:|QUERY:|LINE \d+:|Offending line:|Original Line:|input: )[^\n]*"
    r"|\bCOPY \w+, line \d+[^\n]*|^\s*\^+\s*$",
    re.MULTILINE,
)
# A long quoted text is a value, unless it is the message itself: drivers raise (1048, "...") and ('42S22', "..."), Rust
# panics at '...'.
_QUOTED = re.compile(
    r"(?<!\(\d{3}, )(?<!\d{4}, )(?<!panicked at )(?<!\('[0-9A-Z]{5}', )(?:'[^'\n]{24,}'|\"[^\"\n]{24,}\")"
)
_ESCAPED_QUOTE = '\\"'  # in a log of JSON lines
_NUMBER = re.compile(r"(?<![\w.-])\d[\d,._]*")


@dataclass(frozen=True)
class Belief:
    """How far one meaning of one record counts."""

    type: FailureType
    subtype: str
    weight: float
    record: ErrorRecord | None
    hit: Hit | None


def beliefs_of(reading: LogReading) -> list[Belief]:
    found: list[Belief] = []
    speaking_chain: int | None = None
    fatal = {id(error) for error in reading.fatal}
    has_marked = any(error.class_name or error.level for error in reading.fatal)
    looked_up = {error.chain for error in reading.errors if error.is_root and error.class_name in _LOOKUPS}
    announcing, passed = _announcing(reading), _passed(reading)
    for record in reading.errors:
        hits = _hits(record)
        factor = _factor(record, id(record) in fatal, speaking_chain)
        if record.chain in looked_up and not record.is_root:
            factor *= FACTOR_OF_LOOKUP
        if id(record) in announcing or id(record) in passed:
            factor *= FACTOR_ANNOUNCES
        if has_marked and not record.class_name and not record.level:
            factor *= FACTOR_UNMARKED
        if any(hit.meaning.subtype in _ENDS_PROCESSES and hit.meaning.weight >= 0.85 for hit in hits):
            factor = max(factor, FACTOR_ENDED_PROCESS)
        says_something = any(hit.meaning.subtype not in SAYS_NOTHING for hit in hits)
        speaks = says_something and factor >= FACTOR_UNMARKED and id(record) not in announcing | passed
        if id(record) in fatal and speaking_chain is None and speaks:
            speaking_chain = record.chain
        found.extend(_of_record(record, hits, factor))
    found = found + _given_up(reading, found)
    return found + _reply_before(reading, found) + _calm_words(reading, found)


def _announcing(reading: LogReading) -> set[int]:
    """The program's own lines that stand right before the traceback of what they report: the exception says it better."""
    calm = {line.number for line in reading.context}
    found = set()
    for record, after in itertools.pairwise(reading.errors):
        between = range(record.lines[-1].number + 1, after.line)
        reports = after.class_name and after.frames and len(between) > 0 and calm.isdisjoint(between)
        is_plain = not record.class_name and not record.frames
        if reports and (is_plain or _WRAPS.search(record.text)):
            found.add(id(record))
    return found


def _passed(reading: LogReading) -> set[int]:
    """Words of trouble that nothing marks, and after which the program went on as if nothing had been, to another error."""
    calm = [line.number for line in reading.context]
    found = set()
    for record, after in itertools.pairwise(reading.fatal):
        went_on = sum(record.lines[-1].number < number < after.line for number in calm)
        is_unmarked = not record.class_name and not record.level
        if is_unmarked and went_on >= WENT_ON and any(hit.meaning.subtype not in SAYS_NOTHING for hit in _hits(after)):
            found.add(id(record))
    return found


def _given_up(reading: LogReading, beliefs: list[Belief]) -> list[Belief]:
    """What the last handled error says where the fatal ones only report that trying again did not help, or nothing."""
    fatal = {id(error) for error in reading.fatal}
    handled = [error for error in reading.errors if id(error) not in fatal]
    if not handled or not fatal:
        return []
    says_so = any(_GAVE_UP.search(error.text) for error in reading.fatal)
    spoken = [b for b in beliefs if id(b.record) in fatal]
    if (
        _TRY.search(handled[-1].text) and handled[-1].count > 1
    ):  # what failed each time explains what the program then stumbled over
        spoken = [b for b in spoken if b.type is not FailureType.UNKNOWN]
    strongest = max(map(_specific, spoken), default=0.0)
    if not says_so and strongest >= FAINT:
        return []
    for error in reversed(handled):  # the last that says something: a tool's own words may stand at any level
        found = _of_record(error, _hits(error), FACTOR_GAVE_UP)
        if says_so or any(map(_specific, found)):
            return found
    return []


def _specific(belief: Belief) -> float:
    return 0.0 if belief.subtype in SAYS_NOTHING else belief.weight


def _calm_words(reading: LogReading, beliefs: list[Belief]) -> list[Belief]:
    """What the last lines say that no level and no word of trouble marks: a tool's own message before its wrapper's.

    They count for much when the errors say nothing, and little beside errors that speak.
    """
    speaks = any(belief.weight >= FACTOR_UNMARKED and belief.subtype not in SAYS_NOTHING for belief in beliefs)
    factor = FACTOR_CALM_BESIDE if speaks else FACTOR_CALM
    found: list[Belief] = []
    for line in reading.context[-CALM_COUNT:]:
        if log_grammar.NOT_ERROR.search(line.text):
            continue
        record = ErrorRecord(class_name="", message=line.text.strip(), line=line.number, lines=(line,))
        is_calm = log_grammar.level_of(line.text) not in ("", "WARN")
        found.extend(_of_record(record, _hits(record), factor * (FACTOR_CALM_LEVEL if is_calm else 1.0)))
    return found


def _reply_before(reading: LogReading, beliefs: list[Belief]) -> list[Belief]:
    """A reply that is a web page, or that says that the other side is in trouble, explains what fails on it afterwards."""
    failed = [
        b
        for b in beliefs
        if b.record is not None and b.subtype in (*_EXPLAINED_BY_PAGE, "outage_page") and b.weight >= FAINT
    ]
    if not failed or failed[0].record is None:
        return []
    record = failed[0].record
    last = record.lines[-1].number + REPLY_DISTANCE // 2  # a script that stops may show the reply that it stopped on
    first = 0 if failed[0].subtype in _PARSED_A_PAGE else record.line - REPLY_DISTANCE
    others = [error for error in reading.errors if error is not record and not _REPORT_OF_CHECKS.search(error.text)]
    lines = [line for line in reading.context if first <= line.number < last]
    lines += [line for error in others for line in error.lines if first <= line.number < last]
    for line in sorted(lines, key=lambda each: -each.number):
        hits = error_codes.messages_in(line.text, "outage_page")
        trouble = _REPLY_IN_TROUBLE.search(line.text) if line.number >= record.line - REPLY_DISTANCE else None
        if trouble and not hits and not _REPORT_OF_CHECKS.search(line.text):
            hits = [Hit(meaning=_TROUBLED, kind=MESSAGE, start=trouble.start(), end=trouble.end())]
        is_well = not hits and _REPLY_WELL.search(line.text) is not None
        if (not hits and not is_well) or line.number in _overcome(reading):
            continue
        if is_well:
            return []
        reply = ErrorRecord(class_name="", message=line.text.strip(), line=line.number, lines=(line,))
        return [Belief(hits[0].meaning.type, "outage_page", hits[0].meaning.weight * 0.85, reply, hits[0])]
    return []


def _overcome(reading: LogReading) -> set[int]:
    """The numbers of the lines right after a try that another followed: what it printed is of that try."""
    printed = (*reading.context, *(line for error in reading.errors for line in error.lines))
    tried = [line.number for line in printed if _TRIED_AGAIN.search(line.text)]
    return {number for start in tried for number in range(start, start + REPLY_DISTANCE + 1)}


def _factor(record: ErrorRecord, is_fatal: bool, speaking_chain: int | None) -> float:
    factor = 1.0 if is_fatal and not record.is_handled else 0.6 if is_fatal else FACTOR_HANDLED
    if not record.is_root:
        factor *= FACTOR_WRAPPER
    if speaking_chain is not None and record.chain != speaking_chain:
        factor *= FACTOR_LATER
    return factor


def _hits(record: ErrorRecord) -> list[Hit]:
    text = ECHO.sub(lambda match: " " * len(match.group()), record.text).replace(_ESCAPED_QUOTE, ' "')
    hits = error_codes.messages_in(text) + error_codes.codes_in(text) + error_codes.classes_in(text)
    if record.class_name and not any(hit.kind is CLASS for hit in hits):
        meaning = error_codes.class_meaning(record.class_name)
        if meaning is not None:
            hits.append(Hit(meaning=meaning, kind=CLASS, start=0, end=0))
    in_context = error_codes.meaning_in_context(record.class_name, record.text + "\n" + "\n".join(record.frames))
    if in_context is not None:
        hits.append(in_context)
    return _outside_values(text, [hit for hit in hits if not _counts_agree(hit, text)])


def _counts_agree(hit: Hit, text: str) -> bool:
    """Say whether a message about a wrong count stands between two equal numbers: then the count is right."""
    if hit.meaning.subtype not in _COUNTED:
        return False
    said = _NUMBER.findall(text[hit.start : hit.end])[-2:]
    if len(said) < 2:
        line_start, line_end = text.rfind("\n", 0, hit.start) + 1, text.find("\n", hit.end)
        after = _NUMBER.findall(text[hit.end : line_end if line_end >= 0 else len(text)])[:1]
        said = [*_NUMBER.findall(text[line_start : hit.end]), *after][-2:]
    return len(said) == 2 and said[0].rstrip(".,") == said[1].rstrip(".,")


def _outside_values(text: str, hits: list[Hit]) -> list[Hit]:
    """Drop what stands inside a long quoted value when the words outside it say something themselves."""
    quoted = [match.span() for match in _QUOTED.finditer(text)]
    outside = [
        hit
        for hit in hits
        if not any(start < hit.start and hit.end < end for start, end in quoted) or hit.kind == CONTEXT
    ]
    speaks = any(hit.kind != CLASS and hit.meaning.weight >= 0.7 for hit in outside)
    return _before_the_value(text, outside if speaks else hits)


def _before_the_value(text: str, hits: list[Hit]) -> list[Hit]:
    """Drop what stands behind the colon of a message that goes on to print the bad value: the value's words, not the error's."""
    spoken = [hit for hit in hits if hit.kind == MESSAGE and hit.start < hit.end]
    first = min(spoken, key=lambda hit: hit.start, default=None)
    if (
        first is None
        or first.meaning.subtype not in _PRINTS_THE_VALUE
        or text[first.end : first.end + 1] not in (":", "(")
    ):
        return hits
    line_end = text.find("\n", first.end)
    limit = line_end if line_end >= 0 else len(text)
    return [hit for hit in hits if not first.end <= hit.start < limit or hit.kind == CLASS]


def _of_record(record: ErrorRecord, hits: list[Hit], factor: float) -> list[Belief]:
    """Give one belief per hit; a place overrules words, and words overrule a class name."""
    top = CONTEXT if any(hit.kind == CONTEXT for hit in hits) else ""
    spoken = {hit.meaning.type for hit in hits if hit.kind != CLASS and hit.meaning.subtype not in SAYS_NOTHING}
    found = []
    for hit in hits:
        scale = factor
        if hit.kind == CLASS and spoken and hit.meaning.type not in spoken:
            scale *= FACTOR_OVERRULED
        if top and hit.kind != top and hit.kind == CLASS:
            scale *= FACTOR_OVERRULED
        meaning: Meaning = hit.meaning
        found.append(Belief(meaning.type, meaning.subtype, meaning.weight * scale, record, hit))
    return found


def hinted(hints: Mapping[str, str], reading: LogReading) -> list[Belief]:
    kind = hints.get("kind", "")
    if kind == FailureKind.RUN_LOST:
        return [Belief(FailureType.RESOURCE, "killed_process", 0.84 if not reading.fatal else 0.6, None, None)]
    if kind == FailureKind.BAD_DATA:
        return [
            Belief(FailureType.DATA_QUALITY, "check_violation", 0.78, None, None),
            Belief(FailureType.SCHEMA_CHANGE, "", 0.18, None, None),
        ]
    return []


def explained(beliefs: list[Belief]) -> list[Belief]:
    """Lower the symptoms that a stronger cause explains."""
    is_resource = any(b.type is FailureType.RESOURCE and b.weight >= 0.5 and b.subtype for b in beliefs)
    is_full = any(b.subtype in _NO_ROOM and b.weight >= 0.5 for b in beliefs)
    is_page = any(b.subtype == "outage_page" and b.weight >= 0.55 for b in beliefs)
    has_raised = any(b.record is not None and _CHECK_RAISED.search(b.record.text) for b in beliefs)
    is_crash = any(b.subtype == "crash" and b.weight >= 0.4 for b in beliefs)
    found = []
    for belief in beliefs:
        scale = 1.0
        if is_resource and belief.type is FailureType.API_FAILURE and belief.subtype in _LOST_CONNECTION:
            scale = 0.3
        if is_full and belief.subtype == "rate_limit":  # a server without room refuses with the same status
            scale = 0.3
        if is_page and belief.subtype in _EXPLAINED_BY_PAGE:
            scale = 0.35
        if has_raised and belief.subtype == "check_violation":
            scale = 0.35
        if is_crash and belief.subtype == "killed_process":
            scale = 0.4
        found.append(Belief(belief.type, belief.subtype, belief.weight * scale, belief.record, belief.hit))
    return found


def strengths(beliefs: list[Belief]) -> dict[FailureType, float]:
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


def shares_of(strengths: Mapping[FailureType, float]) -> dict[FailureType, float]:
    """Turn strengths into shares by their odds; what no belief claims stays with nobody."""
    odds = {kind: strength / (1 - strength) for kind, strength in strengths.items()}
    total = 1.0 + sum(odds.values())
    return {kind: each / total for kind, each in odds.items()}


def with_declared(shares: Mapping[FailureType, float], beliefs: list[Belief]) -> dict[FailureType, float]:
    """Keep for every alternative of the leading meaning at least the share that its table row declares."""
    raised = dict(shares)
    lead = max((b for b in beliefs if b.hit is not None), key=lambda belief: belief.weight, default=None)
    if lead is None or lead.hit is None or lead.type is not max(shares, key=lambda each: shares[each]):
        return raised
    for kind, declared in lead.hit.meaning.alternatives.items():
        raised[kind] = max(raised.get(kind, 0.0), declared * min(1.0, shares[lead.type] / lead.hit.meaning.weight))
    total = max(1.0, sum(raised.values()))
    return {kind: share / total for kind, share in raised.items()}
