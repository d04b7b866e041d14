"""What `retry_with_backoff` reads before it plans and again before it acts, and what it makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mendline.approvals import digest
from mendline.engines.base import RunDescription
from mendline.errors import RefusedByPolicy, Unavailable
from mendline.incident import (
    Classification,
    ConfigChange,
    Declined,
    FailureType,
    Finding,
    FindingVerdict,
    LogExcerpt,
    OutcomeKind,
    Plan,
    RunRef,
)
from mendline.reruns.facts import read_facts
from mendline.reruns.safety import Safety, judge
from mendline.tools.base import ToolContext
from mendline.tools.retry_with_backoff import RetryWithBackoff
from unit.test_workflow import SERVER_ERROR, HTTPStatusError, source_down_twice
from unit.workflow_world import CONFIG, PARCELS, Freight

MORE = f"INSERT INTO raw.parcels SELECT parcel_id + 1000, sender, weight, city FROM ({PARCELS}) LIMIT 30"
ANOTHER_PIPELINE = CONFIG.replace("job: job}", "job: job}, returns: {engine: memory, job: other}").replace(
    "policy:", "  again: {pipeline: returns, warehouse: main, landing: RAW.parcels}\npolicy:"
)
API = Classification(
    type=FailureType.API_FAILURE,
    subtype="outage",
    confidence=0.9,
    evidence=(),
    recommended_next_step="check_api_status",
)
RETRY = RetryWithBackoff()


def failed(directory: Path, stage: str = "ship", config: str = CONFIG, sql: str = "") -> tuple[Freight, ToolContext]:
    """A world whose stage has failed, having executed `sql` before."""
    world = Freight(directory, config=config)

    def fail() -> None:
        if sql:
            world.sql(sql)
        raise HTTPStatusError(SERVER_ERROR)

    world.engine.work[stage] = fail
    record = world.store.incident(world.fail())
    assert record is not None
    log = LogExcerpt(source="log", lines=(), total_count=0)
    return world, ToolContext(
        services=world.services, incident=record.incident, log=log, classification=API, datasets=()
    )


def planned(context: ToolContext) -> Plan:
    plan = RETRY.plan(context)
    assert isinstance(plan, Plan), plan
    return plan


def declined(context: ToolContext) -> Declined:
    plan = RETRY.plan(context)
    assert isinstance(plan, Declined), plan
    return plan


def under_way(world: Freight, job: str = "job") -> None:
    """A run that somebody else has started and that has not ended."""
    run = world.engine.run()
    world.engine.busy = (replace(run, pipeline=job),)


def test_where_nothing_was_written_the_plan_is_as_sure_as_the_cause_and_says_why(tmp_path: Path) -> None:
    _, context = failed(tmp_path)
    plan = planned(context)
    assert (plan.confidence, plan.parameters) == (0.9, {"safety": "safe"})
    assert plan.evidence[0] == "`raw.parcels` is as the last good run left it (200 rows): nothing was written"
    assert "cannot be told" not in plan.summary


def test_rows_that_were_added_are_counted_and_a_repeat_is_declined_with_what_to_do(tmp_path: Path) -> None:
    world, context = failed(tmp_path, sql=MORE)
    refusal = declined(context)
    assert "the failed run has added 30 rows to `raw.parcels` (230 rows, 200 after the last good run" in refusal.reason
    assert refusal.needed.startswith("the 30 rows taken out of `raw.parcels`")
    world.sql("DELETE FROM raw.parcels WHERE parcel_id >= 1000")
    assert planned(context).parameters == {"safety": "safe"}, "the person has done it"


def test_a_unique_key_of_the_source_keeps_a_row_from_coming_twice_on_its_own_columns_only(tmp_path: Path) -> None:
    world, context = failed(tmp_path, sql=MORE)
    columns = "parcel_id INTEGER, sender VARCHAR, weight DECIMAL(10,2), city VARCHAR"
    world.sql("CREATE TABLE raw.kept AS FROM raw.parcels")
    for key, is_safe in (("UNIQUE (parcel_id, city)", False), ("PRIMARY KEY (parcel_id)", True)):
        world.sql(f"DROP TABLE raw.parcels; CREATE TABLE raw.parcels ({columns}, {key}, CHECK (weight > 0))")
        world.sql("INSERT INTO raw.parcels FROM raw.kept")
        assert isinstance(RETRY.plan(context), Plan) == is_safe
    assert "keeps parcel_id unique" in planned(context).evidence[0]


def test_what_a_stage_without_a_dataset_wrote_cannot_be_told_and_a_policy_with_a_minimum_does_not_act(
    tmp_path: Path,
) -> None:
    rule = (
        "rules: [{action: retry_with_backoff, type: API_FAILURE, min_confidence: 0.6, decision: auto}, {decision: ask}]"
    )
    world, context = failed(tmp_path, "bill", CONFIG.replace("rules: [{decision: auto}]", rule))
    plan = planned(context)
    assert (plan.confidence, plan.parameters) == (0.5, {"safety": "unsure"})
    assert "whether that is safe cannot be told" in plan.summary
    assert plan.evidence[0].startswith("what `bill` has written cannot be told")
    ruling = world.hands().rule_on(context.incident, plan, API, world.clock.now())
    assert ruling.decision != "auto"


def test_a_stage_that_has_not_begun_has_written_nothing(tmp_path: Path) -> None:
    _, context = failed(tmp_path, "ship")
    assert read_facts(context.incident, context.services).unknown_stages == ()


@pytest.mark.parametrize(("job", "config"), [("job", CONFIG), ("other", ANOTHER_PIPELINE)], ids=["its own", "another"])
def test_beside_a_run_that_loads_the_same_nothing_is_started(tmp_path: Path, job: str, config: str) -> None:
    world, context = failed(tmp_path, config=config)
    plan = planned(context)
    under_way(world, job)
    assert "that loads the same is under way" in planned(context).evidence[-1]
    with pytest.raises(Unavailable, match="loads the same now"):
        RETRY.apply(plan, context)
    assert not RETRY.is_done(plan, context)
    world.engine.busy = ()


def test_what_came_into_the_table_while_it_waited_is_seen_before_the_stage_runs(tmp_path: Path) -> None:
    world, context = failed(tmp_path)
    plan = planned(context)
    world.sql(MORE)
    with pytest.raises(RefusedByPolicy, match="added 30 rows"):
        RETRY.apply(plan, context)
    assert not RETRY.is_done(plan, context)


def test_a_plan_that_became_less_sure_is_made_anew_instead_of_carried_out(tmp_path: Path) -> None:
    world, context = failed(tmp_path)
    plan = planned(context)
    world.sql("UPDATE raw.parcels SET sender = 'nobody' WHERE parcel_id < 110")
    with pytest.raises(Unavailable, match="looks less safe than before"):
        RETRY.apply(plan, context)
    assert planned(replace(context, attempt=2)).parameters == {"safety": "unsure"}


def test_what_was_let_go_ahead_stays_so_when_the_step_is_repeated(tmp_path: Path) -> None:
    world, context = failed(tmp_path)
    plan = planned(context)
    receipt = RETRY.apply(plan, context)
    world.sql(MORE)  # its own re-run may have done that already
    assert RETRY.apply(plan, context) == receipt


def test_after_a_later_run_nobody_can_tell_whose_batch_is_newer(tmp_path: Path) -> None:
    world, context = failed(tmp_path)
    world.engine.work.clear()
    world.engine.run()
    plan = planned(context)
    assert plan.parameters == {"safety": "unsure"}
    assert any("has ended since" in sentence for sentence in plan.evidence)


def test_runs_that_people_started_count_against_the_budget(tmp_path: Path) -> None:
    config = CONFIG.replace("max_attempts: 5", "max_attempts: 1")
    world, context = failed(tmp_path, config=config)
    assert isinstance(RETRY.plan(context), Plan)
    world.engine.rerun_by_hand()
    assert "it was run 2 times already" in declined(context).reason
    assert "tried 2 times so far" in judge(read_facts(context.incident, context.services)).evidence


def test_the_engines_own_retries_are_told(tmp_path: Path) -> None:
    _, context = failed(tmp_path)
    (failure,) = context.incident.failures
    incident = replace(context.incident, failures=(replace(failure, attempt=4),))
    assert (
        "tried once so far (and 3 more by the engine itself)" in planned(replace(context, incident=incident)).evidence
    )


def probed(summary: str, **data: object) -> Finding:
    return Finding(tool="check_api_status", verdict=FindingVerdict.SUPPORTS, summary=summary, data=data)


def test_what_the_probe_knows_to_be_permanent_is_not_retried_and_says_what_is_needed(tmp_path: Path) -> None:
    _, context = failed(tmp_path)
    expired = probed("the certificate of `scales` has expired", permanent=True, needed="a valid certificate")
    well = probed("source `rates` answers", healthy=True, permanent=False, status=200)
    for findings in ((expired,), (expired, well)):
        refusal = declined(replace(context, findings=findings))
        assert refusal.reason == expired.summary
        assert refusal.needed == "a valid certificate"


def test_the_longest_wait_that_a_source_asks_for_counts(tmp_path: Path) -> None:
    _, context = failed(tmp_path)
    asking = tuple(probed(f"asks for {wait} s", retry_after_seconds=wait) for wait in (9.0, 2.0, None))
    assert planned(replace(context, findings=asking)).wait_seconds == 9.0


def test_a_refusal_that_names_a_time_is_waited_for(tmp_path: Path) -> None:
    _, context = failed(tmp_path)
    refused = replace(context, classification=replace(context.classification, entities={"status": ("403",)}))
    assert "HTTP 403" in declined(refused).reason
    in_a_while = probed("HTTP 403, come back in 4 s", status=403, permanent=False, retry_after_seconds=4.0)
    assert isinstance(RETRY.plan(replace(refused, findings=(in_a_while,))), Plan)


def test_a_table_whose_batch_cannot_be_told_any_more_is_not_held_safe(tmp_path: Path) -> None:
    config = CONFIG.replace("loaded_by: ship", 'loaded_by: ship\n    batch: "no_such_column = 1"')
    _, context = failed(tmp_path, config=config.replace('batch: "no_such_column = 1"', 'batch: "weight > 0"'))
    dataset = context.services.config.datasets["parcels"]
    broken = context.services.config.model_copy(
        update={"datasets": {"parcels": dataset.model_copy(update={"batch": "no_such_column = 1"})}}
    )
    judged = judge(read_facts(context.incident, replace(context.services, config=broken)))
    assert judged.safety is Safety.UNSURE


ADJUSTABLE = CONFIG.replace(
    "job: job}",
    "job: job, adjustable: [{stage: ship, path: ops.ship.config.page_size, on: [API_FAILURE], multiply_by: 0.5, min: 100}]}",
)


class Sized:
    """The pages that each run of `ship` asked for; the source answers only small ones."""

    def __init__(self, world: Freight) -> None:
        self.world, self.sizes = world, list[int]()
        world.engine.work["ship"] = self.ship
        execute = world.engine._execute

        def executed(run_id: str, stages: Any, parent: Any, config: Any, tags: Any) -> RunDescription:
            self.size = int(config["ops"]["ship"]["config"]["page_size"])
            return execute(run_id, stages, parent, config, tags)

        world.engine._execute = executed  # type: ignore[method-assign]

    def ship(self) -> None:
        self.sizes.append(self.size)
        if self.size > 300:
            raise HTTPStatusError(SERVER_ERROR)


def test_smaller_pages_step_by_step_and_the_schedule_keeps_its_own(tmp_path: Path) -> None:
    world = Freight(tmp_path, config=ADJUSTABLE)
    sized = Sized(world)
    scheduled = {"ops": {"ship": {"config": {"page_size": 1000}}}}
    plain = world.engine.run
    world.engine.run = lambda: plain(scheduled)  # type: ignore[method-assign]
    incident = world.fail()
    assert world.handle(incident).outcome is not None
    outcome = world.outcome(incident)
    assert outcome.kind is OutcomeKind.RESOLVED
    assert sized.sizes == [1000, 500, 250]
    assert [attempt.plan.changes[0].summary for attempt in outcome.attempts if attempt.plan] == [
        "page_size 1000 -> 500",
        "page_size 1000 -> 250",
    ]
    world.engine.run()
    assert sized.sizes[-1] == 1000


def test_an_approved_change_is_part_of_what_was_approved(tmp_path: Path) -> None:
    _, context = failed(tmp_path)
    plan = planned(context)
    assert digest(replace(plan, evidence=("other words",))) == digest(plan)
    assert digest(replace(plan, parameters={"safety": "unsure"})) != digest(plan)
    change = ConfigChange(stage="ship", path="ops.ship.config.page_size", before=1000, after=500)
    assert digest(replace(plan, changes=(change,))) != digest(plan)


def test_a_source_that_comes_back_is_retried_to_the_end(tmp_path: Path) -> None:
    world = Freight(tmp_path)
    source_down_twice(world)
    incident = world.fail()
    assert world.handle(incident).outcome is not None
    assert [attempt.repair for attempt in world.outcome(incident).attempts] == ["retry_with_backoff"] * 2
    assert RunRef(engine="memory", pipeline="job", run_id="run-1") == world.engine.run_chain("run-1")[0].run
