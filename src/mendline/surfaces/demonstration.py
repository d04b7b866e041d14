"""`mendline demo`: hands over to the demo, with its own defaults for what was not given."""

from __future__ import annotations

from pathlib import Path

from mendline.demo import runner
from mendline.surfaces.output import screen


def play(faults: str, *, days: int | None, scale: float | None, seed: int | None, json_file: Path | None) -> int:
    """Play `all` faults or those named with commas between; the exit code is the demo's own.

    Raises: `InputError` for an unknown fault or impossible numbers.
    """
    named = tuple(name.strip() for name in faults.split(",") if name.strip())
    return runner.run_demo(
        None if named in ((), ("all",)) else named,
        2 if days is None else days,
        runner.DEFAULT_SCALE if scale is None else scale,
        runner.DEFAULT_SEED if seed is None else seed,
        json_file,
        screen(markup=True),
    )
