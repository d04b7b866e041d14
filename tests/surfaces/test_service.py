"""The commands that work with the built application, on a real Dagster project and a real DuckDB file."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from mendline.redaction import Redactor
from mendline.surfaces import cli, service

CONFIG = """
engines:
  main: {kind: dagster, dagster_home: home, code: {python_file: trips.py}}
pipelines:
  trips: {engine: main}
warehouses:
  main: {kind: duckdb, path: trips.duckdb}
datasets:
  fares: {pipeline: trips, warehouse: main, landing: raw.fares, loaded_by: land}
policy:
  rules:
    - {action: retry_with_backoff, type: API_FAILURE, decision: auto, min_confidence: 0.8}
"""
CODE = """
from dagster import job, op

@op
def land():
    pass

@job
def trips():
    land()
"""
Out = pytest.CaptureFixture[str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "mendline.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "trips.py").write_text(CODE, encoding="utf-8")
    with duckdb.connect(str(tmp_path / "trips.duckdb")) as connection:
        connection.execute("CREATE SCHEMA raw; CREATE TABLE raw.fares (id INTEGER)")
    return tmp_path


@contextmanager
def serving(project: Path) -> Iterator[subprocess.Popen[str]]:
    """`mendline serve` as a process, from the moment on that it watches."""
    command = [sys.executable, "-m", "mendline.surfaces.cli", "serve"]
    with subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            said = process.stderr.readline()
            assert "watching trips" in said, said + process.stderr.read()
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_check_says_what_mendline_may_do_as_text_and_as_json(project: Path, capsys: Out) -> None:
    assert cli.main(["check"]) == 0
    said = capsys.readouterr().out
    assert "`mendline.yaml` is valid and everything it names answers." in said
    assert "- re-runs stages of: trips" in said
    assert re.search(r"^- warehouse `main`: read ", said, re.MULTILINE)
    assert "- policy: auto `retry_with_backoff` for API_FAILURE" in said
    assert cli.main(["check", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is True
    assert any("re-runs stages of: trips" in sentence for sentence in answer["allowed"])


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["absent", "a directory", "not a database"])
def test_a_warehouse_that_cannot_be_reached_is_one_sentence_and_exit_code_2(
    damage: str, project: Path, capsys: Out
) -> None:
    file = project / "trips.duckdb"
    file.unlink()
    if damage == "a directory":
        file.mkdir()
    elif damage == "not a database":
        file.write_text("not a database " * 1_000, encoding="utf-8")
    assert cli.main(["check"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "main" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inspect_schema_diff"], "`--incident ID`"),
        (["inspect_schema_diff", "--incident", "5"], "there is no incident `5`"),
        (["hammer", "--incident", "5"], "there is no tool `hammer`; the tools are apply_quality_filter"),
        (["inspect_schema_diff", "--incident", "5", "--dataset", "x"], "there is no dataset `x`"),
    ],
)
def test_a_tool_that_cannot_be_run_says_why(arguments: list[str], said: str, project: Path, capsys: Out) -> None:
    assert cli.main(["tool", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_serve_ends_by_a_signal_without_a_traceback(number: signal.Signals, code: int, project: Path) -> None:
    with serving(project) as process:
        process.send_signal(number)
        assert process.wait(timeout=60) == code
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


@pytest.mark.slow
def test_a_second_serve_on_the_same_state_is_refused(project: Path, capsys: Out) -> None:
    with serving(project):
        done = subprocess.run(
            [sys.executable, "-m", "mendline.surfaces.cli", "serve"],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert re.fullmatch(r"mendline: .+ is in use by another Mendline .+\n", done.stderr)
        assert cli.main(["incidents"]) == 0
        assert capsys.readouterr().out == "No incident yet.\n"


def test_our_own_log_holds_neither_secret_nor_terminal_sequence() -> None:
    text = "GET http://u:hunter2secret@host/ failed: \x1b[2J\nnot a new line"
    line = service.SafeFormatter(Redactor()).format(logging.makeLogRecord({"msg": "%s", "args": (text,)}))
    assert "hunter2secret" not in line
    assert "\x1b" not in line
    assert line.endswith("not a new line")
    assert len(line.splitlines()) == 1
