"""The decision tree is data, and wrong data stops start-up with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from mendline.errors import ConfigError
from mendline.incident import FailureType
from mendline.playbook import load_playbook


def test_the_built_in_tree_has_a_page_for_every_type_and_only_escalates_what_it_cannot_repair() -> None:
    playbook = load_playbook()
    assert {kind for kind in FailureType if playbook.page(kind).repairs} == {
        FailureType.SCHEMA_CHANGE,
        FailureType.DATA_QUALITY,
        FailureType.API_FAILURE,
        FailureType.RESOURCE,
    }
    assert playbook.page(FailureType.RESOURCE).repairs == ("retry_with_backoff",)


def test_a_page_of_the_users_own_replaces_the_built_in_one_and_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "playbook.yaml"
    path.write_text("types: {RESOURCE: [check_api_status, retry_with_backoff]}")
    playbook = load_playbook(path)
    assert playbook.page(FailureType.RESOURCE).repairs == ("retry_with_backoff",)
    assert playbook.page(FailureType.SCHEMA_CHANGE) == load_playbook().page(FailureType.SCHEMA_CHANGE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("types: {NOISE: [escalate]}", "names the type `NOISE`"),
        ("types: {UNKNOWN: [drop_table]}", "names `drop_table`"),
        ("types: {UNKNOWN: escalate}", "must be a list"),
        ("[]", "must have a mapping"),
        ("types: {", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "playbook.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_playbook(path)
