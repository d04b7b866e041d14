"""A Dagster instance in a folder, a project, a scheduler of its own, and the adapter: for tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from mendline.config import DagsterEngine
from mendline.engines.base import Engine
from mendline.engines.dagster import Dagster
from mendline.incident import RunRef

LOST_AFTER_SECONDS = 0.3


class DagsterBench:
    """A Dagster instance in `folder` that runs the code of `project`.

    The project has `definitions.py`, whose stages obey the files of the folder named by WORLD (`<stage>.<behaviour>`) and
    note their calls in its file `calls`, and `runner.py`, which runs jobs as asked by JSON lines.
    """

    def __init__(self, folder: Path, project: Path) -> None:
        self.project = project
        self.folder, self.world, self.home = folder, folder / "world", folder / "home"
        self.world.mkdir()
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        self.engine = self.adapter()
        self.other = self.adapter()
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.home),
            "WORLD": str(self.world),
            "RUNNER_LOG": str(folder / "log"),
        }
        self.scheduler = subprocess.Popen(
            [sys.executable, str(self.project / "runner.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def adapter(self, **settings: Any) -> Dagster:
        """Another adapter for the same instance, with other settings if given; the caller closes it."""
        return Dagster("dagster", self.settings(**settings), self.folder)

    def settings(self, **settings: Any) -> DagsterEngine:
        """The engine's section of mendline.yaml."""
        values: dict[str, Any] = {
            "kind": "dagster",
            "dagster_home": "home",
            "code": {"python_file": self.project / "definitions.py", "working_directory": self.project},
            "env": {"WORLD": str(self.world)},
            "lost_after_seconds": LOST_AFTER_SECONDS,
        }
        return DagsterEngine.model_validate(values | settings)

    def launch(self, job: str, *, wait: bool = True, **request: Any) -> tuple[RunRef, int]:
        """Run a job as its scheduler would; the run and the pid that executes it."""
        ref = RunRef(engine="dagster", pipeline=job, run_id=str(uuid.uuid4()))
        plain = {"config": {}, "tags": {}, "assets": [], "in_process": False}
        line = json.dumps(plain | request | {"job": job, "run_id": ref.run_id, "wait": wait})
        assert self.scheduler.stdin is not None
        assert self.scheduler.stdout is not None
        self.scheduler.stdin.write(line + "\n")
        self.scheduler.stdin.flush()
        return ref, int(json.loads(self.scheduler.stdout.readline())["pid"])

    def run(self, config: dict[str, Any] | None = None) -> RunRef:
        """Run the job `diamond`."""
        return self.launch("diamond", config=config or {})[0]

    def tell(self, stage: str, behaviour: str) -> None:
        """Make a stage behave so from now on."""
        (self.world / f"{stage}.{behaviour}").touch()

    def heal(self) -> None:
        """Take back everything that stages were told."""
        for file in self.world.glob("*.*"):
            file.unlink()

    def calls(self) -> list[str]:
        """The stages that have begun so far, in order."""
        file = self.world / "calls"
        return file.read_text().split() if file.exists() else []

    def restarted(self) -> Engine:
        """An adapter of another process, which knows nothing but the cursor."""
        return self.other

    def close(self) -> None:
        """Stop every process."""
        for engine in (self.engine, self.other):
            engine.close()
        assert self.scheduler.stdin is not None
        assert self.scheduler.stdout is not None
        self.scheduler.stdin.close()
        self.scheduler.wait()
        self.scheduler.stdout.close()
