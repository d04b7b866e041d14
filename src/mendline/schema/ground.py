"""Whether there is anything that a migration could be decided on, and nothing that only a person may decide."""

from __future__ import annotations

from mendline.schema.diff import FOR_A_PERSON, ChangeKind
from mendline.schema.examine import Examination
from mendline.schema.shift import has_counted_names
from mendline.schema.trial import ASK, CannotDecideError

BY_NAME = (  # the changes that mean something only where names do
    ChangeKind.ADDED,
    ChangeKind.REMOVED,
    ChangeKind.RENAMED,
    ChangeKind.CASE_CHANGED,
    ChangeKind.NESTED,
    ChangeKind.REORDERED,
    ChangeKind.RETYPED,
)


def check_ground(seen: Examination) -> None:
    """Raises: `CannotDecideError` when nothing may be decided, whatever the change."""
    _check_view(seen)
    dataset = seen.dataset
    if not seen.expected:
        raise CannotDecideError(
            f"it is not known which columns of `{dataset.landing}` the view was written for: no good run has been "
            f"remembered that fits it, and no contract does",
            "change the view by hand",
        )
    if seen.row_count == 0:
        raise CannotDecideError(f"the batch in `{dataset.landing}` is empty, so nothing can be proven on it", "load it")
    check_kinds(seen)


def _check_view(seen: Examination) -> None:
    dataset = seen.dataset
    if seen.landing is None:
        raise CannotDecideError(f"the landing table `{dataset.landing}` is gone", "find out why it was not loaded")
    if dataset.view is None:
        return
    if seen.base_sql is None:
        raise CannotDecideError(f"the contract view `{dataset.view}` does not exist", "create the view again")
    if seen.reading is None:
        raise CannotDecideError(
            f"`{dataset.view}` does not read `{dataset.landing}` in a way that can be followed",
            "change the view by hand",
        )


def check_kinds(seen: Examination) -> None:
    """Raises: `CannotDecideError` for the kinds of change that no repair may make up for, with what was seen."""
    for change in seen.diff.of(*FOR_A_PERSON):
        raise CannotDecideError(f"`{seen.dataset.name}` changed in a way that only a person may judge: {change}", ASK)
    moved = seen.diff.of(*BY_NAME)
    if moved and is_positional(seen):
        raise CannotDecideError(
            f"`{seen.dataset.landing}` is loaded or read by position, so its names say nothing of what a column holds: "
            f"{'; '.join(str(change) for change in moved[:3])}",
            "compare the columns with the source's, in order",
        )


def is_positional(seen: Examination) -> bool:
    """Whether values find their columns by position: as configured, else when columns are called by their number."""
    if seen.dataset.positional is not None:
        return seen.dataset.positional
    return has_counted_names(seen.landing.names if seen.landing else ())
