"""What the workflow handles an incident with: every step's work, given the built parts. No order of things in here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from mendline import approvals, lineage
from mendline.classify import log_reader, verdict
from mendline.classify.prompt import NoAnswer
from mendline.contracts import contract_of
from mendline.engines.base import TAG_INCIDENT, Engine, RunState
from mendline.errors import MendlineError, RefusedByPolicy, Unavailable
from mendline.history import read_history
from mendline.incident import (
    Advice,
    Answer,
    Attempt,
    Classification,
    Declined,
    Diagnosis,
    Evidence,
    FailureKind,
    FailureType,
    Finding,
    Incident,
    LogExcerpt,
    LogLine,
    Outcome,
    OutcomeKind,
    Plan,
    Receipt,
    RunRef,
    Verification,
)
from mendline.intervention import lease_of, replaced_by
from mendline.investigation import Investigator, Probe
from mendline.playbook import WITH_LOGGING, Playbook
from mendline.policy import Ruling, Situation, decide
from mendline.redaction import Redactor, tame
from mendline.report import headline
from mendline.reruns.kept_log import extent, kept_log
from mendline.snapshots import remember
from mendline.stores.base import Approval
from mendline.tools import escalate
from mendline.tools import verify_pipeline_stage as verifying
from mendline.tools.base import Diagnostic, Repair, Services, ToolContext
from mendline.tools.retrieve_logs import WATCH, retrieve_logs

LEASE_MARGIN_SECONDS = 600.0  # beside the re-run itself: planning, waiting for locks, checks
WATCHED = 0.95  # a contract check that was counted, not inferred from words
_NO_BELIEF = Classification(
    type=FailureType.UNKNOWN, subtype="not_handled", confidence=0.0, evidence=(), recommended_next_step="escalate"
)
NOTHING_KNOWN = Diagnosis(
    log=LogExcerpt(source="none", lines=(), total_count=0), believed=_NO_BELIEF, settled=_NO_BELIEF, findings=()
)


@dataclass(frozen=True, kw_only=True)
class Hands:
    """The work of each step of the workflow. Stateless: everything remembered is in the store or in the world."""

    services: Services
    playbook: Playbook
    diagnostics: Mapping[str, Diagnostic]
    repairs: Mapping[str, Repair]
    redactor: Redactor
    deliver: Callable[[Incident, LogExcerpt, Outcome], str]
    investigator: Investigator | None = None  # None: no model is configured

    @property
    def max_attempts(self) -> int:
        """Repairs that may be tried per incident, unless a plan asks for its own number."""
        return self.services.config.policy.max_attempts

    def engine(self, incident: Incident) -> Engine:
        return self.services.engines[incident.engine]

    def incident(self, incident_id: str) -> Incident:
        record = self.services.store.incident(incident_id)
        if record is None:
            raise Unavailable(f"incident `{incident_id}` is not in the store yet", system="store", operation="open")
        return record.incident

    def set_phase(self, incident: Incident, phase: str) -> None:
        self.services.store.set_phase(incident.id, phase)

    def recovered_by(self, incident: Incident) -> RunRef | None:
        """The run, started by somebody else, in which every failed stage has passed since; None when there is none."""
        if not incident.stages or incident.failures[0].kind is FailureKind.BAD_DATA:
            return None
        chain = self.engine(incident).run_chain(incident.failures[0].root_run_id)
        states = verifying.merged_states(chain)
        later = chain[-1]
        if later.run.run_id == incident.run.run_id or TAG_INCIDENT in later.tags:
            return None
        return later.run if all(states.get(stage) == "succeeded" for stage in incident.stages) else None

    def latest_run(self, incident: Incident) -> RunRef:
        """The newest run of the chain in which a failed stage began: its log is the one to read."""
        for run in reversed(self.engine(incident).run_chain(incident.failures[0].root_run_id)):
            if any(run.stage_states.get(stage) == "failed" for stage in incident.stages):
                return run.run
        return incident.run

    def retrieve_logs(self, incident: Incident, run: RunRef) -> LogExcerpt:
        self.set_phase(incident, "reading logs")
        source, lines = retrieve_logs(self.engine(incident), incident.failures[0], run, self.redactor)
        if source == WATCH:
            kept = tuple(LogLine(number=number, text=text) for number, text in enumerate(lines, start=1))
            return LogExcerpt(source=source, lines=kept, total_count=len(kept))
        return log_reader.read(lines, source=source).excerpt

    def classify(self, incident: Incident, log: LogExcerpt) -> Classification:
        """What the log says; for what the data watch counted itself, and for a lost process, what that says."""
        failure = incident.failures[0]
        if failure.kind is FailureKind.BAD_DATA:
            quotes = tuple(Evidence(line=line.number, quote=line.text, source=log.source) for line in log.lines)
            return Classification(
                type=FailureType.DATA_QUALITY,
                subtype="contract_violated",
                confidence=WATCHED,
                evidence=quotes,
                recommended_next_step="profile_failed_batch",
            )
        return verdict.classify(log, hints={"kind": failure.kind.value})

    def second_opinion(self, incident: Incident, log: LogExcerpt, read: Classification) -> Advice:
        """A model's verdict on a log that the rules are unsure of; nothing where no model is configured."""
        if self.investigator is None:
            return Advice()
        return self.investigator.second_opinion(incident.id, log, read)

    def investigate(self, incident: Incident, diagnosis: Diagnosis, number: int) -> Advice:
        """A model's verdict after the evidence, where it left doubt; it may call for the diagnostics of the registry."""
        if self.investigator is None:
            return Advice()
        return self.investigator.investigate(incident.id, diagnosis, self._probes(incident, diagnosis, number))

    def _probes(self, incident: Incident, diagnosis: Diagnosis, number: int) -> tuple[Probe, ...]:
        context = self.context(incident, diagnosis.log, diagnosis.believed, number)
        return tuple(self._probe(name, context) for name in self.diagnostics if self.playbook.types_of(name))

    def _probe(self, name: str, context: ToolContext) -> Probe:
        """A diagnostic about the cause that it serves, about one dataset or all that are involved."""
        kind = self.playbook.types_of(name)[0]
        known = {context.classification.type: context.classification.confidence}
        known |= {other.type: other.confidence for other in context.classification.alternatives}
        belief = replace(context.classification, type=kind, subtype="", confidence=known.get(kind, 0.0))

        def run(dataset: str | None) -> tuple[Finding, ...]:
            wanted = tuple(d for d in context.datasets if dataset in (None, d.name))
            return self.ask(name, replace(context, classification=belief, datasets=wanted))

        about = inspect.getdoc(type(self.diagnostics[name])) or name
        return Probe(name=name, description=about, datasets=tuple(d.name for d in context.datasets), run=run)

    def choose(self, incident: Incident, diagnosis: Diagnosis, offered: Sequence[Plan]) -> int:
        """The place of the plan to try first among those that the playbook and the code offer."""
        return 0 if self.investigator is None else self.investigator.choose(incident.id, diagnosis, offered)

    def narrate(
        self, incident: Incident, diagnosis: Diagnosis, outcome: Outcome, remarks: tuple[str, ...] = ()
    ) -> Outcome:
        """The outcome with a model's story of it, and with what the model cost; unchanged where none is configured."""
        if self.investigator is None:
            return outcome
        try:
            told = self.investigator.narrate(incident.id, diagnosis.log, outcome)
        except NoAnswer as error:
            told, remarks = (), (*remarks, error.reason)
        clean = tuple(replace(sentence, text=self.redactor.redact(sentence.text)) for sentence in told)
        return replace(outcome, narrative=clean, model=self.investigator.use(incident.id, remarks))

    def context(self, incident: Incident, log: LogExcerpt, belief: Classification, attempt: int) -> ToolContext:
        """What the tools may know; datasets ordered by how well they can explain the failure."""
        upstream = self.engine(incident).describe(incident.run).upstream
        datasets = self.services.config.pipeline_datasets(incident.pipeline)
        named = tuple(name for failure in incident.failures for name in failure.datasets)
        if named:
            involved = tuple(dataset for dataset in datasets if dataset.name in named)
        else:
            involved = lineage.involved_datasets(datasets, incident.stages, upstream, log.text)
        return ToolContext(
            services=self.services,
            incident=incident,
            log=log,
            classification=belief,
            datasets=involved,
            attempt=attempt,
            options={"upstream": upstream},
        )

    def ask(self, diagnostic: str, context: ToolContext) -> tuple[Finding, ...]:
        """The findings of one diagnostic; what they quote of the data is redacted like a log."""
        found = self.diagnostics[diagnostic].run(context)
        return tuple(replace(finding, summary=self.redactor.redact(finding.summary)) for finding in found)

    def plan(self, incident: Incident, diagnosis: Diagnosis, repair: str, number: int) -> Plan | Declined:
        """What a repair would do; with the stages that must run again because they read the dataset that it changes."""
        plan = self.repairs[repair].plan(self._repairing(incident, diagnosis, number))
        if isinstance(plan, Declined) or plan.dataset is None or diagnosis.settled.type is not FailureType.DATA_QUALITY:
            return plan
        upstream = self.engine(incident).describe(incident.run).upstream
        reading = lineage.readers(self.services.config.datasets[plan.dataset], upstream)
        return replace(plan, rerun_stages=tuple(dict.fromkeys((*plan.rerun_stages, *reading))))

    def rule_on(self, incident: Incident, plan: Plan, belief: Classification, now: datetime) -> Ruling:
        """The gate: the policy's word, and before it the stages that may never run again."""
        stages = self._stages_to_run(incident, plan)
        never = [s for s in stages if s in self.services.config.pipelines[incident.pipeline].never_rerun]
        if never:
            return Ruling(decision="off", reason=f"`never_rerun` forbids running {', '.join(never)} again")
        if plan.dataset is not None and (later := replaced_by(self.engine(incident), incident)):
            return Ruling(decision="off", reason=f"run `{later}` has replaced the data that this would repair")
        policy = self.services.config.policy
        situation = Situation(
            pipeline=incident.pipeline,
            stages=incident.stages,
            catalogue=frozenset(self.repairs),
            now=now,
            history=read_history(self.services.store, now, policy.breaker.days),
        )
        return decide(policy, plan, belief, situation)

    def _stages_to_run(self, incident: Incident, plan: Plan) -> tuple[str, ...]:
        chain = self.engine(incident).run_chain(incident.failures[0].root_run_id)
        return verifying.rerun_selection(chain, incident, plan.rerun_stages)

    def ask_person(self, incident: Incident, plan: Plan, reason: str, number: int, now: datetime) -> Approval:
        """Keep the question whether a plan may run, the `number`-th of its incident; gives the one that stands."""
        shown = approvals.digest(plan)
        return self.services.store.put_approval(
            Approval(
                key=f"{incident.id}:{incident.fingerprint[:12]}:{number}:{shown}",
                incident_id=incident.id,
                plan=plan,
                digest=shown,
                reason=reason,
                stages=self._stages_to_run(incident, plan),
                asked_at=now,
                expires_at=now + timedelta(hours=self.services.config.policy.approval_expires_hours),
            )
        )

    def announce(
        self,
        incident: Incident,
        diagnosis: Diagnosis,
        asked: Approval,
        attempts: tuple[Attempt, ...],
        seconds: Mapping[str, float],
    ) -> None:
        """Tell people that a plan waits for them; the record shows it until the incident ends."""
        kind = OutcomeKind.AWAITING_APPROVAL
        outcome = self.outcome(incident, kind, diagnosis, attempts, seconds)
        self.set_phase(incident, approvals.WAITING)
        self.conclude(incident, diagnosis.log, replace(outcome, recommended=approvals.request(asked)))

    def answer_to(self, asked: Approval, now: datetime) -> Approval:
        """The question with its answer, "expired" when its time is over; without one while it waits."""
        standing = self.services.store.put_approval(asked)
        if standing.answer is None and now >= standing.expires_at:
            standing = self.services.store.answer_approval(asked.key, Answer(decision="expired", by="", at=now))
        return standing

    def withdraw(self, asked: Approval, now: datetime) -> Approval:
        """Take a question back, unless it was answered."""
        return self.services.store.answer_approval(asked.key, Answer(decision="withdrawn", by="", at=now))

    def apply(self, incident: Incident, diagnosis: Diagnosis, plan: Plan, number: int) -> Receipt:
        self._keep_hold(incident)
        self._shut_out(plan.key, plan.dataset)
        if plan.dataset is not None and (later := replaced_by(self.engine(incident), incident)):
            raise RefusedByPolicy(f"run `{later}` has replaced the data meanwhile", operation="apply", run_id=later)
        return self.repairs[plan.repair].apply(plan, self._repairing(incident, diagnosis, number))

    def _shut_out(self, key: str, dataset: str | None) -> None:
        """Keep a worker that was stopped before this effect from having it later, where there may be such a one."""
        config = self.services.config
        if config.server_url is not None and dataset is not None:
            self.services.ledger.raise_fence(key, self.services.warehouses[config.datasets[dataset].warehouse])

    def landed(self, incident: Incident, diagnosis: Diagnosis, plan: Plan, number: int) -> Receipt | None:
        """The receipt of an effect that is there although `apply` failed; None when nothing was done. Asks no engine."""
        repair, context = self.repairs[plan.repair], self._without_engine(incident, diagnosis, number)
        return repair.apply(plan, context) if repair.is_done(plan, context) else None

    def undo(self, incident: Incident, diagnosis: Diagnosis, receipt: Receipt, number: int) -> None:
        """Take a repair back, also when the engine is what went away.

        Raises: `Unavailable` while a run that this incident started goes on: nothing is pulled from under it.
        """
        self._keep_hold(incident)
        own = self._own_run(incident)
        if own is not None:
            raise Unavailable(f"its re-run `{own.run_id}` has not ended", operation="undo", run_id=own.run_id)
        self.repairs[receipt.repair].undo(receipt, self._without_engine(incident, diagnosis, number))

    def _own_run(self, incident: Incident) -> RunRef | None:
        """A run of this incident's that has not ended; None when there is none, and when the engine cannot say."""
        engine = self.engine(incident)
        try:
            active = verifying.runs_under_way(engine, incident)
            return next((run for run in active if engine.describe(run).tags.get(TAG_INCIDENT) == incident.id), None)
        except MendlineError:
            return None

    def _repairing(self, incident: Incident, diagnosis: Diagnosis, number: int) -> ToolContext:
        context = self.context(incident, diagnosis.log, diagnosis.settled, number)
        return replace(context, findings=diagnosis.findings)

    def _without_engine(self, incident: Incident, diagnosis: Diagnosis, number: int) -> ToolContext:
        return ToolContext(
            services=self.services,
            incident=incident,
            log=diagnosis.log,
            classification=diagnosis.settled,
            datasets=self.services.config.pipeline_datasets(incident.pipeline),
            findings=diagnosis.findings,
            attempt=number,
        )

    def hold(self, incident: Incident) -> bool:
        """Take or renew the pipeline's lease, for longer than one repair may take; False while another incident has it."""
        self.set_phase(incident, "repairing")
        timeout_s = self.services.config.engines[incident.engine].rerun_timeout_seconds
        seconds = LEASE_MARGIN_SECONDS + 2 * timeout_s  # waiting for other runs to end, and the re-run
        return self.services.store.lease(lease_of(incident), incident.fingerprint, seconds)

    def _keep_hold(self, incident: Incident) -> None:
        """Renew the lease: while this process was down it may have run out and gone to another incident."""
        if not self.hold(incident):
            raise Unavailable(f"another incident is repairing `{incident.pipeline}`", system="store", operation="lease")

    def let_go(self, incident: Incident) -> None:
        self.services.store.release(lease_of(incident), incident.fingerprint)

    def verify(
        self, incident: Incident, diagnosis: Diagnosis, plan: Plan, receipt: Receipt, verifier: str, number: int
    ) -> Verification:
        """The repair's own checks, then the re-run and what the engine says of it."""
        self._keep_hold(incident)
        self.set_phase(incident, "verifying")
        context = self._repairing(incident, diagnosis, number)
        checks = self.repairs[plan.repair].verify(plan, receipt, context)
        detailed = verifier == WITH_LOGGING
        return verifying.verify_pipeline_stage(context, plan, checks, detailed_logging=detailed)

    def keep_log(self, incident: Incident, run_id: str) -> str:
        """Keep the redacted log of a re-run with its incident, once; how much of it was kept, in words."""
        run = replace(incident.run, engine=incident.engine, run_id=run_id)
        lines = self.redactor.redact_lines(map(tame, self.engine(incident).logs(run, None)))
        return extent(self.services.store.keep_log(kept_log(incident.id, run_id, tuple(lines), datetime.now(UTC))))

    def remember_good(self, incident: Incident) -> None:
        """Take the last-good snapshots once the whole chain of runs is green."""
        chain = self.engine(incident).run_chain(incident.failures[0].root_run_id)
        states = verifying.merged_states(chain)
        if chain[-1].state is RunState.SUCCEEDED and all(states.get(s) == "succeeded" for s in chain[0].upstream):
            for dataset in self.services.config.pipeline_datasets(incident.pipeline):
                remember(dataset, chain[-1].run.run_id, self.services)

    def outcome(
        self,
        incident: Incident,
        kind: OutcomeKind,
        diagnosis: Diagnosis,
        attempts: tuple[Attempt, ...],
        seconds: Mapping[str, float],
        trouble: str = "",
    ) -> Outcome:
        """Put together what is recorded and reported; `trouble` is why Mendline could not go on, "" when it could."""
        settled = diagnosis.settled
        recommended = {
            OutcomeKind.RESOLVED: escalate.after_repair(attempts),
            OutcomeKind.RECOVERED: "Nothing: the stages have passed since, without Mendline.",
        }.get(kind) or escalate.recommend(settled, diagnosis.findings, attempts)
        if trouble:
            recommended = f"Mendline could not finish: {trouble}. {recommended}"
        noticed = (incident.opened_at - incident.failures[0].failed_at).total_seconds()
        draft = Outcome(
            kind=kind,
            headline="",
            classification=settled,
            findings=diagnosis.findings,
            attempts=attempts,
            recommended=recommended,
            runbook=self.runbook(incident, diagnosis),
            ended_at=datetime.now(UTC),
            seconds={"notice": max(0.0, noticed), **seconds},
        )
        return replace(draft, headline=headline(incident, draft))

    def runbook(self, incident: Incident, diagnosis: Diagnosis) -> str | None:
        """The dataset's runbook where one is involved, else the pipeline's; None when neither has one."""
        config = self.services.config
        for finding in diagnosis.findings:
            dataset = config.datasets.get(finding.dataset or "")
            if dataset is None:
                continue
            if dataset.runbook:
                return dataset.runbook
            contract = contract_of(dataset, config, self.services.warehouses[dataset.warehouse].dialect)
            if contract is not None and contract.runbook:
                return contract.runbook
        return config.pipelines[incident.pipeline].runbook

    def conclude(self, incident: Incident, log: LogExcerpt, outcome: Outcome) -> None:
        """Write the report, record the outcome, tell people: in that order, so that a crash repeats a notice at worst."""
        report = self.deliver(incident, log, outcome)
        self.services.store.close_incident(incident.id, outcome, report)

    def give_up(self, incident: Incident, reason: str, attempts: tuple[Attempt, ...] = ()) -> None:
        """End an incident that Mendline itself could not handle: a person is called, with the reason."""
        outcome = self.outcome(incident, OutcomeKind.ESCALATED, NOTHING_KNOWN, attempts, {}, reason)
        self.conclude(incident, NOTHING_KNOWN.log, outcome)
