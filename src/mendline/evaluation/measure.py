"""The figures of an evaluation; each is a law of its input alone: the order of the cases never matters.

Where there is nothing to divide by, a figure is None: no data is neither 0 % nor 100 %.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from statistics import fmean, median

from mendline.incident import FailureType

BIN_COUNT = 10
PRECISION = 0.95
RESAMPLE_COUNT = 1000
SEED = 20261122


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What was said of one case, beside the truth.

    `acts` maps the name of a policy to whether a repair would have been made by itself on this belief. `quote` is the
    first quote, redacted; `verbatim_count` of `quote_count` quotes stand in their line character by character.
    `milliseconds` is processor time, None where it says nothing.
    """

    case_id: str
    system: str
    is_hard: bool
    truth: FailureType
    true_subtype: str
    believed: FailureType
    subtype: str
    confidence: float
    acts: Mapping[str, bool]
    quote: str = ""
    quote_count: int = 0
    verbatim_count: int = 0
    milliseconds: float | None = None

    @property
    def is_right(self) -> bool:
        """Whether the type is the true one."""
        return self.believed is self.truth


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How many of how many; `share` is in [0, 1], None of nothing."""

    part: int
    whole: int
    share: float | None


@dataclass(frozen=True, kw_only=True)
class TypeScore:
    """One type: `support` cases have it, `believed` were said to, `right` of them rightly. `f1` is 0 without any right."""

    type: FailureType
    support: int
    believed: int
    right: int
    precision: float | None
    recall: float | None
    f1: float


@dataclass(frozen=True, kw_only=True)
class Group:
    """One kind of cases on its own."""

    accuracy: Rate
    macro_f1: float | None


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Cases of like confidence: from `lower` to `upper`, both seen."""

    lower: float
    upper: float
    count: int
    mean_confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Measures:
    """All figures of one judge over some cases.

    `macro_f1_interval` is a bootstrap interval of 95 %. `confusion` maps truth -> belief -> count, every type in both.
    `subtype` counts among right types. `actions` maps a policy to: right among those that would have been acted on.
    `coverage` is that of `coverage_at`. `quotes` counts those that are verbatim. `by_system` is in order of name.
    """

    accuracy: Rate
    macro_f1: float
    macro_f1_interval: tuple[float, float]
    by_type: tuple[TypeScore, ...]
    confusion: Mapping[FailureType, Mapping[FailureType, int]]
    plain: Group
    hard: Group
    by_system: Mapping[str, Rate]
    calibration_error: float
    reliability: tuple[ReliabilityBin, ...]
    coverage: float
    subtype: Rate
    actions: Mapping[str, Rate]
    quotes: Rate
    median_milliseconds: float | None
    p95_milliseconds: float | None


def measure(judged: Iterable[Judged]) -> Measures:
    """Count; needs at least one case."""
    known = tuple(judged)
    if not known:
        raise ValueError("there is no case to measure")
    pairs = [(each.truth, each.believed) for each in known]
    bins = reliability(known)
    times = sorted(each.milliseconds for each in known if each.milliseconds is not None)
    right = [each for each in known if each.is_right]
    return Measures(
        accuracy=_accuracy(known),
        macro_f1=macro_f1(pairs),
        macro_f1_interval=macro_f1_interval(pairs),
        by_type=type_scores(pairs),
        confusion=confusion(pairs),
        plain=_group([each for each in known if not each.is_hard]),
        hard=_group([each for each in known if each.is_hard]),
        by_system=_by_system(known),
        calibration_error=calibration_error(bins),
        reliability=bins,
        coverage=coverage_at(known, PRECISION),
        subtype=rate(sum(each.subtype == each.true_subtype for each in right), len(right)),
        actions=_actions(known),
        quotes=rate(sum(each.verbatim_count for each in known), sum(each.quote_count for each in known)),
        median_milliseconds=median(times) if times else None,
        p95_milliseconds=times[ceil(0.95 * len(times)) - 1] if times else None,
    )


def rate(part: int, whole: int) -> Rate:
    """Divide; of nothing there is no share."""
    return Rate(part=part, whole=whole, share=part / whole if whole else None)


def confusion(pairs: Iterable[tuple[FailureType, FailureType]]) -> dict[FailureType, dict[FailureType, int]]:
    """Truth -> belief -> count, every type in both."""
    counts = Counter(pairs)
    return {truth: {believed: counts[truth, believed] for believed in FailureType} for truth in FailureType}


def type_scores(pairs: Iterable[tuple[FailureType, FailureType]]) -> tuple[TypeScore, ...]:
    """Score each type, in the types' own order."""
    counts = Counter(pairs)
    truths: Counter[FailureType] = Counter()
    beliefs: Counter[FailureType] = Counter()
    for (truth, believed), count in counts.items():
        truths[truth] += count
        beliefs[believed] += count
    return tuple(
        _type_score(kind, support=truths[kind], believed=beliefs[kind], right=counts[kind, kind])
        for kind in FailureType
    )


def macro_f1(pairs: Iterable[tuple[FailureType, FailureType]]) -> float:
    """Give the mean F1 of the types; one that is neither true nor believed anywhere does not count.

    Source: `f1_score(average="macro")` of scikit-learn 1.9, which counts the same types.
    """
    scores = [score.f1 for score in type_scores(pairs) if score.support + score.believed]
    return fmean(scores) if scores else 0.0


def macro_f1_interval(
    pairs: Iterable[tuple[FailureType, FailureType]], resample_count: int = RESAMPLE_COUNT
) -> tuple[float, float]:
    """Give the 95 % percentile bootstrap interval of macro-F1: cases are drawn anew with replacement, from a fixed seed.

    It says how far the figure would move with other cases of the same systems; other systems may move it further.
    """
    counts = Counter(pairs)
    cells, weights = zip(*sorted(counts.items()), strict=True)
    chance = random.Random(SEED)  # noqa: S311 - no secret
    found = sorted(macro_f1(chance.choices(cells, weights, k=counts.total())) for _ in range(resample_count))
    edge = round(0.025 * (resample_count - 1))
    return found[edge], found[-1 - edge]


def reliability(judged: Iterable[Judged]) -> tuple[ReliabilityBin, ...]:
    """Sort by confidence into ten bins of as equal a count as can be; the least sure come first.

    Cases of the same confidence stay in one bin, the one that the middle of them falls into; hence a bin may be larger
    than the others, and there may be fewer than ten.
    """
    ordered = sorted((each.confidence, each.is_right) for each in judged)
    bins: dict[int, list[tuple[float, bool]]] = {}
    passed = 0
    for _, group in groupby(ordered, key=lambda each: each[0]):
        members = list(group)
        middle = passed + len(members) / 2
        bins.setdefault(min(int(middle * BIN_COUNT / len(ordered)), BIN_COUNT - 1), []).extend(members)
        passed += len(members)
    return tuple(_bin(members) for _, members in sorted(bins.items()))


def calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Give the expected calibration error: the distance of confidence and accuracy per bin, weighted by count.

    The bins are those of `reliability`: ten of equal mass, ties together (bins of equal width would leave most of them
    nearly empty). Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2; equal mass:
    Nguyen and O'Connor, "Posterior calibration and exploratory analysis", EMNLP 2015.
    """
    total = sum(each.count for each in bins)
    return sum(each.count * abs(each.mean_confidence - each.accuracy) for each in bins) / total if total else 0.0


def coverage_at(judged: Iterable[Judged], precision: float) -> float:
    """Give the largest share of cases that a confidence threshold can keep with at least `precision` of them right.

    Any type counts as kept, `UNKNOWN` too; cases of the same confidence are kept or left together.
    """
    ordered = sorted(((each.confidence, each.is_right) for each in judged), reverse=True)
    kept = right = best = 0
    for _, group in groupby(ordered, key=lambda each: each[0]):
        members = list(group)
        kept += len(members)
        right += sum(is_right for _, is_right in members)
        if right >= precision * kept:
            best = kept
    return best / len(ordered) if ordered else 0.0


def _accuracy(judged: Sequence[Judged]) -> Rate:
    return rate(sum(each.is_right for each in judged), len(judged))


def _type_score(kind: FailureType, *, support: int, believed: int, right: int) -> TypeScore:
    return TypeScore(
        type=kind,
        support=support,
        believed=believed,
        right=right,
        precision=rate(right, believed).share,
        recall=rate(right, support).share,
        f1=2 * right / (support + believed) if support + believed else 0.0,
    )


def _group(judged: Sequence[Judged]) -> Group:
    pairs = [(each.truth, each.believed) for each in judged]
    return Group(accuracy=_accuracy(judged), macro_f1=macro_f1(pairs) if pairs else None)


def _by_system(judged: Sequence[Judged]) -> dict[str, Rate]:
    systems = sorted({each.system for each in judged})
    return {name: _accuracy([each for each in judged if each.system == name]) for name in systems}


def _actions(judged: Sequence[Judged]) -> dict[str, Rate]:
    policies = list(dict.fromkeys(name for each in judged for name in each.acts))
    return {name: _accuracy([each for each in judged if each.acts.get(name)]) for name in policies}


def _bin(members: Sequence[tuple[float, bool]]) -> ReliabilityBin:
    confidences = [confidence for confidence, _ in members]
    return ReliabilityBin(
        lower=min(confidences),
        upper=max(confidences),
        count=len(members),
        mean_confidence=fmean(confidences),
        accuracy=fmean(is_right for _, is_right in members),
    )
