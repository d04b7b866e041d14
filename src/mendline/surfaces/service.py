"""The commands that work with the built application: serve, check, tool."""

from __future__ import annotations

import json
import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from mendline.app import App, stranded_line
from mendline.config import load_config
from mendline.errors import ConfigError, InputError, Unavailable
from mendline.incident import Declined, Finding, Plan, Receipt, to_json
from mendline.redaction import Redactor
from mendline.report.escape import clean
from mendline.surfaces.output import put, put_json


@dataclass(frozen=True, kw_only=True)
class ToolRequest:
    """One tool to run by hand."""

    name: str
    incident_id: str | None
    dataset: str | None
    apply: bool


class SafeFormatter(logging.Formatter):
    """Our own log quotes other people's errors: no secret and no terminal sequence gets into it."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redactor = redactor

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        record.message = clean(self._redactor.redact(record.message))
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is logging's
        return "\n".join(clean(line) for line in self._redactor.redact(super().formatException(ei)).split("\n"))


def serve(config_file: Path) -> int:
    """Run until a signal; the exit code: 0 after SIGTERM, 130 after Ctrl-C. Work that is cut off goes on at the next start.

    Raises: `ConfigError` when the configuration cannot work or another process serves it.
    """
    app = App.from_config(load_config(config_file))
    handler = logging.StreamHandler()
    handler.setFormatter(SafeFormatter(app.hands.redactor))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("mendline").setLevel(logging.INFO)
    stop = threading.Event()
    with _stopped_by_signals(stop) as received:
        app.serve(stop)
    return 130 if signal.SIGINT in received else 0


def check(config_file: Path, *, as_json: bool) -> None:
    """Print one sentence per thing that Mendline may do with what is configured.

    Raises: `ConfigError` also when a configured system does not answer: what was asked is whether the file works.
    """
    with closing(App.from_config(load_config(config_file))) as app:
        try:
            said = app.check()
        except Unavailable as error:
            raise ConfigError(str(error), system=error.system, operation=error.operation) from error
    if as_json:
        put_json({"ok": True, "config": str(config_file), "allowed": list(said)})
        return
    put(f"`{config_file}` is valid and everything it names answers.")
    for sentence in said:
        put(f"- {clean(sentence)}")


def adopt(config_file: Path, incident_ids: Sequence[str], *, is_all: bool, as_json: bool) -> None:
    """Begin stranded incidents anew at the next start of the service; without ids, only list them.

    Raises: `InputError` for an incident that does not stand still or has a repair in effect; those before it are adopted.
    """
    config = load_config(config_file)
    with closing(App.from_config(config)) as app:
        found = app.stranded()
        wanted = tuple(found) if is_all else tuple(incident_ids)
        for incident_id in wanted:
            app.adopt(incident_id)
    if as_json:
        still = [{"incident": each, "version": version} for each, version in found.items() if each not in wanted]
        put_json({"adopted": list(wanted), "stranded": still})
        return
    for incident_id, version in found.items():
        if incident_id not in wanted:
            put(f"{stranded_line(incident_id, version)}.")
    for incident_id in wanted:
        put(f"Incident {incident_id} begins anew when `mendline serve` starts next.")
    if not found:
        put("No incident stands still.")


def tool(config_file: Path, request: ToolRequest, *, as_json: bool) -> None:
    """Run one tool and print its answer. Raises: `InputError` for an unknown tool, incident or dataset."""
    if request.incident_id is None and request.dataset is None:
        raise InputError(
            "say what the tool is to work on: `--incident ID` (see `mendline incidents`) or `--dataset NAME`"
        )
    with closing(App.from_config(load_config(config_file))) as app:
        answer = app.tool(request.name, incident_id=request.incident_id, dataset=request.dataset, apply=request.apply)
    if as_json:
        kind = tuple[Finding, ...] if isinstance(answer, tuple) else type(answer)
        put_json(json.loads(to_json(answer, kind)))
    else:
        put("\n".join(_lines(answer)))


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[list[int]]:
    """Set `stop` on the first SIGINT or SIGTERM; a second one ends the process at once."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        stop.set()
        signal.signal(number, before[number])

    before: dict[int, Any] = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _lines(answer: tuple[Finding, ...] | Plan | Declined | Receipt) -> Iterator[str]:
    if isinstance(answer, tuple):
        for finding in answer:
            about = f" on {finding.dataset}" if finding.dataset else ""
            yield clean(f"{finding.tool}{about}: {finding.verdict.value}: {finding.summary}")
    elif isinstance(answer, Plan):
        yield clean(f"Plan, nothing done (sure {answer.confidence:.2f}): {answer.summary}")
        for statement in answer.statements:
            yield from ("  " + clean(line) for line in statement.splitlines())
        yield clean(f"Undo: {answer.undo_summary}" if answer.is_reversible else "This cannot be undone.")
    elif isinstance(answer, Declined):
        yield clean(f"Declined: {answer.reason}")
        if answer.needed:
            yield clean(f"Needed: {answer.needed}")
    else:
        yield clean(f"Applied: {answer.summary}")
