"""What this machine knows of a Dagster instance beside its API: processes and storage files.

Loaded by `dagster_host.py`, imports nothing of Mendline and nothing of Dagster.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from pathlib import Path
from typing import Any

import yaml

OTHER_STORAGES = ("run_storage", "event_log_storage", "schedule_storage", "instance_class")
OUR_TAGS = "mendline/"
OWN_TAG = "mendline/run"  # the id of the run that Mendline's tags were given to
SQLITE_FILES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")


def tags_of(run: Any) -> dict[str, str]:
    """A run's tags, Mendline's only where they are its own.

    Dagster copies a run's tags into its re-executions, and one that a person starts from ours has neither our process nor
    our purpose.
    """
    is_ours = run.tags.get(OWN_TAG) == run.run_id
    return {name: value for name, value in run.tags.items() if is_ours or not name.startswith(OUR_TAGS)}


def process_identity() -> str:
    """The tag value that says which process executes a run: host, pid and the pid's start."""
    return f"{socket.gethostname()}:{os.getpid()}:{_process_started_at(os.getpid()) or 0:.0f}"


def _process_started_at(pid: int) -> float | None:
    """When a process of this machine began; None when there is none (a zombie is none).

    Without /proc only existence is known: 0.0.
    """
    proc = Path("/proc")
    if not (proc / "self" / "stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return 0.0
        return 0.0
    try:
        fields = (proc / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in "ZX":
        return None
    booted = next(line for line in (proc / "stat").read_text().splitlines() if line.startswith("btime"))
    return float(booted.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def is_gone(pid: int, seen_at: float) -> bool:
    """Whether the process that had `pid` at `seen_at` has ended (a later process may have its number)."""
    started = _process_started_at(pid)
    return started is None or started > seen_at + 2.0


def has_storage(home: Path) -> bool:
    """Whether the instance's storage has been made; True also where that cannot be told from files.

    Dagster makes SQLite storage when it is first opened, and two processes that do so at once leave it with two revisions,
    which no Dagster opens again ("more than one head present", seen with 1.13.27). So Mendline never opens an instance that
    nobody has used yet.
    """
    base = _sqlite_folder(home)
    return base is None or all(_is_stamped(base / name) for name in SQLITE_FILES)


def quiet_mark(home: Path) -> tuple[int, ...] | None:
    """What changes when the run storage is written to; None where files do not say it, or not yet.

    A file time has the grain of the kernel's clock: a change within the last second may still share it with another.
    """
    base = _sqlite_folder(home)
    if base is None:
        return None
    mark: list[int] = []
    for name in ("history/runs.db", "history/runs.db-wal"):
        try:
            found = (base / name).stat()
        except FileNotFoundError:
            continue
        mark += [found.st_ino, found.st_size, found.st_mtime_ns]
    return tuple(mark) if max(mark[2::3], default=0) < (time.time() - 1.0) * 1e9 else None


def _sqlite_folder(home: Path) -> Path | None:
    file = home / "dagster.yaml"
    config: Any = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else None
    config = config if isinstance(config, dict) else {}
    if any(key in config for key in OTHER_STORAGES):
        return None
    storage = config.get("storage")
    if storage is None:
        return home
    base = storage.get("sqlite", {}).get("base_dir") if isinstance(storage, dict) else None
    if isinstance(base, dict):
        base = os.environ.get(str(base.get("env")))
    return Path(base) if isinstance(base, str) else None


def _is_stamped(file: Path) -> bool:
    if not file.exists():
        return False
    try:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error:
        return False
    try:
        return bool(connection.execute("SELECT count(*) FROM alembic_version").fetchone()[0])
    except sqlite3.Error:
        return False  # being made at this moment
    finally:
        connection.close()
