"""`python -m corpus.lab`: list the systems, or provoke their failures and write the corpus anew."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from corpus.lab import build
from corpus.lab.case import System


def main() -> int:
    """Run the command line; the exit status is 1 when a case was unfit."""
    parser = argparse.ArgumentParser(prog="python -m corpus.lab", description=__doc__)
    parser.add_argument("systems", nargs="*", help="systems to provoke (default: all)")
    parser.add_argument("--only", default="", help="only cases whose name holds this text")
    parser.add_argument("--list", action="store_true", help="say what there is and provoke nothing")
    parser.add_argument("--show", action="store_true", help="print every log")
    parser.add_argument("--dry-run", action="store_true", help="provoke, and leave the corpus as it is")
    given = parser.parse_args()
    unknown = sorted(set(given.systems) - set(build.names()))
    if unknown:
        parser.error(f"no system `{unknown[0]}`; there are: {', '.join(build.names())}")
    systems = [build.load(name) for name in given.systems or build.names()]
    if given.list:
        for system in systems:
            _list(system)
        return 0
    unfit = sum(_provoke(system, given.only, show=given.show, keep=not given.dry_run) for system in systems)
    return 1 if unfit else 0


def _list(system: System) -> None:
    types = Counter(case.type for case in system.cases)
    hard = sum(bool(case.trap) for case in system.cases)
    counted = ", ".join(f"{count} {kind}" for kind, count in sorted(types.items()))
    sys.stdout.write(f"{system.name}: {len(system.cases)} cases, {hard} hard ({counted})\n")


def _provoke(system: System, only: str, *, show: bool, keep: bool) -> int:
    rows, unfit = [], 0
    for answer in build.provoke(system, only):
        if isinstance(answer, build.Row):
            rows.append(answer)
            lines = answer.written.log.count("\n")
            sys.stdout.write(f"{system.name}/{answer.case.name}: {answer.case.type}, {lines} lines\n")
            if show:
                sys.stdout.write(answer.written.log + "\n" + "-" * 100 + "\n")
        else:
            unfit += 1
            sys.stdout.write(f"{system.name}/{answer[0].name}: UNFIT: {answer[1]}\n")
        sys.stdout.flush()
    if keep:
        build.write(system, rows, is_partial=bool(only) or unfit > 0)
    sys.stdout.write(f"{system.name}: {len(rows)} provoked, {unfit} unfit{'' if keep else ', nothing written'}\n")
    return unfit


if __name__ == "__main__":
    raise SystemExit(main())
