"""The commands that read Mendline's record and add a person's word to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mendline.incident import (
    Attempt,
    Classification,
    Evidence,
    Failure,
    FailureKind,
    FailureType,
    Finding,
    FindingVerdict,
    Incident,
    Outcome,
    OutcomeKind,
    Plan,
    Receipt,
    RunRef,
    Verification,
    VerificationState,
)
from mendline.report.markdown import render
from mendline.stores.base import KeptLog
from mendline.stores.sql import SqlStore
from mendline.surfaces.cli import main

AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
CONFIG = """
engines:
  main: {kind: dagster, dagster_home: home, code: {module: trips}}
pipelines:
  trips: {engine: main}
"""


def incident(number: int) -> Incident:
    run = RunRef(engine="main", pipeline="trips", run_id=f"r-{number}")
    failure = Failure(
        run=run,
        root_run_id=run.run_id,
        stage="load_trips",
        kind=FailureKind.STAGE_FAILED,
        failed_at=AT + timedelta(hours=number),
        message="[bold]no such column[/bold]",
    )
    return Incident(id="", fingerprint=str(number), engine="main", pipeline="trips", failures=(failure,), opened_at=AT)


def outcome() -> Outcome:
    plan = Plan(repair="apply_schema_migration", key="k", summary="map it", statements=("CREATE VIEW a\nAS SELECT 1",))
    return Outcome(
        kind=OutcomeKind.RESOLVED,
        headline="`load_trips` failed; mapped; nothing to do",
        classification=Classification(
            type=FailureType.SCHEMA_CHANGE,
            subtype="column_missing",
            confidence=0.93,
            evidence=(Evidence(line=4, quote="no such column"),),
            recommended_next_step="inspect_schema_diff",
        ),
        findings=(
            Finding(
                tool="inspect_schema_diff",
                verdict=FindingVerdict.SUPPORTS,
                summary="fare is gone",
                data={"removed": ["fare"]},
            ),
        ),
        attempts=(
            Attempt(
                repair="apply_schema_migration",
                decision="auto",
                reason="rule 1",
                plan=plan,
                receipt=Receipt(repair="apply_schema_migration", key="k", applied_at=AT, summary="mapped"),
                verification=Verification(state=VerificationState.FIXED, checks=()),
            ),
        ),
        recommended="nothing",
        runbook=None,
        ended_at=AT + timedelta(hours=1, seconds=40),
    )


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlStore]:
    """A record with one closed incident (1) and one open (2), behind ./mendline.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mendline.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / ".mendline").mkdir()
    store = SqlStore(f"sqlite:///{tmp_path / '.mendline' / 'state.db'}")
    store.open_incident(incident(1))
    store.open_incident(incident(2))
    store.set_phase("2", "diagnosing")
    record = store.incident("1")
    assert record is not None
    store.close_incident("1", outcome(), render(record))
    yield store
    store.close()


pytestmark = pytest.mark.usefixtures("store")
Out = pytest.CaptureFixture[str]


def answer(capsys: Out, *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_incidents_are_listed_newest_first(capsys: Out) -> None:
    rows = answer(capsys, "incidents").splitlines()
    assert [row.split()[0] for row in rows] == ["ID", "2", "1"]
    assert "open: diagnosing" in rows[1]
    assert "resolved" in rows[2]
    assert "SCHEMA_CHANGE" in rows[2]
    assert "40 s" in rows[2]


def test_the_log_of_a_rerun_is_shown_line_by_line_and_nothing_in_it_is_obeyed(capsys: Out, store: SqlStore) -> None:
    lines = ("begins", "[bold]50 rows[/bold]\x1b[2J", "[... 7 lines left out ...]", "ends")
    log = KeptLog(incident_id="1", run_id="r-9", kept_at=AT, lines=lines, total_count=10, left_out_count=7)
    store.keep_log(log)
    said = answer(capsys, "show", "1", "--log").splitlines()
    assert said[0] == "Run r-9 (3 of 10 lines, kept at 2026-11-22 03:00 UTC):"
    assert said[1:] == ["begins", "[bold]50 rows[/bold]", "[... 7 lines left out ...]", "ends"]
    (found,) = json.loads(answer(capsys, "show", "1", "--log", "--json"))
    assert (found["run_id"], found["lines"], found["left_out_count"]) == ("r-9", list(lines), 7)


def test_where_no_log_is_kept_it_says_which_tool_keeps_one(capsys: Out) -> None:
    assert main(["show", "1", "--log"]) == 2
    assert "no log is kept with incident `1`: only `reprocess_with_logging` keeps one" in capsys.readouterr().err
    assert main(["show", "77", "--log"]) == 2
    assert "there is no incident `77`" in capsys.readouterr().err


def test_open_incidents_only(capsys: Out) -> None:
    assert [item["id"] for item in json.loads(answer(capsys, "incidents", "--open", "--json"))] == ["2"]


def test_incidents_as_json_say_what_the_table_says(capsys: Out) -> None:
    newest, oldest = json.loads(answer(capsys, "incidents", "--json"))
    assert newest["outcome"] is None
    assert (oldest["id"], oldest["outcome"], oldest["type"], oldest["confidence"], oldest["stages"]) == (
        "1",
        "resolved",
        "SCHEMA_CHANGE",
        0.93,
        ["load_trips"],
    )


def test_show_prints_the_report_and_takes_nothing_in_it_for_markup(capsys: Out) -> None:
    said = answer(capsys, "show", "1")
    assert said.splitlines()[0].rstrip() == "load_trips failed; mapped; nothing to do"
    assert "[bold]no such column[/bold]" in said
    assert "Failure classification: SCHEMA_CHANGE / column_missing (confidence 93%)" in said


def test_show_has_the_report_as_it_was_sent_and_the_record_as_json(capsys: Out) -> None:
    assert answer(capsys, "show", "1", "--markdown").startswith("# ")
    assert json.loads(answer(capsys, "show", "1", "--json"))["outcome"]["kind"] == "resolved"
    assert "no report yet" in answer(capsys, "show", "2", "--markdown")


def test_show_diff_has_the_data_of_every_finding_and_every_statement(capsys: Out) -> None:
    said = answer(capsys, "show", "1", "--diff")
    assert "inspect_schema_diff: supports: fare is gone" in said
    assert '"fare"' in said
    assert "  CREATE VIEW a\n  AS SELECT 1\n" in said


@pytest.mark.parametrize("incident_id", ["3", "0", "-1", "x", "99999999999999999999", "1; DROP TABLE incidents"])
def test_an_incident_that_is_not_there_is_one_sentence(incident_id: str, capsys: Out) -> None:
    assert main(["show", "--", incident_id]) == 2
    assert f"there is no incident `{incident_id}`" in capsys.readouterr().err


def test_feedback_is_kept_and_counted(capsys: Out, store: SqlStore) -> None:
    answer(
        capsys, "feedback", "1", "--type", "wrong", "--right-type", "data_quality", "--repair", "harmed", "--note", "x"
    )
    record = store.incident("1")
    assert record is not None
    (given,) = record.feedback
    assert (given.type_right, given.right_type, given.repair, given.note) == (False, "DATA_QUALITY", "harmed", "x")
    total = json.loads(answer(capsys, "scorecard", "--json"))["total"]
    assert (total["accuracy"], total["harmful_action_count"]) == (0.0, 1)


def test_naming_the_right_type_is_saying_that_the_type_was_wrong(capsys: Out, store: SqlStore) -> None:
    answer(capsys, "feedback", "1", "--right-type", "RESOURCE")
    record = store.incident("1")
    assert record is not None
    assert record.feedback[0].type_right is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["1"], "say something"),
        (["1", "--type", "right", "--right-type", "RESOURCE"], "contradict"),
        (["1", "--right-type", "GREMLINS"], "`--right-type GREMLINS` is no failure type; the types are SCHEMA_CHANGE"),
        (["1", "--type", "maybe"], "maybe"),
        (["2", "--type", "right"], "has not ended yet"),
        (["7", "--type", "right"], "there is no incident `7`"),
    ],
)
def test_feedback_that_cannot_be_meant_is_refused_and_not_kept(
    arguments: list[str], said: str, capsys: Out, store: SqlStore
) -> None:
    assert main(["feedback", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert all(record.feedback == () for record in store.incidents())


def test_the_scorecard_shows_a_dash_where_there_is_no_data(capsys: Out) -> None:
    said = answer(capsys, "scorecard")
    rows = {row.split()[0]: row for row in said.splitlines() if row.strip()}
    assert " - " in rows["all"]
    assert "100% (1 of 1)" in rows["apply_schema_migration"]
    assert "no incident was judged yet" in said


def moved(tmp_path: Path) -> Path:
    """The configuration in another place than ./mendline.yaml."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / ".mendline").rename(elsewhere / ".mendline")
    return (tmp_path / "mendline.yaml").rename(elsewhere / "team.yaml")


def test_the_configuration_is_found_where_the_command_line_or_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out, store: SqlStore
) -> None:
    store.close()
    file = str(moved(tmp_path))
    assert main(["incidents"]) == 2
    assert "give the file with `--config FILE`" in capsys.readouterr().err
    expected = answer(capsys, "incidents", "--config", file)
    assert answer(capsys, "--config", file, "incidents") == expected
    monkeypatch.setenv("MENDLINE_CONFIG", file)
    assert answer(capsys, "incidents") == expected
    assert main(["incidents", "--config", "absent.yaml"]) == 2


@pytest.mark.parametrize("broken", ["engines: [", "- a", "engines: {}\npipelines: {}\nnonsense: 1", "\x00", ""])
def test_a_broken_configuration_is_one_sentence_and_exit_code_2(broken: str, tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "mendline.yaml").write_text(broken, encoding="utf-8")
    assert main(["incidents"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "mendline.yaml" in err


def test_looking_before_the_first_run_says_so_and_creates_nothing(tmp_path: Path, capsys: Out, store: SqlStore) -> None:
    store.close()
    moved(tmp_path).rename(tmp_path / "mendline.yaml")
    before: Any = sorted(tmp_path.rglob("*"))
    assert main(["incidents"]) == 2
    assert "Mendline has not run on this configuration" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
