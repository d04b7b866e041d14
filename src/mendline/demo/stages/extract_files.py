"""Extracts of what lies in files: web events, the catalogue, the partner's payments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mendline.demo.stages.context import StageContext
from mendline.demo.stages.landing import inferred_json, land, typed_json, write_lines

TRAILER = "TRAILER"


def extract_web_events(context: StageContext) -> int:
    """Land the day's parts of the object store."""
    parts = context.path("events") / f"dt={context.day}" / "*.jsonl.gz"
    context.log.info("reading %s", parts.relative_to(context.directory))
    return land(context, "web_events", inferred_json(parts))


def extract_products(context: StageContext) -> int:
    """Land the catalogue of the day, a full snapshot."""
    file = context.path("catalogue") / f"products_{context.day}.parquet"
    context.log.info("reading %s", file.relative_to(context.directory))
    return land(context, "products", f"SELECT * FROM read_parquet('{file}')")


def extract_payments(context: StageContext) -> int:
    """Land the partner's file line by line as text; what it means is the business of the stage that reads it.

    Each field goes to its header's column, NULL when empty or missing. Fields beyond the header are only counted, in
    `_field_count`. Bytes that are not UTF-8 land as `\\xNN`. The trailer and the count of data lines go beside it.
    """
    file = context.path("drop") / f"payments_{context.day}.csv"
    context.log.info("reading %s", file.relative_to(context.directory))
    reader = _PartnerFile(file)
    with context.spool("payments") as spool:
        line_count = write_lines(spool, reader.rows())
        context.log.info("%s: %d data lines, trailer says %s", file.name, line_count, reader.expected_count)
        columns = dict.fromkeys(reader.header, "VARCHAR") | {"_line_number": "BIGINT", "_field_count": "INTEGER"}
        trailer = (file.name, reader.expected_count, line_count)
        return land(context, "payments", typed_json(spool, columns), {"payments_trailer": trailer})


class _PartnerFile:
    """A header line, data lines, and `TRAILER;<count>` as the last line; `;` separates."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: list[str] = []
        self.expected_count: int | None = None

    def rows(self) -> Iterator[dict[str, Any]]:
        with self.path.open("rb") as file:
            self.header = self._fields(next(file, b""))
            for number, line in enumerate(file, start=2):
                fields = self._fields(line)
                if fields[0] == TRAILER:
                    self.expected_count = int(fields[1])
                    return
                row: dict[str, Any] = {name: field or None for name, field in zip(self.header, fields, strict=False)}
                row["_line_number"], row["_field_count"] = number, len(fields)
                yield row

    def _fields(self, line: bytes) -> list[str]:
        return line.decode("utf-8", "backslashreplace").rstrip("\r\n").split(";")
