"""The demo: one healthy day that the real service remembers, then every fault on a copy of it, judged by the oracle."""

from __future__ import annotations

import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

from mendline.demo.faults.base import Fault, Injection, Site, run_day
from mendline.demo.faults.catalogue import chosen
from mendline.demo.references import FAULT_DAY, References
from mendline.demo.screen import Screen
from mendline.demo.service import Service, watching
from mendline.demo.story import Story, Told
from mendline.demo.totals import count, write_json
from mendline.demo.warm_python import warmed
from mendline.demo.world import World, create_world
from mendline.errors import InputError, Unavailable

DEFAULT_SCALE = 0.002
DEFAULT_SEED = 1
LARGE_SCALE = 0.2  # from here on one fault at a time, for the memory's sake
BASE_TIMEOUT_S = 120.0
MEMORY_DISK = Path("/dev/shm")  # noqa: S108 - used through tempfile, with a name nobody can guess
ROOM_BYTES = 1 << 30
ROOM_BYTES_AT_SCALE_ONE = 50 << 30


def run_demo(
    faults: tuple[str, ...] | None,
    days: int,
    scale: float,
    seed: int,
    json_file: Path | None,
    console: Console,
) -> int:
    """Play the named faults (None: all) and show what happened; 0 when nothing was wrong and nothing harmed, else 1.

    `days` counts the healthy first day: 2 ends with the fault's day, 3 adds the next day, on which a source that changed its
    shape keeps it, 4 the day on which it is as it was. `json_file` is written at the end.

    Raises: `InputError` for an unknown fault or impossible numbers, `Unavailable` when the healthy day cannot be run.
    """
    wanted = chosen(faults)
    if days < FAULT_DAY or scale <= 0:
        raise InputError(f"the demo needs at least {FAULT_DAY} days and a scale above 0, got {days} and {scale}")
    screen = Screen(console)
    screen.note(f"{len(wanted)} faults, scale {scale} ({round(2_000_000 * scale):,} records a day), seed {seed}")
    with (
        tempfile.TemporaryDirectory(prefix="mendline-demo-", dir=_ground(scale)) as directory,
        screen.showing(len(wanted)),
    ):
        told = play(wanted, Path(directory), days=days, scale=scale, seed=seed, screen=screen)
    totals = count(told)
    screen.finish(told, totals)
    if json_file is not None:
        write_json(json_file, told, scale=scale, seed=seed)
    return 1 if totals.wrong or totals.harmed else 0


def _ground(scale: float) -> Path | None:
    """Where the worlds are made: in memory when they are small and there is room, else the usual place (None).

    Hundreds of small commits wait for a disk; they are not what the demo is about.
    """
    if scale < LARGE_SCALE and MEMORY_DISK.is_dir() and os.access(MEMORY_DISK, os.W_OK):
        needed = (ROOM_BYTES_AT_SCALE_ONE * scale) + ROOM_BYTES
        return MEMORY_DISK if shutil.disk_usage(MEMORY_DISK).free > needed else None
    return None


def play(
    faults: tuple[Fault, ...], directory: Path, *, days: int, scale: float, seed: int, screen: Screen
) -> tuple[Told, ...]:
    """Play faults, as many at once as there are processors for, in the order given."""
    with warmed():
        return _play(faults, directory, days=days, scale=scale, seed=seed, screen=screen)


def _play(
    faults: tuple[Fault, ...], directory: Path, *, days: int, scale: float, seed: int, screen: Screen
) -> tuple[Told, ...]:
    base = make_base(directory / "base", days=days, scale=scale, seed=seed, screen=screen)
    references = References(base, directory)
    at_once = 1 if scale >= LARGE_SCALE else 1 + (os.cpu_count() or 1)  # one of them is always waiting

    def one(fault: Fault) -> Told:
        story = Story(fault=fault, base=base, references=references, directory=directory, days=days, tell=screen.moment)
        screen.begin(story)
        told = story.play()
        screen.told(told)
        return told

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return tuple(pool.map(one, faults))


def make_base(directory: Path, *, days: int, scale: float, seed: int, screen: Screen) -> World:
    """Make a world with one healthy day behind it, which the service remembers: it knows every dataset as it should be.

    Raises: `Unavailable` when that day fails or the service does not remember it.
    """
    screen.note("making the retailer's sources and warehouse")
    world = create_world(directory, seed=seed, scale=scale, days=days)
    day = world.day(1)
    with world.open_servers() as servers:
        screen.note(f"running {day}, a healthy day")
        run = run_day(Site(world=world, servers=servers, day=day), Injection())
        if not run.succeeded:
            raise Unavailable(f"the healthy day {day} failed; see the run `{run.run_id}` in {world.dagster_home}")
        # As everywhere that Mendline is connected to: the pipeline was there first.
        screen.note("connecting mendline, which remembers what a good day looks like")
        with Service(world).running() as service, watching(service) as watcher:
            watcher.wait_for_memory(run.run_id, BASE_TIMEOUT_S)
    return world
