"""The commands about rows that were set aside: list, show, release, discard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from mendline.app import App
from mendline.config import load_config
from mendline.errors import InputError
from mendline.incident import to_json
from mendline.quality.holdings import HeldRow
from mendline.quality.release import Decision
from mendline.releasing import Decided, Kept, Word, give_up, kept, release, rows
from mendline.report.escape import clean
from mendline.surfaces.output import put, put_json, screen
from mendline.surfaces.person import is_sure, name_of
from mendline.surfaces.tables import cell


@dataclass(frozen=True, kw_only=True)
class Request:
    """A decision as typed; `by` and `dataset` are None, `note` is "", where the person did not say."""

    incident_id: str
    dataset: str | None
    by: str | None
    note: str
    is_forced: bool = False
    is_yes: bool = False
    as_json: bool = False

    def word(self) -> Word:
        """The request with the name of who makes it, and the time."""
        decision = Decision(by=name_of(self.by), at=datetime.now(UTC), note=clean(self.note))
        return Word(incident_id=self.incident_id, decision=decision, dataset=self.dataset, is_forced=self.is_forced)


def listed(config_file: Path, dataset: str | None, *, as_json: bool) -> None:
    """Print what stands in quarantine, per dataset and incident. Raises: `InputError` for an unknown dataset."""
    with closing(App.from_config(load_config(config_file))) as app:
        found = kept(app.services, dataset=dataset)
    if as_json:
        put_json([_as_json(one) for one in found])
    elif found:
        screen().print(_table(found))
    else:
        put("No row is in quarantine, and none was.")


def show(config_file: Path, about: str, limit: int, *, as_json: bool) -> None:
    """Print quarantined rows of an incident or a dataset, each with its reason; what looks secret in them is left out."""
    with closing(App.from_config(load_config(config_file))) as app:
        found = rows(app.services, about, limit)
        redact = app.hands.redactor.redact
    if as_json:
        put_json([_row_as_json(dataset, row, redact) for dataset, row in found])
    elif found:
        for dataset, row in found:
            put("\n".join(_row_lines(dataset, row, redact)))
        if len(found) == limit:
            put(f"(at most {limit} rows are shown; `--limit` shows more)")
    else:
        put(f"No row of `{clean(about)}` is in quarantine, and none was.")


def released(config_file: Path, request: Request) -> None:
    """Put rows back, and say how many stay and why. Raises: as `releasing.release`."""
    with closing(App.from_config(load_config(config_file))) as app:
        done = release(app.services, request.word(), is_served=app.is_served())
        after = kept(app.services, dataset=request.dataset, incident_id=request.incident_id)
    if request.as_json:
        put_json({"done": [json.loads(to_json(one)) for one in done], "quarantine": [_as_json(one) for one in after]})
    else:
        put("\n".join(_said("went back into", done, request)))
        screen().print(_table(after))


def discarded(config_file: Path, request: Request) -> int:
    """Give rows up, once the person is sure; 1 when not. Raises: `InputError` without a reason, else as `give_up`."""
    if not request.note.strip():
        raise InputError("say why these rows are given up: `--note TEXT` (it is kept with them)")
    word = request.word()
    with closing(App.from_config(load_config(config_file))) as app:
        before = kept(app.services, dataset=request.dataset, incident_id=request.incident_id)
        if before and not request.as_json:
            screen().print(_table(before))
        if before and not is_sure("Give up the held rows?", is_yes=request.is_yes, can_ask=not request.as_json):
            put("Nothing was discarded.")
            return 1
        done = give_up(app.services, word, is_served=app.is_served())
    if request.as_json:
        put_json({"done": [json.loads(to_json(one)) for one in done]})
    else:
        put("\n".join(_said("were given up (they are kept in quarantine) of", done, request)))
    return 0


def _table(found: Sequence[Kept]) -> Table:
    table = Table("Dataset", "Incident", "Rows", "State", "Set aside (UTC)", "Why", "Decided", box=None)
    for one in found:
        holding = one.holding
        decided = f"{holding.decided_by} {_at(holding.decided_at)}" if holding.decided_at else ""
        note = f": {holding.note}" if holding.note else ""
        table.add_row(
            cell(one.dataset, 30),
            cell(holding.incident_id),
            f"{holding.row_count:,}",
            cell(holding.state, style={"held": "yellow"}.get(holding.state, "")),
            _at(holding.last_at),
            cell("; ".join(holding.reasons), 70),
            cell(f"{decided}{note}", 60),
        )
    return table


def _said(verb: str, done: Sequence[Decided], request: Request) -> Iterator[str]:
    for one in done:
        yield clean(f"{one.moved_count:,} rows {verb} `{one.landing}`.")
        for staying in one.staying:
            yield clean(f"{staying.row_count:,} stay: {staying.reason}")
        if one.rerun_stages:
            yield clean(f"These stages read `{one.dataset}`; run them again: {', '.join(one.rerun_stages)}")
        if one.staying and not request.is_forced:
            yield "Correct the contract or the table and release again, or decide: `--force`, or `quarantine discard`."


def _row_lines(dataset: str, row: HeldRow, redact: Callable[[str], str]) -> Iterator[str]:
    yield clean(
        f"{dataset}, incident {row.incident_id}, {row.state}, {_at(row.quarantined_at)} UTC: "
        f"{row.check_names or row.reason}"
    )
    yield f"  {clean(redact(row.payload))}"


def _as_json(one: Kept) -> dict[str, Any]:
    return {"dataset": one.dataset, **json.loads(to_json(one.holding))}


def _row_as_json(dataset: str, row: HeldRow, redact: Callable[[str], str]) -> dict[str, Any]:
    return {"dataset": dataset, **json.loads(to_json(row)), "payload": redact(row.payload)}


def _at(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
