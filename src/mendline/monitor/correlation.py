"""Which failures have one cause: the same error in other words, or one stage failing because another did."""

from __future__ import annotations

import hashlib
import json
import re

from mendline.engines.base import FinishedRun, RunDescription
from mendline.incident import Failure

NAME = r"[\"'`\[]?(?P<name>[\w$.]+)[\"'`\]]?"
# The same missing thing is said in other words by other engines, and by one engine for qualified and plain names.
# Source: messages of DuckDB 2.0, PostgreSQL 15 and SQLite 3, provoked by hand.
MISSING = tuple(
    (thing, re.compile(pattern, re.IGNORECASE))
    for thing, pattern in (
        ("column", rf"referenced column {NAME} (?:was )?not found"),
        ("column", rf"does not have a column named {NAME}"),
        ("column", rf"column with name {NAME} does not exist"),
        ("column", rf"no such column: {NAME}"),
        ("column", rf"column {NAME} (?:of relation \S+ )?does not exist"),
        ("column", rf"could not find key {NAME} in struct"),
        ("table", rf"(?:table|view) with name {NAME} does not exist"),
        ("table", rf"no such (?:table|view): {NAME}"),
        ("table", rf"relation {NAME} does not exist"),
    )
)
URL = re.compile(r"(?P<host>[a-z][a-z0-9+.-]{0,30}://[^/\s'\"?#]+)(?P<path>[^\s'\"?#]*)\S*", re.IGNORECASE)
STATUS = re.compile(r"\b(?P<status>[45]\d\d)\b")
# What says that a whole service is in trouble, whichever of its pages was asked for.
WHOLE_SERVICE = re.compile(r"\b(?:5\d\d|429|401|403)\b|timed? ?out|timeout|refused|reset|unreachable", re.IGNORECASE)
NETWORK = re.compile(
    r"connect|timed? ?out|timeout|unreachable|reset by peer|refused|name resolution|http|protocol", re.IGNORECASE
)
# A quoted word is an identifier only where a word before it says so; other quoted text is a value.
INTRODUCED = re.compile(
    r"(?P<before>\b(?:column|table|view|relation|field|key|attribute|named?|module|file|schema|function|type)s?:? )?"
    r"'(?P<quoted>[^']*)'",
    re.IGNORECASE,
)
NAMES_ONLY = ("KeyError", "AttributeError", "NameError", "ModuleNotFoundError", "ImportError")
PLACE = re.compile(r"\b(?:line|position|pos|column|char|character|offset|row|at byte)s?:? \d+", re.IGNORECASE)
SIZE = re.compile(r"\b\d+(?:\.\d+)? ?(?:bytes?|[kmgt]i?b)\b", re.IGNORECASE)
HEX_OR_NUMBER = re.compile(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{8}-[0-9a-f-]{27}\b|[-+]?\d+(?:[.,:/-]\d+)*", re.IGNORECASE)


def correlate(run: FinishedRun, description: RunDescription) -> tuple[tuple[Failure, ...], ...]:
    """Group the failures of one run by cause; every failure is in exactly one group.

    Two failures have one cause when their signatures are equal, or when the stage of one waits, directly or not, for the
    stage of the other. Groups, and failures in a group, come in order of time.
    """
    failures = sorted(run.failures, key=lambda failure: (failure.failed_at, failure.stage or ""))
    groups: list[list[Failure]] = []
    for failure in failures:
        related = [group for group in groups if any(_one_cause(failure, other, description) for other in group)]
        merged = [other for group in related for other in group]
        groups = [group for group in groups if group not in related]
        groups.append([*merged, failure])
    ordered = [sorted(group, key=failures.index) for group in groups]
    return tuple(tuple(group) for group in sorted(ordered, key=lambda group: failures.index(group[0])))


def fingerprint(failures: tuple[Failure, ...]) -> str:
    """One word for one cause in one chain of runs; the same after a restart and for a re-run that fails alike."""
    parts = (
        failures[0].run.engine,
        failures[0].run.pipeline,
        failures[0].root_run_id,
        sorted({failure.stage or "" for failure in failures}),
        sorted({signature(failure) for failure in failures}),
        sorted({dataset for failure in failures for dataset in failure.datasets}),
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def signature(failure: Failure) -> str:
    """The error without what differs from stage to stage: values, numbers, places, aliases; identifiers stay.

    Says the stage too where the error says nothing of what is broken: then nothing shows that two of them are one.
    """
    message = failure.message.strip()
    for thing, pattern in MISSING:
        found = pattern.search(message)
        if found:
            return f"{failure.kind}: missing {thing} {found['name'].rsplit('.', 1)[-1].casefold()}"
    first = message.splitlines()[0] if message else ""
    # Only the first line names the service; further down, errors like to link to their documentation.
    url = URL.search(first)
    if url:
        return f"{failure.kind}: {_of_service(failure.error_class, first, url)}"
    says_where = bool(first) and not NETWORK.search(f"{failure.error_class} {first}")
    where = "" if says_where else f" in {failure.stage}"
    return f"{failure.kind}: {failure.error_class}: {_masked(first, failure.error_class)}{where}"


def _of_service(error_class: str, message: str, url: re.Match[str]) -> str:
    status = STATUS.search(message[: url.start()])
    what = status["status"] if status else error_class
    page = "" if WHOLE_SERVICE.search(message[: url.start()]) else HEX_OR_NUMBER.sub("#", url["path"])
    return f"{what} from {url['host'].casefold()}{page}"


def _masked(line: str, error_class: str) -> str:
    if error_class not in NAMES_ONLY:
        line = INTRODUCED.sub(lambda found: found[0] if found["before"] else "'?'", line)
    line = SIZE.sub("#", PLACE.sub("#", line))
    # Digits inside an identifier belong to it; only free-standing numbers are masked.
    return re.sub(r"(?<![\w\"'.])" + f"(?:{HEX_OR_NUMBER.pattern})" + r"(?![\w\"'])", "#", line, flags=re.IGNORECASE)


def _one_cause(one: Failure, other: Failure, description: RunDescription) -> bool:
    if signature(one) == signature(other):
        return True
    if one.stage is None or other.stage is None:
        return False
    return one.stage in description.downstream((other.stage,)) or other.stage in description.downstream((one.stage,))
