"""What an error points at: columns, tables, files, hosts, addresses, statuses, constraints, by the way engines print them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("column", r"(?i)constraint failed:? \w+\.(\w+)"),
        ("column", r"(?i)\bcolumns? [\"'`\[]([^\"'`\]\n]{1,80})[\"'`\]]"),
        ("column", r"(?i)\bfields? [\"'`]([^\"'`\n]{1,80})[\"'`]"),
        ("column", r"(?i)\bsource column \"?(\w+)"),
        ("column", r"\bKey \(\"?(\w+)\"?[,)]"),
        ("column", r"(?i)duplicate key \"(\w+): "),
        ("column", r"\bKeyError: ['\"]([\w .$-]{1,80})['\"]\s*$"),
        (
            "column",
            r"(?i)\bmissing (?:required )?(?:columns?|fields?)(?: in [\w.]+)?[:=]?\s+[\[{(]?['\"]?([A-Za-z_]\w*)",
        ),
        ("column", r"\binvalid identifier '\"?([\w$. ]+?)\"?'"),
        ("column", r"(?m)^(\w+(?:\.\w+)*)\n\s+(?:Field required|Input should|Value error|Extra inputs)"),
        ("column", r"(?i)expression \(?(?:CHECK)?\(*\"?([A-Za-z_]\w*)\"?\s*(?:>|<|=|!|BETWEEN|IN\b|IS\b)"),
        ("table", r"(?i)constraint failed:? (\w+)\.\w+"),
        ("table", r"(?i)\b(?:table|relation|view)(?: with name| named)? [\"'`«\[]([\w.$]+)[\"'`»\]]"),
        ("table", r"(?i)\b(?:table|relation) with name (\w+)"),
        ("table", r"(?i)\bon table \"?(\w+)\"? with"),
        ("constraint", r"(?i)\bconstraint [\"'`«]([\w.$-]+)[\"'`»]"),
        ("constraint", r"(?i)with expression ((?:CHECK)?\(.{1,200}\))"),
        ("url", r"\b((?:https?|s3|s3a|gs|abfss?|hdfs|ftp|sftp)://[^\s'\"<>\\)\]}]+[^\s'\"<>\\)\]}.,;:])"),
        ("host", r"\bhost=['\"]([\w.-]+)['\"]"),
        ("host", r"(?i)\b(?:host|server)(?: at| name)? [\"']([\w.-]+)[\"']"),
        ("host", r"://(?:[^/@\s]+@)?([A-Za-z0-9.-]+)(?=[:/'\"\s]|$)"),
        (
            "file",
            r"[\"'`](/?[\w./ =-]*[\w-]\.(?:csv|tsv|jsonl?|ndjson|parquet|avro|orc|xml|txt|xlsx?|gz|zip|db|duckdb)(?:\.gz)?)[\"'`]",
        ),
        (
            "file",
            r"(?<![\w:/.])((?:/|\./)?[\w.=-]+(?:/[\w.=-]+)*\.(?:csv|tsv|jsonl|ndjson|json|parquet|avro|orc|xml|xlsx?)(?:\.gz)?)(?![\w/])",
        ),
    )
)
_LIMIT = 12
_NOT_A_NAME = frozenset(
    {"of", "in", "the", "a", "with", "is", "not", "for", "from", "to", "or", "and", "reference", "name"}
)


def entities_in(text: str, slots: Iterable[Mapping[str, str]] = ()) -> dict[str, tuple[str, ...]]:
    """Name what `text` points at, by kind, each value once, in order of mention; the slots of known messages come first."""
    found: dict[str, dict[str, None]] = {}
    for slot in slots:
        for kind, value in slot.items():
            _add(found, kind, value)
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(text, 0, 20_000):
            _add(found, kind, match.group(1))
    return {kind: tuple(values)[:_LIMIT] for kind, values in found.items() if values}


def _add(found: dict[str, dict[str, None]], kind: str, value: str) -> None:
    cleaned = value.strip(" \"'`«»[]")
    if kind == "column" and re.fullmatch(r"\w+(?:\.\w+)+", cleaned):
        cleaned = cleaned.rsplit(".", 1)[-1]
    if kind == "url":
        cleaned = cleaned.partition("?")[0]
    if cleaned and cleaned.lower() not in _NOT_A_NAME:
        found.setdefault(kind, {}).setdefault(cleaned)
