"""What a log gives away beside its error: facts about the lists, rows, statements and processes that it printed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from mendline.classify import cues, headers
from mendline.classify.beliefs import Belief
from mendline.classify.log_grammar import STAMP
from mendline.classify.log_reader import ErrorRecord, LogReading

NOT_INSERTED = "the statement does not give the column"
FAR_DOWN_THE_DATA = "failed far down the data"
FIRST_ROW = "a count of fields is wrong from the first row on"
EMPTY_VALUE = "the value that cannot be read is empty"
BEYOND_THE_LAST = "an index beyond the last field"
MANY_ALIKE = "the same error for row after row"
TWO_AT_ONCE = "the same work was begun twice"
THEIR_FAULT = "the other side reports a fault of its own"
KEY_IGNORED = "the client ignored its own key file"

COUNTED = 0.4  # a wrong count of fields must be believed this much
FIRST_ROWS = 2  # the header and the first row, or the first row alone
FAR_DOWN = 20  # so many rows before the bad one had the right shape
MANY = 20  # rows that fail in the same words

_INSERTED = re.compile(r"(?i)\binsert into [^()]{1,120}\(([^()]+)\)\s*values?\b")
_EMPTY = re.compile(r"(?<![\w\"'])(?:\"\"|''|None|nan|NaN|undefined|null)(?![\w\"'])")
_BEYOND = re.compile(r"(?i)index (?:is )?out of (?:bounds|range)|(?:array|list|index) ?out ?of ?bounds")
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


def facts(reading: LogReading, beliefs: Sequence[Belief]) -> Iterator[str]:
    """Everything that holds of a log, in no order."""
    roots = [error for error in reading.fatal if error.is_root]
    said = "\n".join(error.text for error in roots)
    printed = cues.printed(reading)
    yield from _of_names(roots, beliefs, [*printed, *said.split("\n")])
    yield from _of_rows(roots, beliefs, said)
    if _EMPTY.search(said):
        yield EMPTY_VALUE
    if _BEYOND.search(said):
        yield BEYOND_THE_LAST
    if any(_FAULT.search(error.class_name) for error in roots):
        yield THEIR_FAULT
    if any(_KEY_IGNORED.search(line) for line in (*printed, said)):
        yield KEY_IGNORED
    if _is_begun_twice(printed):
        yield TWO_AT_ONCE


def _of_names(roots: Sequence[ErrorRecord], beliefs: Sequence[Belief], shown: Sequence[str]) -> Iterator[str]:
    named = set(cues.named_in(roots, beliefs))
    yield from headers.differences(headers.lists_of(shown), named)
    inserted = [set(map(headers.plain, each.split(","))) for each in _INSERTED.findall("\n".join(shown))]
    if named and inserted and all(named.isdisjoint(columns) for columns in inserted):
        yield NOT_INSERTED


def _of_rows(roots: Sequence[ErrorRecord], beliefs: Sequence[Belief], said: str) -> Iterator[str]:
    last = max(map(int, _ROW.findall(said)), default=0)
    if last > FAR_DOWN:
        yield FAR_DOWN_THE_DATA
    if 0 < last <= FIRST_ROWS and any(each.subtype == "column_count" and each.weight >= COUNTED for each in beliefs):
        yield FIRST_ROW
    if any(error.count >= MANY for error in roots):
        yield MANY_ALIKE


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
