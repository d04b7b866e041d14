"""A Redis server of its own for one run, on a free port of loopback."""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from corpus.lab.bench import Bench, free_port


@dataclass(frozen=True, kw_only=True)
class Redis:
    """A running server; `socket_path` is its back door for the preparation, whatever its ports demand."""

    port: int
    socket_path: Path
    process: subprocess.Popen[bytes]

    def cli(self, bench: Bench, *command: str, text: str | None = None) -> str:
        return bench.run("redis-cli", "-s", str(self.socket_path), *command, text=text)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def start(bench: Bench, *options: str, folder: str = "redis") -> Redis:
    """Start a server and wait until it answers; `options` as on the command line of `redis-server`."""
    port, home = free_port(), bench.path(f"{folder}/redis.log").parent
    door = home / "redis.sock"
    listening = () if "--tls-port" in options else ("--port", str(port))
    fixed = (
        "--enable-protected-configs",
        "yes",
        "--bind",
        "127.0.0.1",
        "--unixsocket",
        str(door),
        "--dir",
        str(home),
        "--save",
        "",
    )
    command = ["redis-server", *listening, *fixed, "--logfile", str(home / "redis.log"), *options]
    command = [part.replace("{port}", str(port)) for part in command]
    server = Redis(port=port, socket_path=door, process=subprocess.Popen(command, stdout=subprocess.DEVNULL))
    bench.on_exit(server.stop)
    _await(door, server.process)
    return server


def _await(door: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(door)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("redis-server did not start")
