"""The team's own patterns of `mendline.yaml` hold from the log's first reading to what is delivered."""

from __future__ import annotations

from pathlib import Path

import pytest

from mendline.app import App
from mendline.config import Config, load_config
from mendline.errors import ConfigError

FILE = """
engines: {memory: {kind: dagster, dagster_home: home, code: {module: somewhere}}}
pipelines: {freight: {engine: memory, job: job}}
redaction: {patterns: %s}
"""


def configured(folder: Path, patterns: str) -> Config:
    file = folder / "mendline.yaml"
    file.write_text(FILE % patterns, encoding="utf-8")
    return load_config(file)


def test_the_app_takes_out_what_the_team_names(tmp_path: Path) -> None:
    app = App.from_config(configured(tmp_path, r"['EMP-\d+', 'badge (?P<secret>\w+)']"))
    try:
        assert app.hands.redactor.redact("EMP-42 with badge x7") == "[secret:custom] with badge [secret:custom]"
    finally:
        app.close()


@pytest.mark.parametrize(("patterns", "said"), [("['(']", "not a regular expression"), ("['x*']", "empty text")])
def test_a_pattern_that_cannot_work_is_named(tmp_path: Path, patterns: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"redaction\.patterns.*{said}"):
        configured(tmp_path, patterns)
