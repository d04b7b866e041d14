"""Whether a stage may be repeated, judged on what loaders of every kind really leave behind."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mendline.reruns.safety import SKETCH_SIZE, Facts, Landing, Mode, Safety, judge, judge_landing, observed_mode
from mendline.stores.base import ColumnProfile, Snapshot
from mendline.testing.values import NOON
from mendline.warehouses.base import TableSchema

Row = tuple[int, str]
COLUMNS = ("id", "city")


def snapshot(rows: Sequence[Row]) -> Snapshot:
    """What a look at a table of these rows keeps."""
    profiles = tuple(_profile(name, [row[index] for row in rows]) for index, name in enumerate(COLUMNS))
    schema = TableSchema(table="raw.t", columns=())
    return Snapshot(
        dataset="t", run_id=str(id(rows)), taken_at=NOON, schema=schema, row_count=len(rows), profiles=profiles
    )


def _profile(name: str, values: list[Any]) -> ColumnProfile:
    hashes = sorted({int.from_bytes(hashlib.md5(str(value).encode()).digest()[:8]) for value in values})
    return ColumnProfile(
        column=name,
        type="t",
        row_count=len(values),
        null_count=0,
        distinct_count=len(hashes),
        min_value=str(min(values)) if values else None,
        max_value=str(max(values)) if values else None,
        value_hashes=tuple(hashes[:SKETCH_SIZE]),
    )


def batch(day: int, size: int) -> list[Row]:
    return [(day * 1000 + number, f"city {number % 3}") for number in range(size)]


def landing(good: Sequence[Sequence[Row]], now: Sequence[Row] | None, **values: Any) -> Landing:
    """A table of which the good runs left `good` (oldest first) and which holds `now`."""
    history = tuple(snapshot(rows) for rows in reversed(good))
    found = None if now is None else snapshot(now)
    made: dict[str, Any] = {"dataset": "t", "table": "raw.t", "stage": "load", "in_batches": False}
    return Landing(**made | {"history": history, "now": found} | values)


sizes = st.lists(st.integers(1, 200), min_size=1, max_size=5)


@given(sizes=sizes, written=st.integers(1, 200))
def test_a_loader_that_appends_and_has_written_is_never_held_safe(sizes: list[int], written: int) -> None:
    rows: list[Row] = []
    good = []
    for day, size in enumerate(sizes):
        rows = rows + batch(day, size)
        good.append(rows)
    judged = judge_landing(landing(good, rows + batch(len(sizes), written)))
    assert judged.safety is Safety.UNSAFE
    assert f"added {written:,} rows" in judged.evidence[0]
    assert f"the {written:,} rows taken out of `raw.t`" in judged.needed


@given(sizes=st.lists(st.integers(50, 150), min_size=2, max_size=5), written=st.integers(1, 200))
def test_a_loader_that_was_seen_to_replace_is_safe_whatever_it_has_left(sizes: list[int], written: int) -> None:
    good = [batch(day, size) for day, size in enumerate(sizes)]
    assert observed_mode(landing(good, ()).history) is Mode.REPLACES
    assert judge_landing(landing(good, batch(len(sizes), written))).safety is Safety.SAFE


@settings(deadline=None)
@given(sizes=sizes, days_kept=st.integers(5, 9), written=st.integers(1, 200))
def test_a_loader_that_keeps_a_window_and_appends_to_it_is_never_held_safe(
    sizes: list[int], days_kept: int, written: int
) -> None:
    """It drops its oldest day and appends the newest, in two steps; it died in the second."""
    days = [sizes[day % len(sizes)] for day in range(days_kept + 4)]
    windows = [
        [row for day in range(last - days_kept + 1, last + 1) for row in batch(day, days[day])]
        for last in range(days_kept - 1, len(days))
    ]
    oldest = days[len(days) - days_kept]
    assume(len(windows[-1]) - oldest + written > 0.75 * len(windows[-1]))
    now = windows[-1][oldest:] + batch(len(days), written)
    assert judge_landing(landing(windows, now)).safety is not Safety.SAFE


@given(sizes=sizes)
def test_where_nothing_was_written_a_repeat_is_safe_whoever_loads(sizes: list[int]) -> None:
    good = [batch(day, size) for day, size in enumerate(sizes)]
    for in_batches in (False, True):
        for now in (None, [], good[-1]):
            assert judge_landing(landing(good, now, in_batches=in_batches)).safety is Safety.SAFE


@given(before=st.integers(1, 200), now=st.integers(1, 200))
def test_rows_of_a_batch_in_a_table_that_accumulates_are_not_loaded_twice(before: int, now: int) -> None:
    judged = judge_landing(landing([batch(1, before)], batch(2, now), in_batches=True))
    assert judged.safety is Safety.UNSAFE
    assert f"{now:,} rows of this batch are in `raw.t` already" in judged.evidence[0]


def test_a_table_that_was_emptied_and_half_loaded_again_is_safe() -> None:
    judged = judge_landing(landing([batch(1, 100)], batch(1, 100)[:40]))
    assert judged.safety is Safety.SAFE
    assert "40 rows, 100 after the last good run" in judged.evidence[0]


def test_a_key_that_the_database_keeps_unique_makes_it_safe() -> None:
    grown = landing([batch(1, 10)], batch(1, 10) + batch(2, 5), unique_key=("id",))
    assert judge_landing(grown).safety is Safety.SAFE
    assert "keeps id unique" in judge_landing(grown).evidence[0]


@pytest.mark.parametrize(
    ("good", "now"),
    [
        ([], batch(1, 10)),
        ([batch(1, 10)], batch(1, 9)),
        ([batch(1, 10)], [*batch(1, 9), (5000, "city 1")]),
    ],
    ids=["no good run", "fewer rows", "other rows"],
)
def test_what_cannot_be_told_is_said_and_not_held_safe(good: list[list[Row]], now: list[Row]) -> None:
    assert judge_landing(landing(good, now)).safety is Safety.UNSURE


def test_other_hashes_alone_do_not_show_that_a_table_was_replaced() -> None:
    """A version that hashes otherwise would see nothing of what an earlier one kept."""
    rows = batch(1, 100)
    hashed_otherwise = snapshot([(number, city + " ") for number, city in rows])
    profiles = tuple(
        ColumnProfile(**{**vars(old), "value_hashes": tuple(value + 1 for value in new.value_hashes)})
        for old, new in zip(snapshot(rows).profiles, hashed_otherwise.profiles, strict=True)
    )
    before = Snapshot(**{**vars(snapshot(rows)), "profiles": profiles})
    given = landing([rows], rows + batch(2, 50))
    assert judge_landing(Landing(**{**vars(given), "history": (before,)})).safety is not Safety.SAFE


def test_the_worst_of_all_that_is_known_counts_and_its_evidence_comes_first() -> None:
    safe, unsafe = landing([batch(1, 9)], batch(1, 9)), landing([batch(1, 9)], batch(1, 9) + batch(2, 3))
    assert judge(Facts(landings=(safe,))).safety is Safety.SAFE
    assert judge(Facts(landings=(safe,), unknown_stages=("mail",))).safety is Safety.UNSURE
    assert judge(Facts(landings=(safe,), later_run="r9")).safety is Safety.UNSURE
    judged = judge(Facts(landings=(safe, unsafe), unknown_stages=("mail",), try_count=2, engine_retry_count=3))
    assert judged.safety is Safety.UNSAFE
    assert "added 3 rows" in judged.evidence[0]
    assert "what `mail` has written cannot be told" in judged.evidence[1]
    assert judged.evidence[-1] == "tried 2 times so far (and 3 more by the engine itself)"
    assert "run `r7` that loads the same is under way" in judge(Facts(twins=("r7",))).evidence
