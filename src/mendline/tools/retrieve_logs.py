"""Tool `retrieve_logs`: ask the engine for the failing stage's log, clean it, keep the lines that matter."""

from __future__ import annotations

from mendline.classify import log_reader
from mendline.engines.base import Engine
from mendline.incident import Failure, FailureKind, LogExcerpt, LogLine, RunRef
from mendline.redaction import Redactor

NAME = "retrieve_logs"


def retrieve_logs(engine: Engine, failure: Failure, run: RunRef, redactor: Redactor) -> LogExcerpt:
    """Give the redacted excerpt of the log of `failure`'s stage in `run` (which may be a later run of the same chain).

    Line numbers are those of the engine's whole log for that stage. A failure that the data watch saw has no log of its
    own: its excerpt is the watch's finding, source "quality watch". An engine that kept nothing gives an empty excerpt.

    Raises: `Unavailable` when the engine cannot be reached.
    """
    if failure.kind is FailureKind.BAD_DATA:
        lines = tuple(
            LogLine(number=number, text=redactor.redact(text))
            for number, text in enumerate(failure.message.splitlines(), start=1)
        )
        return LogExcerpt(source="quality watch", lines=lines, total_count=len(lines))
    raw = engine.logs(run, failure.stage)
    return log_reader.read(redactor.redact_lines(raw), source=f"{engine.name}:{run.run_id}").excerpt
