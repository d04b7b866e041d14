"""A model over a real wire: what counts of its answers, what bounds it, and that nothing it does is Mendline's trouble."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from contracts.model_server import ModelServer, Said, answer, call, failure, hang, serving, text
from mendline.app import investigator
from mendline.classify import log_reader, verdict
from mendline.classify.model import LanguageModel
from mendline.classify.prompt import NoAnswer, Prompt
from mendline.config import Config, Model
from mendline.durable import Durable
from mendline.errors import ConfigError
from mendline.incident import Advice, Diagnosis, FailureType, Finding, FindingVerdict, LogExcerpt, Plan
from mendline.investigation import Investigator, Probe
from mendline.playbook import load_playbook
from mendline.redaction import Redactor
from mendline.spending import Purse
from mendline.steps import Steps
from mendline.testing.memory_store import MemoryStore
from mendline.testing.waiting import wait_until

LINES = ("INFO weighing 200 parcels", "RuntimeError: step 7 came to nothing", "INFO giving up")
LOG: LogExcerpt = log_reader.read(list(LINES)).excerpt
READ = verdict.classify(LOG)
GOOD = answer("API_FAILURE", LINES[1], step="check_api_status", subtype="outage")
PRICED = {"prices": {"input": 10.0, "output": 100.0}}  # the server's 1,000 + 100 tokens are 0.02 dollars
FINDING = Finding(tool="inspect_schema_diff", verdict=FindingVerdict.SUPPORTS, summary="sender is now sender_name")


def at_work(server: ModelServer, store: MemoryStore | None = None, **settings: Any) -> Investigator:
    model = Model(id="openai:scripted", base_url=server.base_url, api_key=SecretStr("key"), **settings)
    config = Config(engines={}, pipelines={}, model=model)
    made = investigator(config, store or MemoryStore(), load_playbook(), Redactor())
    assert made is not None
    return made


def opinion(*script: Said, **settings: Any) -> tuple[Advice, ModelServer]:
    with serving(*script) as server:
        return at_work(server, **settings).second_opinion("1", LOG, READ), server


def investigated(*script: Said, **settings: Any) -> tuple[Advice, ModelServer, list[str | None]]:
    asked: list[str | None] = []

    def run(dataset: str | None) -> tuple[Finding, ...]:
        asked.append(dataset)
        return (FINDING,)

    probe = Probe(name="inspect_schema_diff", description="Compares schemas.", datasets=("parcels",), run=run)
    doubtful = Diagnosis(log=LOG, believed=READ, settled=READ, findings=())
    with serving(*script) as server:
        return at_work(server, **settings).investigate("1", doubtful, [probe]), server, asked


def test_a_good_answer_counts_with_its_quote_and_its_cost() -> None:
    with serving(GOOD) as server:
        work = at_work(server, **PRICED)
        advice = work.second_opinion("1", LOG, READ)
    assert advice.answer is not None
    assert (advice.answer.type, advice.answer.subtype, advice.answer.confidence) == ("API_FAILURE", "outage", 0.9)
    assert [(quote.line, quote.quote) for quote in advice.answer.evidence] == [(2, LINES[1])]
    use = work.use("1", ())
    assert (use.request_count, use.input_token_count, use.output_token_count, use.cost) == (1, 1000, 100, 0.02)
    assert all(line in server.requests[0]["messages"][1]["content"] for line in LINES)


def test_it_is_not_asked_about_what_the_rules_are_sure_of() -> None:
    log = log_reader.read(["psycopg.errors.UndefinedColumn: column p.sender does not exist"]).excerpt
    read = verdict.classify(log)
    with serving(GOOD) as server:
        assert at_work(server, ask_below=0.5).second_opinion("1", log, read) == Advice()
    assert server.received == []


@pytest.mark.parametrize(
    ("said", "remark"),
    [
        (text("It was the API, I am sure."), "not valid JSON"),
        (text('{"type": "API_FAILURE"'), "not valid JSON"),
        (text(""), "not valid JSON"),
        (answer("NETWORK", LINES[1]), "no valid type"),
        (answer("UNKNOWN", LINES[1], confidence=7), "no valid confidence"),
        (answer("UNKNOWN", "ConnectionError: refused"), "none of its quotes"),
        (answer("UNKNOWN", LINES[1], step="apply_schema_migration"), "a tool that does not serve UNKNOWN"),
        (Said(body="<html>Bad gateway</html>"), "could not be read"),
        (failure(401), "it answered HTTP 401"),
        (failure(429), "it answered HTTP 429"),
        (failure(500), "it answered HTTP 500"),
    ],
)
def test_an_answer_that_is_none_is_one_line_and_no_error(said: Said, remark: str) -> None:
    advice, _ = opinion(said)
    assert advice.answer is None
    assert remark in advice.remark
    assert "hunter2" not in advice.remark


def test_a_server_that_stumbles_once_is_asked_once_more() -> None:
    advice, server = opinion(failure(429), GOOD)
    assert advice.answer is not None
    assert len(server.received) == 2


def test_a_model_that_is_silent_is_left_after_the_configured_seconds() -> None:
    advice, _ = opinion(hang(), max_seconds=0.3)
    assert advice == Advice(remark="it did not answer within 0.3 s")


def test_a_model_that_is_gone_is_said_to_be() -> None:
    with serving(GOOD) as server:
        work = at_work(server)
    assert work.second_opinion("1", LOG, READ) == Advice(remark="it could not be reached")


def test_it_calls_for_diagnostics_before_it_answers() -> None:
    good = answer("SCHEMA_CHANGE", LINES[1], step="inspect_schema_diff")
    advice, server, asked = investigated(call("inspect_schema_diff", dataset="parcels"), good)
    assert advice.answer is not None
    assert advice.findings == (FINDING,)
    assert asked == ["parcels"]
    (offered,) = server.requests[0]["tools"]
    assert offered["function"]["name"] == "inspect_schema_diff"
    assert "sender is now sender_name" in server.requests[1]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (call("apply_schema_migration", dataset="parcels"), "you may not call this"),
        (call("run_sql", statement="DROP TABLE raw.parcels"), "you may not call this"),
        (call("inspect_schema_diff", dataset="../../etc"), "no such dataset"),
    ],
)
def test_a_tool_that_it_may_not_have_is_refused_and_it_may_still_answer(wanted: Said, told: str) -> None:
    advice, server, asked = investigated(wanted, GOOD)
    assert asked == []
    assert told in server.requests[1]["messages"][-1]["content"]
    assert advice.answer is not None


def test_a_loop_of_tool_calls_ends_at_the_step_limit_and_keeps_what_was_found() -> None:
    advice, server, asked = investigated(call("inspect_schema_diff"), max_steps=3)
    assert advice == Advice(findings=(FINDING,), remark="its 3 steps for this incident are used up")
    assert len(server.received) == len(asked) == 3


def test_the_token_budget_of_an_incident_holds_over_its_questions() -> None:
    with serving(GOOD) as server:
        work = at_work(server, max_tokens=4500, max_answer_tokens=500)
        said = [work.second_opinion("1", LOG, READ).remark for _ in range(5)]
        assert said[0] == ""
        assert said[-1] == "the 4,500 tokens for this incident do not suffice"
        used = work.use("1", ())
        assert used.input_token_count + used.output_token_count <= 4500
        assert work.second_opinion("2", LOG, READ).answer is not None


def test_the_money_of_an_incident_and_of_a_day_is_not_overspent() -> None:
    store = MemoryStore()
    with serving(GOOD) as server:
        work = at_work(
            server, store, **PRICED, max_answer_tokens=100, max_cost_per_incident=0.05, max_cost_per_day=0.07
        )
        by_incident = [[work.second_opinion(str(i), LOG, READ).remark for _ in range(3)] for i in range(2)]
    assert "the money for this incident does not suffice" in by_incident[0]
    assert "the money for this day does not suffice" in by_incident[-1]
    costs = [work.use(str(i), ()).cost or 0.0 for i in range(2)]
    assert 0 < costs[0] <= 0.05
    assert sum(costs) <= 0.07


def test_a_new_day_has_its_own_money() -> None:
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 1, 2)]
    settings = Model(id="openai:m", prices={"input": 10, "output": 0}, max_cost_per_day=0.01, max_tokens=10_000)
    purse = Purse(settings, MemoryStore(), now=lambda: days.pop(0))
    purse.reserve("1", 1000)
    with pytest.raises(NoAnswer, match="this day"):
        purse.reserve("2", 1000)
    purse.reserve("3", 1000)


def test_what_a_crash_left_reserved_stays_spent() -> None:
    store, settings = MemoryStore(), Model(id="openai:m", max_steps=1)
    Purse(settings, store).reserve("1", 1000)
    with pytest.raises(NoAnswer, match="steps"):
        Purse(settings, store).reserve("1", 1000)


def test_no_secret_of_a_log_a_finding_or_a_prompt_reaches_the_server() -> None:
    secrets = ("hunter2hunter2", "AKIAIOSFODNN7EXAMPLE", "anna.muster@example.com", "s3cr3tpw")
    planted = [
        "password=hunter2hunter2 RuntimeError: came to nothing",
        "key AKIAIOSFODNN7EXAMPLE of anna.muster@example.com at postgres://u:s3cr3tpw@db/x",
    ]
    log = log_reader.read(planted).excerpt
    probe = Probe(
        name="inspect_schema_diff",
        description="Compares.",
        datasets=(),
        run=lambda _: (Finding(tool="t", verdict=FindingVerdict.SUPPORTS, summary="rows: " + " ".join(planted)),),
    )
    read = verdict.classify(log)
    with serving(call("inspect_schema_diff"), text("no")) as server:
        work = at_work(server)
        work.investigate("1", Diagnosis(log=log, believed=read, settled=read, findings=()), [probe])
        work.model.ask("1", Prompt(system="s", user=" ".join(planted)))
    sent = b"".join(server.received)
    assert len(server.received) >= 3
    assert [secret for secret in secrets if secret.encode() in sent] == []
    assert b"[secret:password]" in sent


@pytest.mark.parametrize(
    ("said", "chosen"),
    [('{"plan": 1}', 1), ('{"plan": 2}', 0), ('{"plan": -1}', 0), ('{"plan": true}', 0), ('{"plan": "1"}', 0), ("", 0)],
)
def test_only_a_plan_that_was_offered_can_be_chosen(said: str, chosen: int) -> None:
    plans = [Plan(repair="a", key="a", summary="does a"), Plan(repair="b", key="b", summary="does b")]
    diagnosis = Diagnosis(log=LOG, believed=READ, settled=READ, findings=())
    with serving(text(said)) as server:
        assert at_work(server).choose("1", diagnosis, plans) == chosen


def test_a_question_that_is_too_long_for_the_budget_is_not_sent() -> None:
    with serving(GOOD) as server, pytest.raises(NoAnswer, match="tokens"):
        at_work(server).model.ask("1", Prompt(system="s", user="x" * 1_000_000))
    assert server.received == []


def test_without_a_usage_report_what_was_reserved_counts() -> None:
    nothing = json.loads(GOOD.body)
    del nothing["usage"]
    with serving(Said(body=json.dumps(nothing))) as server:
        work = at_work(server, max_answer_tokens=700)
        assert work.second_opinion("1", LOG, READ).answer is not None
        assert work.use("1", ()).output_token_count == 700


def test_it_answers_inside_a_step_of_a_real_durable_workflow(tmp_path: Path) -> None:
    durable, heard = Durable(tmp_path), []
    with serving(GOOD) as server:
        work = at_work(server)

        @durable.workflow("opinion")
        def _opinion(steps: Steps) -> None:
            heard.append(steps.run("opinion", lambda: work.second_opinion("1", LOG, READ), Advice))

        durable.launch()
        durable.start("opinion", "one")
        wait_until(lambda: durable.is_finished("one"), what="the workflow")
        durable.close()
    assert [advice.answer and advice.answer.type for advice in heard] == [FailureType.API_FAILURE]


def _python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_nothing_of_it_is_imported_where_no_model_is_configured() -> None:
    loaded = "sorted({'pydantic_ai', 'openai', 'anthropic', 'tiktoken'} & set(sys.modules))"
    assert _python(f"import sys, mendline.app, mendline.surfaces.cli; print({loaded})") == "[]"


@pytest.mark.parametrize("missing", ["pydantic_ai", "openai"])
def test_a_missing_extra_is_named_with_the_command_that_installs_it(missing: str) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
from mendline.classify.model import LanguageModel
from mendline.config import Model
from mendline.durable import Durable
from mendline.errors import ConfigError
try:
    LanguageModel(Model(id="openai:m", api_key="k"), None, None)
except ConfigError as error:
    print(error)
"""
    assert "pip install 'mendline[openai]'" in _python(program)


@pytest.mark.parametrize("name", ["nobody:m", "openai:m"])
def test_an_unknown_provider_and_a_missing_key_are_errors_of_the_configuration(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    settings = Model(id=name)
    with pytest.raises(ConfigError, match=r"model\.id"):
        LanguageModel(settings, Purse(settings, MemoryStore()), Redactor())


def test_every_type_of_the_playbook_is_in_the_question() -> None:
    _, server = opinion(GOOD)
    system = server.requests[0]["messages"][0]["content"]
    assert all(kind in system for kind in FailureType)
