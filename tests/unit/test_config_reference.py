"""The page about mendline.yaml is the configuration's own."""

from __future__ import annotations

from pathlib import Path

from mendline.surfaces.config_reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run `make docs`"


def test_every_key_says_what_it_means() -> None:
    silent = [line for line in reference().splitlines() if line.startswith("| `") and line.rstrip().endswith("|  |")]
    assert not silent
