"""An Iceberg REST catalogue on a free port of loopback, run by the system's own interpreter; it must have pyiceberg."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Prepare

PROGRAM = Path(__file__).with_name("iceberg_server.py")
ALWAYS = 1_000_000


def start(bench: Bench, folder: str) -> str:
    """Start a catalogue for the length of one run over the tables in `folder`, and give its address."""
    port, home = free_port(), bench.path(folder)
    given = {"port": port, "folder": str(home), "faults": str(_faults(bench))}
    errors = bench.path("catalogue.log").open("wb")
    process = subprocess.Popen(
        [str(bench.python), str(PROGRAM), json.dumps(given)], stdout=errors, stderr=errors, cwd="/"
    )
    bench.on_exit(errors.close)
    bench.on_exit(process.wait)
    bench.on_exit(process.kill)
    _await(port)
    return f"http://127.0.0.1:{port}"


def answers(
    method: str,
    path: str,
    status: int,
    body: object,
    headers: Mapping[str, str] | None = None,
    *,
    times: int = ALWAYS,
) -> Prepare:
    """Let the run's catalogue answer requests of this kind itself, so many times; what is no text goes as JSON."""
    text = body if isinstance(body, str) else json.dumps(body)
    given = dict(headers or {"Content-Type": "application/json"})
    return _fault({"method": method, "path": path, "status": status, "body": text, "headers": given, "times": times})


def race(path: str) -> Prepare:
    """Let another writer commit just before each commit of the program."""
    return _fault({"method": "POST", "path": path, "race": True, "times": ALWAYS})


def _fault(fault: dict[str, object]) -> Prepare:
    def inject(bench: Bench) -> None:
        file = _faults(bench)
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
        file.write_text(json.dumps([*known, fault]), encoding="utf-8")

    return inject


def _faults(bench: Bench) -> Path:
    return bench.path("made/faults.json")


def _await(port: int) -> None:
    until = time.monotonic() + 40
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the catalogue did not start")
