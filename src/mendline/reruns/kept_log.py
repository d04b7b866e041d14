"""A log cut to what is kept of it with an incident: its beginning and its end, and a word on what is missing between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from mendline.stores.base import KeptLog

HEAD_CHARACTERS, TAIL_CHARACTERS = 64_000, 192_000
LINE_CHARACTERS = 2_000


def kept_log(incident_id: str, run_id: str, lines: Sequence[str], kept_at: datetime) -> KeptLog:
    """What is kept of a log, in bounded space; the end gets more of it, since that is where a stage fails."""
    short = [_shortened(line) for line in lines]
    head = _fitting(short, HEAD_CHARACTERS)
    tail = _fitting(reversed(short[head:]), TAIL_CHARACTERS)
    left_out = len(short) - head - tail
    mark = [f"[... {left_out:,} lines left out ...]"] if left_out else []
    return KeptLog(
        incident_id=incident_id,
        run_id=run_id,
        kept_at=kept_at,
        lines=(*short[:head], *mark, *short[len(short) - tail :]),
        total_count=len(short),
        left_out_count=left_out,
    )


def extent(log: KeptLog) -> str:
    """How much of the log was kept, in words."""
    if log.left_out_count:
        return f"{log.total_count - log.left_out_count:,} of {log.total_count:,} lines"
    return f"all {log.total_count:,} lines"


def _fitting(lines: Iterable[str], limit: int) -> int:
    """How many of the lines fit."""
    size = count = 0
    for line in lines:
        size += len(line) + 1
        if size > limit:
            break
        count += 1
    return count


def _shortened(line: str) -> str:
    left_out = len(line) - LINE_CHARACTERS
    return line if left_out <= 0 else f"{line[:LINE_CHARACTERS]} [... {left_out:,} characters left out ...]"
