"""Does the change of shape that was seen explain the failure?"""

from __future__ import annotations

import re

from mendline.incident import FindingVerdict
from mendline.schema.diff import FOR_A_PERSON, Change, ChangeKind, SchemaDiff
from mendline.schema.examine import Examination
from mendline.schema.targets import BY_POSITION
from mendline.tools.base import ToolContext

# Causes of failure (words of the classification) that a change of type brings about.
TYPE_TROUBLE = frozenset(
    {
        "type_changed",
        "unparsable_value",
        "out_of_range",
        "invalid_value",
        "invalid_date",
        "value_too_long",
        "contract_mismatch",
        "query_no_longer_fits",
    }
)
LIKELY = 0.5  # the score from which a rename is shown as one
BREAKING = (
    ChangeKind.REMOVED,
    ChangeKind.RENAMED,
    ChangeKind.NESTED,
    ChangeKind.RETYPED,
    ChangeKind.KEY_CHANGED,
    ChangeKind.TABLE_GONE,
)


def judge(seen: Examination, context: ToolContext) -> tuple[FindingVerdict, str]:
    """Say whether what was seen explains the failure under the present hypothesis, and why, in one sentence."""
    name = seen.dataset.name
    changes = "; ".join(str(change) for change in _telling(seen)[:4]) or "no column changed"
    broken = _broken(seen, changes)
    if broken:
        return FindingVerdict.SUPPORTS, broken
    if not seen.expected:
        return FindingVerdict.CANNOT_TELL, f"nothing is known of how `{name}` looked when it was good"
    wanting = _wanting(seen, context)
    if wanting:
        return FindingVerdict.SUPPORTS, wanting
    if seen.view_columns is not None and not seen.is_as_expected:
        return _judge_columns(seen, context, changes)
    return _judge_unbroken(seen, context, changes)


def _wanting(seen: Examination, context: ToolContext) -> str:
    """What the targets cannot take of what the stages get, where the failure is about it; "" when there is nothing."""
    policy, names = context.services.config.policy, _names_in(context)
    for one in seen.additions if seen.dataset.view is None and policy.added_columns == "add" else ():
        if names.intersection(one.column.lower().split(".")) or context.classification.subtype == BY_POSITION:
            return f"`{seen.dataset.landing}` has `{one.column}` {one.type} now, and `{one.target}` has not"
    for gap in seen.gaps if policy.null_relaxing == "apply" else ():
        if gap.column.lower() in names and not gap.obstacle:
            return str(gap)
    return ""


def _names_in(context: ToolContext) -> set[str]:
    """The words of the log and of what was read in it, lower case."""
    named = {value.lower() for value in context.classification.entities.get("column", ())}
    return named | set(re.findall(r"\w+", context.log.text.lower()))


def _judge_unbroken(seen: Examination, context: ToolContext, changes: str) -> tuple[FindingVerdict, str]:
    name, view = seen.dataset.name, seen.dataset.view
    if seen.diff.is_empty:
        return FindingVerdict.REFUTES, f"`{name}` has the columns and types that were expected"
    if seen.diff.of(ChangeKind.DOCUMENT_BROKEN) and _is_named(seen, context):
        return FindingVerdict.SUPPORTS, f"documents in `{name}` are not what they were: {changes}"
    if seen.diff.of(*FOR_A_PERSON):
        return FindingVerdict.CANNOT_TELL, f"`{name}` changed in a way that only a person may judge: {changes}"
    if seen.accommodation is not None:
        return FindingVerdict.CANNOT_TELL, f"`{name}` changed, and `{view}` makes up for it: {changes}"
    if view is not None and not _needed(seen, seen.diff):
        return FindingVerdict.REFUTES, f"`{name}` changed only where `{view}` does not read: {changes}"
    same = f"`{view}` gives the same columns as before" if view else "nothing that was there has gone"
    return FindingVerdict.CANNOT_TELL, f"`{name}` changed, and {same}: {changes}"


def _broken(seen: Examination, changes: str) -> str:
    """What is certainly broken, whatever the failure; "" when nothing is."""
    name = seen.dataset.name
    gone = _gone(seen, changes)
    if gone:
        return gone
    if seen.current_sql is None and seen.diff.of(*BREAKING):
        return f"`{name}` changed: {changes}"
    moved = [old for old in seen.emptied if old in _needed(seen, seen.diff, *BREAKING, ChangeKind.CASE_CHANGED)]
    if moved and all(_has_gone_on(seen, old) for old in moved):
        return f"`{moved[0]}` of `{name}` has no value in the whole batch since another column came: {changes}"
    shifted = seen.diff.of(ChangeKind.SHIFTED)
    if shifted:
        return f"`{name}` is filled by position, and its columns are not where they were: {shifted[0]}"
    if seen.overflows:
        first = seen.overflows[0]
        return f"{first.failing_count} values of `{first.column}` need {first.wider}, `{first.target}` has {first.type}"
    return ""


def _gone(seen: Examination, changes: str) -> str:
    name, view = seen.dataset.name, seen.dataset.view
    if seen.landing is None:
        return f"the landing table `{seen.dataset.landing}` is gone"
    if seen.is_view_gone:
        return f"`{view}` is gone, dropped with the former landing table it may be: {changes}"
    if seen.current_sql is not None and seen.view_columns is None:
        return f"`{view}` no longer binds to `{name}`: {changes} ({seen.view_error})"
    return ""


def _has_gone_on(seen: Examination, old: str) -> bool:
    """Whether a new column may well hold what the emptied one held; else it is only a column without values."""
    rename = seen.rename_of(old)
    return bool([c for c in seen.diff.of(ChangeKind.CASE_CHANGED) if c.column == old]) or (
        rename is not None and rename.score >= LIKELY
    )


def _judge_columns(seen: Examination, context: ToolContext, changes: str) -> tuple[FindingVerdict, str]:
    """The view binds and gives other columns than before: names always matter, types when the failure is about them."""
    given, before = seen.view_columns or (), seen.expected_columns
    view = seen.dataset.view
    if [name.lower() for name, _ in given] != [name.lower() for name, _ in before]:
        return FindingVerdict.SUPPORTS, (
            f"`{view}` gives {len(given)} columns where {len(before)} were, or in another order: {changes}"
        )
    retyped = [f"`{new[0]}` {old[1]} -> {new[1]}" for new, old in zip(given, before, strict=True) if new != old]
    summary = f"`{view}` gives other types than before: {', '.join(retyped[:4])}"
    if (
        _needed(seen, seen.diff, *BREAKING)
        or context.classification.subtype in TYPE_TROUBLE
        or _is_named(seen, context)
    ):
        return FindingVerdict.SUPPORTS, summary
    return FindingVerdict.CANNOT_TELL, f"{summary}; the failure does not name them"


def _is_named(seen: Examination, context: ToolContext) -> bool:
    named = {value.lower() for value in context.classification.entities.get("column", ())}
    text = context.log.text.lower()
    leaves = {re.split(r"[.:]", change.column)[-1].lower() for change in seen.diff.changes}
    return bool(named & leaves) or any(len(leaf) > 2 and leaf in text for leaf in leaves)


def _needed(seen: Examination, diff: SchemaDiff, *kinds: ChangeKind) -> list[str]:
    needed = {column.name for column in seen.needed}
    changes = diff.of(*kinds) if kinds else diff.changes
    return [change.column for change in changes if change.column in needed]


def _telling(seen: Examination) -> list[Change]:
    """The changes, those for a person first, then those that the view reads."""
    needed = {column.name for column in seen.needed}
    return sorted(seen.diff.changes, key=lambda change: (change.kind not in FOR_A_PERSON, change.column not in needed))
