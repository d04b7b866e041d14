"""Tool `retrieve_logs`: ask the engine for the failing stage's log, and clean it before anything else sees it."""

from __future__ import annotations

from mendline.engines.base import Engine
from mendline.incident import Failure, FailureKind, RunRef
from mendline.redaction import Redactor, tame

NAME = "retrieve_logs"
WATCH = "quality watch"


def retrieve_logs(engine: Engine, failure: Failure, run: RunRef, redactor: Redactor) -> tuple[str, tuple[str, ...]]:
    """Give the name and the redacted lines of the log of `failure`'s stage in `run` (maybe a later run of its chain).

    The lines are all that the engine has for that stage, in its order, none when it kept nothing. A failure that the data
    watch saw has no log of its own: its lines are what the watch counted.

    Raises: `Unavailable` when the engine cannot be reached.
    """
    if failure.kind is FailureKind.BAD_DATA:
        return WATCH, tuple(redactor.redact_lines(map(tame, failure.message.splitlines())))
    return f"{engine.name}:{run.run_id}", tuple(redactor.redact_lines(map(tame, engine.logs(run, failure.stage))))
