"""Tools `verify_pipeline_stage` and `reprocess_with_logging`: re-run what failed, once, and judge by what the engine says."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mendline.engines.base import TAG_ATTEMPT, TAG_INCIDENT, Engine, RunDescription, RunState
from mendline.errors import RefusedByPolicy, Unavailable
from mendline.incident import Check, Incident, Plan, RunRef, Verification, VerificationState
from mendline.reruns.adjusting import scheduled_config, with_changes
from mendline.tools.base import Services, ToolContext

NAME = "verify_pipeline_stage"
POLL_SECONDS = 0.2


def verify_pipeline_stage(
    context: ToolContext, plan: Plan, repair_checks: tuple[Check, ...], *, detailed_logging: bool = False
) -> Verification:
    """Re-run the failed stages with their downstreams and compare with how they stood before.

    fixed: every failed stage is green and every check of the repair passed. worse: a stage that was green before is not
    any more. not_fixed: everything else. A downstream stage that fails for the first time is another incident's matter
    (it could not run before), and is reported as a check that does not count against this repair.

    The plan's `changes` hold for this run alone: what an earlier attempt changed is not carried on. The run is keyed by
    incident and attempt: a repeated call waits for the first run. Raises: `Unavailable`, `Rejected` where the engine does
    not accept the changed configuration, and
    `RefusedByPolicy` when a stage that must not be repeated would run: since the plan was ruled on, the repair of another
    incident may have brought it into reach.
    """
    engine = context.services.engines[context.incident.engine]
    chain = engine.run_chain(context.incident.failures[0].root_run_id)
    before = merged_states(chain_before(chain, context))
    stages = rerun_selection(chain, context.incident, plan.rerun_stages)
    _check_repeatable(stages, context)
    _wait_until_idle(engine, context)
    rerun = engine.rerun(
        chain_before(chain, context)[-1].run,
        stages,
        key=f"{context.incident.fingerprint}:{context.attempt}",
        tags={TAG_INCIDENT: context.incident.id, TAG_ATTEMPT: str(context.attempt)},
        config=_config(chain_before(chain, context), plan, context),
        detailed_logging=detailed_logging,
        timeout_s=_timeout(context.services, context.incident),
    )
    checks = (*repair_checks, *_stage_checks(rerun, stages, context.incident.stages, before))
    return Verification(state=_state(checks, rerun), checks=checks, run_id=rerun.run.run_id)


def _config(chain: Sequence[RunDescription], plan: Plan, context: ToolContext) -> Mapping[str, Any] | None:
    """The configuration of the re-run; None for that of its parent."""
    scheduled = scheduled_config(chain, context.incident)
    if plan.changes:
        return with_changes(scheduled, plan.changes)
    return None if chain[-1].config == scheduled else scheduled


def chain_before(chain: Sequence[RunDescription], context: ToolContext) -> list[RunDescription]:
    """The runs of a chain that came before this attempt's own run (which exists when the call is a repeated one)."""
    own = {TAG_INCIDENT: context.incident.id, TAG_ATTEMPT: str(context.attempt)}
    return [run for run in chain if not own.items() <= run.tags.items()]


def merged_states(chain: Iterable[RunDescription]) -> dict[str, str]:
    """How each stage stands after all runs of a chain: the latest run that touched it counts, a skip never does."""
    states: dict[str, str] = {}
    for run in chain:
        for stage, state in run.stage_states.items():
            if state != "skipped":
                states[stage] = state
    return states


def rerun_selection(chain: Sequence[RunDescription], incident: Incident, also: Iterable[str]) -> tuple[str, ...]:
    """The stages to run again, in DAG order: the failed ones, `also`, and all that wait for them.

    Left out are stages that failed for another reason, with everything behind them: those belong to another incident,
    and they run when that one is repaired. With no failed stage known, everything that is not green is run.
    """
    shape, states = chain[0], merged_states(chain)
    wanted = tuple(incident.stages) or tuple(stage for stage in shape.upstream if states.get(stage) != "succeeded")
    first = (*wanted, *also)
    others = tuple(
        stage for stage, state in states.items() if state == "failed" and stage not in wanted and stage not in also
    )
    blocked = {*others, *shape.downstream(others)} - set(wanted)
    chosen = ({*first, *shape.downstream(first)}) - blocked
    return tuple(stage for stage in shape.upstream if stage in chosen)


def _stage_checks(
    rerun: RunDescription, stages: tuple[str, ...], failed: tuple[str, ...], before: dict[str, str]
) -> tuple[Check, ...]:
    checks = []
    for stage in stages:
        state = rerun.stage_states.get(stage, "not run")
        was = before.get(stage, "not run")
        if stage in failed or not failed:
            checks.append(Check(name=f"stage {stage} is green", passed=state == "succeeded", detail=state))
        elif was == "succeeded":
            checks.append(Check(name=f"stage {stage} is still green", passed=state == "succeeded", detail=state))
        else:
            detail = "" if state == "succeeded" else f"{state}; it could not run before, a matter of its own"
            checks.append(Check(name=f"downstream {stage} ran", passed=True, detail=detail))
    return tuple(checks)


def _state(checks: tuple[Check, ...], rerun: RunDescription) -> VerificationState:
    failed = [check for check in checks if not check.passed]
    if not failed:
        return VerificationState.FIXED
    was_skipped = all("skipped" in check.detail or "not run" in check.detail for check in failed)
    if any("still green" in check.name for check in failed) and not was_skipped and rerun.state is not RunState.LOST:
        return VerificationState.WORSE
    return VerificationState.NOT_FIXED


def _check_repeatable(stages: tuple[str, ...], context: ToolContext) -> None:
    forbidden = context.services.config.pipelines[context.incident.pipeline].never_rerun
    never = [stage for stage in stages if stage in forbidden]
    if never:
        raise RefusedByPolicy(f"`never_rerun` forbids running {', '.join(never)} again", operation="rerun")


def _wait_until_idle(engine: Engine, context: ToolContext) -> None:
    """Wait until no run of the pipeline is under way but this attempt's own (there is one when the call is a repeated one)."""
    deadline = time.monotonic() + _timeout(context.services, context.incident)
    while busy := [run for run in runs_under_way(engine, context.incident) if not _is_own(engine, run, context)]:
        if time.monotonic() > deadline:
            raise Unavailable(
                f"run `{busy[0].run_id}` of `{busy[0].pipeline}` has not ended, so its stages were not re-run beside it",
                system=engine.name,
                operation="rerun",
                run_id=busy[0].run_id,
            )
        time.sleep(POLL_SECONDS)


def runs_under_way(engine: Engine, incident: Incident) -> list[RunRef]:
    """The runs of the incident's pipeline that wait or run now, whoever started them."""
    return [run for run in engine.active_runs() if run.pipeline == incident.run.pipeline]


def _is_own(engine: Engine, run: RunRef, context: ToolContext) -> bool:
    own = {TAG_INCIDENT: context.incident.id, TAG_ATTEMPT: str(context.attempt)}
    return own.items() <= engine.describe(run).tags.items()


def _timeout(services: Services, incident: Incident) -> float:
    return services.config.engines[incident.engine].rerun_timeout_seconds
