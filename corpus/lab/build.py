"""Provokes the cases of a system and writes their logs: one JSON object per line, in the order of their names."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corpus.lab import shop
from corpus.lab.bench import Bench, Written, fresh_directory, kept, run_program
from corpus.lab.case import Case, Program, System

HERE = Path(__file__).parent
SYSTEMS = HERE / "systems"
CASES = HERE.parent / "cases"
LONGEST = 600_000  # characters of one kept log


class Unfit(Exception):
    """A case that does not show what it claims: its control fails, or its fault breaks nothing."""


@dataclass(frozen=True)
class Row:
    """One provoked failure: what was done, and what the software wrote."""

    case: Case
    system: System
    written: Written

    def as_object(self) -> dict[str, object]:
        return {
            "id": f"{self.system.name}/{self.case.name}",
            "system": self.system.name,
            "family": self.case.family,
            "type": self.case.type,
            "subtype": self.case.label,
            "hard": bool(self.case.trap),
            "trap": self.case.trap,
            "cause": self.case.cause,
            "language": self.case.language,
            "software": list(self.system.requirements + self.system.debian),
            "exit_status": self.written.status,
            "log": kept(self.written.log, self.case.keep),
        }


def names() -> list[str]:
    """List the systems that have cases."""
    return sorted(path.parent.name for path in SYSTEMS.glob("*/cases.py"))


def load(name: str) -> System:
    system = importlib.import_module(f"corpus.lab.systems.{name}.cases").SYSTEM
    assert isinstance(system, System)
    if system.name != name:
        raise ValueError(f"the system in `{name}/` calls itself `{system.name}`")
    return system


def provoke(system: System, only: str = "") -> Iterator[Row | tuple[Case, Unfit]]:
    """Run every case whose name holds `only`; each program's control once, before its first case."""
    shop.debian(system)
    python = shop.interpreter(system)
    sound: dict[Program, Unfit | None] = {}
    for case in sorted(system.cases, key=lambda each: each.name):
        if only not in case.name:
            continue
        try:
            if case.program not in sound:
                sound[case.program] = _control(system, case.program, python)
            trouble = sound[case.program]
            if trouble is not None:
                raise trouble
            yield Row(case=case, system=system, written=_run(system, case.program, python, case))
        except Unfit as trouble:
            yield case, trouble


def _control(system: System, program: Program, python: Path) -> Unfit | None:
    written = _run(system, program, python, None)
    if written.status != 0:
        return Unfit(f"the control of `{program.name}` ended with {written.status}:\n{written.log[-3000:]}")
    return None


def _run(system: System, program: Program, python: Path, case: Case | None) -> Written:
    directory = fresh_directory(shop.PIPELINES / system.name / program.name, SYSTEMS / system.name, program.files)
    bench = Bench(directory=directory, python=python, command=program.command, env=dict(system.environment))
    with bench.stack:
        program.world(bench)
        if case is not None:
            _inject(case, bench)
        written = run_program(bench, case.timeout_s if case else 120.0)
    if case is not None:
        _demand_failure(case, written)
    return written


def _inject(case: Case, bench: Bench) -> None:
    try:
        case.inject(bench)
    except (OSError, LookupError, RuntimeError, ValueError) as error:
        raise Unfit(f"the fault could not be injected: {type(error).__name__}: {error}") from error


def _demand_failure(case: Case, written: Written) -> None:
    if written.status == 0 and not case.may_exit_zero:
        raise Unfit(f"the program ended well all the same:\n{written.log[-2000:]}")
    if written.status is None:
        raise Unfit(f"still running after {case.timeout_s:.0f} s:\n{written.log[-2000:]}")
    if len(written.log) > LONGEST and case.keep == "all":
        raise Unfit(f"the log has {len(written.log)} characters, {LONGEST} are the most; keep a part")


def write(system: System, rows: list[Row], *, is_partial: bool) -> Path:
    """Write the system's file; a partial build replaces the cases it ran and keeps the others that still exist."""
    path = CASES / f"{system.name}.jsonl"
    known: dict[str, dict[str, object]] = {}
    if is_partial and path.exists():
        existing = {f"{system.name}/{case.name}" for case in system.cases}
        old = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        known = {str(row["id"]): row for row in old if row["id"] in existing}
    known |= {str(row.as_object()["id"]): row.as_object() for row in rows}
    lines = [json.dumps(known[name], ensure_ascii=False) for name in sorted(known)]
    CASES.mkdir(exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path
