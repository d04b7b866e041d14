"""A small linear model over what the tables say and the words of the errors; trained on the corpus, run with plain Python.

`weights.json` is written by `make corpus-model` (`corpus/model/train.py`): one row of weights per feature, one column per
type, and the temperature that makes the probabilities mean what they say on systems that the training has not seen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from mendline.classify.beliefs import Belief
from mendline.classify.features import ROOT, features
from mendline.classify.log_reader import LogReading
from mendline.incident import FailureType

TYPES = tuple(FailureType)
SHARE, STRENGTH, MEANING, SHAPE, CUE = "share", "strength", "meaning", "shape", "cue"
WORDS = 0.6  # how much the words count beside the tables: words are learnt from few systems
FAINT = 0.02  # the share that a type has when no table speaks for it


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The trained model. `rows` maps a feature to its weights, in the order of `TYPES`; `bias` likewise."""

    temperature: float
    bias: tuple[float, ...]
    rows: Mapping[str, tuple[float, ...]]


@cache
def weights() -> Weights:
    """The weights that Mendline ships."""
    kept = json.loads(resources.files("mendline.classify").joinpath("weights.json").read_text(encoding="utf-8"))
    if kept["types"] != [kind.value for kind in TYPES]:
        raise RuntimeError("weights.json is of another release; reinstall Mendline")
    rows = {name: tuple(each / kept["unit"] for each in row) for name, row in kept["rows"].items()}
    return Weights(temperature=kept["temperature"], bias=tuple(kept["bias"]), rows=rows)


def inputs(
    reading: LogReading, beliefs: Sequence[Belief], shares: Mapping[FailureType, float], cues: Mapping[str, float]
) -> Mapping[str, float]:
    """What the model sees: the tables' share per type, the strongest belief per subtype, the log's shape, cues and words."""
    found = told(shares)
    for belief in beliefs:
        if belief.subtype:
            name = f"{MEANING}|{belief.type}|{belief.subtype}"
            found[name] = max(found.get(name, 0.0), belief.weight)
    found |= _shape(reading)
    found |= {f"{CUE}|{name}": value for name, value in cues.items()}
    found |= {name: value * WORDS for name, value in features(reading).items() if name.startswith(f"{ROOT}|")}
    return found


def told(shares: Mapping[FailureType, float]) -> dict[str, float]:
    """What the tables say in all, per type: the share, and the share as odds."""
    found = {}
    for kind in TYPES:
        share = shares.get(kind, 0.0)
        found[f"{SHARE}|{kind}"] = 2 * share
        found[f"{STRENGTH}|{kind}"] = 2 * (1 - math.log(share + FAINT) / math.log(FAINT))
    return found


def _shape(reading: LogReading) -> dict[str, float]:
    return {
        f"{SHAPE}|no error": float(not reading.errors),
        f"{SHAPE}|ended well": float(reading.ended_well),
        f"{SHAPE}|errors": min(len(reading.fatal), 5) / 5,
        f"{SHAPE}|empty": float(reading.is_empty),
    }


def probabilities(seen: Mapping[str, float], model: Weights | None = None) -> dict[FailureType, float]:
    """The probability of each type; they add up to 1."""
    model = model or weights()
    scores = list(model.bias)
    for name, value in seen.items():
        row = model.rows.get(name)
        if row is not None and value:
            scores = [score + value * weight for score, weight in zip(scores, row, strict=True)]
    return softmax([score / model.temperature for score in scores])


def softmax(scores: Iterable[float]) -> dict[FailureType, float]:
    """Turn scores, in the order of `TYPES`, into probabilities."""
    scores = list(scores)
    highest = max(scores)
    odds = [math.exp(score - highest) for score in scores]
    return {kind: each / sum(odds) for kind, each in zip(TYPES, odds, strict=True)}
