"""Renames found from the data: which new column, if any, holds what a lost one held.

A name alone never decides and neither do values alone: both must speak for it, nothing may speak against it, and no
other column may come close. What is not certain is shown to a person with the evidence side by side.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from mendline.schema.diff import normalised
from mendline.schema.values import Likeness, likeness
from mendline.stores.base import ColumnProfile
from mendline.warehouses.base import Column
from mendline.warehouses.types import family

MARGIN = 0.1  # how far the best candidate must be ahead of the second, from both sides
CONTRADICTED = 0.4  # the most that a candidate scores once something speaks against it
MOVED = 0.95  # the name score of the same leaf at another path
UNLIKE_NAMES = 0.6  # under this a word was exchanged for another, or all were
UNLIKE_LIMIT = 0.75  # the most that unlike names score, however equal the values: enough to propose, not to apply
ALIKE_NAMES = 0.85  # from here on the names are two spellings of one name
SYNONYM = 0.8  # the score of two words that people use for one thing
EXCHANGED = 0.75  # the most for `bill_city` as `ship_city`: what a sibling holds looks the same, so a person decides
Synonyms = tuple[frozenset[str], ...]
# Words that name the same thing in tables of every trade. Source: ordinary English usage and the SI brochure's unit names.
# Left out on purpose: pairs that are often two columns of one table (price and cost, amount and total, status and state).
SYNONYMS: Synonyms = tuple(
    frozenset(words.split())
    for words in (
        "id identifier no num nr number",
        "customer client",
        "vendor supplier",
        "product article item",
        "date dt",
        "time timestamp at ts datetime",
        "postcode zip zipcode postal",
        "phone telephone",
        "mail email",
        "g gram grams gr",
        "kg kilo kilogram kilograms kgs",
        "m meter meters metre metres",
        "km kilometer kilometers kilometre kilometres",
        "cm centimeter centimeters centimetre centimetres",
        "mm millimeter millimeters millimetre millimetres",
        "s sec secs second seconds",
        "ms millis millisecond milliseconds",
        "min mins minute minutes",
        "h hr hrs hour hours",
        "pct percent percentage",
        "lat latitude",
        "lon lng long longitude",
    )
)


@dataclass(frozen=True, kw_only=True)
class Rename:
    """One candidate: `old` (lost) may now be `new`. Scores are in [0, 1]; `against` names what speaks against it."""

    old: str
    new: str
    score: float
    name_score: float
    value_score: float | None
    evidence: tuple[str, ...]
    against: tuple[str, ...] = ()
    runner_up: str | None = None
    is_unique: bool = True

    @property
    def is_move(self) -> bool:
        """Whether the leaf has kept its name and only changed its path."""
        return normalised(_leaf(self.old)) == normalised(_leaf(self.new))

    def describe(self) -> str:
        """The evidence side by side, in one line."""
        said = "; ".join((*self.evidence, *(f"against: {reason}" for reason in self.against)))
        return f"`{self.old}` -> `{self.new}` scores {self.score:.2f} ({said})"


def find_renames(
    lost: Sequence[Column],
    new: Sequence[Column],
    before: Mapping[str, ColumnProfile],
    now: Mapping[str, ColumnProfile],
    usual_overlap: Mapping[str, float],
) -> tuple[Rename, ...]:
    """Give the best candidate of every lost column that has one, in the order of `lost`.

    Only columns of one type family are compared. `usual_overlap` is how much of a column's values usually come again from
    one good batch to the next. A candidate that is not clearly the best, seen from the lost column and from the new one,
    has `is_unique` False.
    """
    scored = [
        _score(old, other, before.get(old.name), now.get(other.name), usual_overlap.get(old.name))
        for old in lost
        for other in new
        if family(old.logical_type) == family(other.logical_type)
    ]
    best: list[Rename] = []
    for old in lost:
        mine = sorted((one for one in scored if one.old == old.name), key=lambda one: -one.score)
        if not mine:
            continue
        first, rivals = mine[0], [one for one in scored if one.new == mine[0].new and one.old != old.name]
        second = max((*mine[1:], *rivals), key=lambda one: one.score, default=None)
        is_unique = second is None or first.score - second.score >= MARGIN
        runner_up = second.describe() if second is not None else None
        best.append(_with_rank(first, runner_up, is_unique=is_unique))
    return tuple(best)


def _with_rank(rename: Rename, runner_up: str | None, *, is_unique: bool) -> Rename:
    return Rename(
        old=rename.old,
        new=rename.new,
        score=rename.score,
        name_score=rename.name_score,
        value_score=rename.value_score,
        evidence=rename.evidence,
        against=rename.against,
        runner_up=runner_up,
        is_unique=is_unique,
    )


def _score(
    old: Column, new: Column, before: ColumnProfile | None, now: ColumnProfile | None, usual: float | None
) -> Rename:
    name = name_similarity(old.name, new.name)
    values = likeness(before, now, family(old.logical_type), usual) if before and now else Likeness()
    is_sibling = name < ALIKE_NAMES and _is_sibling(_leaf(old.name), _leaf(new.name))
    score = _combined(name, values, is_sibling=is_sibling)
    if (
        not values.is_telling
        and old.position != new.position
        and name_similarity(old.name, new.name, ()) < UNLIKE_NAMES
    ):
        score = min(score, UNLIKE_LIMIT)  # only a synonym speaks for it: then it must at least stand in the same place
    said = (f"name {name:.2f}", *values.said)
    return Rename(
        old=old.name,
        new=new.name,
        score=round(score, 3),
        name_score=round(name, 3),
        value_score=None if values.score is None else round(values.score, 3),
        evidence=said,
        against=values.against,
    )


def _combined(name: float, values: Likeness, *, is_sibling: bool) -> float:
    if values.score is None:
        return 0.6 * name
    # Where the names are not two spellings of one, near misses in the values count double: net is not gross.
    value = values.score if name >= ALIKE_NAMES else values.score**2
    weight = 0.65 if values.is_telling else 0.5
    score = (1 - weight) * name + weight * value
    if name < UNLIKE_NAMES:
        score = min(score, UNLIKE_LIMIT)
    if values.against:
        return min(score, CONTRADICTED)
    return min(score, EXCHANGED) if is_sibling else score


def name_similarity(old: str, new: str, synonyms: Synonyms = SYNONYMS) -> float:
    """Compare two names (or paths) word by word, in [0, 1]; symmetric; 1 for equal names however they are spelt.

    A word matches itself and its abbreviations (`qty` for `quantity`, `cust` for `customer`). A word too many on one side
    costs little, a word exchanged for another costs much, unless the two are among `synonyms`: `unit_price` is not
    `list_price`, `client_id` may be `customer_id`.
    """
    if normalised(old) == normalised(new):
        return 1.0
    if normalised(_leaf(old)) == normalised(_leaf(new)):
        return MOVED
    return max(_words_similarity(old, new, synonyms), _words_similarity(_leaf(old), _leaf(new), synonyms))


def _is_sibling(old: str, new: str) -> bool:
    """Whether the names share a word and differ in another, on both sides: `ship_city` and `bill_city`."""
    matched, ours, theirs = _paired(_words(old), _words(new), SYNONYMS)
    return matched > 0 and bool(ours) and bool(theirs)


def _words_similarity(old: str, new: str, synonyms: Synonyms) -> float:
    if not _words(old) or not _words(new):
        return 0.0
    matched, ours, theirs = _paired(_words(old), _words(new), synonyms)
    if not matched:
        return 0.3 * SequenceMatcher(None, normalised(old), normalised(new)).ratio()
    pair_count = len(_words(old)) - len(ours)
    exchanged, extra = min(len(ours), len(theirs)), abs(len(ours) - len(theirs))
    return matched / (pair_count + exchanged + extra * 0.34)


def _paired(ours: Sequence[str], theirs: Sequence[str], synonyms: Synonyms) -> tuple[float, list[str], list[str]]:
    """The likeness of the words that pair up, and the words that are left on either side."""
    left, right, matched = list(ours), list(theirs), 0.0
    for word in ours:
        other = max(right, key=lambda candidate: _word_similarity(word, candidate, synonyms), default="")
        similarity = _word_similarity(word, other, synonyms) if other else 0.0
        if similarity > 0:
            matched += similarity
            left.remove(word)
            right.remove(other)
    return matched, left, right


def _word_similarity(one: str, other: str, synonyms: Synonyms) -> float:
    if one == other:
        return 1.0
    if any(one in words and other in words for words in synonyms):
        return SYNONYM
    short, long = sorted((one, other), key=len)
    if len(short) >= 2 and _abbreviates(short, long):
        return 0.9
    if len(short) == 1 and short.isalpha() and long.startswith(short):
        return SYNONYM  # a unit: `weight_g` for `weight_grams`
    # One letter mistyped, or a plural.
    if min(len(one), len(other)) >= 4 and SequenceMatcher(None, one, other).ratio() >= 0.85:
        return 0.9
    return 0.0


def _abbreviates(short: str, long: str) -> bool:
    """Whether `short` is `long` with letters left out, in a way that people do: same first letter, and either the
    beginning of the word or mostly its consonants.
    """
    if short[0] != long[0] or len(short) == len(long):
        return False
    if long.startswith(short):
        return True
    position = 0
    for letter in short:
        position = long.find(letter, position) + 1
        if position == 0:
            return False
    return not set(short[1:]) & set("aeiou")


def _words(name: str) -> list[str]:
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return re.findall(r"[^\W\d_]+|\d+", spaced.lower())


def _leaf(path: str) -> str:
    return path.rsplit(".", maxsplit=1)[-1]
