"""A Python that has imported Dagster already: every world's service starts its Dagster process from it, in no time.

`mendline.yaml` of a world names `warm-python` as its interpreter: a script that hands its arguments, environment and open
files to the warm process, which forks. With no warm process there, the script is an ordinary Python.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

VARIABLE = "RETAIL_WARM_PYTHON"
PRELOADED = ("duckdb", "dagster", "dagster._core.execution.api", "dagster._core.workspace.autodiscovery")
MOST_BYTES = 1 << 20

CLIENT = """#!{python} -IS
import array, json, os, socket, sys
try:
    caller = socket.socket(socket.AF_UNIX)
    caller.connect(os.environ["{variable}"])
except (KeyError, OSError):
    os.execv("{python}", ["{python}", *sys.argv[1:]])
request = json.dumps({{"arguments": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd()}}).encode()
files = array.array("i", [0, 1, 2])
caller.sendmsg([len(request).to_bytes(4), request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
nothing = os.open(os.devnull, os.O_RDWR)
for number in (0, 1, 2):
    os.dup2(nothing, number)
caller.recv(1)  # nothing is ever sent: this returns when the forked process is gone
"""


def write_client(path: Path) -> None:
    """Write the script that a world's `mendline.yaml` names as its interpreter."""
    path.write_text(CLIENT.format(python=sys.executable, variable=VARIABLE), encoding="utf-8")
    path.chmod(0o755)


@contextmanager
def warmed() -> Iterator[None]:
    """Have a warm process for as long as the block lasts; what it forked goes on to its own end. One is enough: nests."""
    if VARIABLE in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        address = str(Path(folder) / "socket")
        process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, address], stdout=subprocess.PIPE, start_new_session=True
        )
        assert process.stdout is not None
        process.stdout.readline()  # it says one line when it listens
        os.environ[VARIABLE] = address
        try:
            yield
        finally:
            del os.environ[VARIABLE]
            process.terminate()
            process.wait()
            process.stdout.close()


def listen(address: str) -> NoReturn:
    """Fork once for every caller, for ever."""
    for name in PRELOADED:
        importlib.import_module(name)
    _use_once()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks here
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen(16)
    os.write(1, b"listening\n")
    while True:
        caller, _ = server.accept()
        if os.fork() == 0:
            server.close()
            _become(caller)
        caller.close()


def _use_once() -> None:
    """What Dagster imports only when an instance is used."""
    from dagster import DagsterInstance  # noqa: PLC0415 (the client's side of this file must not import it)

    with tempfile.TemporaryDirectory() as home, DagsterInstance.local_temp(home) as instance:
        instance.get_run_records(limit=1)


def _become(caller: socket.socket) -> NoReturn:
    """Run the caller's script as its own interpreter would; `caller` stays open, so that it sees the end."""
    request, files = _received(caller)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    script, *arguments = request["arguments"]
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).parent))
    code = 1
    try:
        runpy.run_path(script, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        if isinstance(end.code, str):
            os.write(2, f"{end.code}\n".encode())
    finally:
        os._exit(code)


def _received(caller: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, files, _, _ = socket.recv_fds(caller, MOST_BYTES, 3)
    while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4]):
        data += caller.recv(MOST_BYTES)
    return json.loads(data[4:]), files


if __name__ == "__main__":
    listen(sys.argv[1])
