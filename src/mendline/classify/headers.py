"""Lists of names in a log (headers, column lists, keys of a record), and how they differ from each other.

A source that renames a column often shows it only here: the file's header and the list that the load asked for.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

NAMES_AT_LEAST = 3  # so many names in a row are a header, not a sentence
SURELY_NAMES = 5  # also in a line that does not say what it lists
LIST_COUNT = 20
MISSPELT_AT_LEAST = 4  # letters
SHARED_AT_LEAST = 2
REORDERED, ONE_WAY, BOTH_WAYS = "lists: in another order", "lists: one has more names", "lists: names differ"

_NAME = r"[^\W\d][\w.-]{0,60}"
_QUOTE = r"""\\?["'`]?"""
_LIST = re.compile(
    rf"{_QUOTE}{_NAME}{_QUOTE}(?:\s?[,;|\t]\s?{_QUOTE}{_NAME}{_QUOTE}){{{NAMES_AT_LEAST - 1},80}}(?![\w.-])(?!\s?[(=:]\w)"
)
# Names with blanks or slashes between them, where the line says what they are, or where they look like nothing else.
_SPOKEN = re.compile(
    r"\b(?:columns|fields|header|elements|names|keys)\b[:=]?\s+((?:[@\w]+[ /]){3,}\w+)\s*\)?$"
    r"|\(((?=[^()]*\w_\w)[a-z]\w*(?: [a-z]\w*){3,})\)"
)
_KEYS = re.compile(rf"""["']({_NAME})["']\s?(?::|=>)""")
_MAY_SEPARATE = re.compile(r"[,;|\t]|[\"'] ?(?::|=>)")
_SEPARATOR = re.compile(r"\s?[,;|\t]\s?")
_ENVELOPE = frozenset(
    {"level", "lvl", "severity", "msg", "message", "event"}
)  # what loggers of JSON lines add themselves
_ERRORS = frozenset({"err", "error", "exception", "exc_info", "stack"})


class Keys(tuple[str, ...]):
    """The keys of a record: names without an order."""

    __slots__ = ()


def plain(name: str) -> str:
    """A name without its table, its quotes and its case."""
    return name.strip("\\\"'`[] ").rsplit(".", maxsplit=1)[-1].lower()


def lists_of(lines: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The lists of names that the lines hold, in order; a list that says a name twice is none."""
    for line in lines:
        spoken = _SPOKEN.search(line)
        if spoken is not None:
            yield from _distinct(re.split("[ /]", spoken.group(1) or spoken.group(2)))
        if len(_MAY_SEPARATE.findall(line)) < NAMES_AT_LEAST - 1:
            continue
        entry = _log_entry(line)
        if entry is not None:
            yield from _lists_within(entry)
            continue
        for match in _LIST.finditer(line):
            yield from _distinct(_SEPARATOR.split(match.group()))
        keys = _KEYS.findall(line)
        if len(keys) >= NAMES_AT_LEAST:
            yield from map(Keys, _distinct(keys))


def _log_entry(line: str) -> Mapping[str, Any] | None:
    """The entry that a line is, where the log is written as JSON: its own keys are no names of the data's."""
    text = line.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and not _ENVELOPE.isdisjoint(entry) else None


def _lists_within(entry: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for key, value in entry.items():
        if key in _ERRORS:
            continue
        if isinstance(value, str):
            yield from lists_of([value] if _log_entry(value) is None else [])
        elif isinstance(value, dict):
            yield from map(Keys, _distinct(list(value))) if len(value) >= NAMES_AT_LEAST else ()
        elif isinstance(value, list) and len(value) >= NAMES_AT_LEAST and all(isinstance(each, str) for each in value):
            yield from _distinct(value)


def is_misspelt(name: str, other: str) -> bool:
    """Say whether one name is the other with one letter wrong or two swapped; spellings of two countries are not."""
    if len(name) != len(other) or len(name) < MISSPELT_AT_LEAST or name == other:
        return False
    wrong = [place for place, pair in enumerate(zip(name, other, strict=True)) if pair[0] != pair[1]]
    first, last = wrong[0], wrong[-1]
    if len(wrong) == 1:
        return name[first].isalpha() and other[first].isalpha() and {name[first], other[first]} != {"s", "z"}
    return len(wrong) == 2 and last == first + 1 and name[first] == other[last] and name[last] == other[first]


def _distinct(found: list[str]) -> Iterator[tuple[str, ...]]:
    names = tuple(map(plain, found))
    if len(set(names)) == len(names):
        yield names


def differences(lists: Iterable[tuple[str, ...]], named: Set[str] = frozenset()) -> set[str]:
    """How the lists that are about the same thing (at least half of the names are shared) differ from each other.

    Where the error names columns (`named`), two lists differ in their names only when they differ in one of these.
    """
    kept = tuple(dict.fromkeys(lists))[-LIST_COUNT:]
    found = set()
    for first, second in itertools.combinations(kept, 2):
        difference = _difference(first, second)
        if difference != BOTH_WAYS or not named or named & (set(first) ^ set(second)):
            found.add(difference)
    return found - {""}


def _difference(first: tuple[str, ...], second: tuple[str, ...]) -> str:
    shared = set(first) & set(second)
    if len(shared) < max(SHARED_AT_LEAST, 0.5 * min(len(first), len(second))):
        return ""
    if len(shared) == len(first) == len(second):
        return "" if isinstance(first, Keys) or isinstance(second, Keys) else REORDERED
    return ONE_WAY if len(shared) in (len(first), len(second)) else BOTH_WAYS
