"""The product as the demo sees it: `mendline serve` as a process of its own, and what its record says of one run."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mendline.config import load_config
from mendline.demo.world import World
from mendline.errors import Unavailable
from mendline.stores.base import IncidentRecord
from mendline.stores.sql import SqlStore

POLL_SECONDS = 0.2
QUIET_POLLS = 3
SNAPSHOTS_LOOKED_AT = 2
STOP_SECONDS = 15.0
LOG_TAIL_CHARACTERS = 2000


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the service has made of one scheduled run: its incidents, oldest first, all ended."""

    incidents: tuple[IncidentRecord, ...]


# What every service imports is imported once; each service is still a process of its own, forked from there.
_WARM = multiprocessing.get_context("forkserver")
_WARM.set_forkserver_preload(["mendline.surfaces.cli", "mendline.app", "mendline.surfaces.service"])


def _serve(config_file: str, log_file: str, environment: dict[str, str]) -> None:
    """Be `python -m mendline.surfaces.cli serve`, with all output in `log_file`."""
    os.environ.update(environment)  # the warm process has the environment of the moment when it began
    log = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    sys.argv = ["mendline", "serve", "--config", config_file]
    runpy.run_module("mendline.surfaces.cli", run_name="__main__")


class Service:
    """`mendline serve` on one world, as a process of its own; its output goes to `mendline.log` there."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.log_file = world.directory / "mendline.log"
        self._process = _WARM.Process(
            target=_serve, args=(str(world.config_file), str(self.log_file), dict(os.environ)), name="mendline serve"
        )

    @contextmanager
    def running(self) -> Iterator[Service]:
        """Start the service; stop it with SIGTERM when the block ends, by force if it does not obey."""
        self.log_file.touch()
        self._process.start()
        try:
            yield self
        finally:
            self._process.terminate()
            self._process.join(STOP_SECONDS)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()

    def require_alive(self) -> None:
        """Make sure that the process is still there. Raises: `Unavailable` with the end of its output when it is not."""
        if not self._process.is_alive():
            output = self.log_file.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARACTERS:]
            raise Unavailable(
                f"`mendline serve` ended with exit code {self._process.exitcode}; the end of its output:\n{output}",
                system="mendline serve",
            )


class Watcher:
    """Reads the service's record of one world; never writes."""

    def __init__(self, service: Service) -> None:
        self._service = service
        config = load_config(service.world.config_file)
        self._store = SqlStore(config.state_url)
        self._cursors = tuple(f"engine:{name}" for name in config.engines)
        self._datasets = tuple(config.datasets)

    def close(self) -> None:
        """Let go of the record."""
        self._store.close()

    def incidents(self) -> tuple[IncidentRecord, ...]:
        """All incidents, oldest first."""
        return tuple(reversed(self._store.incidents()))

    def has_snapshots(self, run_id: str) -> bool:
        """Whether every dataset was remembered as it was after this good run."""
        return all(
            any(kept.run_id == run_id for kept in self._store.snapshots(name, limit=SNAPSHOTS_LOOKED_AT))
            for name in self._datasets
        )

    def wait_for_memory(self, run_id: str, timeout_s: float) -> None:
        """Wait until a good run is remembered and the monitor knows where it stands.

        Raises: `Unavailable` after `timeout_s` seconds.
        """
        self._wait(
            lambda: self.has_snapshots(run_id) and all(self._store.cursor(name) for name in self._cursors),
            f"run `{run_id}` is not remembered",
            timeout_s,
        )

    def wait_for_end(
        self,
        run_id: str,
        timeout_s: float,
        *,
        succeeded: bool,
        known: frozenset[str] = frozenset(),
        on_look: Callable[[tuple[IncidentRecord, ...]], None] = lambda _incidents: None,
    ) -> Seen:
        """Wait until the monitor has seen the run, every new incident has ended, and nothing moves any more.

        `known` are ids of earlier incidents, which are left out. `on_look` gets the new incidents at every look.

        Raises: `Unavailable` after `timeout_s` seconds, or when the service has died.
        """
        last: object = None
        quiet = 0

        def is_over() -> bool:
            nonlocal last, quiet
            fresh = self._fresh(known)
            on_look(fresh)
            # A re-run that fails for another reason opens one more incident a poll or two later: only an end
            # that stays the end for some polls is one.
            now = (tuple(self._store.cursor(name) for name in self._cursors), tuple(_state(item) for item in fresh))
            quiet = quiet + 1 if now == last else 0
            last = now
            ended = all(item.outcome is not None for item in fresh)
            seen = bool(fresh) or (succeeded and self.has_snapshots(run_id))
            return ended and seen and quiet >= QUIET_POLLS

        self._wait(is_over, f"run `{run_id}` has not come to its end in the record", timeout_s)
        return Seen(incidents=self._fresh(known))

    def _fresh(self, known: frozenset[str]) -> tuple[IncidentRecord, ...]:
        return tuple(item for item in self.incidents() if item.incident.id not in known)

    def _wait(self, condition: Callable[[], bool], otherwise: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._service.require_alive()
            if time.monotonic() > deadline:
                found = "; ".join(f"incident {item.incident.id} in phase {item.phase}" for item in self.incidents())
                raise Unavailable(f"{otherwise} after {timeout_s:.0f} s ({found or 'no incident'})")
            time.sleep(POLL_SECONDS)


def _state(record: IncidentRecord) -> tuple[str, str, bool]:
    return record.incident.id, record.phase, record.outcome is not None


@contextmanager
def watching(service: Service) -> Iterator[Watcher]:
    """A watcher for as long as the block lasts."""
    watcher = Watcher(service)
    try:
        yield watcher
    finally:
        watcher.close()
