"""Read a log of any size and shape: which errors it holds, which of them is the root, which were handled, which lines matter."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from mendline.classify import log_grammar as grammar
from mendline.classify.skim import Skim, skim_lines, skim_stream
from mendline.incident import LogExcerpt, LogLine

EXCERPT_COUNT = 240
MESSAGE_COUNT = 24
FRAME_COUNT = 12
RECORD_COUNT = 400
HEALING_DISTANCE = 40  # lines
# Python raises these to end a loop or to fall back on another way: never why a program failed when something came after.
CONTROL_FLOW = frozenset({"StopIteration", "StopAsyncIteration", "GeneratorExit"})


@dataclass(frozen=True, kw_only=True)
class ErrorRecord:
    """One error as the log tells it.

    `class_name` is "" when the log gives words only. `lines` are the lines of the message with its details, the first of
    them at `line`. `is_root` says that no other error of its chain explains it; `is_handled` that the program went on
    (a warning, a retry that later succeeded). `chain` numbers the chains of the log from 0. `frames` are the last code
    locations of its traceback. `count` says how often the same error came.
    """

    class_name: str
    message: str
    line: int
    lines: tuple[LogLine, ...]
    level: str = ""
    is_root: bool = True
    is_handled: bool = False
    chain: int = 0
    depth: float = 0
    frames: tuple[str, ...] = ()
    count: int = 1

    @property
    def text(self) -> str:
        """The whole message, one string."""
        return "\n".join(line.text for line in self.lines)


@dataclass(frozen=True, kw_only=True)
class LogReading:
    """What one pass over a log found: the excerpt of the lines that matter and the errors, in order of appearance.

    `is_empty`: nothing but blanks. `is_binary`: not a text. `ended_well`: the last words report success.
    `context` are the lines of the excerpt that belong to no error.
    """

    excerpt: LogExcerpt
    errors: tuple[ErrorRecord, ...]
    context: tuple[LogLine, ...] = ()
    is_empty: bool = False
    is_binary: bool = False
    ended_well: bool = False

    @property
    def fatal(self) -> tuple[ErrorRecord, ...]:
        """The errors that nothing handled; all of them when everything looks handled."""
        return tuple(error for error in self.errors if not error.is_handled) or self.errors


def read(lines: Iterable[str], source: str = "log") -> LogReading:
    """Read a log that comes as lines, in one pass and bounded memory."""
    return _reading(skim_lines(lines), source)


def read_file(file: str | Path | BinaryIO, source: str = "log") -> LogReading:
    """Read a log file or binary stream of any size, in one pass and bounded memory. Raises `InputError` when unreadable."""
    return _reading(skim_stream(file), source)


def read_excerpt(excerpt: LogExcerpt) -> LogReading:
    """Read an excerpt again; the line numbers are those of the excerpt."""
    reading = _reading(Skim(lines=excerpt.lines, total_count=excerpt.total_count), excerpt.source)
    return replace(reading, excerpt=excerpt)


_NO_DIGITS = dict.fromkeys(map(ord, "0123456789"))


@dataclass
class _Open:
    """An error under construction."""

    class_name: str
    lines: list[LogLine]
    level: str
    chain: int
    depth: float
    frames: list[str] = field(default_factory=list)
    in_traceback: bool = False
    is_handled: bool = False
    stamped: bool = False
    count: int = 1
    last_seen: int = 0
    warned_before: bool = False  # a warning stands just before its traceback, which may or may not belong to it


class _Parser:
    """Turns pieces of lines into error records; one method per kind of piece."""

    def __init__(self) -> None:
        self.records: list[_Open] = []
        self.context: list[LogLine] = []
        self.current: _Open | None = None
        self.frames: list[str] = []
        self.in_traceback = False
        self.traceback_level = ""
        self.level = ""
        self.level_age = 99
        self.connector: float | None = None
        self.chain = -1
        self.seen: dict[tuple[str, str, str], _Open] = {}
        self.succeeded_at: list[int] = []
        self.last_number = 0
        self.marked_to = 0

    def feed(self, line: LogLine) -> None:
        """Take one line; escaped line ends inside it make pieces that share its number."""
        if line.number > self.last_number + 1:
            self.current = None
        self.last_number = line.number
        text = grammar.ANSI.sub("", line.text) if "\x1b" in line.text else line.text
        pieces = grammar.CONTROL.split(text) if (text.count("\\n") > 1 or "\r" in text) else [text]
        for piece in pieces:
            self._piece(LogLine(number=line.number, text=piece))

    def _piece(self, line: LogLine) -> None:
        text = line.text
        if not text.strip():
            self.current = self.current if self.in_traceback else None
            return
        if self._is_structure(text):
            return
        stamp = grammar.STAMP.match(text)
        level = grammar.level_of(text)
        if level or stamp:
            self.level, self.level_age, self.marked_to = level, 0, line.number
        else:
            self.level_age += 1
        if grammar.reports_healing(text):
            self.succeeded_at.append(line.number)
        self._content(line, level, stamp is not None)

    def _is_structure(self, text: str) -> bool:
        """Take frames, traceback heads and the connectors between the errors of a chain."""
        if "exception" in text and self._connects(text):
            return True
        if grammar.TRACEBACK.search(text) and not grammar.class_in(text):
            self.in_traceback, self.frames = True, []
            self.traceback_level = grammar.level_of(text) or (self.level if self.level_age <= 2 else "")
            if "Stack Trace" not in text and self.current is not None and self.connector is None:
                self.current = None
        elif grammar.FRAME.match(grammar.STAMP.sub("", text)):
            self.frames.append(text.strip())
            del self.frames[:-FRAME_COUNT]
            self.in_traceback = self.in_traceback or text.lstrip().startswith("File ")
        else:
            return False
        return True

    def _connects(self, text: str) -> bool:
        """Take a line that joins two errors to one chain: which of them explains the other."""
        if grammar.EXPLAINED_BEFORE.search(text):
            self.connector = -1.0
        elif grammar.DURING.search(text):
            self.connector = -0.5
        elif grammar.EXPLAINED_AFTER.search(text):
            self.connector = 1.0
        else:
            return False
        self.current = None
        return True

    def _content(self, line: LogLine, level: str, stamped: bool) -> None:
        text = line.text
        caused_by = grammar.CAUSED_BY.search(text)
        is_inside = self.in_traceback and text[:1].isspace() and not stamped
        if is_inside and not (caused_by or grammar.GROUP.match(text) or grammar.INDENTED_CLASS.match(text)):
            self.frames.append(text.strip())
            return
        name = self._class_name(text, stamped)
        if caused_by and (self.records or name):
            self._open(line, name or "", level or self._near_level(), depth=1.0)
        elif name and not self._is_continuation(line, level, stamped):
            self._open_exception(line, name, level)
        elif self._continues(text, level, stamped):
            assert self.current is not None
            if len(self.current.lines) < MESSAGE_COUNT:
                self.current.lines.append(line)
        elif grammar.is_error_line(text, level):
            self.in_traceback = False
            self._open(line, "", level, depth=None, stamped=stamped)
        else:
            self.current = None
            self.in_traceback = self.in_traceback and text[:1].isspace()
            self.context.append(line)

    def _near_level(self) -> str:
        return self.level if self.level_age <= 1 else ""

    def _class_name(self, text: str, stamped: bool) -> str:
        name = grammar.class_in(text)
        if name and (not text[:1].isspace() or stamped or self.current is None or "Caused by" in text):
            return name
        if self.in_traceback and not text[:1].isspace():
            plain = grammar.PLAIN_CLASS.match(text)
            return plain.group(1) if plain and plain.group(1).lower() not in grammar.REMARKS else ""
        return ""

    def _is_continuation(self, line: LogLine, level: str, stamped: bool) -> bool:
        """Say whether a line that names a class is still the message of the error before it."""
        if self.current is None or stamped or level or self.in_traceback or self.connector is not None:
            return False
        return (
            line.number == self.current.lines[-1].number
            or line.text.lstrip()[:1] in "(["
            or grammar.DETAIL.match(line.text) is not None
            or line.text.rstrip().endswith(f"({self.current.class_name})")  # Ruby's own words after a logger's
        )

    def _open_exception(self, line: LogLine, name: str, level: str) -> None:
        in_traceback = self.in_traceback
        near = self.traceback_level if in_traceback and self.traceback_level else self._near_level()
        is_loud = near not in grammar.HANDLED_LEVELS
        self._open(line, name, level or (near if is_loud else ""), depth=self.connector, in_traceback=in_traceback)
        if self.current is not None:
            self.current.warned_before = not level and near == "WARN"

    def _open(
        self,
        line: LogLine,
        name: str,
        level: str,
        *,
        depth: float | None,
        in_traceback: bool = False,
        stamped: bool = False,
    ) -> None:
        """Begin an error: a new chain, or `depth` steps from the error before it in the same chain.

        The same words again, alone in their line, are counted and not opened.
        """
        shape = (name, line.text.translate(_NO_DIGITS)[:200], level) if depth is None and not in_traceback else None
        if shape is not None and shape in self.seen:
            self.seen[shape].count += 1
            self.seen[shape].last_seen = line.number
            self.current, self.in_traceback, self.frames = None, False, []
            return
        previous = self.records[-1] if self.records else None
        if depth is None or previous is None:
            self.chain += 1
            place = 0.0
        else:
            place = previous.depth + depth
            level = level if level and depth >= 0 else previous.level or level
        opened = _Open(
            name, [line], level, self.chain, place, frames=list(self.frames), in_traceback=in_traceback, stamped=stamped
        )
        opened.last_seen = line.number
        opened.is_handled = grammar.is_handled(line.text, level)
        self.records.append(opened)
        if shape is not None and len(self.seen) < RECORD_COUNT:
            self.seen[shape] = opened
        self.current, self.connector, self.in_traceback, self.frames = opened, None, False, []
        if len(self.records) > RECORD_COUNT:
            handled = (place for place, record in enumerate(self.records[:-1]) if record.is_handled)
            del self.records[next(handled, RECORD_COUNT // 2)]

    def _continues(self, text: str, level: str, stamped: bool) -> bool:
        if self.current is None or self.in_traceback:
            return False
        if grammar.DETAIL.match(grammar.LEVEL.sub("", grammar.STAMP.sub("", text))[:60].lstrip(" :-]")):
            return True
        return not stamped and not level


def _is_healed(record: _Open, succeeded_at: list[int]) -> bool:
    """Say whether a success after retrying was reported soon enough after the error to be about it."""
    return any(record.last_seen < number <= record.last_seen + HEALING_DISTANCE for number in succeeded_at)


def _is_overcome_page(record: _Open, parser: _Parser) -> bool:
    """Say whether a piece of a web page was printed by a try that others followed: the log went on, to a louder error."""
    if record.class_name or record.level or not record.lines[0].text.lstrip().startswith("<"):
        return False
    later = [
        other.lines[0].number for other in parser.records if other.class_name or other.level in grammar.LOUD_LEVELS
    ]
    louder = min((number for number in later if number > record.last_seen), default=0)
    return any(record.last_seen < line.number < louder for line in parser.context)


def _finished(parser: _Parser) -> tuple[ErrorRecord, ...]:
    """Settle what only the whole log tells: roots, healed retries, repetitions."""
    deepest: dict[int, float] = {}
    handled: set[int] = set()
    for record in parser.records:
        if record.class_name not in CONTROL_FLOW:
            deepest[record.chain] = max(deepest.get(record.chain, record.depth), record.depth)
        went_on = record.warned_before and parser.marked_to > record.lines[-1].number
        if went_on or (record.is_handled and record.level in grammar.HANDLED_LEVELS):
            handled.add(record.chain)
    found: dict[tuple[str, str, bool, bool], ErrorRecord] = {}
    for record in parser.records:
        first = record.lines[0]
        is_root = record.depth >= deepest.get(record.chain, record.depth) and (
            record.class_name not in CONTROL_FLOW or record.chain not in deepest
        )
        is_handled = record.is_handled or record.chain in handled or _is_healed(record, parser.succeeded_at)
        is_handled = is_handled or _is_overcome_page(record, parser)
        key = (record.class_name, re.sub(r"\d+", "0", first.text), is_handled, is_root)
        known = found.get(key)
        if known is not None:
            found[key] = replace(known, count=known.count + record.count)
            continue
        found[key] = ErrorRecord(
            class_name=record.class_name,
            message=first.text.strip(),
            line=first.number,
            lines=tuple(record.lines),
            level=record.level,
            is_root=is_root,
            is_handled=is_handled,
            chain=record.chain,
            depth=record.depth,
            frames=tuple(record.frames),
            count=record.count,
        )
    return tuple(found.values())


def _reading(skim: Skim, source: str) -> LogReading:
    parser = _Parser()
    for line in () if skim.is_binary else skim.lines:
        parser.feed(line)
    errors = _finished(parser)
    last_words = [line.text for line in skim.lines[-5:]]
    return LogReading(
        excerpt=_excerpt(skim, errors, source),
        errors=errors,
        context=tuple(parser.context[-200:]),
        is_empty=not skim.is_binary and not any(line.text.strip() for line in skim.lines),
        is_binary=skim.is_binary,
        ended_well=any(grammar.ENDED_WELL.search(text) for text in last_words),
    )


def _excerpt(skim: Skim, errors: tuple[ErrorRecord, ...], source: str) -> LogExcerpt:
    """Choose the lines to show: everything of a short log, else those around the errors, unhandled ones first."""
    lines = skim.lines if len(skim.lines) <= EXCERPT_COUNT else _chosen(skim.lines, errors)
    return LogExcerpt(
        source=source, lines=lines, total_count=skim.total_count, folded_count=skim.total_count - len(lines)
    )


def _chosen(lines: tuple[LogLine, ...], errors: tuple[ErrorRecord, ...]) -> tuple[LogLine, ...]:
    index = {line.number: place for place, line in enumerate(lines)}
    wanted: dict[int, None] = {}
    ranked = sorted(errors, key=lambda error: (error.is_handled, not error.is_root, error.line))
    for error in ranked:
        first, last = index.get(error.line, 0), index.get(error.lines[-1].number, 0)
        for place in range(max(0, first - 6), min(len(lines), last + 3)):
            wanted.setdefault(place)
        if len(wanted) > EXCERPT_COUNT - 40:
            break
    keep = set(list(wanted)[: EXCERPT_COUNT - 40]) | set(range(5)) | set(range(len(lines) - 30, len(lines)))
    return tuple(lines[place] for place in sorted(keep))
