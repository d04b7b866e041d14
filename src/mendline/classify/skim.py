"""The first, cheap pass over a log of any size: keep the lines that may matter, with their numbers, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ahocorasick_rs import BytesAhoCorasick, MatchKind

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

# Words of trouble (and of its healing), without the letters whose case differs. Looked for all at once: one pass of an
# automaton over the bytes costs little more than reading them.
_MARKS = (
    *(b"rror", b"RROR", b"xception", b"raceback", b"aused by", b"FATAL", b"atal", b"CRITICAL", b"SEVERE", b"anic"),
    *(b"illed", b"WARN", b"arning", b"ailed", b"ailure", b"FAIL", b"enied", b"efused", b"imed out", b"imeout", b"bort"),
    *(b"xceed", b"xhaust", b"iolat", b"vict", b"OOM", b"emory", b"uota", b"pace left", b"xit ", b"xited ", b"xpired"),
    *(b"SIGK", b"SIGT", b"SIGS", b"SIGA", b"navailable", b"uccee", b"etry"),
)
_FINDER = BytesAhoCorasick(_MARKS, matchkind=MatchKind.LeftmostFirst)
SAMPLE_BYTES = 1 << 15
DENSE_BYTES = 500  # with a mark in fewer bytes than this, looking at every line's shape is cheaper than at every mark
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
    """Give blocks that end at a line end; of a line longer than a block only the beginning."""
    block = first
    while block:
        if not block.endswith(b"\n"):
            block += stream.readline(CHUNK_BYTES)
        if not block.endswith(b"\n"):
            while stream.readline(CHUNK_BYTES)[-1:] not in (b"", b"\n"):
                pass
            block += b"\n"
        yield block
        block = stream.read(CHUNK_BYTES)


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
    cursor = _Cursor(chunk, line_count)
    cursor.keep(cursor.offset, marked.owed_count, marked)  # the rest of a neighbourhood that the last block ended in
    is_dense = len(_FINDER.find_matches_as_indexes(chunk[:SAMPLE_BYTES])) * DENSE_BYTES > min(len(chunk), SAMPLE_BYTES)
    for begin, shape in _lines_by_shape(chunk, marked) if is_dense else _lines_by_mark(chunk, marked):
        if begin >= cursor.kept_to and marked.counts_in(shape):
            after = AFTER_TRACEBACK if b"raceback" in shape else AROUND_MARK[1]
            first = cursor.before(begin, AROUND_MARK[0])
            cursor.keep(first, chunk.count(b"\n", first, begin) + after, marked)
    return cursor.number - line_count - 1 + chunk.count(b"\n", cursor.offset)


def _lines_by_mark(chunk: bytes, marked: _Keeper) -> Iterator[tuple[int, bytes]]:
    """Give the offset and the shape of every line that holds a mark and is not known well enough."""
    passed = -1
    for _, start, _ in _FINDER.find_matches_as_indexes(chunk):
        if start < passed:
            continue
        begin, end = chunk.rfind(b"\n", 0, start) + 1, chunk.find(b"\n", start)
        passed = end if end >= 0 else len(chunk)
        shape = chunk[begin:passed].translate(None, _DIGITS)
        if not marked.is_tired(shape):
            yield begin, shape


def _lines_by_shape(chunk: bytes, marked: _Keeper) -> Iterator[tuple[int, bytes]]:
    """The same, by looking at every line; a line is looked at only when its shape is new: most never are."""
    shapes = chunk.removesuffix(b"\n").translate(None, _DIGITS).split(b"\n")
    wanted = marked.fresh(shapes)
    if not wanted:
        return
    begin = 0
    for text, shape in zip(chunk.split(b"\n"), shapes, strict=False):
        if shape in wanted:
            yield begin, shape
        begin += len(text) + 1


class _Cursor:
    """Goes through one block and knows the number of the line at its offset."""

    def __init__(self, chunk: bytes, line_count: int) -> None:
        self.chunk = chunk
        self.offset = self.kept_to = 0
        self.number = line_count + 1

    def before(self, begin: int, count: int) -> int:
        """The offset of the line `count` lines before the one at `begin`, at most back to the last line kept."""
        for _ in range(count):
            if begin <= self.kept_to:
                break
            begin = self.chunk.rfind(b"\n", 0, begin - 1) + 1
        return max(begin, self.kept_to)

    def keep(self, begin: int, count: int, marked: _Keeper) -> None:
        """Keep `count` lines from the offset `begin`; what the block has no more of is owed by the next one."""
        self.number += self.chunk.count(b"\n", self.offset, begin)
        self.offset = begin
        while count and self.offset < len(self.chunk):
            end = self.chunk.find(b"\n", self.offset)
            end = end if end >= 0 else len(self.chunk)
            marked.keep(_line(self.number, self.chunk[self.offset : min(end, self.offset + LINE_LENGTH)]))
            self.offset, self.number, count = end + 1, self.number + 1, count - 1
        self.kept_to = self.offset
        marked.owed_count = count


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

    def is_tired(self, shape: bytes) -> bool:
        return shape in self._tired

    def fresh(self, shapes: list[bytes]) -> set[bytes]:
        """Give the shapes that tell of trouble and have not come often enough yet."""
        new = set(shapes) - self._tired
        if len(self._tired) > SHAPE_COUNT:
            self._tired.clear()
        wanted = {shape for shape in new if _FINDER.find_matches_as_indexes(shape)}
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
