"""The log of one Dagster run or stage as plain lines; loaded by `dagster_host.py`, imports nothing of Mendline."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any

from dagster import DagsterEventType as Event
from dagster import DagsterInstance, EventLogEntry

UTC = timezone.utc  # noqa: UP017 - the pipeline's interpreter may be older than 3.11
TAIL_BYTES = 4_000_000
CHUNK_BYTES = 1_000_000
ANSI = re.compile(r"\x1b\[[0-9;]*m")
# What Dagster's own console logger writes into the captured stderr; the structured events say the same.
CONSOLE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} - dagster - [A-Z]+ - ")
STEP_BORDER = re.compile(r" - (?P<step>\S+) - STEP_(?P<border>START|RESTARTED|SUCCESS|FAILURE|SKIPPED|UP_FOR_RETRY)\b")
LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}


def stage_of(step_key: str) -> str:
    """The stage that a step belongs to."""
    return step_key.split("[", 1)[0]


def log_lines(instance: DagsterInstance, entries: Iterable[EventLogEntry], run_id: str, stage: str | None) -> list[str]:
    """The events of the stage (all, when None) with their errors, then what it printed, oldest first.

    What several stages printed into one file is told apart by Dagster's own step records in it; where there are none (they
    go to stderr only), the whole file counts as the stage's own.
    """
    lines: list[str] = []
    told: set[str] = set()
    captures: list[Any] = []
    began: set[str] = set()
    for entry in entries:
        if entry.dagster_event_type is Event.LOGS_CAPTURED and entry.dagster_event:
            captures.append(entry.dagster_event.event_specific_data)
        if entry.dagster_event_type is Event.STEP_START and entry.step_key:
            began.add(stage_of(entry.step_key))
        written = _entry_lines(entry)
        told.update(line.strip() for line in _console_lines(entry))
        if stage is None or (entry.step_key and stage_of(entry.step_key) == stage):
            lines += written
    for capture in captures:
        steps = [stage_of(key) for key in capture.step_keys or ()]
        if stage is None or (stage in began and stage in (steps or began)):
            alone = stage is None or set(steps) == {stage} or began == {stage}
            lines += _captured_lines(instance, run_id, capture.file_key, told, None if alone else stage)
    return lines


def error_lines(error: Any) -> list[str]:
    """A recorded error as Python prints it: the first cause first."""
    before, words = error.cause, "The above exception was the direct cause of the following exception:"
    if before is None:
        before, words = error.context, "During handling of the above exception, another exception occurred:"
    lines = [*error_lines(before), "", words, ""] if before is not None else []
    if error.stack:
        lines.append("Traceback (most recent call last):")
        lines += "".join(error.stack).splitlines()
    message: list[str] = error.message.rstrip("\n").splitlines()
    return lines + message


def _error_of(entry: EventLogEntry) -> Any:
    data = entry.dagster_event.event_specific_data if entry.dagster_event else None
    return getattr(data, "error", None) or entry.error_info


def _entry_lines(entry: EventLogEntry) -> list[str]:
    at = datetime.fromtimestamp(entry.timestamp, UTC).isoformat(sep=" ", timespec="milliseconds")
    event = entry.dagster_event_type
    words = [at, LEVELS.get(int(entry.level), str(entry.level)), entry.step_key or "-"]
    words += [event.value] if event else []
    first, *rest = (entry.user_message or "").splitlines() or [""]
    error = _error_of(entry)
    return [" ".join([*words, first]).rstrip(), *rest, *(error_lines(error) if error is not None else ())]


def _console_lines(entry: EventLogEntry) -> list[str]:
    error = _error_of(entry)
    return (entry.user_message or "").splitlines()[1:] + (error.to_string().splitlines() if error is not None else [])


def _captured_lines(
    instance: DagsterInstance, run_id: str, file_key: str, told: set[str], stage: str | None
) -> Iterator[str]:
    manager = instance.compute_log_manager
    key = manager.build_log_key_for_run(run_id, file_key)
    out, err = _tails(manager, list(key))
    for name, text in (("stdout", out), ("stderr", err)):
        borders = stage is not None and _has_borders(text)
        own = list(_own_lines(text, told, stage if borders else None))
        if own:
            yield f"--- captured {name}{' (of all stages of the run)' if stage and not borders else ''} ---"
            yield from own


def _tails(manager: Any, key: list[str]) -> tuple[str, str]:
    """The ends of the captured stdout and stderr, read in pieces so that a huge log stays out of memory."""
    out, err, cursor = b"", b"", None
    while True:
        data = manager.get_log_data(key, cursor=cursor, max_bytes=CHUNK_BYTES)
        if not data.stdout and not data.stderr:
            return out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
        out, err = (out + (data.stdout or b""))[-TAIL_BYTES:], (err + (data.stderr or b""))[-TAIL_BYTES:]
        cursor = data.cursor


def _has_borders(text: str) -> bool:
    plain = (ANSI.sub("", line) for line in text.splitlines())
    return any(CONSOLE.match(line) and STEP_BORDER.search(line) for line in plain)


def _own_lines(text: str, told: set[str], stage: str | None) -> Iterator[str]:
    current: str | None = None
    for line in (ANSI.sub("", line) for line in text.splitlines()):
        if CONSOLE.match(line):
            border = STEP_BORDER.search(line)
            if border:
                begins = border["border"] in ("START", "RESTARTED")
                current = stage_of(border["step"]) if begins else None
        elif line.strip() and line.strip() not in told and stage in (None, current):
            yield line
