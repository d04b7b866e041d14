"""`mendline triage`: what it answers, and that no input makes it answer with a traceback."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mendline.surfaces.cli import main

LOG = """\
2026-11-22 03:00:00 INFO loading
Traceback (most recent call last):
  File "job.py", line 3, in load
duckdb.BinderException: Binder Error: Referenced column "fare" not found in FROM clause!
"""
KEYS = ["type", "subtype", "confidence", "evidence", "recommended_next_step", "alternatives"]


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    file = tmp_path / "stage.log"
    file.write_text(LOG, encoding="utf-8")
    return file


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_log_gets_a_verdict_with_its_evidence_and_the_next_step(
    log_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["triage", str(log_file)]) == 0
    said = capsys.readouterr().out
    assert "SCHEMA_CHANGE / column_missing" in said
    assert "  line 4: duckdb.BinderException: Binder Error" in said
    assert "inspect_schema_diff: compare the schema" in said


def test_json_is_one_object_with_the_agreed_keys_and_verbatim_quotes(
    log_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["triage", str(log_file), "--json"]) == 0
    (answer,) = objects(capsys.readouterr().out)
    assert list(answer) == KEYS
    lines = LOG.splitlines()
    assert answer["evidence"]
    assert all(item["quote"] in lines[item["line"] - 1] for item in answer["evidence"])


def test_a_log_comes_through_standard_input_as_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    feed(monkeypatch, LOG.encode())
    assert main(["triage", "-", "--json"]) == 0
    assert objects(capsys.readouterr().out)[0]["type"] == "SCHEMA_CHANGE"


def test_a_secret_in_the_evidence_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.log"
    file.write_text("requests.exceptions.HTTPError: 503 Server Error for url: http://u:hunter2secret@h/x\n")
    assert main(["triage", str(file)]) == 0
    assert main(["triage", str(file), "--json"]) == 0
    assert "hunter2secret" not in capsys.readouterr().out


def test_terminal_control_sequences_in_a_log_do_not_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.log"
    file.write_text('ERROR ValueError: \x1b[2J\x1b]0;owned\x07 column "x" not found \u202e\n')
    assert main(["triage", str(file)]) == 0
    assert main(["triage", str(file), "--json"]) == 0
    assert not {"\x1b", "\x07", "\u202e"} & set(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "does not exist; give the path of a log file"),
        (lambda path: path.mkdir(), "is a directory; give one log file in it"),
        (lambda path: path.touch(), "is empty: there is nothing to judge"),
        (lambda path: path.write_text("\n \n\n"), "is empty: there is nothing to judge"),
        (lambda path: path.write_bytes(bytes(range(256)) * 40), "is binary data, not a text log"),
    ],
)
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_a_log_that_cannot_be_judged_is_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Any, said: str, option: list[str]
) -> None:
    make(tmp_path / "x.log")
    assert main(["triage", str(tmp_path / "x.log"), *option]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mendline: ")
    assert err.count("\n") == 1
    assert said in err


def test_jsonl_answers_each_line_with_its_id_and_bad_lines_with_their_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        json.dumps({"id": "a", "log": LOG}).encode(),
        b"not json",
        b'{"id": 3}',
        b"[]",
        b'{"log": "x"}',
        b"",
        b'{"id": null, "log": ""}',
        b"\xff\xfe{",
        b"[" * 100_000,
        b'{"id": "z", "log": "MemoryError"}',
    ]
    file = tmp_path / "logs.jsonl"
    file.write_bytes(b"\n".join(lines))
    assert main(["triage", "--jsonl", str(file)]) == 0
    answers = objects(capsys.readouterr().out)
    assert list(answers[0]) == ["id", *KEYS]
    assert [(answer.get("id", "-"), answer.get("type")) for answer in answers if "error" not in answer] == [
        ("a", "SCHEMA_CHANGE"),
        (None, "UNKNOWN"),
        ("z", "RESOURCE"),
    ]
    assert [answer["line"] for answer in answers if "error" in answer] == [2, 3, 4, 5, 8, 9]
    assert answers[2]["id"] == 3


def test_jsonl_says_when_there_is_no_input_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").touch()
    assert main(["triage", "--jsonl", str(tmp_path / "empty")]) == 2
    assert main(["triage", "--jsonl", str(tmp_path / "absent")]) == 2
    assert capsys.readouterr().err.count("\n") == 2


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400) | st.text(max_size=400).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_make_it_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes) -> None:
    file = tmp_path / "any.log"
    file.write_bytes(data)
    assert main(["triage", str(file), "--json"]) in (0, 2)
    capsys.readouterr()
    assert main(["triage", str(file), "--jsonl"]) in (0, 2)
    objects(capsys.readouterr().out)
