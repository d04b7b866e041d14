"""May data be changed now? The questions that come before it, whether a workflow asks or a person at a command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mendline import lineage
from mendline.config import Dataset
from mendline.engines.base import Engine
from mendline.errors import MendlineError, Unavailable
from mendline.incident import Incident
from mendline.scorecard.score import is_open
from mendline.stores.base import IncidentRecord
from mendline.tools.base import Services
from mendline.tools.verify_pipeline_stage import runs_under_way

BY_HAND_SECONDS = 600.0  # as long as one warehouse transaction may take, with its wait for the lock


def lease_of(incident: Incident) -> str:
    """The name of the lease that whoever changes an incident's pipeline or its data holds."""
    return f"pipeline:{incident.engine}/{incident.pipeline}"


def replaced_by(engine: Engine, incident: Incident) -> str | None:
    """The run of another chain that has ended since: what is landed now is its batch, not the incident's."""
    latest = engine.latest_finished(incident.run.pipeline)
    failure = incident.failures[0]
    if latest is None or latest.root_run_id == failure.root_run_id or latest.ended_at <= failure.failed_at:
        return None
    return latest.run.run_id


def stages_after(services: Services, incident: Incident, dataset: Dataset) -> tuple[str, ...]:
    """The stages that read a dataset, and what comes after them; only what is configured while the engine is away."""
    try:
        run = services.engines[incident.engine].describe(incident.run)
    except MendlineError:
        return dataset.read_by
    reading = lineage.readers(dataset, run.upstream)
    return (*reading, *run.downstream(reading))


@contextmanager
def by_hand(services: Services, record: IncidentRecord, *, is_served: bool) -> Iterator[None]:
    """Hold the incident's pipeline while a person's command changes its data.

    Two commands about one incident may hold it together: what they do is done once anyway, and one that was killed does
    not stand in the way of its repetition.

    Raises: `Unavailable` while a worker handles the incident (`is_served`: there is one), while another incident is
    repaired or a run of the pipeline is under way.
    """
    incident = record.incident
    if is_served and is_open(record):
        raise Unavailable(
            f"incident `{incident.id}` is being handled (step: {record.phase}); wait for its end "
            f"(`mendline show {incident.id}`), or stop `mendline serve` first",
            operation="change by hand",
        )
    lease, owner = lease_of(incident), f"by hand:{incident.id}"
    if not services.store.lease(lease, owner, BY_HAND_SECONDS):
        raise Unavailable(
            f"pipeline `{incident.pipeline}` is being repaired for another incident; try again when that has ended "
            "(`mendline incidents --open`)",
            operation="change by hand",
        )
    try:
        _check_idle(services.engines[incident.engine], incident)
        yield
    finally:
        services.store.release(lease, owner)


def _check_idle(engine: Engine, incident: Incident) -> None:
    """An engine that is away cannot say; the tables themselves are looked at before they are changed."""
    try:
        active = runs_under_way(engine, incident)
    except MendlineError:
        return
    if active:
        run = active[0].run_id
        raise Unavailable(
            f"run `{run}` of `{incident.pipeline}` is under way; try again when it has ended",
            operation="change by hand",
            run_id=run,
        )
