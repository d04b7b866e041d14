"""The corpus: failures whose cause is known, and which part of the work each of them serves."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mendline.errors import InputError
from mendline.incident import FailureType

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
Choice = Literal["train", "validation", "test", "all"]
REPOSITORY = Path(__file__).parents[3]

# What may differ between two logs that tell the same story: values, names, places, times.
_VARIES = re.compile(
    r"""'[^'\n]*'|"[^"\n]*"|`[^`\n]*`"""  # quoted
    r"|\b[a-z][a-z0-9+.-]*://\S+|(?<![\w.])(?:[\w.-]*/)+[\w.-]+"  # addresses and paths
    r"|\b0x[0-9a-f]+\b|\b\w*[0-9_]\w*\b",  # numbers, ids, names_with_underscores
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One provoked failure: `log` is what the software wrote, `type` and `subtype` follow from what was broken.

    A hard case has a `trap`: what in its log misleads. `exit_status` is negative for a signal.
    """

    id: str
    system: str
    family: str
    type: FailureType
    subtype: str
    is_hard: bool
    trap: str
    cause: str
    language: str
    software: tuple[str, ...]
    exit_status: int | None
    log: str


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which systems are for validation and for test (all others are for training), and the families kept for the test."""

    validation: frozenset[str]
    test: frozenset[str]
    families_of_test_only: frozenset[str]

    def part_of(self, case: Case) -> Part | None:
        """The part of a case; None for one that no part may have: a test-only family in a system of another part."""
        if case.system in self.test:
            return "test"
        if case.family in self.families_of_test_only:
            return None
        return "validation" if case.system in self.validation else "train"


@dataclass(frozen=True)
class Corpus:
    """All cases in the order of their ids, and how they are split."""

    path: Path
    cases: tuple[Case, ...]
    split: Split

    def part(self, choice: Choice) -> tuple[Case, ...]:
        """The cases of one part; `all` is every case, also those that are set aside."""
        return self.cases if choice == "all" else self._parts[choice]

    @property
    def set_aside(self) -> tuple[Case, ...]:
        """Cases of a test-only family in systems that are not the test's; they serve neither training nor a figure."""
        return self._parts[None]

    @cached_property
    def _parts(self) -> dict[Part | None, tuple[Case, ...]]:
        found: dict[Part | None, list[Case]] = {part: [] for part in (*PARTS, None)}
        for case in self.cases:
            found[self.split.part_of(case)].append(case)
        return {part: tuple(cases) for part, cases in found.items()}


def default_path() -> Path:
    """The repository's own corpus. Raises: `InputError` when Mendline is installed without its repository."""
    path = REPOSITORY / "corpus"
    if not (path / "split.json").is_file():
        raise InputError(
            "this installation has no corpus, only Mendline's repository has;"
            " name one with `--corpus DIRECTORY` (it holds `split.json` and `cases/*.jsonl`)"
        )
    return path


def read_corpus(path: Path) -> Corpus:
    """Read a corpus directory.

    Raises: `InputError` that names file and line when something is missing or wrong, or when there is no case at all.
    """
    split = _read_split(path / "split.json")
    cases: dict[str, Case] = {}
    for file in sorted((path / "cases").glob("*.jsonl")):
        for number, case in _read_cases(file):
            if case.id in cases:
                raise InputError(f"`{file}` line {number}: the id `{case.id}` is there twice; give each case its own")
            cases[case.id] = case
    if not cases:
        raise InputError(f"`{path / 'cases'}` holds no case: there is nothing to measure; `--corpus` names a corpus")
    return Corpus(path, tuple(cases[name] for name in sorted(cases)), split)


def split_faults(corpus: Corpus) -> Iterator[str]:
    """Say what makes a figure worthless: a system in two parts, or one log in two parts.

    Two logs are the same when they are equal, or when their lines are once numbers, quoted values, paths, addresses and
    compound names are masked (whatever the order and count of the lines). Blank logs have nothing to give away.
    """
    for system in sorted(corpus.split.validation & corpus.split.test):
        yield f"the system `{system}` is both for validation and for test"
    first: dict[bytes, Case] = {}
    for part in PARTS:
        for case in corpus.part(part):
            if not case.log.strip():
                continue
            other = first.setdefault(_shape(case.log), case)
            if corpus.split.part_of(other) != part:
                yield f"`{case.id}` ({part}) and `{other.id}` ({corpus.split.part_of(other)}) have the same log"


def missing_systems(corpus: Corpus) -> tuple[str, ...]:
    """The systems that the split names and that have no case."""
    return tuple(sorted((corpus.split.validation | corpus.split.test) - {case.system for case in corpus.cases}))


def _shape(log: str) -> bytes:
    lines = {" ".join(_VARIES.sub("_", line).split()) for line in log.splitlines()}
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "backslashreplace")).digest()


class _Line(BaseModel):
    """One line of a case file as it is written."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1)
    system: str = Field(min_length=1)
    family: str = Field(min_length=1)
    type: FailureType = Field(strict=False)
    subtype: str
    hard: bool
    trap: str
    cause: str
    language: str
    software: list[str]
    exit_status: int | None
    log: str


class _SplitFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    validation: list[str]
    test: list[str]
    families_of_test_only: list[str]


def _read_split(file: Path) -> Split:
    try:
        raw = _SplitFile.model_validate_json(_text(file))
    except ValidationError as error:
        raise InputError(f"`{file}`: {_first(error)}; it names systems and families in three lists") from error
    return Split(
        validation=frozenset(raw.validation),
        test=frozenset(raw.test),
        families_of_test_only=frozenset(raw.families_of_test_only),
    )


def _read_cases(file: Path) -> Iterator[tuple[int, Case]]:
    for number, line in enumerate(_text(file).split("\n"), start=1):
        if line.strip():
            yield number, _case(line, file, number)


def _case(line: str, file: Path, number: int) -> Case:
    try:
        raw = _Line.model_validate_json(line)
    except ValidationError as error:
        raise InputError(f"`{file}` line {number}: {_first(error)}; correct the line or provoke it anew") from error
    _demand(raw.system == file.stem, file, number, f"`system` is `{raw.system}`; put it into `{raw.system}.jsonl`")
    _demand(raw.id.startswith(f"{raw.system}/"), file, number, f"`id` must begin with `{raw.system}/`, not `{raw.id}`")
    _demand(raw.hard == bool(raw.trap.strip()), file, number, "a hard case has a `trap`, a plain one has none")
    return Case(
        id=raw.id,
        system=raw.system,
        family=raw.family,
        type=raw.type,
        subtype=raw.subtype,
        is_hard=raw.hard,
        trap=raw.trap,
        cause=raw.cause,
        language=raw.language,
        software=tuple(raw.software),
        exit_status=raw.exit_status,
        log=raw.log,
    )


def _demand(is_met: bool, file: Path, number: int, sentence: str) -> None:
    if not is_met:
        raise InputError(f"`{file}` line {number}: {sentence}")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(
            f"`{file}` does not exist; `--corpus` names a directory with `split.json` and `cases/`"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"`{file}` cannot be read: {error}; a corpus is UTF-8 text") from error


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, without the value: it may be a whole log."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"`{where}`: {first['msg']}" if where else first["msg"]
