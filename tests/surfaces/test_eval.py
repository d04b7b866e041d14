"""`mendline eval`: it measures, holds to what is on record, and never passes on nothing."""

from __future__ import annotations

import builtins
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from evaluation_corpus import a_line, five_of, small_corpus, write_corpus
from mendline.evaluation.acting import NO_MINIMUM, RECOMMENDED, default_gate, minimum
from mendline.evaluation.cases import default_path, read_corpus, split_faults
from mendline.evaluation.page import page
from mendline.evaluation.recorded import recorded, shortfall
from mendline.evaluation.run import evaluate
from mendline.incident import FailureType
from mendline.policy import ESCALATED_BY_DEFAULT
from mendline.surfaces.cli import main

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "judgement.md"
README = ROOT / "README.md"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small_corpus(tmp_path / "corpus")


def evaluated(corpus: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert main(["eval", "--corpus", str(corpus), "--json", *options]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


class TestTheCorpusOfTheRepository:
    def test_the_split_holds_and_every_log_is_in_one_part(self) -> None:
        assert list(split_faults(read_corpus(default_path()))) == []

    def test_the_test_part_is_judged_as_well_as_is_on_record_and_every_quote_is_verbatim(self) -> None:
        corpus = read_corpus(default_path())
        found = evaluate(corpus, "test", makers={})
        assert "test" in recorded(corpus.path).parts, "run `make judgement`"
        assert shortfall(found, corpus) is None
        assert found.own.quotes.part == found.own.quotes.whole > 0
        assert found.own.accuracy.whole == len(corpus.part("test"))

    def test_the_page_shows_the_figures_on_record(self) -> None:
        corpus = read_corpus(default_path())
        known = recorded(corpus.path).parts["test"]
        expected = page(known, sorted(corpus.split.families_of_test_only))
        assert PAGE.read_text(encoding="utf-8") == expected, "run `make judgement`"


class TestFigures:
    def test_every_judge_is_measured_on_the_same_cases(self, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
        found = evaluated(corpus, capsys)
        assert (found["part"], found["case_count"], found["train_count"]) == ("test", 5, 5)
        assert {name: score["accuracy"]["whole"] for name, score in found["scores"].items()} == {
            "mendline": 5, "majority": 5, "keyword list": 5, "TF-IDF + regression": 5
        }  # fmt: skip
        own = found["scores"]["mendline"]
        assert own["macro_f1"] == 1
        assert own["quotes"]["part"] == own["quotes"]["whole"] >= 5
        assert own["p95_milliseconds"] >= own["median_milliseconds"] > 0
        assert found["scores"]["keyword list"]["macro_f1"] == 1
        assert found["scores"]["majority"]["accuracy"]["part"] == 1

    def test_a_person_reads_the_same_figures(self, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["eval", "--corpus", str(corpus), "--part", "validation"]) == 0
        said = capsys.readouterr().out
        assert "5 cases of 1 systems in `validation`, 0 hard (5 to learn from)" in said
        assert re.search(r"macro-F1 +1\.000 \(1\.000 to 1\.000\)", said)
        assert "really right" in said

    def test_a_wrong_case_is_listed_with_truth_verdict_and_quote(
        self, corpus: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        lie = a_line(
            "press/lie", type="RESOURCE", hard=True, trap="looks renamed", log="no such column: kwh\nsecond line"
        )
        write_corpus(corpus, {"press": [*five_of("press", "the end\n"), lie]}, ["mill"], ["press"])
        (miss,) = evaluated(corpus, capsys)["misses"]
        assert (miss["case_id"], miss["truth"], miss["believed"]) == ("press/lie", "RESOURCE", "SCHEMA_CHANGE")
        assert miss["quote"] == "no such column: kwh"
        assert main(["eval", "--corpus", str(corpus), "--failures"]) == 0
        assert "press/lie (hard)" in capsys.readouterr().out

    def test_secrets_of_a_log_are_in_no_figure_and_no_quote(
        self, corpus: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        leak = a_line(
            "press/leak", type="UNKNOWN", log="HTTPError: 503 Server Error for url: http://u:hunter2secret@h/x"
        )
        write_corpus(corpus, {"press": [leak]}, ["mill"], ["press"])
        page_file = corpus / "page.md"
        assert main(["eval", "--corpus", str(corpus), "--failures", "--page", str(page_file)]) == 0
        written = capsys.readouterr().out + page_file.read_text() + (corpus / "recorded.json").read_text()
        assert "press/leak" in written
        assert "hunter2secret" not in written

    def test_without_scikit_learn_the_other_figures_stand_and_it_says_what_is_missing(
        self, corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = builtins.__import__

        def without(name: str, *rest: Any, **more: Any) -> Any:
            if name.startswith("sklearn"):
                raise ImportError(name)
            return known(name, *rest, **more)

        monkeypatch.setattr(builtins, "__import__", without)
        found = evaluated(corpus, capsys)
        assert list(found["scores"]) == ["mendline", "majority", "keyword list"]
        assert "pip install 'mendline[dev]'" in found["left_out"]["TF-IDF + regression"]

    def test_without_anything_to_learn_from_mendline_and_the_keywords_are_measured(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = write_corpus(tmp_path, {"press": five_of("press")}, test=["press"])
        found = evaluated(path, capsys)
        assert set(found["left_out"]) == {"majority", "TF-IDF + regression"}
        assert set(found["scores"]) == {"mendline", "keyword list"}

    def test_an_evaluation_does_not_load_scikit_learn_before_it_is_needed(self) -> None:
        source = "import sys; import mendline.surfaces.evaluation; sys.exit('sklearn' in sys.modules)"
        import subprocess  # noqa: PLC0415

        assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0


class TestHoldingToTheRecord:
    def test_no_case_fails(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["eval", "--corpus", str(write_corpus(tmp_path / "empty", {}))]) == 2
        assert "holds no case: there is nothing to measure" in capsys.readouterr().err
        only_train = write_corpus(tmp_path / "train", {"lathe": five_of("lathe")})
        assert main(["eval", "--corpus", str(only_train)]) == 2
        assert "the part `test` of" in capsys.readouterr().err
        assert main(["eval", "--corpus", str(tmp_path / "nowhere")]) == 2

    def test_a_fall_by_more_than_two_hundredths_fails_until_it_is_accepted(
        self, corpus: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["eval", "--corpus", str(corpus)]
        assert main([*command, "--record"]) == 0
        assert main(command) == 0
        worse = five_of("press", "the end\n")
        worse[0]["log"] = "silence"
        write_corpus(corpus, {"press": worse}, ["mill"], ["press"])
        capsys.readouterr()
        assert main(command) == 1
        said = capsys.readouterr().err
        assert (
            "macro-F1 on the 5 cases of `test` that are on record is 0.733, recorded is 1.000: more than 0.02 less"
            in said
        )
        assert main([*command, "--part", "validation"]) == 0
        assert main([*command, "--record"]) == 0
        assert main(command) == 0

    def test_a_corpus_that_grows_is_no_fall_and_hides_none(
        self, corpus: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["eval", "--corpus", str(corpus)]
        assert main([*command, "--record"]) == 0
        known = five_of("press", "the end\n")
        trick = [a_line(f"press/z{n}", type="RESOURCE", log=f"no such column: kwh\n{'more ' * n}") for n in range(5)]
        write_corpus(corpus, {"press": [*known, *trick]}, ["mill"], ["press"])
        capsys.readouterr()
        assert main(command) == 0
        assert "is of other cases than there are now; `make judgement`" in capsys.readouterr().err
        known[0]["log"] = "silence"
        easy = [a_line(f"press/e{n}", log=f"no such column: kwh\n{'more ' * n}") for n in range(50)]
        write_corpus(corpus, {"press": [*known, *easy]}, ["mill"], ["press"])
        assert main(command) == 1

    def test_a_record_of_other_cases_holds_nothing_and_fails(
        self, corpus: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["eval", "--corpus", str(corpus), "--record"]) == 0
        renamed = [row | {"id": row["id"] + "_2"} for row in five_of("press", "the end\n")]
        write_corpus(corpus, {"press": renamed}, ["mill"], ["press"])
        assert main(["eval", "--corpus", str(corpus)]) == 1
        assert "the record knows no case of `test` as it is now" in capsys.readouterr().err

    def test_a_leak_between_the_parts_fails_and_is_never_put_on_record(
        self, corpus: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        twin = a_line("lathe/twin", log=five_of("press", "the end\n")[0]["log"])
        write_corpus(corpus, {"lathe": [*five_of("lathe"), twin]}, ["mill"], ["press"])
        assert main(["eval", "--corpus", str(corpus), "--record"]) == 1
        assert "the split is broken: `press/schema_change` (test) and `lathe/twin` (train)" in capsys.readouterr().err
        assert not (corpus / "recorded.json").exists()

    def test_a_record_that_cannot_be_read_is_said_to_be_none(
        self, corpus: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (corpus / "recorded.json").write_text('{"version": 7}')
        assert main(["eval", "--corpus", str(corpus)]) == 2
        assert "write it anew with `mendline eval --record`" in capsys.readouterr().err
        assert main(["eval", "--corpus", str(corpus), "--record"]) == 0
        assert main(["eval", "--corpus", str(corpus)]) == 0

    def test_the_page_is_that_of_the_record(self, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = corpus / "page.md"
        assert main(["eval", "--corpus", str(corpus), "--page", str(file)]) == 0
        known = recorded(corpus).parts["test"]
        assert file.read_text(encoding="utf-8") == page(known, [])
        assert "| macro-F1 | 1.000 (1.000 to 1.000) |" in file.read_text(encoding="utf-8")


class TestActing:
    def test_the_recommended_policy_is_the_one_of_the_readme(self) -> None:
        blocks = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
        first, *others = [yaml.safe_load(block)["policy"]["rules"] for block in blocks if "policy:" in block]
        policy = default_gate().policies[RECOMMENDED]
        assert [rule.model_dump(mode="json", exclude_defaults=True) for rule in policy.rules] == first
        unasked = [rule for rules in others for rule in rules if rule["decision"] == "auto"]
        assert all(rule["min_confidence"] >= minimum(policy) for rule in unasked)

    def test_only_types_with_a_repair_that_do_not_escalate_by_default_act_and_only_when_sure_enough(self) -> None:
        gate = default_gate()
        least = minimum(gate.policies[RECOMMENDED])
        for kind in FailureType:
            repairs = bool(gate.playbook.page(kind).repairs) and kind not in ESCALATED_BY_DEFAULT
            assert gate.acts(kind, least) == {RECOMMENDED: repairs, NO_MINIMUM: repairs}
            assert gate.acts(kind, least - 0.01) == {RECOMMENDED: False, NO_MINIMUM: repairs}

    def test_another_policy_may_be_asked_but_not_recorded(
        self, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "mendline.yaml"
        file.write_text(
            "engines: {e: {kind: dagster, dagster_home: home, code: {module: m}}}\npipelines: {p: {engine: e}}\n"
            "policy: {rules: [{action: retry_with_backoff, type: API_FAILURE, decision: auto}]}\n"
        )
        actions = evaluated(corpus, capsys, "--policy", str(file))["scores"]["mendline"]["actions"]
        assert {name: rate["whole"] for name, rate in actions.items()} == {"mendline.yaml": 1}
        assert main(["eval", "--corpus", str(corpus), "--policy", str(file), "--record"]) == 2


def test_options_of_the_wrong_command_are_not_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--part", "train", "export", "--out", "x"]) == 2
    assert "put options behind `export`" in capsys.readouterr().err
