"""What can be read of a Dagster instance, as JSON-able values; loaded by `dagster_host.py`, imports nothing of Mendline.

Times are seconds since the epoch. Stages are step keys without their dynamic mapping ("load[a]" is "load").
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType
from typing import Any

from dagster import DagsterEventType as Event
from dagster import DagsterInstance, DagsterRun, EventLogEntry, RunsFilter
from dagster import DagsterRunStatus as Status
from dagster._core.storage.dagster_run import RunRecord
from dagster._core.storage.tags import PARTITION_NAME_TAG

UTC = timezone.utc  # noqa: UP017 - the pipeline's interpreter may be older than 3.11
PROCESS_TAG = "mendline/process"
OVERLAP_SECONDS = 120.0
START_SILENCE_SECONDS = 300.0
PAGE = 1000
ENDED = [Status.SUCCESS, Status.FAILURE, Status.CANCELED]
ACTIVE = [Status.STARTING, Status.STARTED, Status.CANCELING]
STEP_EVENTS = {
    Event.STEP_START,
    Event.STEP_SUCCESS,
    Event.STEP_FAILURE,
    Event.STEP_SKIPPED,
    Event.STEP_UP_FOR_RETRY,
    Event.STEP_RESTARTED,
}
STATES = {
    Status.QUEUED: "waiting",
    Status.NOT_STARTED: "waiting",
    Status.SUCCESS: "succeeded",
    Status.FAILURE: "failed",
    Status.CANCELED: "canceled",
}


class NoSuchRun(Exception):
    """The instance does not know the run."""


def stage_of(step_key: str) -> str:
    """The stage that a step belongs to."""
    return step_key.split("[", 1)[0]


def innermost(error: Any) -> Any:
    """The first cause of a recorded error; what was merely being handled meanwhile is not a cause."""
    while error is not None and error.cause is not None:
        error = error.cause
    return error


def error_words(error: Any) -> dict[str, str]:
    """Class and message of a recorded error's first cause; empty when there is none."""
    error = innermost(error)
    if error is None:
        return {"error_class": "", "message": ""}
    name = error.cls_name or ""
    message = re.sub(rf"^[\w.]*{re.escape(name)}:?\s*", "", error.message, count=1) if name else error.message
    return {"error_class": name, "message": message.strip()}


class Reader:
    """Read calls on one instance. Nothing here loads the user's code or writes."""

    def __init__(self, instance: DagsterInstance, lost_after_seconds: float, local: ModuleType) -> None:
        self.instance = instance
        self._local = local
        self._lost_after_seconds = lost_after_seconds
        self._settled: set[str] = set()
        self._quiet: tuple[Any, Any] | None = None
        self._active: list[RunRecord] = []
        self._processes: dict[tuple[str, datetime], tuple[int, float]] = {}

    def finished_runs(self, cursor: dict[str, Any] | None, limit: int) -> dict[str, Any]:
        """Runs that ended after the cursor, oldest first.

        The cursor is {"watermark": newest end seen, "seen": {run id: last update}, "lost": [run id]}. Ends are read with an
        overlap, since a run's end is stamped before it is committed and clocks of two machines differ; `seen` takes out
        what was reported already. A storage id would be simpler, but SQLite gives ids of deleted runs out again.
        """
        mark = self._local.quiet_mark(Path(os.environ["DAGSTER_HOME"]))
        if mark and self._quiet == (mark, cursor) and not self._loses_one(cursor or {}):
            return {"runs": [], "cursor": cursor}
        found = self._news(cursor, limit)
        self._quiet = (mark, found["cursor"]) if not found["runs"] else None
        return found

    def _loses_one(self, cursor: dict[str, Any]) -> bool:
        known = cursor["lost"]
        return any(self.is_lost(r, silent_only=True) for r in self._active if r.dagster_run.run_id not in known)

    def _news(self, cursor: dict[str, Any] | None, limit: int) -> dict[str, Any]:
        now = time.time()
        if cursor is None:
            records = self._ended_after(now - OVERLAP_SECONDS)
            seen = {r.dagster_run.run_id: r.update_timestamp.timestamp() for r in records}
            return {"runs": [], "cursor": {"watermark": now, "seen": seen, "lost": self._lost_ids()}}
        watermark, seen = float(cursor["watermark"]), dict(cursor["seen"])
        fresh = self._fresh(watermark, seen)[:limit]
        runs = [self.finished(r) for r in fresh if self._is_news(r, cursor["lost"])]
        for record in fresh:
            seen[record.dagster_run.run_id] = record.update_timestamp.timestamp()
            watermark = max(watermark, min(_ended_at(record), now))
        lost = self._lost_ids()
        runs += [self.finished(self.record(run_id)) for run_id in lost if run_id not in cursor["lost"]]
        # A run reported as lost stays on the list until its late end has been seen too.
        known = [i for i in cursor["lost"] if i not in seen and i not in lost and self.instance.has_run(i)]
        kept = {run_id: at for run_id, at in seen.items() if at > watermark - OVERLAP_SECONDS}
        return {"runs": runs, "cursor": {"watermark": watermark, "seen": kept, "lost": lost + known}}

    def _ended_after(self, at: float) -> list[RunRecord]:
        after = datetime.fromtimestamp(max(at, 0.0), UTC)
        return list(self.instance.get_run_records(RunsFilter(statuses=ENDED, updated_after=after)))

    def _fresh(self, watermark: float, seen: dict[str, float]) -> list[RunRecord]:
        """Ended runs that the cursor has not seen, oldest end first; ids are compared before any record is read."""
        horizon = watermark - OVERLAP_SECONDS
        after = datetime.fromtimestamp(max(horizon, 0.0), UTC)
        ids = self.instance.get_run_ids(RunsFilter(statuses=ENDED, updated_after=after))
        unknown = [i for i in ids if i not in seen and i not in self._settled]
        records: list[RunRecord] = []
        for begin in range(0, len(unknown), PAGE):
            records += self.instance.get_run_records(RunsFilter(run_ids=unknown[begin : begin + PAGE]))
        # A tag added to an old run makes it look updated; its end says that it was reported long ago.
        self._settled.update(r.dagster_run.run_id for r in records if _ended_at(r) <= horizon)
        return sorted((r for r in records if _ended_at(r) > horizon), key=_ended_at)

    def _is_news(self, record: RunRecord, lost: list[str]) -> bool:
        return record.dagster_run.run_id not in lost or record.dagster_run.status is Status.SUCCESS

    def _lost_ids(self) -> list[str]:
        filters = RunsFilter(statuses=[*ACTIVE, Status.NOT_STARTED])
        self._active = list(self.instance.get_run_records(filters, ascending=True))
        running = {(r.dagster_run.run_id, r.update_timestamp) for r in self._active}
        self._processes = {key: found for key, found in self._processes.items() if key in running}
        return [r.dagster_run.run_id for r in self._active if self.is_lost(r, silent_only=True)]

    def finished(self, record: RunRecord) -> dict[str, Any]:
        """One ended or lost run with its failures."""
        run = record.dagster_run
        state = self.state(record)
        steps = self._steps(run.run_id)
        ended_at = _ended_at(record) if state != "lost" else self._last_event_at(record)
        found = {"failed": self._failures, "lost": self._losses}.get(state)
        return {
            **_identity(run),
            "state": state,
            "started_at": record.start_time or record.create_timestamp.timestamp(),
            "ended_at": ended_at,
            "failures": found(run, steps, ended_at) if found else [],
            "retried_stages": [s for s, step in steps.items() if step["attempt"] > 1 and step["state"] == "succeeded"],
            "tags": self._local.tags_of(run),
        }

    def _failures(self, run: DagsterRun, steps: dict[str, dict[str, Any]], ended_at: float) -> list[dict[str, Any]]:
        failed = [
            {"stage": stage, "kind": "stage_failed", "failed_at": step["at"], "attempt": step["attempt"]}
            | error_words(step["error"])
            for stage, step in steps.items()
            if step["state"] == "failed"
        ]
        if failed:
            return sorted(failed, key=lambda failure: float(failure["failed_at"]))
        words = {"error_class": "", "message": ""}
        for entry in self.entries(run.run_id, {Event.RUN_FAILURE, Event.RESOURCE_INIT_FAILURE, Event.ENGINE_EVENT}):
            error = error_of(entry)
            if error is not None:
                words = error_words(error)
            elif entry.dagster_event_type is Event.RUN_FAILURE and not words["message"]:
                words = {"error_class": "", "message": entry.message or ""}
        return [{"stage": None, "kind": "run_failed", "failed_at": ended_at, "attempt": 1} | words]

    def _losses(self, _: DagsterRun, steps: dict[str, dict[str, Any]], ended_at: float) -> list[dict[str, Any]]:
        running: list[str | None] = [s for s, step in steps.items() if step["state"] == "running" and not step["waits"]]
        words = {"error_class": "", "message": "the process of the run is gone and nothing recorded its end"}
        return [
            {"stage": stage, "kind": "run_lost", "failed_at": ended_at, "attempt": 1} | words
            for stage in running or [None]
        ]

    def describe(self, run_id: str) -> dict[str, Any]:
        """One run in full. Raises `NoSuchRun`."""
        record = self.record(run_id)
        run = record.dagster_run
        return {
            **_identity(run),
            "parent_run_id": run.parent_run_id,
            "state": self.state(record),
            "upstream": self._upstream(run),
            "stage_states": {stage: step["state"] for stage, step in self._steps(run_id).items()},
            "config": dict(run.run_config),
            "tags": self._local.tags_of(run),
            "partition": run.tags.get(PARTITION_NAME_TAG),
        }

    def chain(self, root_run_id: str) -> list[dict[str, Any]]:
        """The root run and its re-executions, oldest first. Raises `NoSuchRun`."""
        return [self.describe(run.run_id) for run in self.chain_runs(root_run_id)]

    def chain_runs(self, root_run_id: str) -> list[DagsterRun]:
        """The same, as Dagster's own records."""
        group = self.instance.get_run_group(self.record(root_run_id).dagster_run.run_id)
        runs = list(group[1]) if group else []
        created = {
            r.dagster_run.run_id: r.storage_id
            for r in self.instance.get_run_records(RunsFilter(run_ids=[run.run_id for run in runs]))
        }
        return sorted(runs, key=lambda run: created.get(run.run_id, 0))

    def latest_success(self, job: str) -> dict[str, Any] | None:
        """The newest run of a job that succeeded; None when there is none."""
        found = self.instance.get_runs(RunsFilter(job_name=job, statuses=[Status.SUCCESS]), limit=1)
        return _identity(found[0]) if found else None

    def latest_finished(self, job: str) -> dict[str, Any] | None:
        """The newest run of a job that has ended; None when there is none."""
        found = self.instance.get_run_records(RunsFilter(job_name=job, statuses=ENDED), limit=1)
        return self.finished(found[0]) if found else None

    def active_runs(self) -> list[dict[str, Any]]:
        """Runs that wait or run, oldest first, without lost ones."""
        filters = RunsFilter(statuses=[Status.QUEUED, Status.NOT_STARTED, *ACTIVE])
        records = self.instance.get_run_records(filters, ascending=True)
        return [_identity(r.dagster_run) for r in records if not self.is_lost(r, silent_only=False)]

    def run_count(self) -> int:
        """How many runs the instance has recorded."""
        return self.instance.get_runs_count()

    def record(self, run_id: str) -> RunRecord:
        """Dagster's own record of one run. Raises `NoSuchRun`."""
        record = self.instance.get_run_record_by_id(run_id)
        if record is None:
            raise NoSuchRun(run_id)
        return record

    def state(self, record: RunRecord) -> str:
        """The run's state in Mendline's words."""
        if record.dagster_run.status not in ENDED and self.is_lost(record, silent_only=False):
            return "lost"
        return STATES.get(record.dagster_run.status, "running")

    def is_lost(self, record: RunRecord, *, silent_only: bool) -> bool:
        """Whether the run's process is gone; with `silent_only`, gone and silent for the configured time.

        Only a process of this machine can be looked up: runs of a remote launcher count as alive.
        """
        run = record.dagster_run
        if run.status in ENDED or run.status is Status.QUEUED:
            return False
        found = self._process(record)
        now = time.time()
        if found is None:
            waiting = run.status is Status.STARTING and now - self._last_event_at(record) > START_SILENCE_SECONDS
            return waiting and self._is_local()
        pid, seen_at = found
        if not self._local.is_gone(pid, seen_at):
            return False
        # The end may have been written between the two looks: look again, now that nobody can write it any more.
        again = self.instance.get_run_by_id(run.run_id)
        if again is None or again.status in ENDED:
            return False
        return not silent_only or now - self._last_event_at(record) >= self._lost_after_seconds

    def _process(self, record: RunRecord) -> tuple[int, float] | None:
        """The pid that executes a run and a time at which it had it; None when no process of this machine is known."""
        run = record.dagster_run
        tag = self._local.tags_of(run).get(PROCESS_TAG)
        if tag and tag.count(":") >= 2:
            host, pid, started = tag.rsplit(":", 2)
            return (int(pid), float(started) + 1.0) if host == socket.gethostname() else None
        if run.status is Status.NOT_STARTED or not self._is_local():
            return None
        key = (run.run_id, record.update_timestamp)
        if key not in self._processes:
            pids = list(self._pids(run.run_id))
            if not pids:
                return None
            self._processes[key] = pids[-1]
        return self._processes[key]

    def _pids(self, run_id: str) -> Iterator[tuple[int, float]]:
        for entry in self.entries(run_id, {Event.ENGINE_EVENT}):
            data = entry.dagster_event.event_specific_data if entry.dagster_event else None
            pid = str(getattr(getattr(data, "metadata", {}).get("pid"), "value", ""))
            if pid.isdigit() and not entry.step_key:
                yield int(pid), entry.timestamp

    def _is_local(self) -> bool:
        launcher = type(self.instance.run_launcher).__name__
        storage = type(self.instance.run_storage).__name__
        return launcher in ("DefaultRunLauncher", "SyncInMemoryRunLauncher") and storage.startswith("Sqlite")

    def _last_event_at(self, record: RunRecord) -> float:
        if record.dagster_run.status is Status.NOT_STARTED:
            return record.update_timestamp.timestamp()
        last = self.instance.get_records_for_run(record.dagster_run.run_id, limit=1, ascending=False).records
        return last[0].timestamp if last else record.update_timestamp.timestamp()

    def _steps(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Map each stage to state, attempt, time and error of its last event, in order of first event."""
        steps: dict[str, dict[str, Any]] = {}
        for entry in self.entries(run_id, STEP_EVENTS):
            if entry.step_key:
                step = steps.setdefault(
                    entry.step_key, {"state": "running", "attempt": 1, "error": None, "waits": False}
                )
                _advance(step, entry)
        stages: dict[str, dict[str, Any]] = {}
        rank = ["skipped", "succeeded", "running", "failed"]
        for key, step in steps.items():
            other = stages.get(stage_of(key))
            if other is None or rank.index(step["state"]) > rank.index(other["state"]):
                stages[stage_of(key)] = step
        return stages

    def entries(self, run_id: str, of_type: set[Event] | None) -> Iterator[EventLogEntry]:
        """The events of one run, oldest first; none of a run that has not started.

        Reading makes the run's own SQLite file where there is none, at the moment at which its process makes it too: see
        `has_storage` for what that does to it.
        """
        run = self.instance.get_run_by_id(run_id)
        if run is None or run.status is Status.NOT_STARTED:
            return
        cursor: str | None = None
        while True:
            page = self.instance.get_records_for_run(run_id, cursor=cursor, of_type=of_type, limit=PAGE)
            for record in page.records:
                yield record.event_log_entry
            if not page.has_more:
                return
            cursor = page.cursor

    def _upstream(self, run: DagsterRun) -> dict[str, list[str]]:
        """Map each stage to the stages it waits for, in DAG order; of the whole job, also when the run is of a subset."""
        upstream = self._whole_job(run)
        plan_id = run.execution_plan_snapshot_id
        plan = self.instance.get_execution_plan_snapshot(plan_id) if plan_id else None
        for step in plan.steps if plan else ():
            parents = [stage_of(h.step_key) for i in step.inputs for h in i.upstream_output_handles]
            known = upstream.get(stage_of(step.key), [])
            upstream[stage_of(step.key)] = list(dict.fromkeys([*known, *parents]))
        order = list(TopologicalSorter(upstream).static_order())
        return {stage: upstream.get(stage, []) for stage in order}

    def _whole_job(self, run: DagsterRun) -> dict[str, list[str]]:
        if not (run.asset_selection or run.resolved_op_selection) or not run.job_snapshot_id:
            return {}
        lineage = self.instance.get_job_snapshot(run.job_snapshot_id).lineage_snapshot
        if lineage is None:
            return {}
        job = self.instance.get_job_snapshot(lineage.parent_snapshot_id)
        nodes = job.dep_structure_snapshot.node_invocation_snaps
        ops = {op.name for op in job.node_defs_snapshot.op_def_snaps}
        if any(node.node_def_name not in ops for node in nodes):
            return {}  # nested graphs: node names are not step keys
        return {
            node.node_name: [up.node_name for dep in node.input_dep_snaps for up in dep.upstream_output_snaps]
            for node in nodes
        }


def _identity(run: DagsterRun) -> dict[str, Any]:
    return {"job": run.job_name, "run_id": run.run_id, "root_run_id": run.root_run_id or run.run_id}


def _ended_at(record: RunRecord) -> float:
    return record.end_time or record.update_timestamp.timestamp()


def error_of(entry: EventLogEntry) -> Any:
    data = entry.dagster_event.event_specific_data if entry.dagster_event else None
    return getattr(data, "error", None)


def _advance(step: dict[str, Any], entry: EventLogEntry) -> None:
    kind = entry.dagster_event_type
    step["at"] = entry.timestamp
    step["waits"] = kind is Event.STEP_UP_FOR_RETRY
    if kind is Event.STEP_UP_FOR_RETRY:
        step["attempt"] += 1
    step["state"] = (
        {
            Event.STEP_SUCCESS: "succeeded",
            Event.STEP_FAILURE: "failed",
            Event.STEP_SKIPPED: "skipped",
        }.get(kind, "running")
        if kind
        else step["state"]
    )
    step["error"] = error_of(entry) if kind is Event.STEP_FAILURE else None
