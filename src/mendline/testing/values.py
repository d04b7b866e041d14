"""Small, complete values for tests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from mendline.incident import (
    Attempt,
    Check,
    Classification,
    Failure,
    FailureKind,
    FailureType,
    Incident,
    Outcome,
    OutcomeKind,
    Plan,
    Receipt,
    RunRef,
    Verification,
    VerificationState,
)
from mendline.stores.base import Feedback, IncidentRecord

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def an_incident(
    fingerprint: str = "cause", *, incident_id: str = "", failed_at: datetime = NOON, message: str = ""
) -> Incident:
    """An incident of one failed stage, opened five seconds after it failed."""
    run = RunRef(engine="engine", pipeline="pipeline", run_id="run")
    failure = Failure(
        run=run,
        root_run_id="run",
        stage="stage",
        kind=FailureKind.STAGE_FAILED,
        failed_at=failed_at,
        message=message,
    )
    return Incident(
        id=incident_id,
        fingerprint=fingerprint,
        engine="engine",
        pipeline="pipeline",
        failures=(failure,),
        opened_at=failed_at + timedelta(seconds=5),
    )


def a_classification(type: FailureType = FailureType.SCHEMA_CHANGE, confidence: float = 0.9) -> Classification:  # noqa: A002
    """A belief without evidence."""
    return Classification(type=type, subtype="", confidence=confidence, evidence=(), recommended_next_step="escalate")


def an_attempt(
    repair: str = "a_repair",
    *,
    state: VerificationState | None = VerificationState.FIXED,
    applied: bool = True,
    undone: bool = False,
) -> Attempt:
    """A repair that was decided `auto`; applied and verified as told."""
    plan = Plan(repair=repair, key=f"key of {repair}", summary="does it")
    receipt = Receipt(repair=repair, key=plan.key, applied_at=NOON, summary="did it")
    verification = None if state is None else Verification(state=state, checks=(Check(name="run", passed=True),))
    return Attempt(
        repair=repair,
        decision="auto",
        reason="a rule",
        plan=plan,
        receipt=receipt if applied else None,
        verification=verification,
        undone=undone,
    )


def an_outcome(
    kind: OutcomeKind = OutcomeKind.RESOLVED,
    *,
    classification: Classification | None = None,
    attempts: Iterable[Attempt] = (),
    ended_at: datetime = NOON + timedelta(seconds=60),
    seconds: dict[str, float] | None = None,
) -> Outcome:
    """An outcome that ended a minute after noon."""
    return Outcome(
        kind=kind,
        headline="what broke",
        classification=classification or a_classification(),
        findings=(),
        attempts=tuple(attempts),
        recommended="nothing",
        runbook=None,
        ended_at=ended_at,
        seconds=seconds or {},
    )


def a_record(
    outcome: Outcome | None,
    *,
    incident_id: str = "1",
    feedback: Iterable[Feedback] = (),
    failed_at: datetime = NOON,
) -> IncidentRecord:
    """One incident's record."""
    return IncidentRecord(
        incident=an_incident(f"cause {incident_id}", incident_id=incident_id, failed_at=failed_at),
        phase="reported",
        updated_at=NOON,
        outcome=outcome,
        feedback=tuple(feedback),
    )
