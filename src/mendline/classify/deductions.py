"""What follows when an error is held against what the log printed beside it: a symptom gets its cause.

An error tells of a value; the cause may be the shape. A NULL where the file's header has no such column any more, a text in
a number's column where two columns have changed places, a line with too many fields after ten thousand good ones: each
rule lowers what the error seems to say and adds what it means there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mendline.classify import cues, headers
from mendline.classify.beliefs import Belief, beliefs_of, explained, hinted
from mendline.classify.error_codes import MESSAGE, Hit, Meaning
from mendline.classify.log_grammar import STAMP
from mendline.classify.log_reader import LogReading
from mendline.incident import FailureType

SPEAKS = 0.4  # a symptom must be believed this much to be explained
LOWERED = 0.35  # of its weight stays with what was only a symptom
FIRST_ROWS = 2  # the header and the first row, or the first row alone
MANY = 20  # rows that fail in the same words
FAR_DOWN = 20  # so many rows before the bad one had the right shape
VALUES = frozenset(
    {"unparsable_value", "invalid_value", "invalid_date", "out_of_range", "value_too_long", "check_violation"}
)
NULLS = frozenset({"null_violation"})
OF_ANOTHER_KIND = frozenset({"unparsable_value", "invalid_value", "invalid_date"})  # a text where a number was
REFUSALS = frozenset({"expired_credentials", "forbidden", "permission", "connection_lost"})
NAMES = frozenset({"column_missing", "field_missing"})
GENERIC = frozenset({"constraint_violation"})  # says no more than the symptom in the same error
DOUBLES = frozenset({"duplicate_key", "conflict", "object_exists"})
FILES = frozenset({"malformed_file"})
COUNTS = frozenset({"column_count", "contract_mismatch"})
TWO_AT_ONCE = "the same work was begun twice"
FAR_DOWN_THE_DATA = "failed far down the data"
FIRST_ROW = "a count of fields is wrong from the first row on"
NOT_INSERTED = "the statement does not give the column"
_INSERTED = re.compile(r"(?i)\binsert into [^()]{1,120}\(([^()]+)\)\s*values?\b")
EMPTY_VALUE = "the value that cannot be read is empty"
_EMPTY = re.compile(r"(?<![\w\"'])(?:\"\"|''|None|nan|NaN|undefined|null)(?![\w\"'])")
BEYOND_THE_LAST = "an index beyond the last field"
THEIR_FAULT = "the other side reports a fault of its own"
OF_A_MACHINE = frozenset({"out_of_memory", "disk_full", "disk_quota", "limit_exceeded"})
MANY_ALIKE = "the same error for row after row"
_BEYOND = re.compile(r"(?i)index (?:is )?out of (?:bounds|range)|(?:array|list|index) ?out ?of ?bounds")
KEY_IGNORED = "the client ignored its own key file"
_FAULT = re.compile(r"(?:^|\.)(?:SOAP|Soap)?Fault(?:Exception|Error)?$")
_KEY_IGNORED = re.compile(r"UNPROTECTED PRIVATE KEY FILE|private key will be ignored|bad permissions: ignore key")
_ROW = re.compile(  # of the data; `at x.pl line 51` is of the program
    r"(?i)(?<![\"'], )(?<!\bat )(?<!\.p[lm] )(?<!\.sh )(?<!\.php on )"
    r"\b(?:line|row|record|batch entry|zeile|ligne|l[ií]nea|fila|riga|regel)s?\b"
    r"(?: (?:no\.?|number|nr\.?))?[ :#=]{1,3}(\d{1,12})\b(?!, in )"
)
_BEGIN = re.compile(
    r"(?i)\b(?:start(?:s|ed|ing)?|begin(?:s|ning)?|launch(?:ed|ing)?)\b[^\n]*\d[^\n]*|\bbatch \S*\d\S* begins[^\n]*"
)
_NUMBER = re.compile(r"[0-9a-f]*\d[0-9a-f]*")


@dataclass(frozen=True, kw_only=True)
class Deduction:
    """A rule: with one of the `symptoms`, all that is `given` and nothing of `unless`, the cause is `type`."""

    symptoms: frozenset[str]
    given: tuple[str, ...]
    unless: frozenset[str] = frozenset()
    type: FailureType
    subtype: str
    weight: float

    @property
    def meaning(self) -> Meaning:
        return Meaning(
            family="deduction",
            code=f"{self.subtype} since {' and '.join(self.given)}",
            type=self.type,
            subtype=self.subtype,
            weight=self.weight,
            source="the order of a load: by position, by name, row by row",
        )


DEDUCTIONS = (
    Deduction(
        symptoms=VALUES | NULLS,
        given=(headers.REORDERED,),
        type=FailureType.SCHEMA_CHANGE,
        subtype="column_order",
        weight=0.88,
    ),
    Deduction(
        symptoms=NULLS,
        given=(NOT_INSERTED,),
        type=FailureType.SCHEMA_CHANGE,
        subtype="column_missing",
        weight=0.92,
    ),
    Deduction(
        symptoms=NULLS,
        given=(cues.LACKS_NAME,),
        unless=frozenset({FAR_DOWN_THE_DATA}),
        type=FailureType.SCHEMA_CHANGE,
        subtype="column_missing",
        weight=0.85,
    ),
    Deduction(
        symptoms=NULLS,
        given=(cues.RESEMBLES,),
        unless=frozenset({FAR_DOWN_THE_DATA}),
        type=FailureType.SCHEMA_CHANGE,
        subtype="column_missing",
        weight=0.7,
    ),
    *(
        Deduction(
            symptoms=symptoms,
            given=(headers.BOTH_WAYS, *more),
            unless=frozenset({FAR_DOWN_THE_DATA, cues.HOLD_EXACTLY}),
            type=FailureType.SCHEMA_CHANGE,
            subtype="column_missing",
            weight=0.8,
        )
        for symptoms, more in ((NULLS | FILES, ()), (OF_ANOTHER_KIND, (EMPTY_VALUE,)))
    ),
    Deduction(
        symptoms=DOUBLES,
        given=(TWO_AT_ONCE,),
        type=FailureType.UNKNOWN,
        subtype="conflict",
        weight=0.9,
    ),
    Deduction(
        symptoms=COUNTS,
        given=(FAR_DOWN_THE_DATA,),
        type=FailureType.DATA_QUALITY,
        subtype="malformed_file",
        weight=0.85,
    ),
    Deduction(
        symptoms=frozenset({"malformed_file"}),
        given=(FIRST_ROW,),
        type=FailureType.SCHEMA_CHANGE,
        subtype="column_count",
        weight=0.85,
    ),
    Deduction(
        symptoms=NAMES,
        given=(cues.MISSPELT,),
        type=FailureType.UNKNOWN,
        subtype="code_bug",
        weight=0.85,
    ),
    Deduction(
        symptoms=frozenset({"code_bug"}),
        given=(headers.ONE_WAY, BEYOND_THE_LAST),
        type=FailureType.SCHEMA_CHANGE,
        subtype="column_count",
        weight=0.9,
    ),
    Deduction(
        symptoms=OF_ANOTHER_KIND | FILES | NAMES | frozenset({"type_changed"}),
        given=(cues.SERVER_IN_TROUBLE,),
        type=FailureType.API_FAILURE,
        subtype="outage_page",
        weight=0.95,
    ),
    Deduction(
        symptoms=NAMES,
        given=(cues.HOLD_EXACTLY,),
        type=FailureType.UNKNOWN,
        subtype="code_bug",
        weight=0.75,
    ),
    Deduction(
        symptoms=OF_ANOTHER_KIND,
        given=(MANY_ALIKE,),
        type=FailureType.SCHEMA_CHANGE,
        subtype="type_changed",
        weight=0.85,
    ),
    Deduction(
        symptoms=OF_ANOTHER_KIND,
        given=("raised in the environment",),
        type=FailureType.UNKNOWN,
        subtype="configuration",
        weight=0.95,
    ),
    Deduction(
        symptoms=OF_A_MACHINE,
        given=(THEIR_FAULT,),
        type=FailureType.API_FAILURE,
        subtype="outage",
        weight=0.95,
    ),
    Deduction(
        symptoms=REFUSALS,
        given=(KEY_IGNORED,),
        type=FailureType.UNKNOWN,
        subtype="configuration",
        weight=0.9,
    ),
)


def believed(reading: LogReading, hints: Mapping[str, str] | None = None) -> tuple[list[Belief], Mapping[str, float]]:
    """All that the tables and the rules say of a log, and the cues that it gives; `hints` as in `verdict.classify`."""
    found = explained(beliefs_of(reading) + hinted(hints or {}, reading))
    given = cues.cues(reading, found)
    return deduced(found, {*given, *_facts(reading, found)}), given


def _facts(reading: LogReading, beliefs: Sequence[Belief]) -> Iterator[str]:
    said = [line for error in reading.fatal if error.is_root for line in error.text.split("\n")]
    named = set(cues.named_in((error for error in reading.fatal if error.is_root), beliefs))
    yield from headers.differences(headers.lists_of([*cues.printed(reading), *said]), named)
    shown = "\n".join([*cues.printed(reading), *said])
    inserted = {frozenset(map(headers.plain, each.split(","))) for each in _INSERTED.findall(shown)}
    if named and inserted and all(not named & columns for columns in inserted):
        yield NOT_INSERTED
    rows = [int(number) for number in _ROW.findall("\n".join(said))]
    if max(rows, default=0) > FAR_DOWN:
        yield FAR_DOWN_THE_DATA
    is_count = any(belief.subtype == "column_count" and belief.weight >= SPEAKS for belief in beliefs)
    if is_count and 0 < max(rows, default=0) <= FIRST_ROWS:
        yield FIRST_ROW
    if _EMPTY.search("\n".join(said)):
        yield EMPTY_VALUE
    if _BEYOND.search("\n".join(said)):
        yield BEYOND_THE_LAST
    if any(error.count >= MANY for error in reading.fatal if error.is_root):
        yield MANY_ALIKE
    if any(error.is_root and _FAULT.search(error.class_name) for error in reading.fatal):
        yield THEIR_FAULT
    if any(_KEY_IGNORED.search(line) for line in (*cues.printed(reading), *said)):
        yield KEY_IGNORED
    if _is_begun_twice(cues.printed(reading)):
        yield TWO_AT_ONCE


def _is_begun_twice(lines: Iterable[str]) -> bool:
    """Whether two processes say the same words about beginning the same work."""
    begun: dict[str, tuple[str, ...]] = {}
    for line in lines:
        match = _BEGIN.search(line)
        if match is None:
            continue
        speaker = tuple(_NUMBER.findall(STAMP.sub("", line[: match.start()])))
        if begun.setdefault(match.group(), speaker) != speaker:
            return True
    return False


def deduced(beliefs: Sequence[Belief], facts: set[str]) -> list[Belief]:
    """The beliefs with every symptom that a rule explains lowered, and its cause added."""
    found = list(beliefs)
    for rule in DEDUCTIONS:
        if facts.issuperset(rule.given) and facts.isdisjoint(rule.unless):
            found = _apply(rule, found)
    return found


def _apply(rule: Deduction, beliefs: list[Belief]) -> list[Belief]:
    def explains(belief: Belief) -> bool:
        return belief.subtype in rule.symptoms and belief.type is not rule.type

    strongest = max(filter(explains, beliefs), key=lambda belief: belief.weight, default=None)
    if strongest is None or strongest.weight < SPEAKS or strongest.record is None or strongest.hit is None:
        return beliefs

    def is_lowered(belief: Belief) -> bool:
        return explains(belief) or (belief.subtype in GENERIC and belief.record is strongest.record)

    lowered = [replace(each, weight=each.weight * LOWERED) if is_lowered(each) else each for each in beliefs]
    hit = Hit(meaning=rule.meaning, kind=MESSAGE, start=strongest.hit.start, end=strongest.hit.end)
    return [*lowered, Belief(rule.type, rule.subtype, rule.weight * strongest.weight, strongest.record, hit)]
