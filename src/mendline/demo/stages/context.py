"""What a stage is given: its business day, the pipeline's settings, a logger, and a way into the warehouse."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import yaml

from mendline.demo.stages import sql

Logger = logging.Logger


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """One stage's surroundings; paths in `settings` are relative to `directory`."""

    directory: Path
    day: date
    settings: Mapping[str, Any]
    log: Logger

    def path(self, key: str) -> Path:
        """The path that a setting names."""
        return self.directory / str(self.settings[key])

    @contextmanager
    def warehouse(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The warehouse, open for writing, with the limits that the settings give it."""
        db = sql.connect(*self._opening())
        try:
            yield db
        finally:
            db.close()

    def keep_warehouse_open(self) -> None:
        """Hold the warehouse open until this process ends or calls `sql.release`."""
        sql.keep_open(*self._opening())

    def _opening(self) -> tuple[str, dict[str, str], float]:
        limits = self.settings["duckdb"]
        config = {
            "memory_limit": str(limits["memory_limit"]),
            "max_temp_directory_size": str(limits["max_temp_directory_size"]),
            "temp_directory": str(self.path("spool") / "duckdb"),
        }
        return str(self.path("warehouse")), config, float(limits["lock_timeout_seconds"])

    @contextmanager
    def spool(self, name: str) -> Iterator[Path]:
        """A file that bulk data passes through on its way to the warehouse; removed at the end."""
        folder = self.path("spool")
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}-{self.day}-{uuid4().hex[:8]}.jsonl"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def open_context(directory: Path, day: date, log: Logger) -> StageContext:
    """Read `world.yaml` anew, as every stage does."""
    # The C loader: the pure one takes a tenth of a small day's time, fifteen times over.
    settings = yaml.load((directory / "world.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return StageContext(directory=directory, day=day, settings=settings, log=log)
