"""Starts the pipeline's runs as a scheduler does: each in a process of its own, from one that has imported Dagster once."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from functools import cache
from itertools import count
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One run to start; `limits` maps a resource number (as text) to a limit, `stages` empty means all."""

    world: str
    dagster_home: str
    day: str
    run_id: str
    limits: Mapping[str, int]
    env: Mapping[str, str]
    stages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How the run's process ended: 0 for success, 1 for failure, minus the signal that killed it."""

    exit_code: int
    seconds: float
    peak_rss_mb: float


class Launcher:
    """A warm process that forks one child per run; several runs may be under way at once."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mendline.demo.run_host"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the caller; a run under way goes on to its end
        )
        self._ids = count(1)
        self._lock = threading.Lock()
        self._started: dict[int, Future[int]] = {}
        self._ended: dict[int, Future[Ended]] = {}
        self._reader = threading.Thread(target=self._read, name="launcher", daemon=True)
        self._reader.start()

    def run(self, launch: Launch, *, on_start: Callable[[int], None] | None, timeout_s: float) -> Ended:
        """Start the run and wait for the end of its process.

        Raises: `TimeoutError` after `timeout_s` seconds (the process is killed), `RuntimeError` when the launcher is gone.
        """
        started: Future[int] = Future()
        ended: Future[Ended] = Future()
        with self._lock:
            number = next(self._ids)
            self._started[number], self._ended[number] = started, ended
            self._send({"id": number, **asdict(launch)})
        pid = started.result(timeout=timeout_s)
        if on_start is not None:
            on_start(pid)
        try:
            return ended.result(timeout=timeout_s)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise RuntimeError("the launcher's process has ended") from error

    def close(self) -> None:
        """End the warm process; runs under way go on to their end. Twice is once."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if not self._process.stdin.closed:
            self._process.stdin.close()
            self._process.wait()
            self._reader.join()
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._note(json.loads(line))
        gone = RuntimeError("the launcher's process has ended")
        waiting: list[Future[Any]] = [*self._started.values(), *self._ended.values()]
        for future in waiting:
            future.set_exception(gone)

    def _note(self, message: dict[str, Any]) -> None:
        if "pid" in message:
            self._started.pop(message["id"]).set_result(message["pid"])
            return
        ended = Ended(exit_code=message["exit_code"], seconds=message["seconds"], peak_rss_mb=message["peak_rss_mb"])
        self._ended.pop(message["id"]).set_result(ended)


@cache
def shared_launcher() -> Launcher:
    """The launcher that all worlds of this process share; it ends with the process."""
    launcher = Launcher()
    atexit.register(launcher.close)
    return launcher
