"""Tables for the terminal; every cell is text, never markup."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mendline.incident import OutcomeKind
from mendline.report.escape import clean, cut
from mendline.report.page import duration, percent
from mendline.scorecard.score import ActionScore, Score, Scorecard, is_open
from mendline.stores.base import IncidentRecord

STYLES = {
    OutcomeKind.RESOLVED: "green",
    OutcomeKind.RECOVERED: "green",
    OutcomeKind.ESCALATED: "red",
    OutcomeKind.AWAITING_APPROVAL: "yellow",
}


def cell(text: str, limit: int = 80, style: str = "") -> Text:
    """One cell of foreign text on one line."""
    return Text(cut(clean(text), limit), style=style)


def incidents(records: Sequence[IncidentRecord]) -> Table:
    """One row per incident, in the order given."""
    table = Table("ID", "Failed at (UTC)", "Pipeline", "Stages", "Type", "Sure", "Outcome", "After", box=None)
    for record in records:
        incident, outcome = record.incident, record.outcome
        failed_at = incident.failures[0].failed_at
        stages = ", ".join(incident.stages[:2]) + (f" +{len(incident.stages) - 2}" if len(incident.stages) > 2 else "")
        table.add_row(
            cell(incident.id),
            f"{failed_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            cell(incident.pipeline, 30),
            cell(stages or "(the run)", 50),
            outcome.classification.type.value if outcome else "",
            percent(outcome.classification.confidence) if outcome else "",
            cell(outcome.kind.value, style=STYLES[outcome.kind])
            if outcome and not is_open(record)
            else cell(f"open: {record.phase}", 40, "yellow"),
            duration((outcome.ended_at - failed_at).total_seconds()) if outcome and not is_open(record) else "",
        )
    return table


def scorecard(card: Scorecard) -> Group:
    """The score over all and per type, per repair, and how sure against how often right; "-" where there is no data."""
    return Group(_scores(card), Text(""), _actions(card), Text(""), _reliability(card))


def _scores(card: Scorecard) -> Table:
    table = Table(box=None)
    for head in ("Incidents", "count", "open", "resolved", "escalated", "recovered"):
        table.add_column(head)
    for head in ("type right", "automated", "repairs fixed", "wrong", "harmful", "median", "p90"):
        table.add_column(head)
    for name, score in (("all", card.total), *((kind.value, score) for kind, score in card.by_type.items())):
        table.add_row(name, *_counts(score), *_rates(score))
    return table


def _counts(score: Score) -> tuple[str, ...]:
    counts = (
        score.incident_count, score.open_count, score.resolved_count, score.escalated_count, score.recovered_count
    )  # fmt: skip
    return tuple(str(count) for count in counts)


def _rates(score: Score) -> tuple[str, ...]:
    return (
        _share(score.accuracy, score.right_count, score.judged_count),
        _rate(score.automation_rate),
        _share(score.repair_success_rate, score.fixed_count, score.applied_count),
        str(score.wrong_action_count),
        str(score.harmful_action_count),
        _seconds(score.resolution.median_seconds),
        _seconds(score.resolution.p90_seconds),
    )


def _actions(card: Scorecard) -> Table:
    table = Table("Repairs", "applied", "fixed", "wrong", "harmful", "undone", "only proposed", box=None)
    for action in card.by_action.values():
        table.add_row(
            cell(action.repair),
            str(action.applied_count),
            _share(action.success_rate, action.fixed_count, action.applied_count),
            str(action.wrong_count),
            str(action.harmful_count),
            str(action.undone_count),
            _proposed(action),
        )
    if not card.by_action:
        table.add_row("none was applied")
    return table


def _proposed(action: ActionScore) -> str:
    shadowed = f" ({action.shadowed_count} would have been done)" if action.shadowed_count else ""
    return f"{action.proposed_count}{shadowed}"


def _reliability(card: Scorecard) -> Table:
    table = Table("How sure", "judged", "mean confidence", "really right", box=None)
    for part in card.reliability:
        if part.count:
            bounds = f"{percent(part.lower)} to {percent(part.upper)}"
            table.add_row(bounds, str(part.count), _rate(part.mean_confidence), _rate(part.accuracy))
    if not table.row_count:
        table.add_row("no incident was judged yet: `mendline feedback ID --type right|wrong`")
    else:
        table.add_row("calibration error", "", "", _rate(card.calibration_error))
    return table


def _rate(rate: float | None) -> str:
    return "-" if rate is None else percent(rate)


def _share(rate: float | None, part: int, whole: int) -> str:
    return "-" if rate is None else f"{percent(rate)} ({part} of {whole})"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)
