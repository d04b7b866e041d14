"""Hints that no single message gives: what the log printed before it failed, held against what the error names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mendline.classify import headers
from mendline.classify.beliefs import ECHO, Belief
from mendline.classify.log_reader import ErrorRecord, LogReading

NONE_PRINTED, HOLDS_NAME = "header: none printed", "header: holds the name"
SOME_LACK_NAME, LACKS_NAME = "header: some lack the name", "header: lacks the name"
SERVER_IN_TROUBLE = "a value is an answer of a server in trouble"
HOLD_EXACTLY = "header: all hold the very name"
RESEMBLES, MISSPELT = "header: holds a name like it", "header: holds the name with another letter"
_TELLS_HEADER = re.compile(r"(?i)header|column|field|key|schema|names|dtype|attributes|members|found|layout|head\b")
_STATEMENT = re.compile(r"(?i)\b(?:select|insert|update|merge|copy|create|values)\b")
_KEY = re.compile(r"""KeyError: ['"]([^'"\n]{1,60})['"]""")
_OBJECT = re.compile(r"""["'`=: (]\{\s*["'\\]|input_type=(?:dict|list)|: ["']?\[\{""")
_OUTAGE_IN_VALUE = re.compile(
    r"(?i)<html|<!doctype|<head|text/html"
    r"|['\"](?:error|status|code|message)['\"]: ?['\"]?(?:5\d\d|unavailable|service|upstream|internal|maintenance|rate|too many)"
)
_NOTHING = re.compile(
    r"(?<![\w.,:-])(?:0|[Nn]o) (?:new )?[a-z]{3,}s\b(?! (?:failed|skipped|ignored|without|warn|error))"
)
_BYTES = re.compile(r"\b(\d{1,15}) (?:of|/) (\d{1,15}) bytes\b")
_NOT_THERE = re.compile(
    r"(?i)no such file|failed to load external entity|file not found|does not exist: ?/|can't open "
)
_SETTINGS = re.compile(
    r"(?i)(?<!-)\b(?:settings?|config(?:uration)?|profiles?|propert(?:y|ies)|environment)\b|\.(?:ya?ml|toml|ini|cfg|conf|env)\b"
)
_VARIABLE = re.compile(
    r"(?<![\w.\[])[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+(?=: (?:strconv|invalid|expected)|=| must| is not| is empty| not set| has)"
)
_LIBRARY = re.compile(r"site-packages|dist-packages|/lib/python|node_modules|/usr/lib|<frozen")


def cues(reading: LogReading, beliefs: Sequence[Belief]) -> Mapping[str, float]:
    """The cues that a log gives, each 1.0; those that it does not give are left out."""
    roots = [error for error in reading.fatal if error.is_root]
    named = set(named_in(roots, beliefs))
    found = list(_headers_say(reading, named))
    said = "\n".join(error.text for error in roots)
    if any(_OBJECT.search(echo) for echo in (match.group() for match in ECHO.finditer(said))) or _OBJECT.search(said):
        found.append("a value is an object")
    if _OUTAGE_IN_VALUE.search("\n".join(error.text for error in reading.fatal)):
        found.append(SERVER_IN_TROUBLE)
    found.extend(f"raised in {place}" for place in _places(roots))
    calm = "\n".join(line.text for line in reading.context)
    if _NOTHING.search(calm):
        found.append("a count is zero")
    if any(int(got) < int(whole) for got, whole in _BYTES.findall(calm)):
        found.append("fewer bytes than announced")
    warned = "\n".join(error.text for error in reading.errors if error.is_handled)
    if _NOT_THERE.search(f"{calm[-4000:]}\n{warned}"):
        found.append("a file was not there")
    if (
        _VARIABLE.search(said)
        or _SETTINGS.search(said)
        or _SETTINGS.search("\n".join(line.text for line in reading.context[-2:]))
    ):
        found.append("settings are named")
    if any(error.is_handled for error in reading.errors):
        found.append("something was handled")
    return dict.fromkeys(found, 1.0)


def named_in(roots: Iterable[ErrorRecord], beliefs: Iterable[Belief]) -> Iterator[str]:
    """The columns that the errors name."""
    for belief in beliefs:
        if belief.hit is not None and belief.hit.slots.get("column"):
            yield headers.plain(belief.hit.slots["column"])
    for error in roots:
        yield from map(headers.plain, _KEY.findall(error.text))


def _headers_say(reading: LogReading, named: set[str]) -> Iterator[str]:
    """Whether the names that an error misses stand in the headers that the log printed."""
    if not named:
        return
    told = [line for line in printed(reading) if not _STATEMENT.search(line)]
    found = [
        names
        for line in told
        for names in headers.lists_of([line])
        if len(names) >= headers.SURELY_NAMES or _TELLS_HEADER.search(line)
    ][-headers.LIST_COUNT :]
    if not found:
        yield NONE_PRINTED
        return
    holding = [any(_is_alike(name, other) for name in named for other in header) for header in found]
    yield HOLDS_NAME if all(holding) else SOME_LACK_NAME if any(holding) else LACKS_NAME
    if all(named & set(header) for header in found):
        yield HOLD_EXACTLY
    names = {other for header in found for other in header}
    if not named & names and any(other.startswith(f"{name}_") for name in named for other in names):
        yield RESEMBLES
    if any(headers.is_misspelt(name, other) for name in named - names for other in names):
        yield MISSPELT


def printed(reading: LogReading) -> list[str]:
    """What the log printed beside its errors, and in those that were handled."""
    handled = (line.text for error in reading.errors if error.is_handled for line in error.lines)
    return [*(line.text for line in reading.context), *handled]


def _is_alike(name: str, other: str) -> bool:
    """Say whether one name begins the other: a source's `started` is often the target's `started_at`."""
    return name == other or name.startswith(f"{other}_") or other.startswith(f"{name}_")


def _places(roots: Iterable[ErrorRecord]) -> set[str]:
    """Where the root errors were raised: in the pipeline's own code, in a library, or in code that reads the environment."""
    places = set()
    for error in roots:
        frames = [frame for frame in error.frames if frame.startswith("File ")]
        if frames:
            places.add("a library" if _LIBRARY.search(frames[-1]) else "own code")
        if "environ" in "".join(error.frames[-4:]):
            places.add("the environment")
    return places
