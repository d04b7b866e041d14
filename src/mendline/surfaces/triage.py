"""`mendline triage`: a log in, a verdict out; needs no configuration and touches nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from mendline.classify import log_reader, verdict
from mendline.errors import InputError
from mendline.incident import Classification
from mendline.redaction import Redactor
from mendline.report.escape import clean, cut
from mendline.report.page import percent
from mendline.surfaces.output import put, put_json

NEXT_STEPS = {
    "inspect_schema_diff": "compare the schema that the source sends now with the last good one",
    "profile_failed_batch": "check the rows of the failed batch against their contract",
    "check_api_status": "ask the source whether it answers as it should, then retry",
    "escalate": "call a person: no safe repair is known for this",
}
QUOTES_SHOWN = 8


def one(name: str, *, as_json: bool) -> None:
    """Judge one log (a path, or - for standard input) and print the verdict.

    Raises: `InputError` for a log that cannot be read, is empty or is no text.
    """
    with _opened(name) as file:
        reading = log_reader.read_file(file)
    if reading.is_empty:
        raise InputError(f"{_called(name)} is empty: there is nothing to judge; give the log of the failed stage")
    if reading.is_binary:
        raise InputError(f"{_called(name)} is binary data, not a text log; unpack or decode it first")
    found = verdict.classify(reading)
    if as_json:
        put_json(_as_object(found), indent=None)
    else:
        put("\n".join(_as_text(found)))


def many(name: str) -> None:
    """Judge one log per line of `{"id", "log"}` and print one object with its id for each, in order.

    A line that is not such an object is answered with its `line` number and an `error`; the others are not affected.

    Raises: `InputError` when the input as a whole cannot be read or holds no line at all.
    """
    any_line = False
    with _opened(name) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                any_line = True
                # One answer at a time, so that a program at the other end of a pipe may wait for each.
                put_json(_answer(number, line), indent=None)
    if not any_line:
        raise InputError(f'{_called(name)} is empty; give one JSON object `{{"id": ..., "log": ...}}` per line')


def _answer(number: int, line: bytes) -> dict[str, Any]:
    try:
        request = _request(line)
    except InputError as error:
        return {"line": number, "error": str(error)}
    known = {"id": request["id"]} if "id" in request else {}
    missing = "id" if not known else "" if isinstance(request.get("log"), str) else "log"
    if missing:
        return {**known, "line": number, "error": f"the key `{missing}` is missing or of the wrong type"}
    return {**known, **_as_object(verdict.classify_text(request["log"]))}


def _request(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {cut(clean(str(error)), 120)}") from None
    if not isinstance(request, dict):
        raise InputError(f"expected an object, found {type(request).__name__}")
    return request


def _as_object(found: Classification) -> dict[str, Any]:
    redactor = Redactor()
    return {
        "type": found.type.value,
        "subtype": found.subtype,
        "confidence": round(found.confidence, 4),
        "evidence": [{"line": item.line, "quote": redactor.redact(item.quote)} for item in found.evidence],
        "recommended_next_step": found.recommended_next_step,
        "alternatives": [
            {"type": other.type.value, "subtype": other.subtype, "confidence": round(other.confidence, 4)}
            for other in found.alternatives
        ],
    }


def _as_text(found: Classification) -> Iterator[str]:
    redactor = Redactor()
    subtype = f" / {clean(found.subtype)}" if found.subtype else ""
    yield f"Type:       {found.type.value}{subtype}"
    yield f"Confidence: {percent(found.confidence)}"
    if found.alternatives:
        others = (f"{other.type.value} {percent(other.confidence)}" for other in found.alternatives)
        yield f"Or:         {', '.join(others)}"
    yield "Evidence:" if found.evidence else "Evidence:   no line of the log tells the cause"
    for item in found.evidence[:QUOTES_SHOWN]:
        yield f"  line {item.line}: {cut(clean(redactor.redact(item.quote)), 400)}"
    if len(found.evidence) > QUOTES_SHOWN:
        yield f"  … and {len(found.evidence) - QUOTES_SHOWN} more lines"
    step = found.recommended_next_step
    yield f"Next:       {step}: {NEXT_STEPS.get(step, 'see the playbook')}"


def _called(name: str) -> str:
    return "standard input" if name == "-" else f"`{name}`"


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    """The input as a binary stream. Raises: `InputError` when it cannot be opened."""
    if name == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(name).open("rb")
    except FileNotFoundError:
        raise InputError(f"`{name}` does not exist; give the path of a log file, or - for standard input") from None
    except IsADirectoryError:
        raise InputError(f"`{name}` is a directory; give one log file in it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"`{name}` cannot be read: {reason}; check the file and its permissions") from error
