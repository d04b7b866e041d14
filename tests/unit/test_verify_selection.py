"""What is run again after a repair: all of this incident, nothing of another's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from mendline.engines.base import RunDescription, RunState
from mendline.incident import Failure, FailureKind, Incident, RunRef
from mendline.tools.verify_pipeline_stage import merged_states, rerun_selection

DAG = {"a": (), "b": (), "c": ("a",), "d": ("b",), "e": ("c", "d"), "f": ("c",)}


def described(states: Mapping[str, str], upstream: Mapping[str, tuple[str, ...]] = DAG) -> RunDescription:
    return RunDescription(
        run=RunRef(engine="e", pipeline="p", run_id="r"),
        root_run_id="r",
        parent_run_id=None,
        state=RunState.FAILED,
        upstream=upstream,
        stage_states=states,
        config={},
    )


def incident(*stages: str) -> Incident:
    failures = tuple(
        Failure(
            run=RunRef(engine="e", pipeline="p", run_id="r"),
            root_run_id="r",
            stage=stage,
            kind=FailureKind.STAGE_FAILED,
            failed_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        for stage in stages
    )
    return Incident(
        id="1", fingerprint="x", engine="e", pipeline="p", failures=failures, opened_at=datetime(2026, 1, 1, tzinfo=UTC)
    )


FIRST = {"a": "succeeded", "b": "succeeded", "c": "failed", "d": "failed", "e": "skipped", "f": "skipped"}


def test_what_waits_for_another_incidents_stage_is_left_for_its_repair() -> None:
    assert rerun_selection([described(FIRST)], incident("c"), ()) == ("c", "f")


def test_the_last_repair_runs_what_all_of_them_held_up() -> None:
    after = described({"c": "succeeded", "f": "succeeded"})
    assert rerun_selection([described(FIRST), after], incident("d"), ()) == ("d", "e")


def test_readers_of_a_changed_dataset_run_again_though_they_were_green() -> None:
    states = {"a": "succeeded", "b": "succeeded", "c": "succeeded", "d": "failed", "e": "skipped", "f": "succeeded"}
    assert rerun_selection([described(states)], incident("d"), ("c",)) == ("c", "d", "e", "f")


def test_a_lost_run_goes_on_with_everything_that_is_not_green() -> None:
    states = {"a": "succeeded", "b": "succeeded", "c": "running"}
    lost = Incident(
        **(
            incident("c").__dict__
            | {
                "failures": (
                    incident("c")
                    .failures[0]
                    .__class__(**(incident("c").failures[0].__dict__ | {"stage": None, "kind": FailureKind.RUN_LOST})),
                )
            }
        )
    )
    assert rerun_selection([described(states)], lost, ()) == ("c", "d", "e", "f")


def test_a_skip_never_overwrites_a_result() -> None:
    assert merged_states([described({"a": "succeeded"}), described({"a": "skipped"})]) == {"a": "succeeded"}


@given(st.lists(st.sampled_from(sorted(DAG)), min_size=1, max_size=3, unique=True), st.data())
def test_the_selection_holds_the_failed_stages_and_is_in_dag_order(failed: list[str], data: st.DataObject) -> None:
    states = {stage: data.draw(st.sampled_from(["succeeded", "failed", "skipped"])) for stage in DAG}
    chosen = rerun_selection([described(states)], incident(*failed), ())
    assert set(failed) <= set(chosen)
    assert [s for s in DAG if s in chosen] == list(chosen)
