"""Diagnostic `profile_failed_batch`: do rows of the batch break what the contract, or the constraint in the log, demands?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mendline.config import Dataset
from mendline.errors import MendlineError, Unavailable
from mendline.incident import Finding, FindingVerdict
from mendline.quality.examine import Examination, Suspicion, examine
from mendline.quality.measure import CheckCount
from mendline.stores.base import Snapshot
from mendline.tools.base import ToolContext

NAME = "profile_failed_batch"
WEIGHT = {FindingVerdict.SUPPORTS: 0, FindingVerdict.CANNOT_TELL: 1, FindingVerdict.REFUTES: 2}


class ProfileFailedBatch:
    """Counts, per candidate dataset, the rows that fail each check.

    supports: rows fail and can be what the log is about, or a rule about the batch as a whole does not hold. refutes: no
    row fails and every rule holds. cannot_tell: it could not be read, nothing is checked, or only columns fail that the log
    does not name.

    `data` of a finding: landing, batch_count, failing_count (distinct rows), failing_fraction, conflicting_key_count,
    explains (bool), checks (those that fail: name, kind, columns, failing_count, fraction, is_named_in_log, is_from_log,
    samples of keys), table_checks (name, passed, value, detail), not_applicable (sentences), checked_count,
    last_good (run_id, taken_at, row_count, and null_counts as {column: [then, now]} where they differ; None without one).
    """

    name = NAME

    def run(self, context: ToolContext) -> tuple[Finding, ...]:
        if not context.datasets:
            return (
                Finding(
                    tool=NAME, verdict=FindingVerdict.CANNOT_TELL, summary="No dataset is known for the failed stages."
                ),
            )
        findings = [self._one(dataset, context) for dataset in context.datasets]
        return tuple(sorted(findings, key=_order))

    def _one(self, dataset: Dataset, context: ToolContext) -> Finding:
        services = context.services
        warehouse = services.warehouses[dataset.warehouse]
        suspicion = Suspicion(classification=context.classification, log=context.log)
        snapshot = next(iter(services.store.snapshots(dataset.name, limit=1)), None)
        try:
            with warehouse.reading() as session:
                examination = examine(dataset, services.config, warehouse, session, suspicion)
                last_good = _compared(snapshot, examination, session) if snapshot else None
        except MendlineError as error:
            if context.is_patient and isinstance(error, Unavailable):
                raise
            return Finding(
                tool=NAME,
                verdict=FindingVerdict.CANNOT_TELL,
                summary=f"The rows of `{dataset.landing}` could not be examined: {error}",
                dataset=dataset.name,
                data={"landing": dataset.landing, "error": str(error), "explains": False},
            )
        verdict, summary = _verdict(examination), _summary(examination, last_good)
        if verdict is FindingVerdict.REFUTES and context.is_of_an_earlier_run(dataset):
            verdict, summary = (
                FindingVerdict.CANNOT_TELL,
                f"{summary}; but `{dataset.loaded_by}` failed to load a new batch",
            )
        return Finding(
            tool=NAME,
            verdict=verdict,
            summary=summary,
            dataset=dataset.name,
            data={**_data(examination), "last_good": last_good},
        )


def _order(finding: Finding) -> tuple[int, bool, bool]:
    named = any(check["is_named_in_log"] for check in finding.data.get("checks", ()))
    return WEIGHT[finding.verdict], not finding.data.get("explains", False), not named


def _verdict(examination: Examination) -> FindingVerdict:
    measured = examination.measurement
    if examination.explains or measured.failed_tables:
        return FindingVerdict.SUPPORTS
    if measured.failing or not (measured.counts or measured.tables):
        return FindingVerdict.CANNOT_TELL
    return FindingVerdict.REFUTES


def _summary(examination: Examination, last_good: Mapping[str, Any] | None) -> str:
    measured, landing = examination.measurement, examination.dataset.landing
    before = f"; the last good batch had {last_good['row_count']:,} rows" if last_good else ""
    rows = f"{measured.batch_count:,} rows{before}"
    tables = "; ".join(f"{result.rule.name} {result.detail}" for result in measured.failed_tables)
    if examination.failing:
        worst = ", ".join(f"{count.check.name} ({count.failing_count:,})" for count in examination.failing[:3])
        more = len(examination.failing) - 3
        doubt = "" if examination.explains else "; the log names other columns"
        return (
            f"`{landing}`: {measured.failing_count:,} of {rows} fail: {worst}"
            + (f" and {more} more checks" if more > 0 else "")
            + (f"; {tables}" if tables else "")
            + doubt
        )
    if tables:
        return f"`{landing}`: no single row fails, but {tables} ({rows})"
    checked = len(measured.counts) + len(measured.tables)
    return (
        f"`{landing}`: all {checked} checks hold ({rows})" if checked else f"`{landing}`: nothing is checked ({rows})"
    )


def _data(examination: Examination) -> dict[str, Any]:
    measured = examination.measurement
    return {
        "landing": examination.dataset.landing,
        "batch_count": measured.batch_count,
        "failing_count": measured.failing_count,
        "failing_fraction": measured.failing_fraction,
        "conflicting_key_count": measured.conflicting_key_count,
        "explains": examination.explains,
        "checked_count": len(measured.counts) + len(measured.tables),
        "checks": [_check(count, examination) for count in examination.failing],
        "table_checks": [
            {"name": result.rule.name, "passed": result.passed, "value": result.value, "detail": result.detail}
            for result in measured.tables
        ],
        "not_applicable": list(examination.checks.notes),
    }


def _check(count: CheckCount, examination: Examination) -> dict[str, Any]:
    total = examination.measurement.batch_count
    return {
        "name": count.check.name,
        "kind": count.check.kind,
        "columns": list(count.check.columns),
        "failing_count": count.failing_count,
        "fraction": count.failing_count / total if total else 0.0,
        "is_named_in_log": examination.is_named(count),
        "is_from_log": count.check.is_from_log,
        "samples": [dict(sample) for sample in count.samples],
    }


def _compared(snapshot: Snapshot, examination: Examination, session: Any) -> dict[str, Any]:
    """Row and null counts beside those of the last good batch; columns that are gone are the schema's matter."""
    landing = examination.checks.landing
    then = [(profile, landing.find(profile.column)) for profile in snapshot.profiles]
    both = [(profile, place) for profile, place in then if place is not None]
    counted = ", ".join(f"count(*) FILTER (WHERE {place.sql} IS NULL)" for _, place in both)
    now = session.rows(f"SELECT {counted} FROM {landing.table} WHERE {landing.where}")[0] if both else ()
    return {
        "run_id": snapshot.run_id,
        "taken_at": snapshot.taken_at.isoformat(),
        "row_count": snapshot.row_count,
        "null_counts": {
            profile.column: [profile.null_count, int(count)]
            for (profile, _), count in zip(both, now, strict=True)
            if count != profile.null_count
        },
    }
