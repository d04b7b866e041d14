"""What Mendline asks of a pipeline engine, whatever its make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from mendline.incident import Failure, RunRef

# How a run that Mendline started says so, in the engine's own tags.
TAG_INCIDENT = "mendline/incident"
TAG_ATTEMPT = "mendline/attempt"


class RunState(StrEnum):
    """The states that matter to Mendline."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    LOST = "lost"  # says running, but its process is gone


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """One run that reached its end (or lost its process), as the monitor sees it.

    `failures` is empty for a success. `tags` are the engine's own. `retried_stages` are stages that failed and then
    passed by the engine's own retry within this run.
    """

    run: RunRef
    root_run_id: str
    state: RunState
    started_at: datetime
    ended_at: datetime
    failures: tuple[Failure, ...] = ()
    retried_stages: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunDescription:
    """One run in full.

    `upstream` maps every stage to the stages it waits for (the whole DAG, also of stages not selected in this run).
    `stage_states` has the stages that began or were skipped in this run only. `config` is the engine's run configuration.
    """

    run: RunRef
    root_run_id: str
    parent_run_id: str | None
    state: RunState
    upstream: Mapping[str, tuple[str, ...]]
    stage_states: Mapping[str, str]  # "succeeded" | "failed" | "skipped" | "running"
    config: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)
    partition: str | None = None

    def downstream(self, stages: tuple[str, ...]) -> tuple[str, ...]:
        """Every stage that waits, directly or not, for one of `stages`; not `stages` themselves; DAG order."""
        reached = set(stages)
        found: list[str] = []
        grew = True
        while grew:
            grew = False
            for stage, parents in self.upstream.items():
                if stage not in reached and reached.intersection(parents):
                    reached.add(stage)
                    found.append(stage)
                    grew = True
        return tuple(found)


class Engine(Protocol):
    """One pipeline engine. Read calls may be repeated at will; `rerun` is exactly-once by key."""

    name: str

    def check(self) -> tuple[str, ...]:
        """Try the connection; give one sentence per thing that Mendline may do here. Raises `ConfigError`/`Unavailable`."""
        ...

    def finished_runs(self, cursor: str | None, limit: int = 100) -> tuple[tuple[FinishedRun, ...], str]:
        """Runs that ended after `cursor`, oldest first, and the next cursor.

        None as cursor means: from now on (runs that ended before are not reported; the answer is empty with a cursor).
        The cursor is opaque, survives restarts of both sides, and never skips a run. A run whose process is gone without
        an end is reported as `lost` once it has been silent for the configured time.
        """
        ...

    def logs(self, run: RunRef, stage: str | None) -> tuple[str, ...]:
        """The raw log lines of one stage of a run, or of the whole run when `stage` is None, oldest first.

        Not redacted. Includes the recorded error with its chain of causes. Empty when the engine kept nothing.
        """
        ...

    def describe(self, run: RunRef) -> RunDescription:
        """Everything about one run. Raises `Rejected` when there is no such run."""
        ...

    def run_chain(self, root_run_id: str) -> tuple[RunDescription, ...]:
        """The root run and all its re-executions, oldest first."""
        ...

    def latest_success(self, pipeline: str) -> RunRef | None:
        """The most recent run of the pipeline that succeeded; None when there was none."""
        ...

    def latest_finished(self, pipeline: str) -> FinishedRun | None:
        """The run of the pipeline that ended last, in whatever state; None when none has ended."""
        ...

    def active_runs(self) -> tuple[RunRef, ...]:
        """Runs that are waiting or running now (lost ones left out)."""
        ...

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
        """Run exactly `stages` again as a re-execution of `parent` and wait for the end.

        `key` names the effect: the same key never starts a second run; a repeated call waits for, or reports, the first.
        `config` None means the parent's own; another one is the whole of it, not a part. `detailed_logging` asks the engine
        for debug-level logs.

        Raises: `Unavailable` when the run could not be started or did not end within `timeout_s` seconds; `Rejected`, with
        nothing started, for a run or a stage that does not exist and a configuration that the job does not accept.
        """
        ...

    def close(self) -> None:
        """Release processes and files. Twice is once."""
        ...
