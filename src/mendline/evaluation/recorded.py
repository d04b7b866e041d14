"""The figures that were last written down, in the corpus's own directory, and whether new ones fall short of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from mendline.errors import InputError
from mendline.evaluation.cases import Corpus
from mendline.evaluation.measure import macro_f1
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
    """Put an evaluation on record in place of the last one of its part; a file that cannot be read is begun anew."""
    try:
        known = recorded(corpus).parts
    except InputError:
        known = {}
    new = Recorded(parts={**known, evaluation.part: evaluation})
    file = corpus / FILE_NAME
    file.write_text(json.dumps(json.loads(to_json(new)), indent=1) + "\n", encoding="utf-8")
    return file


def shortfall(evaluation: Evaluation, corpus: Corpus) -> str | None:
    """Say how far macro-F1 fell below the record of the same part; None when by 0.02 at most, or with no record.

    Both are counted on the cases that both have judged, so that a corpus that grows neither looks like a fall nor hides one.
    """
    before = recorded(corpus.path).parts.get(evaluation.part)
    if before is None:
        return None
    truths = {case.id: case.type for case in corpus.part(evaluation.part) if case.id in before.beliefs}
    if not truths:
        return (
            f"the record knows no case of `{evaluation.part}` as it is now; write it anew with `mendline eval --record`"
        )
    old = macro_f1((truth, before.beliefs[name]) for name, truth in truths.items())
    new = macro_f1((truth, evaluation.beliefs[name]) for name, truth in truths.items())
    if new >= old - TOLERANCE:
        return None
    return (
        f"macro-F1 on the {len(truths)} cases of `{evaluation.part}` that are on record is {new:.3f}, recorded is {old:.3f}:"
        f" more than {TOLERANCE} less; `mendline eval --failures` shows what is wrong, `--record` accepts it"
    )


def is_stale(evaluation: Evaluation, corpus: Path) -> bool:
    """Whether the record of the same part is of other cases than these; False with no record."""
    before = recorded(corpus).parts.get(evaluation.part)
    return before is not None and set(before.beliefs) != set(evaluation.beliefs)
