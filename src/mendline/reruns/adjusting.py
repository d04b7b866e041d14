"""The next configuration to try, within the bounds that the team gives; pure, nothing is changed in place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mendline.config import Adjustment
from mendline.engines.base import TAG_INCIDENT, RunDescription
from mendline.errors import Rejected
from mendline.incident import Classification, ConfigChange, Incident

ABSENT = object()


@dataclass(frozen=True, kw_only=True)
class Step:
    """What the next re-run changes of the scheduled configuration.

    `obstacles` say why adjustments that are meant for this failure have no (further) step; `is_meant`: there is one for it.
    """

    changes: tuple[ConfigChange, ...] = ()
    obstacles: tuple[str, ...] = ()
    is_meant: bool = False
    has_moved: bool = False


def scheduled_config(chain: Sequence[RunDescription], incident: Incident) -> Mapping[str, Any]:
    """The configuration as it was before Mendline changed any of it: that of the newest run that this incident did not start."""
    theirs = [run for run in chain if run.tags.get(TAG_INCIDENT) != incident.id]
    return (theirs or chain)[-1].config


def next_step(
    adjustments: Iterable[Adjustment],
    belief: Classification,
    stages: Iterable[str],
    scheduled: Mapping[str, Any],
    latest: Mapping[str, Any],
) -> Step:
    """One step further than the chain's `latest` configuration, told as changes of the `scheduled` one.

    What an earlier re-run of the incident changed and this failure does not ask about stays as it was in that re-run. Of two
    adjustments of one path, the first that is meant for the failure counts.
    """
    failed, seen = set(stages), set[str]()
    changes: list[ConfigChange] = []
    obstacles: list[str] = []
    moved = meant = False
    for adjustment in sorted(adjustments, key=lambda each: not _is_meant(each, belief, failed)):
        if adjustment.path in seen:
            continue
        seen.add(adjustment.path)
        before, current = value_at(scheduled, adjustment.path), value_at(latest, adjustment.path)
        after, obstacle = current, ""
        if _is_meant(adjustment, belief, failed):
            meant = True
            after, obstacle = _stepped(adjustment, current)
        obstacles += [obstacle] if obstacle else []
        moved = moved or (not obstacle and after is not current)
        if after is not ABSENT and not _is_equal(after, before):
            changes.append(_change(adjustment, before, after))
    return Step(changes=tuple(changes), obstacles=tuple(obstacles), is_meant=meant, has_moved=moved)


def next_value(adjustment: Adjustment, current: Any) -> Any:
    """The value after `current`, inside the bounds; None when they leave none. A whole number stays one."""
    if adjustment.set_to is not None:
        return None if _is_equal(current, adjustment.set_to) else adjustment.set_to
    factor = adjustment.multiply_by or 1.0
    low = -math.inf if adjustment.min is None else adjustment.min
    high = math.inf if adjustment.max is None else adjustment.max
    wanted = min(max(current * factor, low), high)
    if isinstance(current, int):
        wanted = math.floor(wanted) if factor < 1 else math.ceil(wanted)
        if not low <= wanted <= high:  # no whole number is left between here and the bound
            wanted = math.ceil(low) if factor < 1 else math.floor(high)
    goes_on = wanted < current if factor < 1 else wanted > current
    return wanted if goes_on and low <= wanted <= high else None


def value_at(config: Mapping[str, Any], path: str) -> Any:
    """What stands at a dotted path; `ABSENT` when nothing does."""
    found: Any = config
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return ABSENT
        found = found[part]
    return found


def with_changes(config: Mapping[str, Any], changes: Iterable[ConfigChange]) -> dict[str, Any]:
    """A configuration with the changes made.

    Raises: `Rejected` when a place does not hold what the change was planned from, or is inside something that has no keys.
    """
    changed = dict(config)
    for change in changes:
        found = value_at(config, change.path)
        if not _is_equal(None if found is ABSENT else found, change.before):
            raise Rejected(
                f"`{change.path}` is `{found if found is not ABSENT else 'not there'}` in the run's configuration, where"
                f" `{change.before}` was expected; nothing was re-run",
                operation="rerun",
            )
        changed = _with(changed, change.path.split("."), change)
    return changed


def _with(config: Mapping[str, Any], path: list[str], change: ConfigChange) -> dict[str, Any]:
    first, *rest = path
    if not rest:
        return {**config, first: change.after}
    inner = config.get(first, {})
    if not isinstance(inner, Mapping):
        raise Rejected(
            f"`{change.path}` cannot be set: `{first}` is no mapping in the run's configuration", operation="rerun"
        )
    return {**config, first: _with(inner, rest, change)}


def _is_meant(adjustment: Adjustment, belief: Classification, failed: set[str]) -> bool:
    return (
        belief.type in adjustment.on
        and (not adjustment.subtypes or belief.subtype in adjustment.subtypes)
        and adjustment.stage in failed
    )


def _stepped(adjustment: Adjustment, current: Any) -> tuple[Any, str]:
    """The value to go on with, and why it is no further than `current`, "" when it is."""
    if current is ABSENT and adjustment.default is None and adjustment.set_to is None:
        return ABSENT, f"`{adjustment.path}` is not in the run's configuration and has no `default`"
    start = adjustment.default if current is ABSENT else current
    if adjustment.multiply_by is not None and (isinstance(start, bool) or not isinstance(start, int | float)):
        return current, f"`{adjustment.path}` is no number in the run's configuration"
    after = next_value(adjustment, start)
    if after is None:
        return current, f"`{adjustment.path}` has reached its bound ({_shown(start)})"
    return after, ""


def _change(adjustment: Adjustment, before: Any, after: Any) -> ConfigChange:
    return ConfigChange(
        stage=adjustment.stage, path=adjustment.path, before=None if before is ABSENT else before, after=after
    )


def _is_equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
