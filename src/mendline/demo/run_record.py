"""What the engine itself recorded of a run, read straight from its event log while the run goes on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

ENDS = {"STEP_SUCCESS": "succeeded", "STEP_FAILURE": "failed", "STEP_SKIPPED": "skipped"}
QUERY = """
SELECT dagster_event_type, step_key FROM event_logs
WHERE run_id = ? AND dagster_event_type IN ('STEP_SUCCESS', 'STEP_FAILURE', 'STEP_SKIPPED') ORDER BY id"""


def stage_ends(dagster_home: Path, run_id: str) -> dict[str, str]:
    """Stage -> "succeeded", "failed" or "skipped", in order of their ends; {} before the run has begun.

    Dagster keeps one SQLite file per run; reading it takes milliseconds, importing Dagster would take seconds.
    """
    file = dagster_home / "history" / "runs" / f"{run_id}.db"
    if not file.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=1.0)) as db:
            return {stage: ENDS[kind] for kind, stage in db.execute(QUERY, [run_id])}
    except sqlite3.OperationalError:  # the file is there before its tables are
        return {}


def runs(dagster_home: Path) -> tuple[str, ...]:
    """The ids of all runs that have begun, oldest first."""
    files = (dagster_home / "history" / "runs").glob("*-*.db")
    begun = sorted((file.stat().st_ctime_ns, file.stem) for file in files)
    return tuple(run_id for _at, run_id in begun)
