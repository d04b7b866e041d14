"""Values that stand in another column: found where several do, never where columns changed by themselves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendline.schema.shift import Shift, has_counted_names, shift_between
from mendline.stores.base import ColumnProfile
from mendline.warehouses.base import Column

# Values of five columns that nobody would take for one another.
CONTENTS = {
    "order_no": [str(1000 + n) for n in range(60)],
    "customer": [f"C-{n % 7}" for n in range(60)],
    "city": [["Bern", "Basel", "Chur"][n % 3] for n in range(60)],
    "ordered_on": [f"2026-01-{1 + n % 28:02}" for n in range(60)],
    "note": ["" if n % 2 else "call first" for n in range(60)],
}
NAMES = tuple(CONTENTS)


def columns(names: Sequence[str] = NAMES) -> list[Column]:
    return [
        Column(name=name, type="VARCHAR", logical_type="string", is_nullable=True, position=place)
        for place, name in enumerate(names, start=1)
    ]


def profiles(values: Sequence[Sequence[str]], names: Sequence[str] = NAMES) -> list[ColumnProfile]:
    return [profile(name, texts) for name, texts in zip(names, values, strict=True)]


def profile(name: str, texts: Sequence[str]) -> ColumnProfile:
    distinct = sorted(set(texts))
    return ColumnProfile(
        column=name,
        type="VARCHAR",
        row_count=len(texts),
        null_count=0,
        distinct_count=len(distinct),
        min_value=distinct[0],
        max_value=distinct[-1],
        value_hashes=tuple(sorted(hash(text) for text in distinct)),
        top_values=tuple((text, texts.count(text)) for text in distinct[:10]) if len(distinct) < len(texts) else (),
    )


def found(values: Sequence[Sequence[str]]) -> Shift | None:
    return shift_between(columns(), profiles(list(CONTENTS.values())), columns(), profiles(values))


CHANNEL = [["web", "shop"][n % 2] for n in range(60)]


def test_a_column_more_moves_what_follows_it() -> None:
    shift = found([CONTENTS["order_no"], CHANNEL, *list(CONTENTS.values())[1:4]])
    assert shift is not None
    assert (shift.first, shift.by) == ("city", 1)
    assert shift.pairs == (("city", "customer"), ("ordered_on", "city"), ("note", "ordered_on"))
    assert "`city` has what `customer` had" in str(shift)


def test_a_column_less_moves_what_follows_it_back() -> None:
    shift = found([CONTENTS["order_no"], *list(CONTENTS.values())[2:], CHANNEL])
    assert shift is not None
    assert (shift.first, shift.by) == ("customer", -1)


def test_the_same_columns_in_their_places_are_no_shift() -> None:
    assert found(list(CONTENTS.values())) is None


@pytest.mark.parametrize("name", NAMES)
def test_one_column_with_other_values_is_no_shift(name: str) -> None:
    assert found([CHANNEL if one == name else values for one, values in CONTENTS.items()]) is None


@given(st.sampled_from(range(4)))
def test_two_neighbours_that_changed_places_are_no_shift(place: int) -> None:
    """A swap is another matter: what stands further on fits its own past."""
    values = list(CONTENTS.values())
    values[place], values[place + 1] = values[place + 1], values[place]
    assert found(values) is None


def test_columns_that_look_alike_are_no_evidence() -> None:
    alike = [CONTENTS["city"]] * 5
    assert shift_between(columns(), profiles(alike), columns(), profiles(alike)) is None


@pytest.mark.parametrize(
    ("names", "is_counted"),
    [
        (("column0", "column1", "column2"), True),
        (("_c0", "_c1", "_c10"), True),
        (("0", "1", "2"), True),
        (("Unnamed: 0", "Unnamed: 1"), True),
        (("c1", "c2", "c3"), True),
        (("q1", "q2", "q3", "q4"), False),
        (("street", "address_2"), False),
        (("id", "column1", "amount"), False),
        (("column0",), False),
    ],
)
def test_names_that_only_count_columns_are_known(names: tuple[str, ...], is_counted: bool) -> None:
    assert has_counted_names(names) is is_counted
