"""`mendline undo`: show what would be taken back and what stands in the way, then take it back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from mendline.app import App
from mendline.config import load_config
from mendline.incident import to_json
from mendline.report.escape import clean
from mendline.surfaces.output import put, put_json
from mendline.surfaces.person import is_sure, name_of
from mendline.undoing import Undoing, survey, undo


def undone(config_file: Path, incident_id: str, by: str | None, *, is_yes: bool, as_json: bool) -> int:
    """Undo an incident's repairs, once the person is sure; 0 when all that could be undone is, 1 when something stands.

    Raises: `InputError` when there is nothing to undo or nobody could be asked, `Unavailable` when somebody is at it.
    """
    person = name_of(by)
    with closing(App.from_config(load_config(config_file))) as app:
        found = survey(app.services, app.repairs, incident_id)
        if any(one.is_due for one in found):
            if not as_json:
                put("\n".join(_lines(found)))
            if not is_sure(f"Undo this for incident {incident_id}?", is_yes=is_yes, can_ask=not as_json):
                put("Nothing was undone.")
                return 1
            served = app.is_served()
            found = undo(app.services, app.repairs, incident_id, by=person, at=datetime.now(UTC), is_served=served)
    if as_json:
        put_json([json.loads(to_json(one)) for one in found])
    else:
        put("\n".join(_lines(found)))
    return int(not all(one.undone_at is not None or one.is_lasting for one in found) or _is_idle(found))


def _is_idle(found: Sequence[Undoing]) -> bool:
    return all(one.is_lasting for one in found)


def _lines(found: Sequence[Undoing]) -> Iterator[str]:
    for one in found:
        about = f" on `{one.dataset}`" if one.dataset else ""
        yield clean(f"`{one.repair}`{about}, applied {_at(one.applied_at)}: {one.did}")
        yield clean(f"  {_state(one)}")
        if one.undone_at is not None and one.rerun_stages:
            yield clean(f"  What ran since keeps its results; run again: {', '.join(one.rerun_stages)}")


def _state(one: Undoing) -> str:
    if one.undone_at is not None:
        return f"undone at {_at(one.undone_at)}"
    if one.is_lasting:
        return f"cannot be undone: {one.undo}"
    return f"cannot be undone: {one.obstacle}" if one.obstacle else f"can be undone: {one.undo}"


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
