"""`mendline approve`, `deny` and `breaker`: what they show, what they refuse, and that the answer arrives."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mendline.app import WORKFLOW, _workflow_id
from mendline.approvals import WAITING, digest, request
from mendline.durable import Durable
from mendline.incident import Answer, Attempt, ConfigChange, OutcomeKind, Plan, VerificationState
from mendline.steps import Steps
from mendline.stores.base import Approval
from mendline.stores.sql import SqlStore
from mendline.surfaces.cli import main
from mendline.testing.values import an_attempt, an_incident, an_outcome
from mendline.testing.waiting import wait_until
from mendline.workflow import handle_incident
from unit.test_workflow import WITH_NULLS
from unit.workflow_world import CONFIG, Freight

NOW = datetime.now(UTC)
CONFIGURED = """
engines: {engine: {kind: dagster, dagster_home: nowhere, code: {module: somewhere}}}
pipelines: {pipeline: {engine: engine}}
policy: {approvers: [ann, bob]}
"""
PLAN = Plan(
    repair="apply_quality_filter",
    key="k",
    summary="Set 5 of 200 rows aside",
    statements=("INSERT INTO aside SELECT 1", "DELETE FROM raw.parcels\nWHERE \x1b[31msender IS NULL"),
    moved_row_count=5,
    undo_summary="the 5 rows go back",
    changes=(ConfigChange(stage="load", path="ops.load.config.page_size", before=1000, after=500),),
    evidence=("nothing was written",),
)
Out = pytest.CaptureFixture[str]


def question(incident_id: str, **changes: object) -> Approval:
    asked = Approval(
        key=f"{incident_id}:1",
        incident_id=incident_id,
        plan=PLAN,
        digest=digest(PLAN),
        reason="policy rule 1 says ask (sure 0.98)",
        stages=("weigh", "bill"),
        asked_at=NOW - timedelta(hours=1),
        expires_at=NOW + timedelta(hours=23),
    )
    return Approval(**{**vars(asked), **changes})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlStore]:
    """Incident 1 waits for approval, 2 is being diagnosed, 3 has ended; behind ./mendline.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mendline.yaml").write_text(CONFIGURED, encoding="utf-8")
    with closing(SqlStore(f"sqlite:///{tmp_path / '.mendline' / 'state.db'}")) as store:
        for name in "abc":
            store.open_incident(an_incident(name))
        asked = store.put_approval(question("1"))
        attempt = Attempt(repair=PLAN.repair, decision="ask", reason=asked.reason, plan=PLAN)
        waiting = an_outcome(OutcomeKind.AWAITING_APPROVAL, attempts=[attempt])
        store.close_incident("1", replace(waiting, recommended=request(asked)), "# Report")
        store.set_phase("1", WAITING)
        store.set_phase("2", "reading logs")
        store.close_incident("3", an_outcome(), "")
        yield store


@pytest.mark.usefixtures("store")
class TestAnswering:
    def test_it_shows_in_full_what_would_be_done_and_keeps_the_answer(self, store: SqlStore, capsys: Out) -> None:
        assert main(["approve", "1", "--yes", "--by", "ann", "--note", "looks right"]) == 0
        said = capsys.readouterr().out
        for part in (
            f"Plan {digest(PLAN)}: `apply_quality_filter`: Set 5 of 200 rows aside",
            "    ops.load.config.page_size: 1000 -> 500 (in this re-run only)\n",
            "    to repeat it: nothing was written\n",
            "    INSERT INTO aside SELECT 1\n    DELETE FROM raw.parcels\n    WHERE sender IS NULL\n",
            "Rows set aside: 5\n",
            "Then runs again: weigh, bill\n",
            "Undo: the 5 rows go back\n",
            "because policy rule 1 says ask (sure 0.98)",
            "Incident 1 approved by ann.",
        ):
            assert part in said
        (asked,) = store.approvals("1")
        assert asked.answer is not None
        assert (asked.answer.decision, asked.answer.by, asked.answer.note) == ("approved", "ann", "looks right")

    def test_approving_twice_is_once_and_the_other_word_comes_too_late(self, store: SqlStore, capsys: Out) -> None:
        assert main(["approve", "1", "--yes", "--by", "ann"]) == 0
        (first,) = store.approvals("1")
        assert main(["approve", "1", "--by", "bob"]) == 0
        assert "was approved by ann at" in capsys.readouterr().out
        assert main(["deny", "1", "--by", "bob"]) == 1
        assert "was approved by ann at" in capsys.readouterr().err
        assert store.approvals("1") == (first,)

    def test_an_approval_after_a_denial_is_refused_with_who_and_when(self, capsys: Out) -> None:
        assert main(["deny", "1", "--yes", "--by", "bob"]) == 0
        assert "left to a person" in capsys.readouterr().out
        assert main(["approve", "1", "--yes", "--by", "ann"]) == 1
        assert "was denied by bob at" in capsys.readouterr().err

    def test_as_json(self, capsys: Out) -> None:
        assert main(["approve", "1", "--yes", "--by", "ann", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["incident"], said["decision"], said["by"], said["plan"]) == ("1", "approved", "ann", digest(PLAN))

    def test_a_terminal_is_asked_and_a_no_decides_nothing(
        self, store: SqlStore, capsys: Out, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        for typed, code in (("n", 1), ("y", 0)):
            monkeypatch.setattr("typer.confirm", lambda _, typed=typed: typed == "y")
            assert main(["approve", "1", "--by", "ann"]) == code
        assert "Nothing was decided." in capsys.readouterr().out
        assert store.approvals("1")[0].answer is not None

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (["9", "--yes", "--by", "ann"], 2, "there is no incident `9`; `mendline incidents` lists them"),
            (["2", "--yes", "--by", "ann"], 2, "incident `2` waits for no approval (step: reading logs)"),
            (["3", "--yes", "--by", "ann"], 2, "incident `3` has ended (resolved); nothing waits for approval"),
            (["1", "--yes", "--by", "eve"], 1, "`eve` may not decide; `policy.approvers` names ann, bob"),
            (["1", "--by", "ann"], 2, "add `--yes`"),
            (["1", "--by", "ann", "--json"], 2, "add `--yes`"),
            (["1", "--yes", "--by", " "], 2, "`--by` takes a name"),
            (["1", "--yes", "--by", "ann", "--plan", "ffffffff"], 2, f"is `{digest(PLAN)}`, not `ffffffff`"),
            (["1", "--yes", "--by", "ann", "--plan", digest(PLAN)[:3]], 2, "not `"),
        ],
    )
    @pytest.mark.parametrize("command", ["approve", "deny"])
    def test_what_cannot_be_meant_is_one_sentence_and_decides_nothing(
        self, command: str, arguments: list[str], code: int, said: str, store: SqlStore, capsys: Out
    ) -> None:
        assert main([command, *arguments]) == code
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
        assert store.approvals("1")[0].answer is None

    def test_the_plan_that_was_shown_may_be_named(self, store: SqlStore) -> None:
        assert main(["approve", "1", "--yes", "--by", "ann", "--plan", digest(PLAN)[:8]]) == 0
        assert store.approvals("1")[0].answer is not None

    def test_after_its_time_it_is_left_to_a_person(self, store: SqlStore, capsys: Out) -> None:
        store.put_approval(question("1", key="later", expires_at=NOW - timedelta(minutes=1)))
        assert main(["approve", "1", "--yes", "--by", "ann"]) == 1
        assert "is left to a person" in capsys.readouterr().err

    def test_the_list_and_the_report_say_that_it_waits_and_how_to_answer(self, store: SqlStore, capsys: Out) -> None:
        assert main(["incidents", "--open"]) == 0
        assert "open: awaiting approval" in capsys.readouterr().out
        assert main(["incidents", "--json"]) == 0
        assert {one["id"]: one["outcome"] for one in json.loads(capsys.readouterr().out)}["1"] == "awaiting_approval"
        assert main(["show", "1"]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "mendline approve 1 or mendline deny 1" in shown
        assert "DELETE FROM raw.parcels" in shown
        store.set_phase("1", "repairing")
        assert main(["show", "1"]) == 0
        shown = capsys.readouterr().out
        assert "Mendline is at work on it (step: repairing)" in shown
        assert "mendline approve" not in shown
        assert main(["incidents"]) == 0
        assert "open: repairing" in capsys.readouterr().out

    def test_what_waits_cannot_be_judged_yet(self, capsys: Out) -> None:
        assert main(["feedback", "1", "--type", "right"]) == 2
        assert "has not ended yet" in capsys.readouterr().err


@pytest.mark.usefixtures("store")
class TestBreaker:
    name = "action:a_repair@pipeline"

    def go_wrong(self, store: SqlStore, count: int) -> None:
        for number in range(count):
            opened = store.open_incident(an_incident(f"wrong {number}", failed_at=NOW - timedelta(days=1))).incident
            attempts = [an_attempt(state=VerificationState.NOT_FIXED)]
            ended = an_outcome(OutcomeKind.ESCALATED, attempts=attempts, ended_at=NOW - timedelta(hours=20))
            store.close_incident(opened.id, ended, "")

    def test_an_open_one_is_listed_with_its_reason_until_it_is_reset(self, store: SqlStore, capsys: Out) -> None:
        self.go_wrong(store, 5)
        assert main(["breaker", "list"]) == 0
        assert f"open    {self.name}: went wrong 5 times in 7 days (incidents 8, 7, 6, 5, 4)" in capsys.readouterr().out
        assert main(["breaker", "reset", self.name, "--by", "ann"]) == 0
        assert f"Reset `{self.name}` by ann" in capsys.readouterr().out
        assert main(["breaker", "list", "--json"]) == 0
        assert self.name not in [one["name"] for one in json.loads(capsys.readouterr().out)]

    def test_a_name_that_nothing_speaks_for_is_refused_with_those_there_are(self, store: SqlStore, capsys: Out) -> None:
        self.go_wrong(store, 1)
        assert main(["breaker", "reset", "action:nonsense@x", "--by", "ann"]) == 2
        assert self.name in capsys.readouterr().err


@contextmanager
def waiting(directory: Path) -> Iterator[tuple[Freight, Durable, str]]:
    """A real workflow in this process whose repair waits for a person."""
    store = SqlStore(f"sqlite:///{directory / '.mendline' / 'state.db'}")
    world = Freight(directory, config=CONFIG.replace("decision: auto", "decision: ask"), store=store)
    world.land(WITH_NULLS)
    number, durable = world.fail(), Durable(directory / ".mendline")
    hands = world.hands()

    @durable.workflow(WORKFLOW)
    def _handle(steps: Steps, incident_id: str) -> None:
        handle_incident(incident_id, steps, hands)

    with closing(store), closing(durable):
        durable.launch()
        durable.start(WORKFLOW, _workflow_id(hands.incident(number)), number)
        wait_until(lambda: world.delivered == ["awaiting_approval"], 30, "the question")
        yield world, durable, number


def test_an_answer_from_another_process_reaches_the_workflow_that_waits(tmp_path: Path) -> None:
    """Far sooner than the workflow looks by itself: the message wakes it."""
    with waiting(tmp_path) as (world, durable, number):
        command = [sys.executable, "-m", "mendline.surfaces.cli", "approve", number, "--yes", "--by", "ann"]
        answered = subprocess.run(
            [*command, "--config", str(tmp_path / "mendline.yaml")],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        workflow = _workflow_id(world.hands().incident(number))
        wait_until(lambda: durable.is_finished(workflow), 30, "the end")
        assert "Incident 1 approved by ann." in answered.stdout
        assert answered.stderr == ""
        outcome = world.outcome(number)
        assert outcome.kind is OutcomeKind.RESOLVED
        answer = outcome.attempts[-1].answer
        assert isinstance(answer, Answer)
        assert answer.by == "ann"
