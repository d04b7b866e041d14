"""A corpus is read whole or refused with file, line and what to do; its split lets nothing through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation_corpus import a_line, write_corpus
from mendline.errors import InputError
from mendline.evaluation import cases
from mendline.evaluation.cases import missing_systems, read_corpus, split_faults


def one_line(path: Path, line: str) -> Path:
    write_corpus(path, {"lathe": [a_line("lathe/a")]})
    with (path / "cases" / "lathe.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    return path


def test_each_case_is_in_the_part_of_its_system(tmp_path: Path) -> None:
    corpus = read_corpus(
        write_corpus(
            tmp_path,
            {name: [a_line(f"{name}/a")] for name in ("lathe", "mill", "press")},
            validation=["mill"],
            test=["press", "drill"],
        )
    )
    assert [case.id for case in corpus.part("train")] == ["lathe/a"]
    assert [case.id for case in corpus.part("validation")] == ["mill/a"]
    assert [case.id for case in corpus.part("test")] == ["press/a"]
    assert len(corpus.part("all")) == 3
    assert missing_systems(corpus) == ("drill",)


def test_a_family_kept_for_the_test_is_in_no_other_part(tmp_path: Path) -> None:
    rows = {name: [a_line(f"{name}/a", family="tls"), a_line(f"{name}/b")] for name in ("lathe", "mill", "press")}
    corpus = read_corpus(write_corpus(tmp_path, rows, validation=["mill"], test=["press"], families=["tls"]))
    assert [case.id for case in corpus.set_aside] == ["lathe/a", "mill/a"]
    assert [case.id for case in corpus.part("train")] == ["lathe/b"]
    assert [case.id for case in corpus.part("validation")] == ["mill/b"]
    assert [case.id for case in corpus.part("test")] == ["press/a", "press/b"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "BAD_LUCK"}, "`type`: Input should be 'SCHEMA_CHANGE'"),
        ({"hard": True}, "a hard case has a `trap`, a plain one has none"),
        ({"trap": "looks like an outage"}, "a hard case has a `trap`, a plain one has none"),
        ({"system": "mill"}, "`system` is `mill`; put it into `mill.jsonl`"),
        ({"id": "mill/b"}, "`id` must begin with `lathe/`, not `mill/b`"),
        ({"id": "lathe/a"}, "the id `lathe/a` is there twice; give each case its own"),
        ({"log": None}, "`log`: Input should be a valid string; correct the line or provoke it anew"),
        ({"exit_status": "1"}, "`exit_status`: Input should be a valid integer"),
        ({"colour": "red"}, "`colour`: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_line_is_named_with_what_to_do(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    row = a_line("lathe/b") | change
    with pytest.raises(InputError) as caught:
        read_corpus(one_line(tmp_path, json.dumps(row)))
    assert f"lathe.jsonl` line 2: {said}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_and_a_line_that_is_no_json_are_named(tmp_path: Path) -> None:
    row = a_line("lathe/b")
    del row["cause"]
    with pytest.raises(InputError, match=r"line 2: `cause`: Field required"):
        read_corpus(one_line(tmp_path / "a", json.dumps(row)))
    with pytest.raises(InputError, match=r"line 2: Invalid JSON"):
        read_corpus(one_line(tmp_path / "b", "{"))


def test_a_directory_without_split_or_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"split.json` does not exist; `--corpus` names a directory"):
        read_corpus(tmp_path)
    with pytest.raises(InputError, match="holds no case: there is nothing to measure"):
        read_corpus(write_corpus(tmp_path / "empty", {}))
    (tmp_path / "split.json").write_text('{"test": []}')
    with pytest.raises(InputError, match=r"`validation`: Field required; it names systems and families"):
        read_corpus(tmp_path)


def test_without_the_repository_it_says_what_to_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "REPOSITORY", tmp_path)
    with pytest.raises(InputError, match=r"this installation has no corpus.*--corpus DIRECTORY"):
        cases.default_path()


def faults(path: Path, one: str, other: str, **split: list[str]) -> list[str]:
    rows = {"lathe": [a_line("lathe/a", log=one)], "press": [a_line("press/a", log=other)]}
    return list(split_faults(read_corpus(write_corpus(path, rows, **({"test": ["press"]} | split)))))


LOG = """\
2026-11-22 22:45:01 INFO load - read 200 rows from /srv/lathe/readings.csv
  File "/srv/lathe/load.py", line 27, in main
sqlite3.IntegrityError: NOT NULL constraint failed: 'reading.kwh'
"""


def test_the_same_log_in_two_parts_is_a_fault(tmp_path: Path) -> None:
    assert faults(tmp_path, LOG, LOG) == ["`press/a` (test) and `lathe/a` (train) have the same log"]


def test_a_log_that_differs_in_numbers_names_and_paths_alone_is_the_same(tmp_path: Path) -> None:
    other = LOG.replace("22:45:01", "03:10:44").replace("200", "31").replace("/srv/lathe", "/srv/press/x")
    assert faults(tmp_path, LOG, other.replace("reading.kwh", "fare.amount").replace("27", "9"))


def test_a_log_with_another_message_is_another_log(tmp_path: Path) -> None:
    assert faults(tmp_path, LOG, LOG.replace("NOT NULL", "UNIQUE")) == []


def test_blank_logs_and_twins_within_one_part_are_no_fault(tmp_path: Path) -> None:
    assert faults(tmp_path / "a", "", " \n") == []
    assert faults(tmp_path / "b", LOG, LOG, test=["lathe", "press"]) == []


def test_a_system_in_two_parts_is_a_fault(tmp_path: Path) -> None:
    found = faults(tmp_path, LOG, "other", validation=["press"])
    assert found == ["the system `press` is both for validation and for test"]
