"""What the statistical model sees of a log: the words of its errors, by the part that each error plays, and no name or number."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from mendline.classify.beliefs import ECHO
from mendline.classify.log_reader import ErrorRecord, LogReading

WORD_COUNT = 160  # words of one record that count; what follows is the statement and the data
RECORD_COUNT = 6
CONTEXT_COUNT = 12
# The part an error plays: the root of what ended the stage, what wraps it, what was handled; and the last calm lines.
ROOT, WRAPPER, HANDLED, CONTEXT = "root", "wrapper", "handled", "context"

_PATH = re.compile(r"(?:[A-Za-z]:)?(?:/[\w.@+-]+){2,}/?|https?://\S+|\b[\w-]+(?:\.[\w-]+)*\.invalid\b")
_NAME = re.compile(r"""(['"`«„“‘])([^'"`»“”’\n]{1,60})(['"`»“”’])""")
_WORD = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")
_CAMEL = re.compile(r"[a-z][A-Z]|[A-Z]{2,}[a-z]")


def features(reading: LogReading) -> Mapping[str, float]:
    """The words and pairs of words of the log's errors, each with the share of its part's attention (Euclidean length 1)."""
    found: dict[str, float] = {}
    for part, texts in _parts(reading).items():
        counted = Counter(term for text in texts for term in set(terms(text)))
        length = sum(count * count for count in counted.values()) ** 0.5
        for term, count in counted.items():
            found[f"{part}|{term}"] = count / length
    return found


def _parts(reading: LogReading) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    fatal = {id(error) for error in reading.fatal if not error.is_handled}
    for error in reading.errors:
        part = HANDLED if id(error) not in fatal else ROOT if error.is_root else WRAPPER
        parts.setdefault(part, []).append(_said(error))
    kept = {part: texts[:RECORD_COUNT] for part, texts in parts.items()}
    kept[CONTEXT] = [line.text for line in reading.context[-CONTEXT_COUNT:]]
    return kept


def _said(error: ErrorRecord) -> str:
    return ECHO.sub(" ", error.text)


def terms(text: str) -> Iterator[str]:
    """Give the words of a text and the pairs of neighbours, lower case; names in quotes, paths and numbers are left out."""
    words = list(_words(text))[:WORD_COUNT]
    yield from words
    for first, second in itertools.pairwise(words):
        yield f"{first} {second}"


def _words(text: str) -> Iterable[str]:
    plain = _NAME.sub(_what_is_quoted, _PATH.sub(" ", text))
    for match in _WORD.finditer(plain):
        word = match.group()
        if len(word) > 1:
            yield word.lower()


def _what_is_quoted(match: re.Match[str]) -> str:
    """A class name in quotes speaks; anything else in quotes is a name or a value of the user's."""
    inside = match.group(2)
    return f" {inside} " if _CAMEL.search(inside) and " " not in inside else " "
