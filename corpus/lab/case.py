"""What the lab provokes: systems, the programs that run on them, and the ways in which each is broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from corpus.lab.bench import Bench
from corpus.lab.families import FAMILIES, type_of

Prepare = Callable[[Bench], object]  # acts on the bench; what it gives back is dropped


def nothing(bench: Bench) -> None:
    """Leave the world as it is."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """One stage of a pipeline, as its author would have written it, with the world in which it works.

    `name` is the pipeline's (the working directory is called so); `files` are paths in the system's folder, copied into
    the working directory; `command` is run there (`{python}` is the system's own interpreter). `world` prepares what the
    stage needs (data, tables, servers) so that the command ends with status 0: the lab runs this control before it
    accepts a case. Nothing in a program may tell what is going to be broken.
    """

    name: str
    command: tuple[str, ...]
    files: tuple[str, ...] = ()
    world: Prepare = nothing


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to break a program.

    `inject` runs after the program's `world` and breaks it. `trap` says what in the log misleads; a case with a trap is
    hard. `family` is what was broken (see `families.py`); `subtype` one of those that the family allows. `keep` is what a
    runner would have kept of the log: `all`, `tail:N` or `head:N` lines.
    """

    name: str
    family: str
    cause: str
    program: Program
    inject: Prepare
    trap: str = ""
    subtype: str = ""
    language: str = "en"
    keep: str = "all"
    timeout_s: float = 90.0
    may_exit_zero: bool = False

    def __post_init__(self) -> None:
        allowed = FAMILIES[self.family][1]
        if self.subtype and self.subtype not in allowed:
            raise ValueError(f"`{self.name}`: subtype `{self.subtype}` is none of {', '.join(allowed)}")

    @property
    def type(self) -> str:
        return type_of(self.family)

    @property
    def label(self) -> str:
        """The true subtype."""
        return self.subtype or FAMILIES[self.family][1][0]


def case(  # noqa: PLR0913 - the columns of a table
    name: str,
    family: str,
    program: Program,
    cause: str,
    inject: Prepare,
    *,
    trap: str = "",
    subtype: str = "",
    keep: str = "all",
) -> Case:
    """Make a case in few lines, for systems whose cases are a table."""
    return Case(
        name=name, family=family, program=program, cause=cause, inject=inject, trap=trap, subtype=subtype, keep=keep
    )


@dataclass(frozen=True, kw_only=True)
class System:
    """One kind of software that is broken: what to install for it, and its cases.

    `requirements` are pinned distributions of a virtual environment of its own; `debian` packages of the operating system.
    """

    name: str
    cases: tuple[Case, ...]
    requirements: tuple[str, ...] = ()
    debian: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [case.name for case in self.cases]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"`{self.name}` has cases of the same name: {', '.join(sorted(twice))}")
