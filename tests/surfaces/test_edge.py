"""The edge of the command line: which error gives which exit code, and that each is one sentence."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mendline import errors
from mendline.surfaces import cli, triage


def raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(triage, "one", fail)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.ConfigError, 2),
        (errors.InputError, 2),
        (errors.Unavailable, 1),
        (errors.Rejected, 1),
        (errors.NotSupported, 1),
        (errors.RefusedByPolicy, 1),
        (errors.NotFixed, 1),
        (errors.JournalConflict, 1),
        (errors.PluginError, 1),
    ],
)
def test_each_error_of_ours_has_its_exit_code_and_its_own_words(
    kind: type[errors.MendlineError], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(kind("`x` was \x1b[31mred;\nturn it off"), monkeypatch)
    assert cli.main(["triage", "x"]) == code
    assert capsys.readouterr().err == "mendline: `x` was red; turn it off\n"


def test_an_unexpected_error_is_one_sentence_with_the_traceback_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    raising(ZeroDivisionError("by zero"), monkeypatch)
    assert cli.main(["triage", "x"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "unexpected `ZeroDivisionError`" in said
    found = re.search(r"file `(.+?)`", said)
    assert found is not None
    assert "ZeroDivisionError: by zero" in Path(found.group(1)).read_text(encoding="utf-8")


def test_ctrl_c_gives_130_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(KeyboardInterrupt(), monkeypatch)
    assert cli.main(["triage", "x"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["triage"], ["triage", "x", "--nonsense"], ["show"], ["demo", "--scale", "x"]]
)
def test_a_wrong_command_line_is_one_sentence_and_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"mendline: .+; see `mendline --help`\n", err)


def test_help_and_version_need_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert cli.main(["--help"]) == 0
    assert cli.main(["--version"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^mendline \d+\.\d+\.\d+$", said, re.MULTILINE)
    for command in ("serve", "demo", "triage", "incidents", "show", "feedback", "scorecard", "check", "tool"):
        assert re.search(rf"^  {command}  ", said, re.MULTILINE)
        assert cli.main([command, "--help"]) == 0


def test_a_reader_that_goes_away_is_not_an_error_worth_words() -> None:
    command = [sys.executable, "-m", "mendline.surfaces.cli", "triage", "--jsonl", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b'{"id": 1, "log": "MemoryError"}\n')
        process.stdin.flush()
        assert b'"id": 1' in process.stdout.readline()
        process.stdout.close()
        process.stdin.write(b'{"id": 2, "log": "MemoryError"}\n' * 3)
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 141


def test_triage_loads_neither_engine_nor_warehouse_nor_workflow() -> None:
    script = (
        "import sys; from mendline.surfaces import cli; cli.main(['triage', '/dev/null'])\n"
        "print([m for m in ('dagster', 'dbos', 'duckdb', 'sqlalchemy', 'apprise', 'sqlglot', 'httpx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
