"""The warm process behind `launcher.py`: imports Dagster once, then forks a child for every run it is asked for.

One JSON object per line: in, a launch with its id; out, `{"id", "pid"}` when the run's process has started and
`{"id", "exit_code", "seconds", "peak_rss_mb"}` when it has ended. Ends when its input closes.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import sys
import tempfile
import time
import traceback
from typing import Any, NoReturn

import dagster
import duckdb
import httpx
import sqlalchemy
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.api import execute_run
from dagster._core.storage.tags import PARTITION_NAME_TAG
from dagster._utils import test as dagster_test_utils

PRELOADED = (
    duckdb,
    sqlalchemy,
    dagster_test_utils,
)  # slow to import and needed by every run; never the pipeline itself


def main() -> None:
    """Serve launches until the input ends; children still running then are left to finish."""
    _warm_up()
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
    children: dict[int, tuple[int, int, float]] = {}
    pending = b""
    while True:
        for key, _events in selector.select():
            if key.fd in children:
                selector.unregister(key.fd)
                _report(key.fd, *children.pop(key.fd))
                continue
            data = os.read(key.fd, 65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                launch = json.loads(line)
                pid = _fork(launch)
                descriptor = os.pidfd_open(pid)
                children[descriptor] = (launch["id"], pid, time.monotonic())
                selector.register(descriptor, selectors.EVENT_READ)
                _say({"id": launch["id"], "pid": pid})


def _warm_up() -> None:
    """Import what Dagster and httpx would import at first use, about a second of every run otherwise."""
    with tempfile.TemporaryDirectory() as home, dagster.DagsterInstance.local_temp(home):
        pass
    httpx.Client().close()


def _report(descriptor: int, launch_id: int, pid: int, started: float) -> None:
    _pid, status, usage = os.wait4(pid, 0)
    os.close(descriptor)
    _say(
        {
            "id": launch_id,
            "exit_code": os.waitstatus_to_exitcode(status),
            "seconds": time.monotonic() - started,
            "peak_rss_mb": usage.ru_maxrss / 1024,
        }
    )


def _say(message: dict[str, Any]) -> None:
    os.write(sys.stdout.fileno(), (json.dumps(message) + "\n").encode())


def _fork(launch: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        _run(launch)
    return pid


def _run(launch: dict[str, Any]) -> NoReturn:
    code = 1
    host_stderr = os.dup(2)
    try:
        # The pipe to the launcher is not the run's, and the run's log is Dagster's to keep: here it would only be noise.
        silent = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silent, descriptor)
        os.environ.update(launch["env"], RETAIL_WORLD=launch["world"], DAGSTER_HOME=launch["dagster_home"])
        os.chdir(launch["world"])
        for number, limit in launch["limits"].items():
            resource.setrlimit(int(number), (limit, limit))
        code = 0 if _execute(launch) else 1
    finally:
        # A child of fork must not unwind into the parent's loop, so nothing else would ever show this error.
        if sys.exc_info()[0] is not None:
            os.write(host_stderr, traceback.format_exc().encode())
        os._exit(code)


def _execute(launch: dict[str, Any]) -> bool:
    pointer = ModuleCodePointer("mendline.demo.dagster_defs", "defs", working_directory=launch["world"])
    job = ReconstructableRepository(pointer).get_reconstructable_job("retail_day")
    selected = launch["stages"]
    definition = job.get_subset(op_selection=selected).get_definition() if selected else job.get_definition()
    with dagster.DagsterInstance.get() as instance:
        run = instance.create_run_for_job(
            definition,
            run_id=launch["run_id"],
            tags={PARTITION_NAME_TAG: launch["day"]},
            op_selection=selected or None,
            resolved_op_selection=set(selected) or None,
            job_code_origin=job.get_python_origin(),
        )
        succeeded = bool(execute_run(job, run, instance, raise_on_error=False).success)
    from mendline.demo.stages import sql  # noqa: PLC0415 (the pipeline's own code is imported by the run alone)

    sql.release()
    return succeeded


if __name__ == "__main__":
    main()
