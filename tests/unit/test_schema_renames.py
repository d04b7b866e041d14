"""Which new column holds what a lost one held: true renames score high, decoys and swaps never do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendline.schema.renames import find_renames, name_similarity
from mendline.schema.values import likeness, overlap
from mendline.stores.base import ColumnProfile
from mendline.warehouses.base import Column
from mendline.warehouses.types import logical_type


def column(name: str, kind: str = "VARCHAR") -> Column:
    return Column(name=name, type=kind, logical_type=logical_type(kind, "duckdb"), is_nullable=True, position=1)


def profile(
    name: str,
    *,
    rows: int = 1000,
    nulls: int = 0,
    distinct: int = 500,
    low: str | None = "1.5",
    high: str | None = "99.0",
    hashes: tuple[int, ...] = tuple(range(0, 6400, 100)),
    top: tuple[tuple[str, int], ...] = (),
) -> ColumnProfile:
    return ColumnProfile(
        column=name,
        type="DECIMAL(10,2)",
        row_count=rows,
        null_count=nulls,
        distinct_count=distinct,
        min_value=low,
        max_value=high,
        value_hashes=hashes,
        top_values=top,
    )


@pytest.mark.parametrize(
    ("old", "new", "at_least"),
    [
        ("quantity", "qty", 0.85),
        ("customer_id", "cust_id", 0.85),
        ("orderId", "order_id", 1.0),
        ("amount", "amnt", 0.85),
        ("weight_g", "weight_grams", 0.85),
        ("city", "address.city", 0.95),
        ("delivery.city", "delivery.address.city", 0.95),
        ("email", "email_address", 0.7),
        ("customer_id", "client_id", 0.85),
        ("order_id", "order_no", 0.85),
        ("weight_g", "weight_grams", 0.85),
        ("parcel.number", "parcel.parcel_no", 0.75),
    ],
)
def test_spellings_of_one_name_are_alike(old: str, new: str, at_least: float) -> None:
    assert name_similarity(old, new) >= at_least


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("unit_price", "list_price"),
        ("weight_g", "weight_kg"),
        ("first_name", "last_name"),
        ("created_at", "updated_at"),
        ("fee", "city"),
    ],
)
def test_a_word_exchanged_for_another_is_another_name(old: str, new: str) -> None:
    assert name_similarity(old, new) <= 0.5


names = st.text("abcdeorst_", min_size=1, max_size=12)


@given(names, names)
def test_name_similarity_is_symmetric_and_bounded(one: str, other: str) -> None:
    assert 0 <= name_similarity(one, other) <= 1
    assert name_similarity(one, other) == pytest.approx(name_similarity(other, one), abs=0.35)
    assert name_similarity(one, one) == 1.0


@given(
    st.sets(st.integers(0, 2**64 - 1), min_size=1, max_size=64),
    st.sets(st.integers(0, 2**64 - 1), min_size=1, max_size=64),
)
def test_overlap_of_small_sets_is_exact_and_symmetric(one: set[int], other: set[int]) -> None:
    first = profile("a", distinct=len(one), hashes=tuple(sorted(one)))
    second = profile("b", distinct=len(other), hashes=tuple(sorted(other)))
    assert overlap(first, second) == overlap(second, first)
    assert overlap(first, first) == 1.0
    if len(one | other) <= 60:
        assert overlap(first, second) == pytest.approx(len(one & other) / len(one | other))


def test_equal_values_under_a_like_name_score_high() -> None:
    (found,) = find_renames(
        [column("quantity", "INTEGER")],
        [column("qty", "BIGINT")],
        {"quantity": profile("quantity")},
        {"qty": profile("qty")},
        {},
    )
    assert found.score > 0.9
    assert found.is_unique


def test_another_family_of_types_is_no_candidate() -> None:
    found = find_renames(
        [column("fee", "DECIMAL(10,2)")],
        [column("fee_text")],
        {"fee": profile("fee")},
        {"fee_text": profile("fee_text")},
        {},
    )
    assert found == ()


DECOYS = {
    "other range": profile("d", low="4000.5", high="9000.5", hashes=tuple(range(1, 6400, 100))),
    "nulls where none were": profile("d", nulls=200),
    "few values where many were": profile("d", distinct=3, hashes=(1, 2, 3)),
    "values that usually come again do not": profile("d", hashes=tuple(range(7, 6400, 100))),
}


@pytest.mark.parametrize("name", sorted(DECOYS))
def test_a_decoy_never_scores_enough_to_be_applied(name: str) -> None:
    (found,) = find_renames(
        [column("fee", "DECIMAL(10,2)")],
        [column("tax_fee", "DECIMAL(10,2)")],
        {"fee": profile("fee")},
        {"tax_fee": replace(DECOYS[name], column="tax_fee")},
        {"fee": 0.9},
    )
    assert found.score < 0.8
    assert found.against


def test_two_like_candidates_are_not_unique() -> None:
    (found,) = find_renames(
        [column("fee", "DECIMAL(10,2)")],
        [column("fee_a", "DECIMAL(10,2)"), column("fee_b", "DECIMAL(10,2)")],
        {"fee": profile("fee")},
        {"fee_a": profile("fee_a"), "fee_b": profile("fee_b")},
        {},
    )
    assert not found.is_unique
    assert found.runner_up is not None


def test_two_lost_columns_that_both_want_one_new_column_are_not_unique() -> None:
    found = find_renames(
        [column("fee_old", "DECIMAL(10,2)"), column("fee_new", "DECIMAL(10,2)")],
        [column("fee", "DECIMAL(10,2)")],
        {"fee_old": profile("fee_old"), "fee_new": profile("fee_new")},
        {"fee": profile("fee")},
        {},
    )
    assert not any(one.is_unique for one in found)


def test_swapped_pairs_with_the_values_of_the_other_are_refused() -> None:
    """The names say one thing and the values the other: nothing may be applied."""
    low = {"low": "1.0", "high": "9.5", "hashes": tuple(range(0, 6400, 100))}
    high = {"low": "1000.0", "high": "9000.5", "hashes": tuple(range(50, 6400, 100))}
    found = find_renames(
        [column("net_fee", "DOUBLE"), column("gross_fee", "DOUBLE")],
        [column("fee_net", "DOUBLE"), column("fee_gross", "DOUBLE")],
        {"net_fee": profile("net_fee", **low), "gross_fee": profile("gross_fee", **high)},  # type: ignore[arg-type]
        {"fee_net": profile("fee_net", **high), "fee_gross": profile("fee_gross", **low)},  # type: ignore[arg-type]
        {"net_fee": 0.9, "gross_fee": 0.9},
    )
    assert all(one.score < 0.8 for one in found)


def test_columns_without_values_never_prove_a_rename() -> None:
    empty = profile("a", nulls=1000, distinct=0, low=None, high=None, hashes=())
    assert likeness(empty, profile("b"), "number", None).score is None
    (found,) = find_renames(
        [column("fee_a", "DOUBLE")], [column("feeA2", "DOUBLE")], {"fee_a": empty}, {"feeA2": empty}, {}
    )
    assert found.score <= 0.6


@pytest.mark.parametrize(
    ("old", "new"), [("ship_city", "bill_city"), ("min_load", "max_load"), ("unit_price", "list_price")]
)
def test_a_sibling_that_holds_the_very_same_values_is_left_to_a_person(old: str, new: str) -> None:
    (found,) = find_renames([column(old)], [column(new)], {old: profile(old)}, {new: profile(new)}, {})
    assert found.score < 0.8


def test_another_name_for_the_same_thing_with_the_same_values_is_a_rename() -> None:
    (found,) = find_renames(
        [column("customer_id")],
        [column("client_id")],
        {"customer_id": profile("customer_id")},
        {"client_id": profile("client_id")},
        {},
    )
    assert found.score > 0.9


def test_a_synonym_alone_does_not_move_a_column_whose_values_say_nothing() -> None:
    before, now = profile("client_id"), profile("customer_no")
    unique = {"distinct_count": before.row_count, "value_hashes": ()}
    (found,) = find_renames(
        [replace(column("client_id"), position=1)],
        [replace(column("customer_no"), position=7)],
        {"client_id": replace(before, **unique)},
        {"customer_no": replace(now, **unique)},
        {},
    )
    assert found.score < 0.8


def test_limits_that_are_kept_as_a_shape_are_not_compared_as_numbers() -> None:
    before, now = profile("lat", low="52.0", high="52.3"), profile("latitude", low="99.9", high="99.9")
    (found,) = find_renames(
        [column("lat", "DOUBLE")], [column("latitude", "DOUBLE")], {"lat": before}, {"latitude": now}, {}
    )
    assert found.against == ()
    assert found.score > 0.8
