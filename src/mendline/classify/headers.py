"""Lists of names in a log (headers, column lists, keys of a record), and how they differ from each other.

A source that renames a column often shows it only here: the file's header and the list that the load asked for.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

NAMES_AT_LEAST = 3  # so many names in a row are a header, not a sentence
LIST_COUNT = 20
SHARED_AT_LEAST = 2
REORDERED, ONE_WAY, BOTH_WAYS = "lists: in another order", "lists: one has more names", "lists: names differ"

_NAME = r"[^\W\d][\w.-]{0,60}"
_QUOTE = r"""\\?["'`]?"""
_LIST = re.compile(
    rf"{_QUOTE}{_NAME}{_QUOTE}(?:\s?[,;|\t]\s?{_QUOTE}{_NAME}{_QUOTE}){{{NAMES_AT_LEAST - 1},80}}(?!\s?[(=:]\w)"
)
_KEYS = re.compile(rf"""["']({_NAME})["']\s?(?::|=>)""")
_LABEL = re.compile(r"^.*[:=]\s*", re.DOTALL)
_SEPARATOR = re.compile(r"\s?[,;|\t]\s?")


def plain(name: str) -> str:
    """A name without its table, its quotes and its case."""
    return name.strip("\\\"'`[] ").rsplit(".", maxsplit=1)[-1].lower()


def lists_of(lines: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The lists of names that the lines hold, in order; a list that says a name twice is none."""
    for line in lines:
        for match in _LIST.finditer(line):
            yield from _distinct(_SEPARATOR.split(match.group()))
        keys = _KEYS.findall(line)
        if len(keys) >= NAMES_AT_LEAST:
            yield from _distinct(keys)


def _distinct(found: list[str]) -> Iterator[tuple[str, ...]]:
    names = tuple(map(plain, found))
    if len(set(names)) == len(names):
        yield names


def differences(lists: Iterable[tuple[str, ...]]) -> set[str]:
    """How the lists that are about the same thing (at least half of the names are shared) differ from each other."""
    kept = tuple(dict.fromkeys(lists))[-LIST_COUNT:]
    found = {_difference(first, second) for first, second in itertools.combinations(kept, 2)}
    return found - {""}


def _difference(first: tuple[str, ...], second: tuple[str, ...]) -> str:
    shared = set(first) & set(second)
    if len(shared) < max(SHARED_AT_LEAST, 0.5 * min(len(first), len(second))):
        return ""
    if len(shared) == len(first) == len(second):
        return REORDERED
    return ONE_WAY if len(shared) in (len(first), len(second)) else BOTH_WAYS
