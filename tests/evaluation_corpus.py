"""Corpora for the tests of the evaluation: small, complete, and of logs that are easily told apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LOGS = {
    "SCHEMA_CHANGE": "sqlite3.OperationalError: table reading has no column named {word}",
    "DATA_QUALITY": "sqlite3.IntegrityError: UNIQUE constraint failed: {word}.id",
    "API_FAILURE": "requests.exceptions.HTTPError: 503 Server Error: Service Unavailable for url: http://{word}/x",
    "RESOURCE": "MemoryError: Unable to allocate 8.00 GiB for {word}",
    "UNKNOWN": "NameError: name '{word}' is not defined",
}
SUBTYPES = {
    "SCHEMA_CHANGE": "column_missing",
    "DATA_QUALITY": "duplicate_key",
    "API_FAILURE": "outage",
    "RESOURCE": "out_of_memory",
    "UNKNOWN": "code_bug",
}


def a_line(case_id: str, **fields: Any) -> dict[str, Any]:
    """One case as a corpus file holds it."""
    usual = {
        "id": case_id,
        "system": case_id.split("/", maxsplit=1)[0],
        "family": "renamed",
        "type": "SCHEMA_CHANGE",
        "subtype": "column_missing",
        "hard": False,
        "trap": "",
        "cause": "somebody renamed it",
        "language": "en",
        "software": [],
        "exit_status": 1,
        "log": f"{case_id} failed",
    }
    return usual | fields


def write_corpus(
    path: Path,
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
    families: Sequence[str] = (),
) -> Path:
    (path / "cases").mkdir(parents=True, exist_ok=True)
    split = {"validation": list(validation), "test": list(test), "families_of_test_only": list(families)}
    (path / "split.json").write_text(json.dumps(split), encoding="utf-8")
    for system, lines in rows.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (path / "cases" / f"{system}.jsonl").write_text(text, encoding="utf-8")
    return path


def five_of(system: str, ending: str = "") -> list[dict[str, Any]]:
    """One case of each type, its log ending as told."""
    return [
        a_line(
            f"{system}/{kind.lower()}",
            type=kind,
            subtype=SUBTYPES[kind],
            log=f"{system} began\n{LOGS[kind].format(word=system)}\n{ending}",
        )
        for kind in LOGS
    ]


def small_corpus(path: Path) -> Path:
    """`lathe` to learn from, `mill` for validation, `press` for the test: five cases each, one per type."""
    rows = {
        "lathe": five_of("lathe"),
        "mill": five_of("mill", "mill stopped\n"),
        "press": five_of("press", "the end\n"),
    }
    return write_corpus(path, rows, validation=["mill"], test=["press"])
