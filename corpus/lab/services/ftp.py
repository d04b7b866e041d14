"""An FTP server on a free port of loopback, run by the system's own interpreter; its requirements hold `pyftpdlib`."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from corpus.lab.bench import Bench, free_port

PASSWORD = "hafen-77c2"  # of a server that lives for seconds
PROGRAM = Path(__file__).with_name("ftp_server.py")

_running: dict[Path, Ftp] = {}


@dataclass(frozen=True, kw_only=True)
class Ftp:
    """A running server; `home` is the account's folder, where deliveries lie."""

    port: int
    home: Path
    process: subprocess.Popen[bytes]

    def put(self, name: str, content: bytes) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def start(
    bench: Bench,
    *,
    port: int = 0,
    password: str = PASSWORD,
    permissions: str = "elradfmw",
    connections: int = 20,
    drop_after: int = 0,
) -> Ftp:
    """Start a server for the length of one run; after `drop_after` bytes of a transfer it closes the session.

    With a `port`, the server stands in for the one that was stopped: the deliveries remain.
    """
    home = bench.directory.parent / "depot"
    if not port:
        shutil.rmtree(home, ignore_errors=True)
    home.mkdir(exist_ok=True)
    port = port or free_port()
    given = {
        "port": port,
        "folder": str(home),
        "password": password,
        "permissions": permissions,
        "connections": connections,
        "drop_after": drop_after,
    }
    command = [str(bench.python), str(PROGRAM), json.dumps(given)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = Ftp(port=port, home=home, process=process)
    bench.on_exit(server.stop)
    _await(server)
    _running[bench.directory] = server
    return server


def running(bench: Bench) -> Ftp:
    """Give the server that was started last for this run."""
    return _running[bench.directory]


def _await(server: Ftp) -> None:
    until = time.monotonic() + 15
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the FTP server did not start")
