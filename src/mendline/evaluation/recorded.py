"""The figures that were last written down, in the corpus's own directory, and whether new ones fall short of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from mendline.errors import InputError
from mendline.evaluation.run import Evaluation
from mendline.incident import from_json, to_json

TOLERANCE = 0.02
FILE_NAME = "recorded.json"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The evaluations on record, one per part at most."""

    version: Literal[1] = 1
    parts: Mapping[str, Evaluation]


def recorded(corpus: Path) -> Recorded:
    """Read the record; an empty one when there is no file. Raises: `InputError` for a file that is none."""
    file = corpus / FILE_NAME
    if not file.exists():
        return Recorded(parts={})
    try:
        return from_json(Recorded, file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise InputError(
            f"`{file}` is no record of an evaluation; write it anew with `mendline eval --record`"
        ) from error


def record(corpus: Path, evaluation: Evaluation) -> Path:
    """Put an evaluation on record in place of the last one of its part; its file is readable line by line."""
    known = recorded(corpus)
    new = Recorded(parts={**known.parts, evaluation.part: evaluation})
    file = corpus / FILE_NAME
    file.write_text(json.dumps(json.loads(to_json(new)), indent=1) + "\n", encoding="utf-8")
    return file


def shortfall(evaluation: Evaluation, corpus: Path) -> str | None:
    """Say how far macro-F1 fell below the record of the same part; None when by 0.02 at most, or with no record."""
    before = recorded(corpus).parts.get(evaluation.part)
    if before is None or evaluation.own.macro_f1 >= before.own.macro_f1 - TOLERANCE:
        return None
    grown = "" if before.case_count == evaluation.case_count else f" on {before.case_count} cases"
    return (
        f"macro-F1 on `{evaluation.part}` is {evaluation.own.macro_f1:.3f}, recorded is {before.own.macro_f1:.3f}{grown}:"
        f" more than {TOLERANCE} less; `mendline eval --failures` shows what is wrong, `--record` accepts it"
    )
