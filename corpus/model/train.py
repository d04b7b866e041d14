"""`make corpus-model`: train the statistical model on the corpus and write what ships of it.

0. Keep with each row of the message tables the words that its matches must hold.
1. Fit a multinomial logistic regression on the training part (and, with little weight, on the texts of the message table).
2. Choose the temperature on the validation part, whose systems the training has not seen.
3. Write the weights (rounded, no pickle) and the examples that a model's prompt may show. The test part is never read.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression

from mendline.classify import beliefs, deductions, error_codes, log_reader, statistical
from mendline.classify.error_codes import Meaning, all_meanings, codes
from mendline.classify.features import terms
from mendline.classify.statistical import TYPES, Weights
from mendline.evaluation.cases import Case, default_path, read_corpus
from mendline.incident import FailureType
from mendline.redaction import Redactor

HERE = Path(beliefs.__file__).parent
INVERSE_REGULARISATION = 2.0
TABLE_WEIGHT = 0.15  # how much a row of the message table counts beside a case
UNIT = 1000
PRIOR_COUNT = 6.0  # how many cases the tables' own belief in a subtype is worth
HARD_WEIGHT = 0.5  # the corpus has more traps than life
SMALLEST = 0.05  # a weight below this is left out
EXAMPLES_PER_TYPE = 30
EXAMPLE_CHARACTERS = 600

Row = dict[str, float]


def main() -> int:
    """Train, write, and say what came out."""
    for table in error_codes.MESSAGE_TABLES:
        _keep_words(HERE / table)
    corpus = read_corpus(default_path())
    train, validation = corpus.part("train"), corpus.part("validation")
    sys.stdout.write(f"{len(train)} cases to train, {len(validation)} to calibrate\n")
    seen, unseen = [seen_of(case) for case in train], [seen_of(case) for case in validation]
    model = fit(seen, [case.type.value for case in train], [HARD_WEIGHT if case.is_hard else 1.0 for case in train])
    temperature = calibrate(model, unseen, [case.type.value for case in validation])
    (HERE / "weights.json").write_text(as_json(model, temperature), encoding="utf-8")
    (HERE / "examples.jsonl").write_text("".join(examples(train)), encoding="utf-8")
    right = [_guess(model, row) == case.type.value for row, case in zip(unseen, validation, strict=True)]
    sys.stdout.write(f"{len(model.rows)} features, temperature {temperature:.2f}, validation {np.mean(right):.3f}\n")
    return 0


def _keep_words(table: Path) -> None:
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    kept = [row | {"words": error_codes.words_of(row["message"])} for row in rows]
    table.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in kept), encoding="utf-8")


def seen_of(case: Case) -> Row:
    """What the model sees of a case's log, redacted as in life."""
    reading = log_reader.read(Redactor().redact(case.log).split("\n"))
    found, cues = deductions.believed(reading)
    told = beliefs.with_declared(beliefs.shares_of(beliefs.strengths(found)), found)
    return dict(statistical.inputs(reading, found, told, cues))


def fit(rows: Sequence[Row], labels: Sequence[str], counts: Sequence[float]) -> Weights:
    """Fit the weights; deterministic for the same rows. `counts` says how much each row counts."""
    told = [*((row, label, TABLE_WEIGHT) for row, label in table_rows()), *prior_rows()]
    names = DictVectorizer()
    matrix = names.fit_transform([*rows, *(row for row, _, _ in told)])
    each = [*counts, *(count for _, _, count in told)]
    model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000, tol=1e-4)
    model.fit(matrix, [*labels, *(label for _, label, _ in told)], sample_weight=each)
    order = [list(model.classes_).index(kind.value) for kind in TYPES]
    table = model.coef_[order].T
    kept = {
        name: tuple(map(float, row))
        for name, row in zip(names.feature_names_, table, strict=True)
        if np.abs(row).max() >= SMALLEST
    }
    return Weights(temperature=1.0, bias=tuple(map(float, model.intercept_[order])), rows=kept)


def prior_rows() -> Iterator[tuple[Row, str, float]]:
    """What the tables believe, as if it had been seen: for each subtype a few logs whose one error has that meaning.

    Their types are shared out as the rows' weights and alternatives say, so that a subtype of which the corpus has only
    traps keeps the meaning that it mostly has in life.
    """
    known: dict[tuple[FailureType, str], list[Meaning]] = {}
    for meaning in all_meanings():
        known.setdefault((meaning.type, meaning.subtype), []).append(meaning)
    for (kind, subtype), meanings in sorted(known.items()):
        mean = sum(each.weight for each in meanings) / len(meanings)
        others = {kind_: sum(each.alternatives.get(kind_, 0.0) for each in meanings) / len(meanings) for kind_ in TYPES}
        row = dict(statistical.told({kind: beliefs.shares_of({kind: mean}).get(kind, 0.0)}))
        row[f"{statistical.MEANING}|{kind}|{subtype}"] = mean
        yield row, kind.value, PRIOR_COUNT * mean
        for other, share in others.items():
            if share >= 0.02:
                yield row, other.value, PRIOR_COUNT * share


def table_rows() -> Iterator[tuple[Row, str]]:
    """The texts of the message tables as little logs of one error: words that no case of the corpus holds."""
    for name in sorted(HERE.glob("messages*.jsonl")):
        for line in name.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            for text in re.sub(r"\{\w+\}|\(\?[!:m]+|\\[bdwsS]", " ", row["message"]).split("|")[:30]:
                yield from _row_of(text, row["type"])
    for code, meaning in codes()["exception"].items():
        yield from _row_of(code, meaning.type.value)


def _row_of(text: str, label: str) -> Iterator[tuple[Row, str]]:
    found = set(terms(re.sub(r"[\\()\[\]?+*.^$:]", " ", text)))
    if found:
        yield {f"root|{term}": statistical.WORDS * len(found) ** -0.5 for term in found}, label


def calibrate(model: Weights, rows: Sequence[Row], labels: Sequence[str]) -> float:
    """The temperature with the least log loss on cases that the fit has not seen."""

    def loss(temperature: float) -> float:
        tried = Weights(temperature=temperature, bias=model.bias, rows=model.rows)
        return -sum(
            float(np.log(max(statistical.probabilities(row, tried)[TYPES_BY_NAME[label]], 1e-9)))
            for row, label in zip(rows, labels, strict=True)
        )

    return float(minimize_scalar(loss, bounds=(0.3, 5.0), method="bounded").x) if rows else 1.0


TYPES_BY_NAME = {kind.value: kind for kind in TYPES}


def _guess(model: Weights, row: Row) -> str:
    found = statistical.probabilities(row, model)
    return max(found, key=lambda kind: found[kind]).value


def as_json(model: Weights, temperature: float) -> str:
    """The file that ships: one feature per line, in order, so that a change can be read."""
    rows = ",\n".join(
        f"{json.dumps(name, ensure_ascii=False)}: {json.dumps([round(each * UNIT) for each in row])}"
        for name, row in sorted(model.rows.items())
    )
    head = {"version": 1, "types": [kind.value for kind in TYPES], "unit": UNIT, "temperature": round(temperature, 3)}
    head["bias"] = [round(each, 4) for each in model.bias]
    return json.dumps(head)[:-1] + ', "rows": {\n' + rows + "\n}}\n"


def examples(train: Sequence[Case]) -> Iterator[str]:
    """Short cases for a prompt: of each type those of the most different systems and families."""
    for kind in TYPES:
        of_type = [case for case in train if case.type is kind]
        seen: dict[tuple[str, str], Case] = {}
        for case in of_type:
            seen.setdefault((case.system, case.family), case)
        chosen = sorted(seen.values(), key=lambda case: (case.is_hard, case.family, case.system))[::-1]
        step = max(1, len(chosen) // EXAMPLES_PER_TYPE)
        for case in chosen[::step][:EXAMPLES_PER_TYPE]:
            row = {"type": case.type.value, "subtype": case.subtype, "text": _shown(case)}
            yield json.dumps(row, ensure_ascii=False) + "\n"


def _shown(case: Case) -> str:
    reading = log_reader.read(Redactor().redact(case.log).split("\n"))
    lines = [line.text for error in reading.fatal[:3] for line in error.lines[:4]]
    lines = lines or [line.text for line in reading.excerpt.lines[-6:]]
    kept = [first for first, second in pairwise([*lines, ""]) if first != second]
    return "\n".join(line[:220] for line in kept)[:EXAMPLE_CHARACTERS]


if __name__ == "__main__":
    raise SystemExit(main())
