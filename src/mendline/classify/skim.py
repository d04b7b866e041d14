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
CHUNK_BYTES = 1 << 20
WHOLE_COUNT = 3000
HEAD_COUNT = 60
TAIL_COUNT = 400
KEEP_COUNT = 6000  # lines kept from the first marks, and again from the last
AROUND_MARK = (2, 14)
AFTER_TRACEBACK = 60
SAME_SHAPE_LIMIT = 12
SHAPE_COUNT = 100_000
TAIL_BYTES = 200_000
LINE_LENGTH = 4000

_MARK = re.compile(
    rb"rror|RROR|xception|raceback|aused by|FATAL|atal|CRITICAL|SEVERE|anic|illed|WARN|arning|ail(?:ed|ure)|FAIL|enied|efused"
    rb"|imed out|imeout|bort|xceed|xhaust|iolat|vict|OOM|emory|uota|pace left|xit(?:ed)? |SIG[KTSA]|xpired|navailable|uccee|etry"
)
_DIGITS = b"0123456789"


@dataclass(frozen=True, kw_only=True)
class Skim:
    """The lines kept, in order; `total_count` counts all lines of the log."""

    lines: tuple[LogLine, ...]
    total_count: int
    is_binary: bool = False


def skim_lines(lines: Iterable[str]) -> Skim:
    """Keep what may matter of lines that come one by one; bounded memory however many come."""
    head: list[LogLine] = []
    tail: deque[LogLine] = deque(maxlen=TAIL_COUNT)
    marked = _Keeper()
    before: deque[LogLine] = deque(maxlen=AROUND_MARK[0])
    total, after = 0, 0
    for text in lines:
        total += 1
        line = LogLine(number=total, text=text.rstrip("\r\n")[:LINE_LENGTH])
        if total <= WHOLE_COUNT:
            head.append(line)
            continue
        tail.append(line)
        shape = line.text.encode("utf-8", "replace").translate(None, _DIGITS)
        if marked.fresh([shape]) and marked.counts_in(shape):
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
    """Skim block by block. A line is looked at only when its shape (the line without digits) is new: most never are."""
    head: list[LogLine] = []
    marked = _Keeper()
    total, last = 0, b""
    for chunk in chunks:
        if not head:
            head = _numbered(chunk[: HEAD_COUNT * LINE_LENGTH], 1)[:HEAD_COUNT]
        total += _keep_marked(chunk, total, marked)
        last = (last + chunk[-TAIL_BYTES:])[-TAIL_BYTES:]
    texts = last.removesuffix(b"\n").split(b"\n")[-TAIL_COUNT:]
    tail = [_line(total - len(texts) + index + 1, text) for index, text in enumerate(texts)]
    return Skim(lines=_merge(head, marked.lines(), tail[1:] or tail), total_count=total)


def _keep_marked(chunk: bytes, line_count: int, marked: _Keeper) -> int:
    """Hand the neighbourhood of every line of trouble in `chunk` to `marked`, unless its shape came often enough before.

    Gives the count of lines of `chunk`; `line_count` is that of the lines before it.
    """
    shapes = chunk.removesuffix(b"\n").translate(None, _DIGITS).split(b"\n")
    wanted = marked.fresh(shapes)
    if not wanted and not marked.owed_count:
        return len(shapes)
    texts = chunk.split(b"\n")
    kept_to = 0

    def keep(start: int, end: int) -> None:
        nonlocal kept_to
        kept_to = min(len(shapes), end)
        marked.owed_count = end - kept_to  # the rest of a neighbourhood that the next block begins with
        marked.keep(*(_line(line_count + place + 1, texts[place]) for place in range(start, kept_to)))

    keep(0, marked.owed_count)
    for index, shape in enumerate(shapes):
        if shape not in wanted or index < kept_to or not marked.counts_in(shape):
            continue
        keep(
            max(kept_to, index - AROUND_MARK[0]), index + (AFTER_TRACEBACK if b"raceback" in shape else AROUND_MARK[1])
        )
    return len(shapes)


class _Keeper:
    """Keeps the first and the last lines handed to it, and knows which shapes of line have been seen often enough."""

    def __init__(self) -> None:
        self._first: list[LogLine] = []
        self._last: deque[LogLine] = deque(maxlen=KEEP_COUNT)
        self._counts: dict[bytes, int] = {}
        self._tired: set[bytes] = set()
        self.owed_count = 0

    def keep(self, *lines: LogLine) -> None:
        for line in lines:
            if len(self._first) < KEEP_COUNT:
                self._first.append(line)
            else:
                self._last.append(line)

    def fresh(self, shapes: list[bytes]) -> set[bytes]:
        """Give the shapes that tell of trouble and have not come often enough yet."""
        new = set(shapes) - self._tired
        if len(self._tired) > SHAPE_COUNT:
            self._tired.clear()
        wanted = {shape for shape in new if _MARK.search(shape)}
        self._tired |= new - wanted
        return wanted

    def counts_in(self, shape: bytes) -> bool:
        """Count one more line of this shape; say whether it is still to be kept."""
        if shape in self._tired:
            return False
        count = self._counts.get(shape, 0) + 1
        if count >= SAME_SHAPE_LIMIT:
            self._tired.add(shape)
            self._counts.pop(shape, None)
        elif len(self._counts) < SHAPE_COUNT:
            self._counts[shape] = count
        return True

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
