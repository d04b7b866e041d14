"""From a finished run to incidents: what failed, what belongs together, what is already known."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from mendline import lineage
from mendline.config import Dataset
from mendline.engines.base import TAG_INCIDENT, FinishedRun, RunDescription, RunState
from mendline.errors import MendlineError, Rejected, Unavailable
from mendline.incident import Failure, FailureKind, Incident, OutcomeKind
from mendline.monitor.correlation import correlate, fingerprint
from mendline.monitor.data_quality import watch
from mendline.redaction import Redactor, tame
from mendline.snapshots import remember
from mendline.tools.base import Services

LOG = logging.getLogger("mendline")


@dataclass(frozen=True, kw_only=True)
class Intake:
    """Opens incidents for finished runs. Idempotent: the same run seen twice opens nothing new."""

    services: Services
    start: Callable[[str], None]  # starts the workflow of an incident id; repeatable
    redactor: Redactor = field(default_factory=Redactor)

    def on_run(self, run: FinishedRun) -> None:
        """Handle one finished run of any pipeline of an engine; runs of unwatched jobs are left alone.

        Raises: `Unavailable` when something needed for it is away; then the run must be handed in again.
        """
        pipeline = self.services.config.pipeline_of_job(run.run.engine, run.run.pipeline)
        if pipeline is None:
            return
        if run.state is RunState.SUCCEEDED:
            if TAG_INCIDENT not in run.tags and self._left_the_data(run):
                self._succeeded(run, pipeline)
            return
        if run.state in (RunState.FAILED, RunState.LOST):
            description = self._description(run)
            news = tuple(self._clean(failure) for failure in self._news(run))
            for failures in correlate(replace(run, failures=news), description):
                self._open(pipeline, failures)

    def _left_the_data(self, run: FinishedRun) -> bool:
        """Whether what is in the warehouse is this run's: after a pause of ours, a later run may have landed another batch."""
        latest = self.services.engines[run.run.engine].latest_finished(run.run.pipeline)
        return latest is None or latest.run == run.run

    def take_up(self, pipeline: str) -> None:
        """Begin with a pipeline as it stands: remember what is good, where nothing is remembered yet, or take on its failure.

        Only the run that ended last says anything about the data that is there now. A failure older than
        `monitor.look_back_hours` is left alone. Repeatable: a failure that is known opens nothing new.
        """
        config = self.services.config
        settings = config.pipelines[pipeline]
        latest = self.services.engines[settings.engine].latest_finished(settings.job or pipeline)
        if latest is None:
            return
        if latest.state is not RunState.SUCCEEDED:
            if datetime.now(UTC) - latest.ended_at <= timedelta(hours=config.monitor.look_back_hours):
                self.on_run(latest)
            return
        for dataset in config.pipeline_datasets(pipeline):
            if not self.services.store.snapshots(dataset.name, limit=1):
                remember(dataset, latest.run.run_id, self.services)

    def _description(self, run: FinishedRun) -> RunDescription:
        """The run in full; one that was deleted since is known by its failures alone, which still need a person."""
        try:
            return self.services.engines[run.run.engine].describe(run.run)
        except Rejected as error:
            LOG.warning("run `%s` cannot be described: %s", run.run.run_id, error)
            return RunDescription(
                run=run.run,
                root_run_id=run.root_run_id,
                parent_run_id=None,
                state=run.state,
                upstream={},
                stage_states={},
                config={},
                tags=run.tags,
            )

    def _news(self, run: FinishedRun) -> tuple[Failure, ...]:
        """The failures that are not just one of our own re-runs failing again in the stage it was made for."""
        record = self.services.store.incident(run.tags.get(TAG_INCIDENT, ""))
        known = record.incident.stages if record else ()
        return tuple(failure for failure in run.failures if failure.stage is None or failure.stage not in known)

    def _succeeded(self, run: FinishedRun, pipeline: str) -> None:
        config = self.services.config
        datasets = config.pipeline_datasets(pipeline)
        bad = [failure for dataset in datasets if (failure := self._bad_data(run, dataset)) is not None]
        for failure in bad:
            self._open(pipeline, (self._clean(failure),))
        if not bad:
            for dataset in datasets:
                remember(dataset, run.run.run_id, self.services)

    def _bad_data(self, run: FinishedRun, dataset: Dataset) -> Failure | None:
        if not self.services.config.monitor.watch_quality or dataset.contract is None:
            return None
        try:
            violations = watch(dataset, self.services)
        except Unavailable:
            raise
        except MendlineError as error:  # one dataset that cannot be checked must not hold up the run's others
            LOG.warning("`%s` was not checked: %s", dataset.name, error)
            return None
        if not violations:
            return None
        description = self.services.engines[run.run.engine].describe(run.run)
        return Failure(
            run=run.run,
            root_run_id=run.root_run_id,
            stage=_first_reader(dataset, description),
            kind=FailureKind.BAD_DATA,
            failed_at=run.ended_at,
            error_class="ContractViolated",
            message="\n".join(violation.sentence for violation in violations),
            datasets=(dataset.name,),
        )

    def _open(self, pipeline: str, failures: tuple[Failure, ...]) -> None:
        if not failures:
            return
        mark = fingerprint(failures)
        incident = self._opened(pipeline, failures, mark)
        if self._is_over(incident, failures):
            again = hashlib.sha256(f"{mark} again in {failures[0].run.run_id}".encode()).hexdigest()[:32]
            incident = self._opened(pipeline, failures, again)
        self.start(incident.id)

    def _opened(self, pipeline: str, failures: tuple[Failure, ...], mark: str) -> Incident:
        found = self.services.store.open_incident(
            Incident(
                id="",
                fingerprint=mark,
                engine=failures[0].run.engine,
                pipeline=pipeline,
                failures=failures,
                opened_at=datetime.now(UTC),
            )
        )
        return found.incident

    def _is_over(self, incident: Incident, failures: tuple[Failure, ...]) -> bool:
        """Whether the incident was closed as healed before these failures: then nobody is at work on them."""
        record = self.services.store.incident(incident.id)
        outcome = record.outcome if record else None
        if outcome is None or outcome.kind not in (OutcomeKind.RESOLVED, OutcomeKind.RECOVERED):
            return False
        return failures[0].failed_at > outcome.ended_at

    def _clean(self, failure: Failure) -> Failure:
        """What an engine recorded as it may be kept: errors quote connection strings and whatever the data held."""
        message = self.redactor.redact(tame(failure.message))
        return replace(failure, message=message, error_class=self.redactor.redact(tame(failure.error_class)))


def _first_reader(dataset: Dataset, description: RunDescription) -> str | None:
    reading = lineage.readers(dataset, description.upstream)
    ran = [stage for stage in description.upstream if stage in reading]
    return ran[0] if ran else dataset.loaded_by
