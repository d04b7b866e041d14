"""Diagnostic `inspect_schema_diff`: what changed in the shape of a dataset, and whether that explains the failure."""

from __future__ import annotations

from typing import Any

from mendline.config import Dataset
from mendline.errors import MendlineError, Unavailable
from mendline.incident import Finding, FindingVerdict
from mendline.schema.examine import Examination, examine
from mendline.schema.judge import judge
from mendline.schema.renames import Rename
from mendline.schema.view import plain_outputs
from mendline.tools.base import ToolContext

NAME = "inspect_schema_diff"
RANK = {FindingVerdict.SUPPORTS: 0, FindingVerdict.CANNOT_TELL: 1, FindingVerdict.REFUTES: 2}


class InspectSchemaDiff:
    """Compares the landing table with the shape that its contract view was written for; only reads.

    `data` of a finding: `changes` (kind, column, now, old_type, new_type, detail, is_needed, outputs: the view's names for it), `compared_with`
    ("accommodation", "snapshot", "contract" or ""), `view_error` (why the view does not bind, ""), `view_columns` and
    `expected_columns` ([name, type]; None and [] when not known), `renames` (old, new, score, name_score, value_score,
    is_unique, evidence, against, runner_up), `overflows` (target, column, type, wider, failing_count, obstacle),
    `additions` (target, column, type, obstacle: what a target lacks), `gaps` (target, column, null_count, obstacle: NULLs it refuses),
    `row_count`, `is_additive`.
    """

    name = NAME

    def run(self, context: ToolContext) -> tuple[Finding, ...]:
        findings = [_look(dataset, context) for dataset in context.datasets]
        if not findings:
            return (
                Finding(
                    tool=NAME,
                    verdict=FindingVerdict.CANNOT_TELL,
                    summary="no dataset is configured for the failed stages, so there is no shape to compare",
                ),
            )
        return tuple(sorted(findings, key=lambda finding: RANK[finding.verdict]))


def _look(dataset: Dataset, context: ToolContext) -> Finding:
    try:
        seen = examine(dataset, context.services)
    except MendlineError as error:
        if context.is_patient and isinstance(error, Unavailable):
            raise
        return Finding(
            tool=NAME,
            verdict=FindingVerdict.CANNOT_TELL,
            summary=f"the shape of `{dataset.name}` could not be compared: {error}",
            dataset=dataset.name,
        )
    verdict, summary = judge(seen, context)
    if verdict is FindingVerdict.REFUTES and context.is_of_an_earlier_run(dataset):
        verdict, summary = (
            FindingVerdict.CANNOT_TELL,
            f"{summary}; but `{dataset.loaded_by}` failed to load a new batch",
        )
    return Finding(
        tool=NAME, verdict=verdict, summary=summary, dataset=dataset.name, data=_data(seen, _names(seen, context))
    )


def _names(seen: Examination, context: ToolContext) -> list[tuple[str, str]]:
    """(column of the landing table, what the view calls it) for every column that the view only renames."""
    if seen.base_sql is None or seen.reading is None:
        return []
    plain = plain_outputs(seen.base_sql, context.services.warehouses[seen.dataset.warehouse])
    return [(parts[-1].lower(), output) for output, parts in plain]


def _data(seen: Examination, names: list[tuple[str, str]]) -> dict[str, Any]:
    needed = {column.name for column in seen.needed}
    return {
        "compared_with": seen.origin,
        "row_count": seen.row_count,
        "is_additive": seen.diff.is_additive,
        "changes": [
            {
                "kind": str(change.kind),
                "column": change.column,
                "now": change.now,
                "old_type": change.old_type,
                "new_type": change.new_type,
                "detail": change.detail,
                "is_needed": change.column in needed,
                "outputs": [output for column, output in names if column == change.column.lower()],
            }
            for change in seen.diff.changes
        ],
        "view_error": seen.view_error,
        "view_columns": None if seen.view_columns is None else [list(pair) for pair in seen.view_columns],
        "expected_columns": [list(pair) for pair in seen.expected_columns],
        "renames": [_rename_data(rename) for rename in seen.renames],
        "overflows": [
            {
                "target": overflow.target,
                "column": overflow.column,
                "type": overflow.type,
                "wider": overflow.wider,
                "failing_count": overflow.failing_count,
                "obstacle": overflow.obstacle,
            }
            for overflow in seen.overflows
        ],
        "additions": [{**one.as_json(), "obstacle": one.obstacle} for one in seen.additions],
        "gaps": [{**gap.as_json(), "null_count": gap.null_count, "obstacle": gap.obstacle} for gap in seen.gaps],
    }


def _rename_data(rename: Rename) -> dict[str, Any]:
    return {
        "old": rename.old,
        "new": rename.new,
        "score": rename.score,
        "name_score": rename.name_score,
        "value_score": rename.value_score,
        "is_unique": rename.is_unique,
        "evidence": list(rename.evidence),
        "against": list(rename.against),
        "runner_up": rename.runner_up,
    }
