"""An engine in memory: one job of declared stages that fail when a test says so."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mendline.engines.base import FinishedRun, RunDescription, RunState
from mendline.errors import Rejected
from mendline.incident import Failure, FailureKind, RunRef


@dataclass
class _Run:
    description: RunDescription
    failures: tuple[Failure, ...]
    retried: tuple[str, ...]
    at: datetime
    lines: dict[str, tuple[str, ...]]


@dataclass
class MemoryEngine:
    """Runs its stages at once, in order; a stage whose upstream failed does not begin.

    Tests set `failing` (stage -> error class and message), `flaky` (fails once, then passes) and `dying` (the run's process
    is gone while the stage runs); `calls` has every stage that began, in order. With `accepted` (dotted path -> type), a
    re-run with any other configuration is refused.
    """

    upstream: Mapping[str, tuple[str, ...]]
    name: str = "memory"
    job: str = "job"
    failing: dict[str, tuple[str, str]] = field(default_factory=dict)
    flaky: set[str] = field(default_factory=set)
    dying: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    accepted: Mapping[str, type] | None = None
    _runs: dict[str, _Run] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, config: Mapping[str, Any] | None = None, tags: Mapping[str, str] | None = None) -> RunRef:
        """Run the whole job now, as its scheduler would."""
        with self._lock:
            run_id = f"run-{len(self._runs) + 1}"
            return self._execute(run_id, tuple(self.upstream), None, config or {}, tags or {}).run

    def check(self) -> tuple[str, ...]:
        return (f"re-runs stages of: {self.job}",)

    def finished_runs(self, cursor: str | None, limit: int = 100) -> tuple[tuple[FinishedRun, ...], str]:
        with self._lock:
            runs = list(self._runs.values())
            begin = len(runs) if cursor is None else int(cursor)
            return tuple(_finished(run) for run in runs[begin : begin + limit]), str(min(begin + limit, len(runs)))

    def logs(self, run: RunRef, stage: str | None) -> tuple[str, ...]:
        lines = self._find(run.run_id).lines
        return tuple(line for name, own in lines.items() if stage in (None, name) for line in own)

    def describe(self, run: RunRef) -> RunDescription:
        return self._find(run.run_id).description

    def run_chain(self, root_run_id: str) -> tuple[RunDescription, ...]:
        self._find(root_run_id)
        return tuple(r.description for r in self._runs.values() if r.description.root_run_id == root_run_id)

    def latest_success(self, pipeline: str) -> RunRef | None:
        good = [run.description.run for run in self._runs.values() if run.description.state is RunState.SUCCEEDED]
        return good[-1] if good and pipeline == self.job else None

    def latest_finished(self, pipeline: str) -> FinishedRun | None:
        runs = list(self._runs.values())
        return _finished(runs[-1]) if runs and pipeline == self.job else None

    def active_runs(self) -> tuple[RunRef, ...]:
        return ()

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
        with self._lock:
            run_id = f"rerun-{key}"
            if run_id not in self._runs:
                origin = self._find(parent.run_id).description
                if set(stages) - set(self.upstream):
                    raise Rejected(f"the job has no stage {', '.join(sorted(set(stages) - set(self.upstream)))}")
                carried = origin.config if config is None else config
                self._require_accepted(carried)
                self._execute(run_id, stages, origin, carried, {**origin.tags, **tags})
            return self._runs[run_id].description

    def close(self) -> None:
        """Nothing to release."""

    def _find(self, run_id: str) -> _Run:
        if run_id not in self._runs:
            raise Rejected(f"run `{run_id}` does not exist", system=self.name)
        return self._runs[run_id]

    def _require_accepted(self, config: Mapping[str, Any]) -> None:
        for path, value in _leaves(config):
            if self.accepted is not None and type(value) is not self.accepted.get(path):
                raise Rejected(f"job `{self.job}` does not accept `{path}: {value}`", system=self.name)

    def _execute(
        self,
        run_id: str,
        stages: tuple[str, ...],
        parent: RunDescription | None,
        config: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> RunDescription:
        states: dict[str, str] = {}
        barred: set[str] = set()
        for stage in (name for name in self.upstream if name in stages):
            if any(above in barred or states.get(above, "succeeded") != "succeeded" for above in self.upstream[stage]):
                barred.add(stage)
                continue
            self.calls.append(stage)
            states[stage] = "running" if stage in self.dying else "failed" if stage in self.failing else "succeeded"
            if states[stage] == "running":
                break
        ended = {"running": RunState.LOST, "failed": RunState.FAILED}
        worst = next((state for mark, state in ended.items() if mark in states.values()), RunState.SUCCEEDED)
        description = RunDescription(
            run=RunRef(engine=self.name, pipeline=self.job, run_id=run_id),
            root_run_id=parent.root_run_id if parent else run_id,
            parent_run_id=parent.run.run_id if parent else None,
            state=worst,
            upstream=self.upstream,
            stage_states=states,
            config=config,
            tags=tags,
        )
        self._runs[run_id] = self._recorded(description)
        return description

    def _recorded(self, description: RunDescription) -> _Run:
        at = datetime.now(UTC)
        kinds = {"failed": FailureKind.STAGE_FAILED, "running": FailureKind.RUN_LOST}
        failures = []
        lines: dict[str, tuple[str, ...]] = {}
        for stage, state in description.stage_states.items():
            error_class, message = self.failing.get(stage, ("", "")) if state == "failed" else ("", "")
            lines[stage] = (f"{stage} begins", *([f"{error_class}: {message}"] if error_class else ()))
            if state in kinds:
                failures.append(
                    Failure(
                        run=description.run,
                        root_run_id=description.root_run_id,
                        stage=stage,
                        kind=kinds[state],
                        failed_at=at,
                        error_class=error_class,
                        message=message,
                    )
                )
        retried = tuple(s for s in description.stage_states if s in self.flaky and s not in self.failing)
        return _Run(description=description, failures=tuple(failures), retried=retried, at=at, lines=lines)


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _finished(run: _Run) -> FinishedRun:
    return FinishedRun(
        run=run.description.run,
        root_run_id=run.description.root_run_id,
        state=run.description.state,
        started_at=run.at,
        ended_at=run.at,
        failures=run.failures,
        retried_stages=run.retried,
        tags=run.description.tags,
    )
