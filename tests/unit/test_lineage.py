"""Which datasets can explain a failure, and in which order."""

from __future__ import annotations

from mendline.config import Dataset
from mendline.lineage import involved_datasets, readers

UPSTREAM = {"load_a": (), "load_b": (), "clean_a": ("load_a",), "join": ("clean_a", "load_b"), "mart": ("join",)}


def dataset(name: str, **more: object) -> Dataset:
    return Dataset.model_validate({"name": name, "pipeline": "p", "warehouse": "w", "landing": f"raw.{name}", **more})


A, B = dataset("alpha", loaded_by="load_a"), dataset("beta", loaded_by="load_b")


def test_readers_are_the_direct_downstreams_unless_configured() -> None:
    assert readers(A, UPSTREAM) == ("clean_a",)
    assert readers(dataset("alpha", loaded_by="load_a", read_by=["join"]), UPSTREAM) == ("join",)


def test_a_dataset_that_does_not_flow_into_the_failed_stage_is_left_out() -> None:
    assert involved_datasets([A, B], ["clean_a"], UPSTREAM, "") == (A,)


def test_the_nearer_dataset_comes_first_and_a_named_one_before_it() -> None:
    assert involved_datasets([A, B], ["join"], UPSTREAM, "") == (B, A)
    assert involved_datasets([A, B], ["join"], UPSTREAM, "in RAW.ALPHA, line 3") == (A, B)


def test_a_dataset_of_which_nothing_is_configured_is_kept_as_the_last_resort() -> None:
    stray = dataset("stray")
    assert involved_datasets([stray, A], ["clean_a"], UPSTREAM, "") == (A, stray)
