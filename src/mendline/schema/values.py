"""How much alike the values of two columns are, from their profiles alone, and what speaks against it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher

from mendline.snapshots import looks_personal
from mendline.stores.base import ColumnProfile

FEW = 64  # up to so many distinct values a sketch is the whole set


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """`score` in [0, 1], None when the profiles say nothing. `is_telling` when enough values recur to tell columns apart.

    `said` are the comparisons in words, `against` those that no rename could explain.
    """

    score: float | None = None
    is_telling: bool = False
    said: tuple[str, ...] = ()
    against: tuple[str, ...] = ()


def overlap(one: ColumnProfile, other: ColumnProfile) -> float | None:
    """Estimate the Jaccard overlap of two columns' distinct values from their bottom-k sketches; None without values.

    Source: Cohen and Kaplan, "Summarizing data using bottom-k sketches" (PODC 2007): the k smallest of the union.
    """
    first, second = set(one.value_hashes), set(other.value_hashes)
    if not first or not second:
        return None
    size = min(_size(one), _size(other))
    union = sorted(first | second)[:size] if size else sorted(first | second)
    return len([value for value in union if value in first and value in second]) / len(union)


def _size(profile: ColumnProfile) -> int:
    """The sketch's k, 0 when it holds every value: then it limits nothing... but the other may."""
    return FEW if profile.distinct_count < FEW else len(profile.value_hashes)


def likeness(before: ColumnProfile, now: ColumnProfile, family: str, usual_overlap: float | None) -> Likeness:
    """Compare a column's last good profile with another's of today.

    Nulls, distinct values, their overlap (against what is usual for the column from day to day), range, shape and
    frequencies each give a figure; the score is their mean. Values that do not come again by nature (ids, times) say
    nothing by not overlapping.
    """
    if before.null_count >= before.row_count or now.null_count >= now.row_count:
        return Likeness(said=("no values to compare",))
    parts = [
        part
        for part in (
            _nulls(before, now),
            _distinct(before, now),
            _overlap(before, now, usual_overlap),
            _range(before, now, family),
            _shape(before, now, family),
            _frequencies(before, now),
        )
        if part is not None
    ]
    recurring = overlap(before, now) or 0.0
    is_many = min(before.distinct_count, now.distinct_count) > FEW
    return Likeness(
        score=sum(figure for _, figure, _ in parts) / len(parts),
        is_telling=is_many and recurring >= max(0.3, 0.8 * (usual_overlap if usual_overlap is not None else 1.0)),
        said=tuple(f"{label} {figure:.2f}" for label, figure, _ in parts),
        against=tuple(label for label, _, is_against in parts if is_against),
    )


_Part = tuple[str, float, bool]


def _rate(profile: ColumnProfile) -> float:
    return profile.null_count / profile.row_count


def _spread(profile: ColumnProfile) -> float:
    return profile.distinct_count / max(1, profile.row_count - profile.null_count)


def _ratio(one: float, other: float) -> float:
    largest = max(one, other)
    return min(one, other) / largest if largest > 0 else 1.0


def _nulls(before: ColumnProfile, now: ColumnProfile) -> _Part:
    gap = abs(_rate(before) - _rate(now))
    is_against = gap > 0.25 or (before.null_count == 0 and _rate(now) > 0.02)
    label = f"NULLs {_rate(before):.1%} before, {_rate(now):.1%} now:"
    return label, max(0.0, 1 - 4 * gap), is_against


def _distinct(before: ColumnProfile, now: ColumnProfile) -> _Part:
    if max(before.distinct_count, now.distinct_count) <= FEW:
        figure = _ratio(before.distinct_count, now.distinct_count)
    else:
        figure = _ratio(_spread(before), _spread(now))
    return f"distinct {before.distinct_count} before, {now.distinct_count} now:", figure, figure < 0.2


def _overlap(before: ColumnProfile, now: ColumnProfile, usual: float | None) -> _Part | None:
    shared = overlap(before, now)
    if shared is None or (usual is not None and usual < 0.05 and shared < 0.05):
        return None  # its values never come again: neither for nor against
    if max(before.distinct_count, now.distinct_count) <= FEW:
        return _overlap_of_sets(before, now, shared, usual)
    if usual is not None and usual >= 0.05:
        return f"shared values {shared:.2f}, usual {usual:.2f}:", min(1.0, shared / usual), shared < 0.3 * usual
    if max(_spread(before), _spread(now)) > 0.5 and shared < 0.3:
        return None
    return "shared values", shared, False


def _overlap_of_sets(before: ColumnProfile, now: ColumnProfile, shared: float, usual: float | None) -> _Part | None:
    common = len(set(before.value_hashes) & set(now.value_hashes))
    contained = common / min(len(before.value_hashes), len(now.value_hashes))
    if contained < 0.3 and max(_spread(before), _spread(now)) >= 0.5:
        return None
    return "shared values", max(contained, min(1.0, shared / usual) if usual else 0.0), contained < 0.3


def _numbers(profile: ColumnProfile, family: str) -> tuple[float, float] | None:
    if profile.min_value is None or profile.max_value is None or looks_personal(profile.column):
        return None  # of a personal column only the shape of the limits is kept: 99.9 for 52.3
    try:
        if family == "number":
            return float(profile.min_value), float(profile.max_value)
        if family == "time":
            low, high = (_moment(text) for text in (profile.min_value, profile.max_value))
            return low, high
    except ValueError:
        return None
    return None


def _moment(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()  # noqa: DTZ001 - differences only


def _range(before: ColumnProfile, now: ColumnProfile, family: str) -> _Part | None:
    was, is_now = _numbers(before, family), _numbers(now, family)
    if was is None or is_now is None:
        return None
    label = f"range {before.min_value}..{before.max_value} before, {now.min_value}..{now.max_value} now:"
    spans = _ratio(was[1] - was[0], is_now[1] - is_now[0])
    is_running = all(value.is_integer() for value in (*was, *is_now)) and min(_spread(before), _spread(now)) > 0.9
    if family == "time" or is_running:
        return label, 0.5 + 0.5 * spans, False  # times and running numbers move on from batch to batch
    union = max(was[1], is_now[1]) - min(was[0], is_now[0])
    shared = min(was[1], is_now[1]) - max(was[0], is_now[0])
    figure = max(0.0, shared / union) if union > 0 else 1.0
    return label, figure, figure < 0.2


def _shape(before: ColumnProfile, now: ColumnProfile, family: str) -> _Part | None:
    if family != "string":
        return None
    pairs = [(before.min_value, now.min_value), (before.max_value, now.max_value)]
    figures = [SequenceMatcher(None, _pattern(one), _pattern(other)).ratio() for one, other in pairs if one and other]
    if not figures:
        return None
    figure = sum(figures) / len(figures)
    return "shape of the text", figure, figure < 0.25


def _pattern(text: str) -> str:
    """Letters and digits by class, runs counted up to three: `SKU-00017` is `AAA-999`."""
    classes = re.sub(r"\d", "9", re.sub(r"[^\W\d_]", "A", text[:40]))
    return re.sub(r"(.)\1{2,}", r"\1\1\1", classes)


def _frequencies(before: ColumnProfile, now: ColumnProfile) -> _Part | None:
    if not before.top_values or not now.top_values:
        return None
    was = {value: count / max(1, before.row_count - before.null_count) for value, count in before.top_values}
    is_now = {value: count / max(1, now.row_count - now.null_count) for value, count in now.top_values}
    if max(sum(was.values()), sum(is_now.values())) <= 0.5:
        return None  # the most frequent of many nearly equal ones are a matter of chance
    shared = sum(min(was.get(value, 0.0), is_now.get(value, 0.0)) for value in was.keys() | is_now.keys())
    possible = max(min(sum(was.values()), sum(is_now.values())), 1e-9)
    figure = min(1.0, shared / possible)
    return "frequencies", figure, figure < 0.4
