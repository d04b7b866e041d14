"""Run jobs of the project as its own scheduler would: one JSON line per run on stdin, one forked process per run."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.code_pointer import CodePointer
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.api import execute_run


def launch(request: dict[str, Any]) -> None:
    folder = str(Path(__file__).parent)
    pointer = CodePointer.from_python_file(str(Path(__file__).with_name("definitions.py")), "defs", folder)
    job = ReconstructableRepository(pointer).get_reconstructable_job(request["job"])
    with dg.DagsterInstance.get() as instance:
        if request["in_process"]:
            job.get_definition().execute_in_process(
                instance=instance, raise_on_error=False, run_id=request["run_id"], run_config=request["config"]
            )
            return
        selection = frozenset(dg.AssetKey(key) for key in request["assets"]) or None
        run = instance.create_run_for_job(
            job_def=job.get_definition(),
            run_id=request["run_id"],
            run_config=request["config"],
            tags=request["tags"],
            asset_selection=selection,
            job_code_origin=job.get_python_origin(),
        )
        execute_run(job.get_subset(asset_selection=selection) if selection else job, run, instance)


def main() -> None:
    with dg.DagsterInstance.get() as instance:
        instance.get_runs_count()
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            with Path(os.environ["RUNNER_LOG"]).open("a") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                try:
                    launch(request)
                finally:
                    sys.stderr.flush()
                    os._exit(0)
        if request["wait"]:
            os.waitpid(pid, 0)
        print(json.dumps({"pid": pid}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
