"""Known failures that look like the one at hand: which are chosen, and where they come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mendline.classify.examples import Example, from_corpus, from_incidents, most_alike
from mendline.errors import ConfigError
from mendline.incident import Evidence, FailureType
from mendline.stores.base import Feedback
from mendline.testing.values import NOON, a_classification, a_record, an_outcome

DUPLICATES = [
    Example(type=FailureType.DATA_QUALITY, subtype="", text=f"duplicate key violates unique constraint pk_{name}")
    for name in ("orders", "trips", "visits", "bills")
]
DISK = Example(type=FailureType.RESOURCE, subtype="disk_full", text="no space left on device while writing orders")
OTHER = Example(type=FailureType.API_FAILURE, subtype="", text="gateway replied 503")


def feedback(**said: bool | str | None) -> Feedback:
    return replace(Feedback(incident_id="1", given_at=NOON), **said)  # type: ignore[arg-type]  # names of its fields


def test_the_most_alike_come_first_and_never_all_of_one_type() -> None:
    chosen = most_alike("duplicate key violates unique constraint pk_orders while writing", [OTHER, DISK, *DUPLICATES])
    assert chosen[0] == DUPLICATES[0]
    assert [example.type for example in chosen].count(FailureType.DATA_QUALITY) == 2
    assert DISK in chosen
    assert OTHER not in chosen, "it shares no word"


def test_rare_words_count_more_than_common_ones() -> None:
    common = [Example(type=kind, subtype="", text="error in stage while loading table") for kind in FailureType]
    assert most_alike("error in stage while loading: no space left", [*common, DISK], 1) == (DISK,)


def test_the_choice_is_the_same_every_time() -> None:
    several = [*DUPLICATES, DISK, OTHER]
    assert most_alike("duplicate key orders", several) == most_alike("duplicate key orders", several)


def test_there_may_be_none() -> None:
    assert most_alike("anything", []) == ()
    assert most_alike("", DUPLICATES) == ()


def test_the_shipped_examples_are_read_and_may_be_absent_or_empty(tmp_path: Path) -> None:
    file = tmp_path / "examples.jsonl"
    assert from_corpus(tmp_path / "absent.jsonl") == ()
    file.write_text('{"type": "RESOURCE", "subtype": "disk_full", "text": "no space"}\n\n', encoding="utf-8")
    assert from_corpus(file) == (Example(type=FailureType.RESOURCE, subtype="disk_full", text="no space"),)
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert from_corpus(empty) == ()


@pytest.mark.parametrize("row", ["{", '{"type": "NETWORK", "text": "x"}', '{"type": "RESOURCE"}', "[]"])
def test_a_row_that_is_no_example_stops_with_the_files_name(tmp_path: Path, row: str) -> None:
    file = tmp_path / "examples.jsonl"
    file.write_text(row, encoding="utf-8")
    with pytest.raises(ConfigError, match="is no example"):
        from_corpus(file)


def test_only_what_a_person_confirmed_or_corrected_is_an_example() -> None:
    belief = replace(
        a_classification(FailureType.RESOURCE), subtype="disk_full", evidence=(Evidence(line=1, quote="no space"),)
    )
    outcome = an_outcome(classification=belief)

    def of(*words: Feedback) -> list[tuple[FailureType, str]]:
        found = from_incidents([a_record(outcome, feedback=words)])
        return [(example.type, example.subtype) for example in found]

    assert of() == []
    assert of(feedback(repair="helped")) == []
    assert of(feedback(type_right=False)) == []
    assert of(feedback(type_right=True)) == [(FailureType.RESOURCE, "disk_full")]
    assert of(feedback(type_right=True), feedback(type_right=False, right_type="API_FAILURE")) == [
        (FailureType.API_FAILURE, "")
    ]
    assert of(feedback(type_right=True), feedback(type_right=False)) == []
    assert from_incidents([a_record(None)]) == ()
