"""How every extract lands its batch: replaced as a whole, with whatever columns and types the source sends."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mendline.demo.stages import sql
from mendline.demo.stages.context import StageContext

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def land(context: StageContext, source: str, select: str, extra: Mapping[str, tuple[Any, ...]] | None = None) -> int:
    """Replace `landing.<source>` by what `select` gives and note whose day it is, in one transaction.

    `extra` maps another landing table to the one row it then holds. Gives the number of rows landed.
    """
    with context.warehouse() as db, sql.transaction(db):
        db.execute(f"CREATE OR REPLACE TABLE landing.{source} AS {select}")
        db.execute("INSERT OR REPLACE INTO landing.batches VALUES (?, ?)", [source, context.day])
        for table, row in (extra or {}).items():
            db.execute(f"DELETE FROM landing.{table}")
            db.execute(f"INSERT INTO landing.{table} VALUES ({', '.join('?' * len(row))})", list(row))
        (count,) = db.execute(f"SELECT count(*) FROM landing.{source}").fetchone() or (0,)
        if not count:
            raise ValueError(f"{source}: the source has no rows for {context.day}")
    context.log.info("landed %d rows in landing.%s for %s", count, source, context.day)
    return int(count)


def inferred_json(path: Path | str) -> str:
    """A SELECT over JSON Lines that takes names and types from all of the data, objects as structs.

    The folder's name is no column: a date in it says which batch this is, not what a row holds.
    """
    sampling = "sample_size = -1, map_inference_threshold = -1"
    files = "union_by_name = true, hive_partitioning = false"
    return f"SELECT * FROM read_json('{path}', format = 'newline_delimited', {sampling}, {files})"


def typed_json(path: Path, columns: Mapping[str, str]) -> str:
    """A SELECT over JSON Lines with these columns (name -> DuckDB type)."""
    listed = ", ".join(f"{_quoted(name)}: {_quoted(kind)}" for name, kind in columns.items())
    return f"SELECT * FROM read_json('{path}', format = 'newline_delimited', columns = {{{listed}}})"


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Append records to a JSON Lines file; how many there were."""
    count = 0
    with path.open("a", encoding="utf-8") as file:
        for record in records:
            file.write(_ENCODE(record))
            file.write("\n")
            count += 1
    return count


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
