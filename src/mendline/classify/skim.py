"""The first, cheap pass over a log of any size: keep the lines that may matter, with their numbers, in bounded memory."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mendline.errors import InputError
from mendline.incident import LogLine

WHOLE_BYTES = 4 << 20  # a log up to this size is read line by line; above it, only the neighbourhood of a mark
CHUNK_BYTES = 4 << 20
HEAD_COUNT = 60
TAIL_COUNT = 400
KEEP_COUNT = 6000  # lines kept from the first marks, and again from the last
AROUND_MARK = (2, 14)
AFTER_TRACEBACK = 60
SAME_SHAPE_LIMIT = 12
LINE_LENGTH = 4000

MARKS = (
    b"rror",
    b"RROR",
    b"xception",
    b"raceback",
    b"aused by",
    b"ATAL",
    b"anic",
    b"illed",
    b"WARN",
    b"ailed",
    b"FAIL",
)
_MARK = re.compile("|".join(mark.decode() for mark in MARKS))
_DIGITS = re.compile(rb"[0-9a-f]*[0-9][0-9a-f]*")


@dataclass(frozen=True, kw_only=True)
class Skim:
    """The lines kept, in order; `total_count` counts all lines of the log."""

    lines: tuple[LogLine, ...]
    total_count: int
    is_binary: bool = False


def skim_lines(lines: Iterable[str]) -> Skim:
    """Keep what may matter of lines that come one by one; bounded memory however many come."""
    head: list[LogLine] = []
    tail: deque[LogLine] = deque(maxlen=KEEP_COUNT)
    marked = _Keeper()
    before: deque[LogLine] = deque(maxlen=AROUND_MARK[0])
    total, after = 0, 0
    for text in lines:
        total += 1
        line = LogLine(number=total, text=text.rstrip("\r\n")[:LINE_LENGTH])
        if total <= KEEP_COUNT:
            head.append(line)
            continue
        tail.append(line)
        if _MARK.search(line.text) and marked.is_new_shape(line.text.encode("utf-8", "replace")):
            after = AFTER_TRACEBACK if "raceback" in line.text else AROUND_MARK[1]
            marked.keep(*before)
        if after:
            marked.keep(line)
            after -= 1
        before.append(line)
    return Skim(lines=_merge(head, marked.lines(), tail), total_count=total, is_binary=_looks_binary_text(head))


def skim_stream(source: str | Path | BinaryIO) -> Skim:
    """Keep what may matter of a file or a binary stream; bounded memory. Raises `InputError` when it cannot be read."""
    if isinstance(source, str | Path):
        try:
            with Path(source).open("rb") as stream:
                return skim_stream(stream)
        except OSError as error:
            raise InputError(
                f"`{source}` cannot be read: {error.strerror}; give the path of a readable log file"
            ) from error
    first = source.read(WHOLE_BYTES)
    if _looks_binary(first[:8192]):
        return Skim(lines=(), total_count=0, is_binary=True)
    if first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return skim_lines((first + source.read(WHOLE_BYTES)).decode("utf-16", "replace").split("\n"))
    if len(first) < WHOLE_BYTES:
        text = first.decode("utf-8-sig", "replace")
        return skim_lines(text.removesuffix("\n").split("\n") if text else [])
    return _skim_chunks(_chunks(first, source))


def _chunks(first: bytes, stream: BinaryIO) -> Iterator[bytes]:
    """Give blocks that end at a line end (a line longer than a block is cut)."""
    rest = first
    while rest:
        block = stream.read(CHUNK_BYTES)
        cut = rest.rfind(b"\n") + 1
        if not block:
            yield rest
            return
        if cut == 0:
            yield rest + b"\n"
            rest = block.partition(b"\n")[2]
            continue
        yield rest[:cut]
        rest = rest[cut:] + block


def _skim_chunks(chunks: Iterator[bytes]) -> Skim:
    head: list[LogLine] = []
    marked = _Keeper()
    total, last = 0, b""
    for chunk in chunks:
        if not head:
            head = _numbered(chunk[: HEAD_COUNT * LINE_LENGTH], 1)[:HEAD_COUNT]
        _keep_marked(chunk, total, marked)
        total += chunk.count(b"\n") + (not chunk.endswith(b"\n"))
        last = (last + chunk)[-TAIL_COUNT * 400 :] if len(chunk) < TAIL_COUNT * 400 else chunk[-TAIL_COUNT * 400 :]
    texts = last.removesuffix(b"\n").split(b"\n")[-TAIL_COUNT:]
    tail = [_line(total - len(texts) + index + 1, text) for index, text in enumerate(texts)]
    return Skim(lines=_merge(head, marked.lines(), tail), total_count=total)


def _keep_marked(chunk: bytes, line_count: int, marked: _Keeper) -> None:
    """Hand the neighbourhood of every mark in `chunk` to `marked`; a shape of line seen often enough is passed over."""
    counted_to, number, kept_to = 0, line_count + 1, 0
    for start in sorted(_mark_positions(chunk)):
        begin = chunk.rfind(b"\n", 0, start) + 1
        if begin < kept_to:
            continue
        end = chunk.find(b"\n", start)
        text = chunk[begin : end if end >= 0 else len(chunk)]
        if not marked.is_new_shape(text):
            continue
        number += chunk.count(b"\n", counted_to, begin)
        counted_to = begin
        block_start, back = begin, 0
        while back < AROUND_MARK[0] and block_start > kept_to:
            block_start = chunk.rfind(b"\n", 0, block_start - 1) + 1
            back += 1
        span = AFTER_TRACEBACK if b"raceback" in text else AROUND_MARK[1]
        kept_to = _nth_line_end(chunk, begin, span)
        marked.keep(*_numbered(chunk[block_start:kept_to], number - back))


def _mark_positions(chunk: bytes) -> set[int]:
    """Give one position per marked line and mark; `find` of a fixed word is many times faster than any pattern."""
    found: set[int] = set()
    for mark in MARKS:
        position = chunk.find(mark)
        while position >= 0:
            found.add(position)
            line_end = chunk.find(b"\n", position)
            position = chunk.find(mark, line_end) if line_end >= 0 else -1
    return found


def _nth_line_end(chunk: bytes, start: int, count: int) -> int:
    position = start
    for _ in range(count):
        position = chunk.find(b"\n", position) + 1
        if position == 0:
            return len(chunk)
    return position


class _Keeper:
    """Keeps the first and the last lines handed to it, and knows which shapes of line have been seen often enough."""

    def __init__(self) -> None:
        self._first: list[LogLine] = []
        self._last: deque[LogLine] = deque(maxlen=KEEP_COUNT)
        self._shapes: dict[bytes, int] = {}

    def keep(self, *lines: LogLine) -> None:
        for line in lines:
            if len(self._first) < KEEP_COUNT:
                self._first.append(line)
            else:
                self._last.append(line)

    def is_new_shape(self, text: bytes) -> bool:
        """Say whether fewer than the limit of lines with this shape (digits apart) came before."""
        shape = _DIGITS.sub(b"0", text[:300])
        count = self._shapes.get(shape, 0) + 1
        if count == 1 and len(self._shapes) >= KEEP_COUNT:
            self._shapes.pop(next(iter(self._shapes)))
        self._shapes[shape] = count
        return count <= SAME_SHAPE_LIMIT

    def lines(self) -> list[LogLine]:
        return [*self._first, *self._last]


def _merge(*parts: Iterable[LogLine]) -> tuple[LogLine, ...]:
    by_number: dict[int, LogLine] = {}
    for part in parts:
        for line in part:
            by_number.setdefault(line.number, line)
    return tuple(by_number[number] for number in sorted(by_number))


def _line(number: int, text: bytes) -> LogLine:
    return LogLine(number=number, text=text[:LINE_LENGTH].decode("utf-8", "replace").rstrip("\r"))


def _numbered(block: bytes, first: int) -> list[LogLine]:
    return [_line(first + index, text) for index, text in enumerate(block.removesuffix(b"\n").split(b"\n"))]


def _looks_binary(sample: bytes) -> bool:
    if sample[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return False
    if b"\0" in sample:
        return True
    control = sum(byte < 9 or 13 < byte < 27 or 27 < byte < 32 for byte in sample)
    broken = sample.decode("utf-8", "replace").count("�")
    return len(sample) > 0 and (control / len(sample) > 0.05 or broken / len(sample) > 0.2)


def _looks_binary_text(lines: list[LogLine]) -> bool:
    sample = "".join(line.text for line in lines[:50])[:8192]
    if not sample:
        return False
    strange = sum(char == "�" or (char < " " and char not in "\t\r\x1b") for char in sample)
    return "\0" in sample or strange / len(sample) > 0.2
