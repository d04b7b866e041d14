"""Dagster, through a host process that holds the import; this process never imports Dagster."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mendline.config import DagsterEngine
from mendline.engines.base import FinishedRun, RunDescription, RunState
from mendline.errors import ConfigError, MendlineError, Rejected, Unavailable
from mendline.incident import Failure, FailureKind, RunRef

HOST = Path(__file__).with_name("dagster_host.py")
READ_TIMEOUT_SECONDS = 120.0
CHECK_TIMEOUT_SECONDS = 300.0
RERUN_GRACE_SECONDS = 60.0  # starting the host, loading the code, waiting for a busy machine
RERUNS = uuid.UUID("5b3f6c1e-9d0e-5a55-8f0a-6d656e646c69")


class HostGone(Unavailable):
    """The host process ended while a call was open; every call may be repeated."""


class ChildDied(Unavailable):
    """The process forked for one call ended without an answer."""


ERRORS: dict[str, type[MendlineError]] = {"rejected": Rejected, "config": ConfigError, "died": ChildDied}


class Dagster:
    """A Dagster instance and the code that its runs execute.

    A stage is a step key without its dynamic mapping: the op's name, the asset's key with "__" between its parts.
    """

    def __init__(self, name: str, config: DagsterEngine, root: Path) -> None:
        self.name = name
        self._config = config
        self._root = root
        self._lock = threading.Lock()
        self._host: _Host | None = None

    def check(self) -> tuple[str, ...]:
        try:
            found = self._call("check", {}, CHECK_TIMEOUT_SECONDS)
        except (HostGone, ChildDied) as error:
            raise ConfigError(f"key `engines.{self.name}`: {error}", system=self.name) from error
        jobs = ", ".join(found["jobs"]) or "no jobs"
        home = self._path(self._config.dagster_home)
        return (
            f"reads the {found['run_count']} runs of `{home}` (Dagster {found['version']}) and their logs",
            f"re-runs stages of: {jobs}",
        )

    def finished_runs(self, cursor: str | None, limit: int = 100) -> tuple[tuple[FinishedRun, ...], str]:
        parsed = None if cursor is None else json.loads(cursor)
        found = self._read("finished_runs", cursor=parsed, limit=limit)
        runs = tuple(self._finished(run) for run in found["runs"])
        return runs, json.dumps(found["cursor"], separators=(",", ":"), sort_keys=True)

    def logs(self, run: RunRef, stage: str | None) -> tuple[str, ...]:
        return tuple(self._read("logs", run_id=run.run_id, stage=stage))

    def describe(self, run: RunRef) -> RunDescription:
        return self._description(self._read("describe", run_id=run.run_id))

    def run_chain(self, root_run_id: str) -> tuple[RunDescription, ...]:
        return tuple(self._description(run) for run in self._read("chain", root_run_id=root_run_id))

    def latest_success(self, pipeline: str) -> RunRef | None:
        found = self._read("latest_success", job=pipeline)
        return None if found is None else self._ref(found)

    def latest_finished(self, pipeline: str) -> FinishedRun | None:
        found = self._read("latest_finished", job=pipeline)
        return None if found is None else self._finished(found)

    def active_runs(self) -> tuple[RunRef, ...]:
        return tuple(self._ref(run) for run in self._read("active_runs"))

    def rerun(
        self,
        parent: RunRef,
        stages: tuple[str, ...],
        *,
        key: str,
        tags: Mapping[str, str],
        config: Mapping[str, Any] | None = None,
        detailed_logging: bool = False,
        timeout_s: float,
    ) -> RunDescription:
        """Run the stages again; the run's id is derived from `key`, and an id that exists is never started again.

        Inputs come from the newest run of the chain that made them. The run is executed by a process of its own and goes
        on to its end when Mendline is stopped; when that process dies, the answer says `lost`. `detailed_logging` turns on
        debug records of Python's `logging` and sets MENDLINE_DETAILED_LOGGING=1 for the stage's own code.
        """
        run_id = rerun_id(self.name, key)
        args = {
            "run_id": run_id,
            "parent_run_id": parent.run_id,
            "stages": list(stages),
            "tags": dict(tags),
            "config": None if config is None else dict(config),
            "detailed_logging": detailed_logging,
            "timeout_s": timeout_s,
        }
        try:
            return self._description(self._call("rerun", args, timeout_s + RERUN_GRACE_SECONDS))
        except ChildDied as died:
            try:
                return self._description(self._read("describe", run_id=run_id))
            except Rejected:
                raise Unavailable(f"the re-run was not started: {died}", system=self.name, operation="rerun") from died

    def close(self) -> None:
        with self._lock:
            if self._host is not None:
                self._host.stop()
                self._host = None

    def _read(self, op: str, **args: Any) -> Any:
        return self._call(op, args, READ_TIMEOUT_SECONDS)

    def _call(self, op: str, args: dict[str, Any], timeout_s: float) -> Any:
        """Ask the host; a host that died is started again and asked once more, since every call may be repeated."""
        try:
            return self._started().call(op, args, timeout_s)
        except HostGone:
            return self._started().call(op, args, timeout_s)

    def _started(self) -> _Host:
        with self._lock:
            if self._host is None or not self._host.is_alive:
                if self._host is not None:
                    self._host.stop()
                self._host = self._start()
            return self._host

    def _start(self) -> _Host:
        home = self._path(self._config.dagster_home)
        if not home.is_dir():
            raise ConfigError(
                f"key `engines.{self.name}.dagster_home`: `{home}` is not a folder; give the DAGSTER_HOME of the instance",
                system=self.name,
            )
        code = self._config.code
        settings = {
            "code": {
                "python_file": str(self._path(code.python_file)) if code.python_file else None,
                "module": code.module,
                "attribute": code.attribute,
                "working_directory": str(self._path(code.working_directory or Path())),
            },
            "lost_after_seconds": self._config.lost_after_seconds,
        }
        environment = {
            **os.environ,
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            **self._config.env,
            "DAGSTER_HOME": str(home),
        }
        python = str(self._path(self._config.python)) if self._config.python else sys.executable
        return _Host(self.name, [python, str(HOST), json.dumps(settings)], environment)

    def _path(self, path: Path) -> Path:
        # Not resolved: the python of a virtual environment is a link that must be called by its own name.
        return Path(os.path.abspath(self._root / path.expanduser()))  # noqa: PTH100

    def _ref(self, run: dict[str, Any]) -> RunRef:
        return RunRef(engine=self.name, pipeline=run["job"], run_id=run["run_id"])

    def _finished(self, run: dict[str, Any]) -> FinishedRun:
        ref = self._ref(run)
        return FinishedRun(
            run=ref,
            root_run_id=run["root_run_id"],
            state=RunState(run["state"]),
            started_at=_at(run["started_at"]),
            ended_at=_at(run["ended_at"]),
            failures=tuple(_failure(ref, run["root_run_id"], failure) for failure in run["failures"]),
            retried_stages=tuple(run["retried_stages"]),
            tags=run["tags"],
        )

    def _description(self, run: dict[str, Any]) -> RunDescription:
        return RunDescription(
            run=self._ref(run),
            root_run_id=run["root_run_id"],
            parent_run_id=run["parent_run_id"],
            state=RunState(run["state"]),
            upstream={stage: tuple(parents) for stage, parents in run["upstream"].items()},
            stage_states=run["stage_states"],
            config=run["config"],
            tags=run["tags"],
            partition=run["partition"],
        )


def rerun_id(engine: str, key: str) -> str:
    """The run id of the re-run that `key` names in this engine."""
    return str(uuid.uuid5(RERUNS, f"{engine}\n{key}"))


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _failure(run: RunRef, root_run_id: str, failure: dict[str, Any]) -> Failure:
    return Failure(
        run=run,
        root_run_id=root_run_id,
        stage=failure["stage"],
        kind=FailureKind(failure["kind"]),
        failed_at=_at(failure["failed_at"]),
        error_class=failure["error_class"],
        message=failure["message"],
        attempt=failure["attempt"],
    )


class _Host:
    """One host process; several threads may call at once."""

    def __init__(self, system: str, command: list[str], environment: dict[str, str]) -> None:
        self._system = system
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            self._errors.close()
            raise ConfigError(
                f"key `engines.{system}.python`: `{command[0]}` cannot be started: {error}", system=system
            ) from error
        self._lock = threading.Lock()
        self._open: dict[int, tuple[str, Future[dict[str, Any]]]] = {}
        self._count = 0
        self._gone = False
        self._listener = threading.Thread(target=self._listen, name=f"dagster-host-{system}", daemon=True)
        self._listener.start()

    @property
    def is_alive(self) -> bool:
        return not self._gone

    def call(self, op: str, args: dict[str, Any], timeout_s: float) -> Any:
        """Ask and wait. Raises by the answer's kind: `Rejected`, `ConfigError`, `Unavailable` (`HostGone`)."""
        future: Future[dict[str, Any]] = Future()
        with self._lock:
            self._count += 1
            call_id = self._count
            if self._gone:
                raise self._gone_error(op)
            self._open[call_id] = (op, future)
            self._send({"id": call_id, "op": op, "args": args})
        try:
            answer = future.result(timeout_s)
        except TimeoutError:
            self._open.pop(call_id, None)
            raise Unavailable(
                f"`{self._system}`: `{op}` gave no answer within {timeout_s:.0f} s; it is asked again later",
                system=self._system,
                operation=op,
            ) from None
        return self._result(op, answer)

    def _send(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # the listener sees the end too and answers every open call

    def _result(self, op: str, answer: dict[str, Any]) -> Any:
        error = answer.get("error")
        if error is None:
            return answer["ok"]
        kind = ERRORS.get(error["kind"], Unavailable)
        raise kind(f"`{self._system}`: {error['message']}", system=self._system, operation=op)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            _, future = self._open.pop(answer["id"], ("", None))
            if future is not None:
                future.set_result(answer)
        with self._lock:
            self._gone = True
            waiting = list(self._open.values())
            self._open.clear()
        for op, future in waiting:
            future.set_exception(self._gone_error(op))

    def _gone_error(self, op: str) -> HostGone:
        self._process.wait()
        tail = ""
        if not self._errors.closed:
            size = self._errors.seek(0, os.SEEK_END)
            self._errors.seek(max(0, size - 2000))
            tail = self._errors.read().decode("utf-8", "replace").strip()
        why = tail.splitlines()[-1] if tail else f"status {self._process.returncode}"
        return HostGone(
            f"`{self._system}`: the process that holds Dagster ended ({why}); run `mendline check`",
            system=self._system,
            operation=op,
        )

    def stop(self) -> None:
        """Close stdin, which ends the host; a re-run that is under way goes on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._listener.join()
        self._process.stdout.close()
        self._errors.close()
