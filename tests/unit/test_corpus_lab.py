"""The lab and the corpus say the same: every case that is kept is one that the lab still provokes, with the same label."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "corpus"
SYSTEMS = sorted(path.stem for path in (CORPUS / "cases").glob("*.jsonl"))


@pytest.fixture(scope="module", autouse=True)
def _lab_on_the_path() -> Iterator[None]:
    """The lab is run from the checkout, and is no part of the package."""
    sys.path.insert(0, str(ROOT))
    yield
    sys.path.remove(str(ROOT))


def kept(system: str) -> dict[str, dict[str, Any]]:
    lines = (CORPUS / "cases" / f"{system}.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_corpus_holds_what_the_lab_declares(system: str) -> None:
    from corpus.lab import build  # noqa: PLC0415 - on the path only here

    declared = {f"{system}/{case.name}": case for case in build.load(system).cases}
    rows = kept(system)
    assert rows
    assert rows.keys() <= declared.keys(), "a case that the lab cannot provoke any more"
    for name, row in rows.items():
        case = declared[name]
        assert (row["type"], row["subtype"], row["hard"]) == (case.type, case.label, bool(case.trap)), name
