"""Logs whose cause is known, and the choice of those that are most like the one at hand."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from mendline.errors import ConfigError
from mendline.incident import FailureType
from mendline.stores.base import IncidentRecord

CORPUS = Path(__file__).with_name("examples.jsonl")
EXAMPLE_COUNT = 4
MOST_OF_ONE_TYPE = 2  # four examples of one type would say what the answer is
_WORD = re.compile(r"[A-Za-z][A-Za-z_]{2,}|\b[0-9A-Z]{5}\b|\b[1-5]\d\d\b")  # words, SQLSTATEs, HTTP statuses


@dataclass(frozen=True, kw_only=True)
class Example:
    """A log (or the part of it that matters) with its true cause; `subtype` may be ""."""

    type: FailureType
    subtype: str
    text: str


@cache
def from_corpus(file: Path = CORPUS) -> tuple[Example, ...]:
    """The examples that Mendline ships, one per row {"type", "subtype", "text"}; () when there is no file.

    Raises: `ConfigError` for a row that is no example.
    """
    if not file.exists():
        return ()
    rows = [line for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
    try:
        return tuple(map(_example, map(json.loads, rows)))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"`{file}` has a row that is no example: {error}; reinstall Mendline") from error


def from_incidents(records: Iterable[IncidentRecord]) -> tuple[Example, ...]:
    """The team's own incidents whose cause a person confirmed or corrected, newest first: what was quoted of their logs."""
    return tuple(example for record in records if (example := _confirmed(record)) is not None)


def most_alike(text: str, examples: Sequence[Example], count: int = EXAMPLE_COUNT) -> tuple[Example, ...]:
    """The examples most like `text`, most alike first, at most two of one type; those that share no word are left out.

    Cosine of word counts weighted by rarity; equal ones in the order given. The same input gives the same choice.
    """
    bags = [_bag(example.text) for example in examples]
    rarity = _rarity(bags)
    asked = _weighted(_bag(text), rarity)
    scores = [_cosine(asked, _weighted(bag, rarity)) for bag in bags]
    chosen: list[Example] = []
    for place in sorted(range(len(examples)), key=lambda place: -scores[place]):
        of_its_type = sum(example.type is examples[place].type for example in chosen)
        if len(chosen) < count and scores[place] > 0 and of_its_type < MOST_OF_ONE_TYPE:
            chosen.append(examples[place])
    return tuple(chosen)


def _example(row: dict[str, str]) -> Example:
    return Example(type=FailureType(row["type"]), subtype=row.get("subtype", ""), text=row["text"])


def _confirmed(record: IncidentRecord) -> Example | None:
    """The person's last word on the type counts."""
    if record.outcome is None:
        return None
    believed = record.outcome.classification
    said = next((w for w in reversed(record.feedback) if w.type_right is not None or w.right_type is not None), None)
    if said is None or (said.right_type is None and not said.type_right):
        return None
    kind = FailureType(said.right_type) if said.right_type else believed.type
    lines = [*(quote.quote for quote in believed.evidence), *(f.message for f in record.incident.failures[:3])]
    text = "\n".join(dict.fromkeys(line for line in lines if line.strip()))
    subtype = believed.subtype if kind is believed.type else ""
    return Example(type=kind, subtype=subtype, text=text) if text else None


@lru_cache(maxsize=4096)
def _bag(text: str) -> Counter[str]:
    return Counter(word.lower() for word in _WORD.findall(text))


def _rarity(bags: Sequence[Counter[str]]) -> dict[str, float]:
    seen = Counter(word for bag in bags for word in bag)
    return {word: math.log((1 + len(bags)) / (1 + count)) + 1.0 for word, count in seen.items()}


def _weighted(bag: Counter[str], rarity: dict[str, float]) -> dict[str, float]:
    return {word: (1 + math.log(count)) * rarity[word] for word, count in bag.items() if word in rarity}


def _cosine(one: dict[str, float], other: dict[str, float]) -> float:
    shared = sum(weight * other[word] for word, weight in one.items() if word in other)
    lengths = math.hypot(*one.values()) * math.hypot(*other.values())
    return shared / lengths if lengths else 0.0
