"""The process that holds Dagster: one import, one reader child, one forked child per re-run.

Run by path with the interpreter that has the pipeline's code, so it imports nothing of Mendline. Requests come as JSON
lines on stdin (`{"id", "op", "args"}`), answers leave as JSON lines on stdout (`{"id", "ok"}` or `{"id", "error"}`). It ends
when stdin closes; a re-run that is under way goes on to its end.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import selectors
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

# The script's own folder would come first on the import path and hide Dagster behind the adapter of that name.
HERE = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != HERE]

import dagster  # noqa: E402
from dagster import DagsterInstance, DagsterRun  # noqa: E402
from dagster._core.code_pointer import CodePointer  # noqa: E402
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository  # noqa: E402
from dagster._core.errors import DagsterInvalidConfigError, DagsterRunAlreadyExists  # noqa: E402
from dagster._core.execution.api import create_execution_plan, execute_run  # noqa: E402
from dagster._core.execution.plan import state as plan_state  # noqa: E402
from dagster._core.storage.tags import MAX_RETRIES_TAG, PARENT_RUN_ID_TAG, ROOT_RUN_ID_TAG, TAGS_TO_MAYBE_OMIT_ON_RETRY  # noqa: E402
from dagster._core.workspace import autodiscovery  # noqa: E402
from dagster_shared.error import SerializableErrorInfo  # noqa: E402

POLL_SECONDS = 0.2


def _sibling(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"mendline_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


children = _sibling("dagster_children")
local = _sibling("dagster_local")
reading = _sibling("dagster_reader")
logs = _sibling("dagster_logs")


class Refused(Exception):
    """A request that will not succeed by repeating it; `kind` is "rejected", "config" or "unavailable"."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


# -- the user's code ----------------------------------------------------------------------------------------------


def repository(code: dict[str, Any]) -> ReconstructableRepository:
    """A pointer to the user's definitions; imports the code. Raises `Refused` when they cannot be told."""
    folder, file, module = code["working_directory"], code["python_file"], code["module"]
    attribute = code["attribute"] or _only_attribute(folder, file, module)
    pointer = (
        CodePointer.from_python_file(file, attribute, folder)
        if file
        else CodePointer.from_module(module, attribute, folder)
    )
    return ReconstructableRepository(pointer)


def _only_attribute(folder: str, file: str | None, module: str | None) -> str:
    from_file, from_module = (
        autodiscovery.loadable_targets_from_python_file,
        autodiscovery.loadable_targets_from_python_module,
    )
    targets = from_file(file, folder) if file else from_module(str(module), folder)
    if len(targets) != 1:
        names = ", ".join(target.attribute for target in targets)
        raise Refused("config", f"`{file or module}` has several definitions ({names}); name one in `code.attribute`")
    return targets[0].attribute


def check(settings: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
    """Load the user's code and name its jobs."""
    count = 0
    if local.has_storage(_home()):
        with DagsterInstance.get() as instance:
            count = instance.get_runs_count()
    try:
        definition = repository(settings["code"]).get_definition()
        jobs = sorted(job.name for job in definition.get_all_jobs() if not job.name.startswith("__"))
    except Refused:
        raise
    except BaseException as error:  # the user's module may raise anything, SystemExit too
        raise Refused("config", f"the pipeline's code cannot be loaded: {_words(error)}") from error
    return {"jobs": jobs, "run_count": count, "version": dagster.__version__}


def _words(error: BaseException) -> str:
    info = SerializableErrorInfo.from_traceback(traceback.TracebackException.from_exception(error))
    words = reading.error_words(info)
    return f"{words['error_class']}: {words['message']}"


# -- re-runs ------------------------------------------------------------------------------------------------------


def rerun(settings: dict[str, Any], args: dict[str, Any]) -> dict[str, Any]:
    """Start the run of that id unless it exists, wait for its end, describe it."""
    if not local.has_storage(_home()):
        raise reading.NoSuchRun(args["parent_run_id"])
    with DagsterInstance.get() as instance:
        reader = reading.Reader(instance, settings["lost_after_seconds"], local)
        if not instance.has_run(args["run_id"]):
            _start(settings, args, instance, reader)
        return _ended(reader, args["run_id"], time.monotonic() + args["timeout_s"])


def _ended(reader: Any, run_id: str, deadline: float) -> dict[str, Any]:
    while True:
        found: dict[str, Any] = reader.describe(run_id)
        if found["state"] not in ("waiting", "running"):
            return found
        if time.monotonic() > deadline:
            raise Refused("unavailable", f"re-run `{run_id}` did not end in time; it goes on")
        time.sleep(POLL_SECONDS)


def _start(settings: dict[str, Any], args: dict[str, Any], instance: DagsterInstance, reader: Any) -> None:
    parent = instance.get_run_by_id(args["parent_run_id"])
    if parent is None:
        raise Refused("rejected", f"run `{args['parent_run_id']}` does not exist in this Dagster instance")
    if args["detailed_logging"]:
        _log_everything()
    try:
        job = _job(settings, parent)
        run = _create(args, parent, job, instance, reader)
    except DagsterRunAlreadyExists:
        return
    except Refused:
        raise
    except DagsterInvalidConfigError as error:
        raise Refused("rejected", _about_config(error, parent.job_name)) from error
    except BaseException as error:  # the user's module may raise anything, SystemExit too
        raise Refused("unavailable", f"the re-run could not be started: {_words(error)}") from error
    try:
        execute_run(job, run, instance, raise_on_error=False)
    except BaseException as error:
        instance.report_run_failed(run, f"The re-run ended by {_words(error)}")
        raise


def _about_config(error: DagsterInvalidConfigError, job: str) -> str:
    said = " ".join(" ".join(error.error_messages).split())
    return f"job `{job}` does not accept the configuration of the re-run, so it was not started: {said}"


def _job(settings: dict[str, Any], parent: DagsterRun) -> ReconstructableJob:
    repo = repository(settings["code"])
    definition = repo.get_definition()
    if not definition.has_job(parent.job_name):
        names = ", ".join(sorted(job.name for job in definition.get_all_jobs()))
        raise Refused("rejected", f"the code has no job `{parent.job_name}` (it has: {names})")
    return repo.with_repository_load_data(definition.repository_load_data).get_reconstructable_job(parent.job_name)


def _create(
    args: dict[str, Any], parent: DagsterRun, job: ReconstructableJob, instance: DagsterInstance, reader: Any
) -> DagsterRun:
    """Record the run, in one insert with the caller's id. Raises `DagsterRunAlreadyExists`."""
    config = parent.run_config if args["config"] is None else args["config"]
    subset = job
    if parent.asset_selection:
        subset = job.get_subset(asset_selection=parent.asset_selection)
    elif parent.resolved_op_selection:
        subset = job.get_subset(op_selection=parent.resolved_op_selection)
    tags = {key: value for key, value in parent.tags.items() if key not in TAGS_TO_MAYBE_OMIT_ON_RETRY}
    # Dagster's own run retries would start runs that nobody waits for.
    root_run_id = parent.root_run_id or parent.run_id
    # Dagster finds the runs of a chain by these two tags only; `create_run_for_job` does not set them.
    tags |= {ROOT_RUN_ID_TAG: root_run_id, PARENT_RUN_ID_TAG: parent.run_id}
    tags |= {MAX_RETRIES_TAG: "0", reading.PROCESS_TAG: local.process_identity(), **args["tags"]}
    tags[local.OWN_TAG] = args["run_id"]
    return instance.create_run_for_job(
        job_def=subset.get_definition() if parent.asset_selection else job.get_definition(),
        execution_plan=_plan(args["stages"], subset, config, tags, _known(instance, reader, parent)),
        run_id=args["run_id"],
        run_config=config,
        tags=tags,
        op_selection=parent.op_selection,
        asset_selection=parent.asset_selection,
        resolved_op_selection=parent.resolved_op_selection,
        root_run_id=root_run_id,
        parent_run_id=parent.run_id,
        job_code_origin=job.get_python_origin(),
        repository_load_data=job.repository.repository_load_data,
    )


def _known(instance: DagsterInstance, reader: Any, parent: DagsterRun) -> plan_state.KnownExecutionState:
    """Which run of the chain made which output last, so that inputs come from the newest repair and not only the parent."""
    past: plan_state.PastExecutionState | None = None
    mappings: dict[str, Any] = {}
    for run in reader.chain_runs(parent.root_run_id or parent.run_id):
        ended = reader.state(reader.record(run.run_id)) not in ("waiting", "running")
        if ended and run.job_name == parent.job_name and run.execution_plan_snapshot_id:
            _, dynamic, outputs = plan_state._derive_state_of_past_run(instance, run)
            past = plan_state.PastExecutionState(run.run_id, outputs, past)
            mappings |= dict(dynamic)
    return plan_state.KnownExecutionState(dynamic_mappings=mappings, parent_state=past)


def _plan(
    stages: list[str], job: ReconstructableJob, config: Any, tags: dict[str, str], known: plan_state.KnownExecutionState
) -> Any:
    whole = create_execution_plan(job, config, tags=tags)
    chosen = [key for key in whole.get_all_step_deps() if reading.stage_of(key) in stages]
    missing = set(stages) - {reading.stage_of(key) for key in chosen}
    if missing:
        names = ", ".join(dict.fromkeys(reading.stage_of(key) for key in whole.get_all_step_deps()))
        raise Refused("rejected", f"the job has no stage {', '.join(sorted(missing))} (it has: {names})")
    known = known.update_for_step_selection(chosen)
    resolved = create_execution_plan(job, config, tags=tags, known_state=known)
    keys = [key for key in resolved.get_all_step_deps() if reading.stage_of(key) in stages]
    return create_execution_plan(job, config, step_keys_to_execute=keys, known_state=known, tags=tags)


def _log_everything() -> None:
    os.environ["MENDLINE_DETAILED_LOGGING"] = "1"
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for name in ("dagster", "alembic", "sqlalchemy", "asyncio"):
        logging.getLogger(name).setLevel(logging.INFO)


# -- processes ----------------------------------------------------------------------------------------------------

Call = Callable[[dict[str, Any], dict[str, Any]], Any]
CHILD_OPS: dict[str, Call] = {"rerun": rerun, "check": check}


def answer_of(call: Callable[[], Any], request: dict[str, Any]) -> str:
    """One answer line for one request."""
    answer: dict[str, Any] = {"id": request["id"]}
    try:
        answer["ok"] = call()
    except Refused as refused:
        answer["error"] = {"kind": refused.kind, "message": str(refused)}
    except reading.NoSuchRun as missing:
        answer["error"] = {"kind": "rejected", "message": f"run `{missing}` does not exist in this Dagster instance"}
    except Exception as error:  # noqa: BLE001 - the edge of the process: every failure becomes an answer
        answer["error"] = {"kind": "unavailable", "message": f"Dagster could not answer: {_words(error)}"}
    return json.dumps(answer, default=str) + "\n"


def read_forever(settings: dict[str, Any], requests: IO[str], answers: IO[str]) -> None:
    """Answer read requests one after the other with one instance, until the requests end."""
    readers: list[Any] = []

    def read(op: str, args: dict[str, Any]) -> Any:
        if not readers:  # opened by a request, so that a broken instance is an answer and not a crash
            if not local.has_storage(_home()):
                return _nothing(op, args)
            readers.append(reading.Reader(DagsterInstance.get(), settings["lost_after_seconds"], local))
        if op == "logs":
            return logs.log_lines(readers[0].instance, readers[0].entries(args["run_id"], None), **args)
        return getattr(readers[0], op)(**args)

    for line in requests:
        request = json.loads(line)
        answers.write(answer_of(partial(read, request["op"], request["args"]), request))
        answers.flush()


def _nothing(op: str, args: dict[str, Any]) -> Any:
    """What there is to read of an instance that nobody has used yet."""
    if op == "finished_runs":
        return {"runs": [], "cursor": args["cursor"] or {"watermark": time.time(), "seen": {}, "lost": []}}
    if op in ("latest_success", "latest_finished", "active_runs"):
        return [] if op == "active_runs" else None
    raise reading.NoSuchRun(args.get("run_id") or args["root_run_id"])


def _home() -> Path:
    return Path(os.environ["DAGSTER_HOME"])


def serve(settings: dict[str, Any]) -> None:
    """Pass requests on and answers back until stdin closes."""
    reader = children.Child(lambda requests, answers: read_forever(settings, requests, answers))
    running: dict[int, Any] = {reader.fd: reader}
    with selectors.DefaultSelector() as waiting:
        waiting.register(0, selectors.EVENT_READ)
        waiting.register(reader.fd, selectors.EVENT_READ)
        buffer = b""
        while True:
            for key, _ in waiting.select():
                if key.fd == 0:
                    data = os.read(0, 1 << 16)
                    if not data:
                        return
                    *lines, buffer = (buffer + data).split(b"\n")
                    for child in _dispatch(settings, lines, reader):
                        running[child.fd] = child
                        waiting.register(child.fd, selectors.EVENT_READ)
                elif _forward(running[key.fd]):
                    waiting.unregister(key.fd)
                    ended = running.pop(key.fd)
                    if ended is reader:
                        sys.exit(f"the reader {ended.end()}")  # the next call starts all of it afresh
                    _bury(ended)


def _dispatch(settings: dict[str, Any], lines: list[bytes], reader: Any) -> list[Any]:
    started: list[Any] = []
    for line in lines:
        request = json.loads(line)
        if request["op"] in CHILD_OPS:
            started.append(children.Child(partial(_work, settings, request), request["id"]))
        else:
            reader.requests.write(line.decode() + "\n")
            reader.requests.flush()
    return started


def _work(settings: dict[str, Any], request: dict[str, Any], _: IO[str], answers: IO[str]) -> None:
    call = CHILD_OPS[request["op"]]
    answers.write(answer_of(lambda: call(settings, request["args"]), request))


def _forward(child: Any) -> bool:
    """Pass on what a child said; True when it has closed its end."""
    lines: list[bytes]
    is_closed: bool
    lines, is_closed = child.lines()
    for line in lines:
        child.request_id = None
        _say(line)
    return is_closed


def _bury(child: Any) -> None:
    how = child.end()
    if child.request_id is not None:
        error = {"kind": "died", "message": f"the process {how}"}
        _say(json.dumps({"id": child.request_id, "error": error}).encode())


def _say(line: bytes) -> None:
    data = line + b"\n"
    while data:
        data = data[os.write(1, data) :]


def warm_up() -> None:
    """Import now, once, what every child would import for itself: a second of work for each re-run.

    Storages close each connection after use, so no connection crosses a fork.
    """
    # Whatever is wrong with the instance or the library is said by the first request that needs it.
    with contextlib.suppress(Exception):
        importlib.import_module("duckdb")
    with contextlib.suppress(Exception):
        unused = not local.has_storage(_home())
        with (
            tempfile.TemporaryDirectory() as folder,
            DagsterInstance.local_temp(folder) if unused else DagsterInstance.get() as instance,
        ):
            instance.get_run_records(limit=1)


def main() -> None:
    """Serve the settings given as one JSON argument."""
    settings = json.loads(sys.argv[1])
    folder = settings["code"]["working_directory"]
    os.chdir(folder)
    sys.path.insert(0, folder)
    warm_up()
    serve(settings)
    os._exit(0)  # nothing is left to tidy up, and an interpreter with all of Dagster takes a second to do so


if __name__ == "__main__":
    main()
