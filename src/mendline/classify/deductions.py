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
FAR_DOWN = 20  # so many rows before the bad one had the right shape
VALUES = frozenset(
    {"unparsable_value", "invalid_value", "invalid_date", "out_of_range", "value_too_long", "check_violation"}
)
NULLS = frozenset({"null_violation"})
DOUBLES = frozenset({"duplicate_key", "conflict", "object_exists"})
FILES = frozenset({"malformed_file", "code_bug"})
COUNTS = frozenset({"column_count", "contract_mismatch"})
TWO_AT_ONCE = "the same work was begun twice"
FAR_DOWN_THE_DATA = "failed far down the data"
_ROW = re.compile(
    r"(?i)(?<![\"'], )\b(?:line|row|record|zeile|ligne|l[ií]nea|fila|riga|regel)s?\b(?: (?:no\.?|number|nr\.?))?[ :#=]{1,3}(\d{1,12})\b(?!, in )"
)
_BEGIN = re.compile(
    r"(?i)\b(?:start(?:s|ed|ing)?|begin(?:s|ning)?|launch(?:ed|ing)?)\b[^\n]*\d[^\n]*|\bbatch \S*\d\S* begins[^\n]*"
)
_NUMBER = re.compile(r"[0-9a-f]*\d[0-9a-f]*")


@dataclass(frozen=True, kw_only=True)
class Deduction:
    """A rule: with one of the `symptoms`, and all that is `given`, the cause is `type`."""

    symptoms: frozenset[str]
    given: tuple[str, ...]
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
        given=(cues.LACKS_NAME,),
        type=FailureType.SCHEMA_CHANGE,
        subtype="column_missing",
        weight=0.85,
    ),
    Deduction(
        symptoms=VALUES | NULLS | FILES,
        given=(headers.BOTH_WAYS,),
        type=FailureType.SCHEMA_CHANGE,
        subtype="column_missing",
        weight=0.8,
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
)


def believed(reading: LogReading, hints: Mapping[str, str] | None = None) -> tuple[list[Belief], Mapping[str, float]]:
    """All that the tables and the rules say of a log, and the cues that it gives; `hints` as in `verdict.classify`."""
    found = explained(beliefs_of(reading) + hinted(hints or {}, reading))
    given = cues.cues(reading, found)
    return deduced(found, {*given, *_facts(reading)}), given


def _facts(reading: LogReading) -> Iterator[str]:
    said = [line for error in reading.fatal if error.is_root for line in error.text.split("\n")]
    yield from headers.differences(headers.lists_of([*cues.printed(reading), *said]))
    rows = [int(number) for number in _ROW.findall("\n".join(said))]
    if max(rows, default=0) > FAR_DOWN:
        yield FAR_DOWN_THE_DATA
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
        if facts.issuperset(rule.given):
            found = _apply(rule, found)
    return found


def _apply(rule: Deduction, beliefs: list[Belief]) -> list[Belief]:
    def explains(belief: Belief) -> bool:
        return belief.subtype in rule.symptoms and belief.type is not rule.type

    strongest = max(filter(explains, beliefs), key=lambda belief: belief.weight, default=None)
    if strongest is None or strongest.weight < SPEAKS or strongest.record is None or strongest.hit is None:
        return beliefs
    lowered = [replace(each, weight=each.weight * LOWERED) if explains(each) else each for each in beliefs]
    hit = Hit(meaning=rule.meaning, kind=MESSAGE, start=strongest.hit.start, end=strongest.hit.end)
    return [*lowered, Belief(rule.type, rule.subtype, rule.weight * strongest.weight, strongest.record, hit)]
