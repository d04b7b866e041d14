"""`mendline eval export` and `import`: questions that give nothing away, answers that count only when they hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation_corpus import LOGS, SUBTYPES, a_line, five_of, small_corpus, write_corpus
from mendline.classify.prompt import tools_of
from mendline.evaluation import batch
from mendline.evaluation.batch import EXAMPLES_FROM, batch_id
from mendline.evaluation.cases import Case, read_corpus
from mendline.incident import FailureType
from mendline.surfaces.cli import main


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small_corpus(tmp_path / "corpus")


def exported(corpus: Path, *options: str) -> list[dict[str, Any]]:
    out = corpus / "batch.jsonl"
    assert (
        main(["eval", "export", "--corpus", str(corpus), "--format", "openai-batch", "--out", str(out), *options]) == 0
    )
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def user_text(request: dict[str, Any]) -> str:
    text: str = request["body"]["messages"][1]["content"]
    return text


def cases(corpus: Path, part: Any = "test") -> dict[str, Case]:
    return {batch_id(case): case for case in read_corpus(corpus).part(part)}


def a_result(name: str, content: str | None, **usage: int) -> dict[str, Any]:
    body = {"choices": [{"message": {"role": "assistant", "content": content}}], "usage": usage}
    return {"custom_id": name, "response": {"status_code": 200, "body": body}, "error": None}


def an_answer(case: Case, **fields: Any) -> str:
    usual = {
        "type": case.type.value,
        "subtype": case.subtype,
        "confidence": 0.9,
        "evidence": [{"line": 2, "quote": case.log.split("\n")[1]}],
        "recommended_next_step": tools_of(FailureType(fields.get("type", case.type)))[0],
    }
    return json.dumps(usual | fields)


def imported(
    corpus: Path, results: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], *options: str
) -> dict[str, Any]:
    file = corpus / "results.jsonl"
    file.write_text("".join(json.dumps(result) + "\n" for result in results), encoding="utf-8")
    capsys.readouterr()
    assert main(["eval", "import", str(file), "--corpus", str(corpus), "--json", *options]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


class TestExport:
    def test_one_request_per_case_in_the_batch_format(self, corpus: Path) -> None:
        requests = exported(corpus, "--model", "some-model")
        assert {request["custom_id"] for request in requests} == set(cases(corpus))
        for request in requests:
            assert list(request) == ["custom_id", "method", "url", "body"]
            assert (request["method"], request["url"]) == ("POST", "/v1/chat/completions")
            body = request["body"]
            assert body["model"] == "some-model"
            assert [message["role"] for message in body["messages"]] == ["system", "user"]
            schema = body["response_format"]["json_schema"]["schema"]
            assert schema["properties"]["type"]["enum"] == [kind.value for kind in FailureType]

    def test_nothing_of_a_request_but_its_log_depends_on_the_answer(self, corpus: Path) -> None:
        """The same logs with other labels make the same questions, but for the examples, which are of another part."""
        before = exported(corpus)
        types = [*LOGS][1:] + [*LOGS][:1]
        others = [
            row | {"type": kind, "subtype": SUBTYPES[kind], "family": "other", "cause": "unlike", "exit_status": 9}
            for row, kind in zip(five_of("press", "the end\n"), types, strict=True)
        ]
        write_corpus(corpus, {"press": others}, ["mill"], ["press"])
        assert exported(corpus) == before
        assert all(request["custom_id"].startswith("case-") for request in before)

    def test_examples_never_come_from_the_part_that_is_asked_nor_from_the_test(self, corpus: Path) -> None:
        own = {"test": "press", "validation": "mill", "train": "lathe"}
        for part, source in EXAMPLES_FROM.items():
            assert source not in (part, "test")
            for request in exported(corpus, "--part", part):
                shown = user_text(request).split("<log ")[0]
                assert ("<example " in shown) == (source is not None)
                assert all(name not in shown for asked, name in own.items() if asked != source)

    def test_no_examples_and_our_own_verdict_are_to_be_had(self, corpus: Path) -> None:
        assert all("<example " not in user_text(request) for request in exported(corpus, "--examples", "0"))
        asked = exported(corpus, "--with-verdict")
        assert sum("SCHEMA_CHANGE (column_missing)" in user_text(request) for request in asked) == 1

    def test_secrets_stay_here(self, corpus: Path) -> None:
        leak = "boot\nHTTPError: 503 Server Error for url: http://u:hunter2secret@h/x\n"
        rows = {"press": [a_line("press/a", log=leak)], "lathe": [a_line("lathe/a", log=leak + "again")]}
        write_corpus(corpus, rows, ["mill"], ["press"])
        requests = exported(corpus)
        assert "503 Server Error" in user_text(requests[0])
        assert "hunter2secret" not in json.dumps(requests)

    def test_a_part_without_cases_is_refused(self, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_corpus(corpus, {"press": []}, ["mill"], ["press"])
        assert main(["eval", "export", "--corpus", str(corpus), "--out", str(corpus / "b")]) == 2
        assert "there is nothing to ask" in capsys.readouterr().err


class TestImport:
    def test_right_answers_have_perfect_figures(self, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
        results = [
            a_result(name, an_answer(case), prompt_tokens=100, completion_tokens=7, total_tokens=107)
            for name, case in cases(corpus).items()
        ]
        found = imported(corpus, results, capsys)
        assert (found["case_count"], found["counted"], found["missing"], found["discarded"]) == (5, 5, [], {})
        assert found["everything"]["macro_f1"] == found["answered"]["macro_f1"] == found["combined"]["macro_f1"] == 1
        assert found["tokens"] == {"completion_tokens": 35, "prompt_tokens": 500, "total_tokens": 535}
        assert found["answered"]["quotes"] == {"part": 5, "whole": 5, "share": 1.0}

    def test_what_does_not_count_is_told_with_its_reason(
        self, corpus: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        by_type = {case.type.value: (name, case) for name, case in cases(corpus).items()}
        results = [
            a_result(by_type["SCHEMA_CHANGE"][0], "I think it is fine"),
            a_result(
                by_type["DATA_QUALITY"][0], an_answer(by_type["DATA_QUALITY"][1], evidence=[{"quote": "invented"}])
            ),
            {
                "custom_id": by_type["API_FAILURE"][0],
                "response": None,
                "error": {"code": "batch_expired", "message": "m"},
            },
            {
                "custom_id": by_type["RESOURCE"][0],
                "response": {"status_code": 429, "body": {"error": {"type": "slow"}}},
            },
        ]
        found = imported(corpus, results, capsys)
        assert found["counted"] == 0
        assert found["answered"] is None
        assert found["missing"] == ["press/unknown"]
        assert found["discarded"] == {
            "its answer is not valid JSON": ["press/schema_change"],
            "none of its quotes is in the log": ["press/data_quality"],
            "the request failed: batch_expired": ["press/api_failure"],
            "the request failed: slow": ["press/resource"],
        }
        # Without an answer a case is UNKNOWN for the model alone, and our own verdict for the two together.
        assert found["everything"]["accuracy"]["part"] == 1
        assert found["combined"]["accuracy"]["part"] == 5

    def test_empty_foreign_and_repeated_answers_do_not_count(
        self, corpus: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (name, case), (other, _), *_ = cases(corpus).items()
        wrong = "UNKNOWN" if case.type is not FailureType.UNKNOWN else "RESOURCE"
        results = [
            a_result(name, an_answer(case)),
            a_result(name, an_answer(case, type=wrong)),
            a_result(other, None),
            a_result("case-of-another-corpus", "{}"),
        ]
        found = imported(corpus, results, capsys)
        assert (found["counted"], found["repeated_count"], found["foreign_count"]) == (1, 1, 1)
        assert found["answered"]["accuracy"]["part"] == 1
        assert list(found["discarded"]) == ["its answer is empty"]

    def test_a_model_is_heard_only_where_the_rules_are_unsure(
        self, corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(batch, "ASK_BELOW", 0.75)  # the rules are surer than this of the corpus's plain words
        silent = a_line(
            "press/silent", type="DATA_QUALITY", subtype="incomplete", log="press began\nthe batch is odd\n"
        )
        write_corpus(corpus, {"press": [*five_of("press", "the end\n"), silent]}, ["mill"], ["press"])
        asked = cases(corpus)
        results = []
        for name, case in asked.items():  # right where the rules know nothing, wrong wherever they are sure
            wrong = "API_FAILURE" if case.type is FailureType.SCHEMA_CHANGE else "SCHEMA_CHANGE"
            is_silent = case.id == "press/silent"
            sure_of = case.type.value if is_silent or case.type is FailureType.UNKNOWN else wrong
            results.append(a_result(name, an_answer(case, type=sure_of, confidence=0.95)))
        found = imported(corpus, results, capsys)
        assert found["everything"]["accuracy"]["part"] == 2
        assert found["combined"]["accuracy"]["part"] == 6

    def test_answers_to_a_log_that_has_changed_since_are_foreign(
        self, corpus: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        results = [a_result(name, an_answer(case)) for name, case in cases(corpus).items()]
        changed = five_of("press", "another end\n")
        write_corpus(corpus, {"press": [*five_of("press", "the end\n")[:1], *changed[1:]]}, ["mill"], ["press"])
        assert imported(corpus, results, capsys)["foreign_count"] == 4

    def test_a_person_reads_the_account(self, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
        name, case = next(iter(cases(corpus).items()))
        imported(corpus, [a_result(name, an_answer(case), prompt_tokens=1200)], capsys)
        assert main(["eval", "import", str(corpus / "results.jsonl"), "--corpus", str(corpus), "--failures"]) == 0
        said = capsys.readouterr().out
        assert "1 of 5 answers counted" in said
        assert "no answer: 4 (press/" in said
        assert "tokens: prompt_tokens 1,200" in said
        assert "rules and model" in said

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("{}\n", "line 1 is no result of a batch: it needs to be an object with `custom_id`"),
            ('{"custom_id": "x"}\nnot json\n', "line 2 is no result of a batch"),
            ('{"custom_id": "x"}\n', "no answer belongs to the part `test`"),
            ("", "no answer belongs to the part `test`"),
        ],
    )
    def test_a_file_that_cannot_be_scored_is_one_sentence(
        self, corpus: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
    ) -> None:
        file = corpus / "results.jsonl"
        file.write_text(text)
        assert main(["eval", "import", str(file), "--corpus", str(corpus)]) == 2
        assert said in capsys.readouterr().err
