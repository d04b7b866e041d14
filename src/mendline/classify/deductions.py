"""What follows when an error is held against what the log printed beside it: a symptom gets its cause.

An error tells of a value; the cause may be the shape. A NULL where the file's header has no such column any more, a text in
a number's column where two columns have changed places, a line with too many fields after ten thousand good ones: each
rule lowers what the error seems to say and adds what it means there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mendline.classify import cues, headers
from mendline.classify import facts as known
from mendline.classify.beliefs import Belief, beliefs_of, explained, hinted
from mendline.classify.error_codes import MESSAGE, Hit, Meaning
from mendline.classify.log_reader import LogReading
from mendline.incident import FailureType

SPEAKS = 0.4  # a symptom must be believed this much to be explained
LOWERED = 0.35  # of its weight stays with what was only a symptom
GENERIC = frozenset({"constraint_violation"})  # says no more than the symptom in the same error

NULLS = frozenset({"null_violation"})
OF_ANOTHER_KIND = frozenset({"unparsable_value", "invalid_value", "invalid_date"})  # a text where a number was
VALUES = OF_ANOTHER_KIND | {"out_of_range", "value_too_long", "check_violation"}
NAMES = frozenset({"column_missing", "field_missing"})
COUNTS = frozenset({"column_count", "contract_mismatch"})
FILES = frozenset({"malformed_file"})
DOUBLES = frozenset({"duplicate_key", "conflict", "object_exists"})
BUGS = frozenset({"code_bug"})
NO_DATA = OF_ANOTHER_KIND | FILES | NAMES | {"type_changed"}
OF_A_MACHINE = frozenset({"out_of_memory", "disk_full", "disk_quota", "limit_exceeded"})
REFUSALS = frozenset({"expired_credentials", "forbidden", "permission", "connection_lost"})

SCHEMA, QUALITY, API, _, UNKNOWN = FailureType


@dataclass(frozen=True)
class Deduction:
    """A rule: with one of the `symptoms`, all that is `given` and nothing of `unless`, the cause is `type`."""

    symptoms: frozenset[str]
    given: tuple[str, ...]
    type: FailureType
    subtype: str
    weight: float
    unless: frozenset[str] = frozenset()

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


# A row far down the data had the right shape before it; a list that holds the very name has not lost it.
FAR_DOWN = frozenset({known.FAR_DOWN_THE_DATA})
STILL_THERE = FAR_DOWN | {cues.HOLD_EXACTLY}

DEDUCTIONS = (  # in order: what one lowers, the next may find too faint to explain
    Deduction(VALUES | NULLS, (headers.REORDERED,), SCHEMA, "column_order", 0.88),
    Deduction(NULLS, (known.NOT_INSERTED,), SCHEMA, "column_missing", 0.92),
    Deduction(NULLS, (cues.LACKS_NAME,), SCHEMA, "column_missing", 0.85, FAR_DOWN),
    Deduction(NULLS, (cues.RESEMBLES,), SCHEMA, "column_missing", 0.7, FAR_DOWN),
    Deduction(NULLS | FILES, (headers.BOTH_WAYS,), SCHEMA, "column_missing", 0.8, STILL_THERE),
    Deduction(OF_ANOTHER_KIND, (headers.BOTH_WAYS, known.EMPTY_VALUE), SCHEMA, "column_missing", 0.8, STILL_THERE),
    Deduction(DOUBLES, (known.TWO_AT_ONCE,), UNKNOWN, "conflict", 0.9),
    Deduction(COUNTS, (known.FAR_DOWN_THE_DATA,), QUALITY, "malformed_file", 0.85),
    Deduction(FILES, (known.FIRST_ROW,), SCHEMA, "column_count", 0.85),
    Deduction(NAMES, (cues.MISSPELT,), UNKNOWN, "code_bug", 0.85),
    Deduction(BUGS, (headers.ONE_WAY, known.BEYOND_THE_LAST), SCHEMA, "column_count", 0.9),
    Deduction(NO_DATA, (cues.SERVER_IN_TROUBLE,), API, "outage_page", 0.95),
    Deduction(NAMES, (cues.HOLD_EXACTLY,), UNKNOWN, "code_bug", 0.75),
    Deduction(OF_ANOTHER_KIND, (known.MANY_ALIKE,), SCHEMA, "type_changed", 0.85),
    Deduction(OF_ANOTHER_KIND, ("raised in the environment",), UNKNOWN, "configuration", 0.95),
    Deduction(OF_A_MACHINE, (known.THEIR_FAULT,), API, "outage", 0.95),
    Deduction(REFUSALS, (known.KEY_IGNORED,), UNKNOWN, "configuration", 0.9),
)


def believed(reading: LogReading, hints: Mapping[str, str] | None = None) -> tuple[list[Belief], Mapping[str, float]]:
    """All that the tables and the rules say of a log, and the cues that it gives; `hints` as in `verdict.classify`."""
    found = explained(beliefs_of(reading) + hinted(hints or {}, reading))
    given = cues.cues(reading, found)
    return deduced(found, {*given, *known.facts(reading, found)}), given


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
