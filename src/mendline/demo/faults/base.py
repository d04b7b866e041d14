"""What a fault is: a change of the world, and what must be found, done and left behind because of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

from mendline.demo.oracle import BadRows, EndState
from mendline.demo.servers.behaviour import healthy
from mendline.demo.world import RunResult, Servers, World
from mendline.incident import FailureType


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where a fault strikes: a world with its open servers, and the business day whose run is next."""

    world: World
    servers: Servers
    day: date


@dataclass(frozen=True, kw_only=True)
class Injection:
    """What a fault did besides changing the world.

    `bad_rows` are the rows that no contract allows. `limits`, `env` and `on_start` are for the day's scheduled run only, as
    in `World.run_day`; `on_start` gets the process id of the run.
    """

    bad_rows: tuple[BadRows, ...] = ()
    limits: Mapping[int, int] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    on_start: Callable[[int], None] | None = None


Inject = Callable[[Site], Injection]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault and its declared end.

    `failing_stages` fail in a run of the day that nobody helps; empty when such a run passes or its process is killed.
    `expected_type` is None when no incident is due. `reference` makes, in a world without the fault, the change that a
    right repair amounts to (a removed optional column: the same column, all NULL); None when that is a plain healthy day.
    `lasting` is what remains of the fault on the following days; None when the source is itself again. `incident_count` is
    the number of causes.
    """

    name: str
    summary: str
    inject: Inject
    expected_type: FailureType | None
    expected_outcomes: tuple[str, ...]
    end_state: EndState
    failing_stages: tuple[str, ...] = ()
    reference: Callable[[Site], None] | None = None
    lasting: Inject | None = None
    incident_count: int = 1

    @property
    def is_remediable(self) -> bool:
        """True when the right outcome needs no person."""
        return "resolved" in self.expected_outcomes


def restore(site: Site, pristine: World) -> None:
    """Bring everything that a fault may have changed back to how it is in `pristine`, a world without faults.

    The warehouse, the engine's history and Mendline's record stay. Twice is once.
    """
    world = site.world
    for folder in (world.sources, world.deployed("any").parent):
        if folder.exists():
            for path in folder.rglob("*"):
                path.chmod(0o755 if path.is_dir() else 0o644)
            shutil.rmtree(folder)
    shutil.copytree(pristine.sources, world.sources)
    world.deployed("any").parent.mkdir(exist_ok=True)
    kept = {"crm", "carrier"}  # the addresses of this world's own servers
    world.update_settings({key: value for key, value in pristine.settings().items() if key not in kept})
    for server in (site.servers.crm, site.servers.carrier):
        server.behaviour = healthy
        server.change_record = None


def no_injection(_site: Site) -> Injection:
    """Change nothing."""
    return Injection()


def deployed(stage: str, code: str) -> Inject:
    """Put a newer release of one stage in place, as a deployment does."""

    def inject(site: Site) -> Injection:
        path = site.world.deployed(stage)
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")
        return Injection()

    return inject


def run_day(site: Site, injection: Injection) -> RunResult:
    """Run the business day as its scheduler does, in the circumstances that the fault has made."""
    return site.world.run_day(site.day, limits=injection.limits, env=injection.env, on_start=injection.on_start)
