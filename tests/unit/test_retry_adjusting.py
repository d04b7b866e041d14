"""Another configuration for a re-run: step by step, inside the bounds, and of nothing else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mendline.config import Adjustment, load_config
from mendline.errors import Rejected
from mendline.incident import ConfigChange, FailureType, Plan, from_json, to_json
from mendline.reruns.adjusting import Step, next_step, next_value, with_changes
from mendline.testing.values import a_classification

PATH = "ops.load.config.batch_size"
ON = {"stage": "load", "path": PATH, "on": ["RESOURCE"]}
MEMORY = a_classification(FailureType.RESOURCE)


def adjustment(**values: Any) -> Adjustment:
    return Adjustment.model_validate(ON | values)


def config(value: Any) -> dict[str, Any]:
    return {"ops": {"load": {"config": {"batch_size": value, "mode": "full"}}}, "loggers": {}}


HALVED = adjustment(multiply_by=0.5, min=100)


def steps(given: Adjustment, start: Any, belief: Any = MEMORY) -> list[Any]:
    """The values of one re-run after the other, until there is no further one."""
    scheduled = latest = config(start)
    found: list[Any] = []
    while (step := next_step([given], belief, ["load"], scheduled, latest)).has_moved:
        latest = with_changes(scheduled, step.changes)
        found.append(latest["ops"]["load"]["config"]["batch_size"])
        assert step.changes[0].before == start
    return found


def test_each_further_rerun_goes_one_step_on_until_the_bound() -> None:
    assert steps(HALVED, 1000) == [500, 250, 125, 100]
    assert steps(adjustment(multiply_by=2, max=10), 3) == [6, 10]
    assert steps(adjustment(multiply_by=0.5, min=1.5), 8.0) == [4.0, 2.0, 1.5]
    assert steps(adjustment(set_to="small"), "large") == ["small"]
    stuck = next_step([HALVED], MEMORY, ["load"], config(1000), config(100))
    assert (stuck.is_meant, stuck.has_moved) == (True, False)
    assert stuck.obstacles == (f"`{PATH}` has reached its bound (100)",)


@given(
    start=st.integers(1, 10**6),
    factor=st.floats(0.01, 50).filter(lambda factor: factor != 1),
    low=st.integers(1, 1000),
    width=st.integers(0, 10**6),
)
def test_no_step_ever_leaves_the_bounds_and_a_whole_number_stays_one(
    start: int, factor: float, low: int, width: int
) -> None:
    given = adjustment(multiply_by=factor, min=low, max=low + width)
    value: Any = start
    while (following := next_value(given, value)) is not None:
        assert type(following) is int
        assert low <= following <= low + width
        assert (following < value) == (factor < 1)
        value = following


@pytest.mark.parametrize(
    ("belief", "stages"),
    [(a_classification(FailureType.API_FAILURE), ["load"]), (MEMORY, ["other"])],
    ids=["another type", "another stage"],
)
def test_what_is_not_meant_for_the_failure_is_left_alone(belief: Any, stages: list[str]) -> None:
    assert next_step([HALVED], belief, stages, config(1000), config(1000)) == Step()


def test_a_subtype_is_asked_for_where_one_is_named() -> None:
    given = adjustment(multiply_by=0.5, min=1, subtypes=["out_of_memory"])
    assert not next_step([given], MEMORY, ["load"], config(8), config(8)).is_meant
    full = a_classification(FailureType.RESOURCE)
    named = type(full)(**{**vars(full), "subtype": "out_of_memory"})
    assert next_step([given], named, ["load"], config(8), config(8)).has_moved


def test_only_what_the_configuration_says_or_what_has_a_default_is_changed() -> None:
    absent = {"ops": {}}
    stuck = next_step([HALVED], MEMORY, ["load"], absent, absent)
    assert (stuck.changes, stuck.has_moved) == ((), False)
    assert "is not in the run's configuration and has no `default`" in stuck.obstacles[0]
    step = next_step([adjustment(multiply_by=0.5, min=100, default=800)], MEMORY, ["load"], absent, absent)
    assert step.changes == (ConfigChange(stage="load", path=PATH, before=None, after=400),)
    assert with_changes(absent, step.changes) == {"ops": {"load": {"config": {"batch_size": 400}}}}
    assert "is no number" in next_step([HALVED], MEMORY, ["load"], config("4GB"), config("4GB")).obstacles[0]


def test_what_an_earlier_rerun_needed_stays_when_the_next_failure_is_another_one() -> None:
    pages = Adjustment.model_validate(
        {"stage": "load", "path": "ops.load.config.mode", "on": ["API_FAILURE"], "set_to": "small"}
    )
    step = next_step([HALVED, pages], a_classification(FailureType.API_FAILURE), ["load"], config(1000), config(500))
    assert [change.summary for change in step.changes] == ["mode full -> small", "batch_size 1000 -> 500"]


def test_nothing_but_the_places_is_changed_and_nothing_in_place() -> None:
    scheduled = config(1000)
    before = copy.deepcopy(scheduled)
    changed = with_changes(scheduled, [ConfigChange(stage="load", path=PATH, before=1000, after=500)])
    assert scheduled == before
    assert changed == config(500)


def test_a_configuration_that_is_not_the_planned_one_any_more_is_refused() -> None:
    with pytest.raises(Rejected, match="is `2000` in the run's configuration, where `1000` was expected"):
        with_changes(config(2000), [ConfigChange(stage="load", path=PATH, before=1000, after=500)])
    with pytest.raises(Rejected, match="`load` is no mapping"):
        with_changes({"ops": {"load": 1}}, [ConfigChange(stage="load", path=PATH, before=None, after=500)])


@pytest.mark.parametrize("value", [1, 1.0, True, "x", None])
def test_a_change_is_the_same_after_it_was_kept(value: Any) -> None:
    change = ConfigChange(stage="load", path=PATH, before=value, after=2)
    plan = Plan(repair="a", key="k", summary="s", changes=(change,))
    kept = from_json(Plan, to_json(plan))
    assert kept == plan
    assert type(kept.changes[0].before) is type(value)


def test_on_needs_no_quotes_in_the_file(tmp_path: Path) -> None:
    """YAML takes a bare `on` for true."""
    file = tmp_path / "mendline.yaml"
    file.write_text(
        "engines: {main: {kind: dagster, dagster_home: home, code: {module: trips}}}\n"
        "pipelines: {trips: {engine: main, adjustable: [{stage: a, path: b, on: [RESOURCE], set_to: 1}]}}\n"
        "notifications: {on: [resolved]}\n"
    )
    config = load_config(file)
    assert config.pipelines["trips"].adjustable[0].on == (FailureType.RESOURCE,)
    assert config.notifications.on == ("resolved",)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "exactly one of `multiply_by` and `set_to`"),
        ({"multiply_by": 0.5, "set_to": 3}, "exactly one of"),
        ({"multiply_by": 1}, "changes nothing"),
        ({"multiply_by": 0.5}, "`multiply_by: 0.5` needs `min`"),
        ({"multiply_by": 2, "min": 1}, "`multiply_by: 2` needs `max`"),
        ({"multiply_by": 2, "min": 5, "max": 4}, "`min` (5) is above `max` (4)"),
        ({"set_to": 7, "max": 4}, "`set_to` (7) is not between"),
        ({"multiply_by": 0.5, "min": 10, "default": 5}, "`default` (5) is not between"),
        ({"multiply_by": 2, "max": float("inf")}, "finite"),
        ({"multiply_by": -1, "min": 1}, "greater than 0"),
        ({"set_to": 1, "on": []}, "at least 1 item"),
        ({"set_to": 1, "path": "ops..config"}, "pattern"),
    ],
)
def test_an_adjustment_without_bounds_or_sense_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        adjustment(**values)
    assert said in str(caught.value)
