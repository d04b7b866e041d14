"""The place where one program runs: its directory, its environment, its limits, the servers beside it."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOST = "worker-1"  # stands in a log where the machine's own name stood


@dataclass
class Bench:
    """One run of one program.

    `directory` is the working directory; `python` the system's interpreter. What `world` and `inject` set here holds for
    the program alone: `env`, `limits` (a `resource.RLIMIT_*` -> bytes or count), `command`. `when` acts on the running
    program once a line of its log holds a text. `on_exit` undoes what was started, last first, also after an error.
    """

    directory: Path
    python: Path
    command: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    limits: dict[int, int] = field(default_factory=dict)
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    triggers: list[tuple[str, Callable[[subprocess.Popen[bytes]], object]]] = field(default_factory=list)

    def path(self, name: str) -> Path:
        """Give a path in the working directory; its folders are made."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, text: str, *, encoding: str = "utf-8") -> Path:
        path = self.path(name)
        path.write_text(text, encoding=encoding)
        return path

    def replace(self, name: str, old: str, new: str, *, count: int = -1) -> None:
        """Change a text file of the working directory; refuses to change nothing."""
        path = self.path(name)
        before = path.read_text(encoding="utf-8")
        if old not in before:
            raise LookupError(f"`{name}` does not hold {old!r}")
        path.write_text(before.replace(old, new, count), encoding="utf-8")

    def run(self, *command: str, text: str | None = None) -> str:
        """Run a command of the preparation to its end and give its output; its failure fails the case."""
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self.environment(),
            input=text,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)[:200]} failed: {done.stderr[-2000:] or done.stdout[-2000:]}")
        return done.stdout

    def mount(self, folder: str, options: str) -> Path:
        """Give a folder a file system in memory for the length of one run; `options` are mount's (`size=8k`)."""
        place = self.path(folder)
        place.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)
        self.on_exit(lambda: subprocess.run(["umount", "-l", str(place)], check=True))
        return place

    def when(self, text: str, action: Callable[[subprocess.Popen[bytes]], object]) -> None:
        """Act on the running program as soon as a line of its log holds `text`."""
        self.triggers.append((text, action))

    def kill_when(self, text: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to the whole program as soon as a line of its log holds `text`."""
        self.when(text, lambda process: os.killpg(process.pid, number))

    def on_exit(self, action: Callable[[], object]) -> None:
        self.stack.callback(action)

    def environment(self) -> dict[str, str]:
        """Give the whole environment of the program: nothing of the caller's but where the commands are."""
        base = {
            "PATH": f"{self.python.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.directory),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "USER": "etl",
            "NO_PROXY": "*",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return base | self.env


@dataclass(frozen=True)
class Written:
    """What a program left: its log as it was written, how it ended (negative: by a signal; None: it had to be stopped)."""

    log: str
    status: int | None


def free_port() -> int:
    """Give a port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_program(bench: Bench, timeout_s: float) -> Written:
    """Run the program with both its outputs in one log, as a scheduler would keep it."""
    command = [part.replace("{python}", str(bench.python)) for part in bench.command]
    process = subprocess.Popen(
        command,
        cwd=bench.directory,
        env=bench.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: _limit(bench.limits),  # noqa: PLW1509 - sets limits only, takes no lock
    )
    late = threading.Event()

    def stop() -> None:
        late.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(timeout_s, stop)
    timer.start()
    try:
        log = _read(process, bench)
        status = process.wait()
    finally:
        timer.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return Written(log=log, status=None if late.is_set() else status)


def _read(process: subprocess.Popen[bytes], bench: Bench) -> str:
    assert process.stdout is not None
    waiting = list(bench.triggers)
    lines: list[bytes] = []
    for line in process.stdout:
        lines.append(line)
        due = [each for each in waiting if each[0].encode() in line]
        waiting = [each for each in waiting if each not in due]
        for _, action in due:
            with contextlib.suppress(ProcessLookupError):
                action(process)
    return _without_host(b"".join(lines).decode("utf-8", errors="replace"))


def _without_host(log: str) -> str:
    return re.sub(rf"(?<![\w./-]){re.escape(socket.gethostname())}(?![\w-]|\.[a-z_])", HOST, log)


def _limit(limits: Mapping[int, int]) -> None:
    for which, most in limits.items():
        resource.setrlimit(which, (most, most))


def kept(log: str, keep: str) -> str:
    """Cut a log as a runner that keeps only a part of it would."""
    if keep == "all":
        return log
    which, _, count = keep.partition(":")
    lines = log.splitlines(keepends=True)
    return "".join(lines[-int(count) :] if which == "tail" else lines[: int(count)])


def fresh_directory(path: Path, sources: Path, files: Sequence[str]) -> Path:
    """Make an empty working directory with a copy of the program's files, flat."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    for name in files:
        source = sources / name
        if source.is_dir():
            shutil.copytree(source, path / source.name)
        else:
            shutil.copy2(source, path / source.name)
    return path
