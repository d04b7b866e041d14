"""How well Mendline does, counted from its own record and from what people said of it.

Where there is nothing to divide by, a rate is None: no data is neither 0 % nor 100 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import fmean, median

from mendline.incident import Attempt, FailureType, OutcomeKind, VerificationState
from mendline.stores.base import IncidentRecord

BIN_COUNT = 10


@dataclass(frozen=True, kw_only=True)
class Duration:
    """Seconds; `p90_seconds` is a value that was observed (nearest rank). None without observations."""

    count: int
    median_seconds: float | None
    p90_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class ActionScore:
    """Repairs that were applied, whatever came of them; `repair` is the tool's name.

    `fixed_count`: verified as fixed. `wrong_count`: the fault remained, something became worse, or a person said that it
    harmed or took it back. `harmful_count`: those of them that made something worse, by verification or by a person's word.
    `undone_count`: taken back, rightly or not. An applied repair without a verification is neither fixed nor wrong.
    `proposed_count`: planned and only reported, or asked for and not approved; `shadowed_count`: those of them that would
    have been done unasked out of shadow mode.
    """

    repair: str
    applied_count: int
    fixed_count: int
    wrong_count: int
    harmful_count: int
    undone_count: int
    proposed_count: int
    shadowed_count: int
    success_rate: float | None


@dataclass(frozen=True, kw_only=True)
class Score:
    """One group of incidents.

    `accuracy`: types that people called right / types that people judged. `automation_rate`: resolved with no person
    asked / resolved and escalated (those that healed without us count on neither side). `repair_success_rate`: applied
    repairs verified as fixed / applied repairs. `resolution`: from the first failure to the end, of resolved incidents.
    """

    incident_count: int
    open_count: int
    resolved_count: int
    automated_count: int
    escalated_count: int
    recovered_count: int
    judged_count: int
    right_count: int
    accuracy: float | None
    automation_rate: float | None
    repair_success_rate: float | None
    applied_count: int
    fixed_count: int
    wrong_action_count: int
    harmful_action_count: int
    resolution: Duration


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Judged incidents whose confidence lies in [lower, upper) (the last bin includes 1); None when there are none."""

    lower: float
    upper: float
    count: int
    mean_confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class Scorecard:
    """The score over all, per type that was believed, and per repair; types and repairs in order of name.

    `calibration_error` is the mean distance between confidence and accuracy over the bins, weighted by their counts.
    Source: expected calibration error, Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.
    """

    total: Score
    by_type: dict[FailureType, Score]
    by_action: dict[str, ActionScore]
    reliability: tuple[ReliabilityBin, ...]
    calibration_error: float | None
    seconds_by_phase: dict[str, Duration]


@dataclass(frozen=True, kw_only=True)
class Action:
    """One applied repair, judged; `state` is None when it was not verified."""

    repair: str
    state: VerificationState | None
    is_wrong: bool
    is_harmful: bool
    is_undone: bool


def scorecard(records: Iterable[IncidentRecord]) -> Scorecard:
    """Count; a record without an outcome counts as open and as nothing else."""
    known = tuple(records)
    types = {record.outcome.classification.type for record in known if record.outcome is not None}
    reliability = _reliability(known)
    return Scorecard(
        total=_score(known),
        by_type={kind: _score([record for record in known if believed_type(record) is kind]) for kind in sorted(types)},
        by_action=_by_action(known),
        reliability=reliability,
        calibration_error=_calibration_error(reliability),
        seconds_by_phase=_by_phase(known),
    )


def believed_type(record: IncidentRecord) -> FailureType | None:
    """The type that Mendline settled on; None while there is no outcome."""
    return None if record.outcome is None else record.outcome.classification.type


def is_open(record: IncidentRecord) -> bool:
    """Whether the incident has not ended."""
    return record.outcome is None or record.outcome.kind is OutcomeKind.AWAITING_APPROVAL


def is_type_right(record: IncidentRecord) -> bool | None:
    """What people last said of the type; None when nobody did. Naming the right type is a judgement, too."""
    believed = believed_type(record)
    if believed is None:
        return None
    for word in reversed(record.feedback):
        if word.type_right is not None:
            return word.type_right
        if word.right_type is not None:
            return word.right_type == believed
    return None


def resolution_seconds(record: IncidentRecord) -> float | None:
    """From the first failure to the end of a resolved incident; None for any other."""
    if record.outcome is None or record.outcome.kind is not OutcomeKind.RESOLVED:
        return None
    began_at = min(failure.failed_at for failure in record.incident.failures)
    return max(0.0, (record.outcome.ended_at - began_at).total_seconds())


def actions(record: IncidentRecord) -> tuple[Action, ...]:
    """The applied repairs of one incident, in order; a person's "harmed" falls on the last of them."""
    if record.outcome is None:
        return ()
    applied = [attempt for attempt in record.outcome.attempts if attempt.receipt is not None]
    is_harmed = _said_harmed(record)
    judged = []
    for number, attempt in enumerate(applied, start=1):
        state = None if attempt.verification is None else attempt.verification.state
        is_harmful = state is VerificationState.WORSE or (is_harmed and number == len(applied))
        judged.append(
            Action(
                repair=attempt.repair,
                state=state,
                is_wrong=is_harmful or state is VerificationState.NOT_FIXED or bool(attempt.undone_by),
                is_harmful=is_harmful,
                is_undone=attempt.undone,
            )
        )
    return tuple(judged)


def _said_harmed(record: IncidentRecord) -> bool:
    words = [word.repair for word in record.feedback if word.repair is not None]
    return bool(words) and words[-1] == "harmed"


def _is_automated(record: IncidentRecord) -> bool:
    # A repair that a person had to allow, or took back, did not spare that person.
    outcome = record.outcome
    if outcome is None or outcome.kind is not OutcomeKind.RESOLVED:
        return False
    applied = [attempt for attempt in outcome.attempts if attempt.receipt is not None]
    return all(attempt.decision != "ask" and not attempt.undone_by for attempt in applied)


def _score(records: Sequence[IncidentRecord]) -> Score:
    kinds = [record.outcome.kind for record in records if record.outcome is not None]
    resolved_count, escalated_count = kinds.count(OutcomeKind.RESOLVED), kinds.count(OutcomeKind.ESCALATED)
    automated_count = sum(map(_is_automated, records))
    judged = [is_right for record in records if (is_right := is_type_right(record)) is not None]
    applied = [action for record in records for action in actions(record)]
    fixed_count = sum(action.state is VerificationState.FIXED for action in applied)
    # Harm with no repair on record is still harm.
    other_harm_count = sum(not actions(record) and _said_harmed(record) for record in records)
    return Score(
        incident_count=len(records),
        open_count=sum(map(is_open, records)),
        resolved_count=resolved_count,
        automated_count=automated_count,
        escalated_count=escalated_count,
        recovered_count=kinds.count(OutcomeKind.RECOVERED),
        judged_count=len(judged),
        right_count=sum(judged),
        accuracy=_rate(sum(judged), len(judged)),
        automation_rate=_rate(automated_count, resolved_count + escalated_count),
        repair_success_rate=_rate(fixed_count, len(applied)),
        applied_count=len(applied),
        fixed_count=fixed_count,
        wrong_action_count=sum(action.is_wrong for action in applied) + other_harm_count,
        harmful_action_count=sum(action.is_harmful for action in applied) + other_harm_count,
        resolution=_duration([s for record in records if (s := resolution_seconds(record)) is not None]),
    )


def _by_action(records: Sequence[IncidentRecord]) -> dict[str, ActionScore]:
    applied = [action for record in records for action in actions(record)]
    proposed = [attempt for record in records for attempt in _proposals(record)]
    return {
        repair: _action_score(
            repair,
            [action for action in applied if action.repair == repair],
            [attempt for attempt in proposed if attempt.repair == repair],
        )
        for repair in sorted({action.repair for action in applied} | {attempt.repair for attempt in proposed})
    }


def _proposals(record: IncidentRecord) -> list[Attempt]:
    if record.outcome is None or is_open(record):
        return []
    planned = [a for a in record.outcome.attempts if a.plan is not None and a.receipt is None]
    return [attempt for attempt in planned if attempt.decision in ("ask", "suggest")]


def _action_score(repair: str, applied: Sequence[Action], proposed: Sequence[Attempt]) -> ActionScore:
    fixed_count = sum(action.state is VerificationState.FIXED for action in applied)
    return ActionScore(
        repair=repair,
        applied_count=len(applied),
        fixed_count=fixed_count,
        wrong_count=sum(action.is_wrong for action in applied),
        harmful_count=sum(action.is_harmful for action in applied),
        undone_count=sum(action.is_undone for action in applied),
        proposed_count=len(proposed),
        shadowed_count=sum(attempt.shadowed == "auto" for attempt in proposed),
        success_rate=_rate(fixed_count, len(applied)),
    )


def _by_phase(records: Sequence[IncidentRecord]) -> dict[str, Duration]:
    seconds: dict[str, list[float]] = {}
    for record in records:
        if record.outcome is not None:
            for phase, spent in record.outcome.seconds.items():
                seconds.setdefault(phase, []).append(spent)
    return {phase: _duration(spent) for phase, spent in sorted(seconds.items())}


def _reliability(records: Sequence[IncidentRecord]) -> tuple[ReliabilityBin, ...]:
    judged = [
        (record.outcome.classification.confidence, is_right)
        for record in records
        if record.outcome is not None and (is_right := is_type_right(record)) is not None
    ]
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BIN_COUNT)]
    for confidence, is_right in judged:
        bins[min(int(confidence * BIN_COUNT), BIN_COUNT - 1)].append((confidence, is_right))
    return tuple(
        ReliabilityBin(
            lower=number / BIN_COUNT,
            upper=(number + 1) / BIN_COUNT,
            count=len(members),
            mean_confidence=fmean(confidence for confidence, _ in members) if members else None,
            accuracy=_rate(sum(is_right for _, is_right in members), len(members)),
        )
        for number, members in enumerate(bins)
    )


def _calibration_error(bins: Sequence[ReliabilityBin]) -> float | None:
    distances = [
        (bin.count, abs(bin.mean_confidence - bin.accuracy))
        for bin in bins  # noqa: A001 - the word of the field
        if bin.mean_confidence is not None and bin.accuracy is not None
    ]
    total = sum(count for count, _ in distances)
    return sum(count * distance for count, distance in distances) / total if total else None


def _duration(seconds: Sequence[float]) -> Duration:
    if not seconds:
        return Duration(count=0, median_seconds=None, p90_seconds=None)
    ordered = sorted(seconds)
    return Duration(
        count=len(ordered), median_seconds=median(ordered), p90_seconds=ordered[ceil(0.9 * len(ordered)) - 1]
    )


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None
