"""Build the parts from the configuration; the calls that every surface shares."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from mendline import approvals, registry
from mendline.checkup import examine_dataset
from mendline.classify.model import LanguageModel
from mendline.config import Config, Dataset, Model
from mendline.durable import Durable, is_in_use
from mendline.engines.base import Engine
from mendline.errors import InputError, MendlineError, RefusedByPolicy, Superseded
from mendline.hands import Hands
from mendline.incident import (
    Answer,
    Classification,
    Declined,
    Failure,
    FailureKind,
    FailureType,
    Finding,
    Incident,
    LogExcerpt,
    Plan,
    Receipt,
)
from mendline.investigation import Investigator
from mendline.ledger import Ledger
from mendline.monitor.intake import Intake
from mendline.monitor.polling import Poller
from mendline.notifiers.delivery import Delivery
from mendline.playbook import NOT_REPAIRS, Playbook, load_playbook
from mendline.policy import require_known, sentences
from mendline.redaction import Redactor
from mendline.scorecard.metrics import serve_metrics
from mendline.spending import Purse
from mendline.steps import Steps
from mendline.stores.base import Approval, IncidentRecord, Store, existing
from mendline.stores.sql import SqlStore
from mendline.tools.base import Diagnostic, Repair, Services, ToolContext
from mendline.warehouses.base import Warehouse
from mendline.workers import Pace, Worker
from mendline.workflow import handle_incident

LOG = logging.getLogger("mendline")
WORKFLOW = "incident"
AWAY_SECONDS = 2.0
POLL_LEASE_SECONDS = 600.0  # given back after each poll, and by whoever buries the worker
EVERY = 10_000_000


class App:
    """Mendline, built for one configuration. Opening it touches only its own state directory."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.directory = config.path(config.state.directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.store = SqlStore(config.state_url)
        self.engines: Mapping[str, Engine] = {
            name: registry.load("engines", item.kind)(name, item, root=config.root)
            for name, item in config.engines.items()
        }
        self.warehouses: Mapping[str, Warehouse] = {
            name: registry.load("warehouses", item.kind)(name, item, root=config.root)
            for name, item in config.warehouses.items()
        }
        self.services = Services(
            config=config,
            engines=self.engines,
            warehouses=self.warehouses,
            store=self.store,
            ledger=Ledger(store=self.store, now=lambda: datetime.now(UTC)),
        )
        tools = [plugin() for plugin in registry.load_all("tools").values()]
        self.diagnostics = {tool.name: tool for tool in tools if isinstance(tool, Diagnostic)}
        self.repairs = {tool.name: tool for tool in tools if isinstance(tool, Repair)}
        require_known(config.policy, frozenset(self.repairs) | NOT_REPAIRS)
        playbook = load_playbook(config.path(config.playbook) if config.playbook else None)
        redactor = Redactor(config.redaction.patterns)
        self.hands = Hands(
            services=self.services,
            playbook=playbook,
            diagnostics=self.diagnostics,
            repairs=self.repairs,
            redactor=redactor,
            deliver=Delivery(config.notifications).deliver,
            investigator=investigator(config, self.store, playbook, redactor),
        )

    @classmethod
    def from_config(cls, config: Config) -> App:
        return cls(config)

    def close(self) -> None:
        """Release engines, warehouses and the store. Twice is once."""
        for engine in self.engines.values():
            engine.close()
        for warehouse in self.warehouses.values():
            warehouse.close()
        self.store.close()

    def check(self) -> tuple[str, ...]:
        """Try every connection; one sentence per thing that Mendline may do. Raises on the first that fails."""
        said: list[str] = []
        for engine in self.engines.values():
            said.extend(engine.check())
        for warehouse in self.warehouses.values():
            said.extend(warehouse.check())
        said.extend(examine_dataset(dataset, self.services) for dataset in self.config.datasets.values())
        if self.config.model is not None:
            said.append(_model_line(self.config.model))
        return (*said, *(f"policy: {sentence}" for sentence in sentences(self.config.policy)))

    def is_served(self) -> bool:
        """Whether a process handles the incidents of this state now."""
        if self.config.server_url is None:
            return is_in_use(self.directory)
        self.store.bury_workers(self.config.state.lost_after_seconds)
        return bool(self.store.workers())

    def serve(self, stop: threading.Event) -> None:
        """Watch and work until `stop` is set; what is unfinished then goes on at the next start, or in another worker.

        Raises: `ConfigError` when another process serves the same state directory; `Superseded` when this one was silent
        for so long that others have taken over its incidents.
        """
        with ExitStack() as ending:
            ending.callback(self.close)
            worker = self._join(ending)
            durable = self._durable(worker)
            durable.launch()
            ending.callback(durable.close)
            if worker is not None:
                worker.watch(hand_over=lambda: durable.hand_over(self.store.workers), on_lost=stop.set)
            if self.config.state.metrics_port is not None:
                ending.callback(serve_metrics(self.config.state.metrics_port, self._all_incidents).close)

            def start(incident_id: str) -> None:
                durable.start(WORKFLOW, _workflow_id(self.hands.incident(incident_id)), incident_id)

            for incident_id, version in self.stranded().items():
                LOG.warning("%s", stranded_line(incident_id, version))
            for record in self.store.incidents(open_only=True):
                _unless_away(partial(self._take_in_hand, record, durable, start), stop)
            self._watch(Intake(services=self.services, start=start), worker, stop)
        if worker is not None and worker.was_lost:
            raise Superseded(
                f"this worker (`{worker.name}`) was silent for more than {worker.pace.lost_after_s:g} s and its incidents "
                "have gone to others; start `mendline serve` again"
            )

    def _join(self, ending: ExitStack) -> Worker | None:
        """Become one of the workers on the state database's server; None where that is a file, which has one process."""
        if self.config.server_url is None:
            return None
        worker = Worker(self.store, pace=Pace(lost_after_s=self.config.state.lost_after_seconds))
        worker.join()
        ending.callback(worker.leave)
        self.store.work_as(worker.name)
        return worker

    def _durable(self, worker: Worker | None) -> Durable:
        durable = journal(self.config, worker)

        @durable.workflow(WORKFLOW)
        def _incident(steps: Steps, incident_id: str) -> None:
            try:
                handle_incident(incident_id, steps, self.hands)
            except Exception as error:  # the edge of a workflow: a bug of ours must still call a person
                LOG.exception("incident %s: the workflow itself failed", incident_id)
                reason = f"{type(error).__name__}: {error}"
                steps.run("bug", lambda: self.hands.give_up(self.hands.incident(incident_id), reason))

        return durable

    def _take_in_hand(self, record: IncidentRecord, durable: Durable, start: Callable[[str], None]) -> None:
        """Go on with an open incident: one that was opened and killed before its workflow began, or after it ended."""
        if not durable.is_finished(_workflow_id(record.incident)):
            start(record.incident.id)
            return
        still_open = {
            other.incident.id for other in self.store.incidents(open_only=True)
        }  # another worker may have ended it
        if record.incident.id in still_open:
            self.hands.give_up(record.incident, "its workflow has ended without an outcome; see the log of the service")

    def stranded(self) -> Mapping[str, str]:
        """The open incidents that another version of Mendline began and this one cannot go on with: id -> version."""
        with closing(journal(self.config)) as durable:
            version = {each.workflow_id: each.version for each in durable.stranded()}
        return {
            record.incident.id: version[workflow_id]
            for record in reversed(self.store.incidents(open_only=True))
            if (workflow_id := _workflow_id(record.incident)) in version
        }

    def adopt(self, incident_id: str) -> None:
        """Let this version begin a stranded incident anew, when it is served next.

        Raises: `InputError` when it is not stranded, or a repair of it is in effect: the new beginning would not know of it.
        """
        if incident_id not in self.stranded():
            raise InputError(f"incident `{incident_id}` does not stand still; `mendline adopt` lists those that do")
        standing = [each.repair for each in self.store.intents(incident_id) if each.receipt and each.undone_at is None]
        if standing:
            raise InputError(
                f"`{standing[0]}` of incident {incident_id} is in effect, and its new beginning would not know of it; take it "
                f"back with `mendline undo {incident_id}`, or end the incident with the version that began it"
            )
        with closing(journal(self.config)) as durable:
            durable.forget(_workflow_id(self.hands.incident(incident_id)))

    def _all_incidents(self) -> tuple[IncidentRecord, ...]:
        return self.store.incidents(limit=EVERY)

    def _watch(self, intake: Intake, worker: Worker | None, stop: threading.Event) -> None:
        pollers = [Poller(engine, self.store, on_run=intake.on_run) for engine in self.engines.values()]
        for poller in pollers:  # the first poll marks where watching begins: nothing that ends from here on is missed
            _unless_away(poller.poll, stop)
        for pipeline in self.config.pipelines:
            _unless_away(partial(intake.take_up, pipeline), stop)
        LOG.info("watching %s", ", ".join(sorted(self.config.pipelines)))
        while not stop.is_set():
            for poller in pollers:
                _unless_away(partial(self._poll_in_turn, poller, worker), stop)
            stop.wait(self.config.monitor.poll_seconds)

    def _poll_in_turn(self, poller: Poller, worker: Worker | None) -> None:
        """Poll unless another worker does so now: each run is looked at by one of them."""
        if worker is None:
            poller.poll()
        elif self.store.lease(f"poll:{poller.name}", worker.name, POLL_LEASE_SECONDS):
            try:
                poller.poll()
            finally:
                self.store.release(f"poll:{poller.name}", worker.name)

    def tool(
        self, name: str, *, incident_id: str | None = None, dataset: str | None = None, apply: bool = False
    ) -> tuple[Finding, ...] | Plan | Declined | Receipt:
        """Run one tool by hand: a diagnostic answers, a repair shows its plan, or acts with `apply` if policy says auto.

        Raises: `InputError` for an unknown tool, incident or dataset; `RefusedByPolicy` when the gate is closed.
        """
        if name not in self.diagnostics and name not in self.repairs:
            known = ", ".join(sorted((*self.diagnostics, *self.repairs)))
            raise InputError(f"there is no tool `{name}`; the tools are {known}")
        context = self._tool_context(name, incident_id, dataset)
        if name in self.diagnostics:
            return self.diagnostics[name].run(context)
        plan = self.repairs[name].plan(context)
        if isinstance(plan, Declined) or not apply:
            return plan
        ruling = self.hands.rule_on(context.incident, plan, context.classification, datetime.now(UTC))
        if ruling.decision != "auto":
            raise RefusedByPolicy(f"`{name}` was planned but not done: {ruling.reason}", operation=name)
        return self.repairs[name].apply(plan, context)

    def _tool_context(self, name: str, incident_id: str | None, dataset: str | None) -> ToolContext:
        if dataset is not None and dataset not in self.config.datasets:
            raise InputError(f"there is no dataset `{dataset}`; there are {', '.join(sorted(self.config.datasets))}")
        if incident_id is None:
            if dataset is None or name in self.repairs:
                raise InputError(f"`{name}` needs an incident: give `--incident ID` (`mendline incidents` lists them)")
            return self._looking_at(self.config.datasets[dataset])
        record = existing(self.store, incident_id)
        incident = record.incident
        log = self.hands.retrieve_logs(incident, self.hands.latest_run(incident))
        belief = record.outcome.classification if record.outcome else self.hands.classify(incident, log)
        context = self.hands.context(incident, log, belief, attempt=1)
        if dataset is not None:
            context = replace(context, datasets=(self.config.datasets[dataset],))
        if name in self.repairs:
            found = [f for tool in self.diagnostics.values() for f in tool.run(context)]
            context = replace(context, findings=tuple(found))
        return context

    def _looking_at(self, dataset: Dataset) -> ToolContext:
        """A context without an incident: somebody wants to look at a dataset as it is now."""
        settings = self.config.pipelines[dataset.pipeline]
        run = self.engines[settings.engine].latest_success(settings.job or dataset.pipeline)
        if run is None:
            raise InputError(f"`{dataset.pipeline}` has no successful run yet, so there is nothing to compare with")
        now = datetime.now(UTC)
        failure = Failure(
            run=run, root_run_id=run.run_id, stage=dataset.loaded_by, kind=FailureKind.BAD_DATA, failed_at=now
        )
        incident = Incident(
            id="", fingerprint="", engine=settings.engine, pipeline=dataset.pipeline, failures=(failure,), opened_at=now
        )
        log = LogExcerpt(source="none", lines=(), total_count=0)
        belief = Classification(
            type=FailureType.UNKNOWN, subtype="", confidence=0.0, evidence=(), recommended_next_step="escalate"
        )
        return ToolContext(
            services=self.services, incident=incident, log=log, classification=belief, datasets=(dataset,)
        )


def investigator(config: Config, store: Store, playbook: Playbook, redactor: Redactor) -> Investigator | None:
    """The configured model at its work; None when there is none. Raises: `ConfigError` when it cannot be used."""
    if config.model is None:
        return None
    model = LanguageModel(config.model, Purse(config.model, store), redactor)
    return Investigator(model=model, playbook=playbook, store=store)


def journal(config: Config, worker: Worker | None = None) -> Durable:
    """The journal of the workflows; for the worker in whose name they are to run, where there are several."""
    directory = config.path(config.state.directory)
    if worker is None:
        return Durable(directory, url=config.server_url)
    return Durable(directory, worker.name, url=config.server_url, lives=worker.lives)


def stranded_line(incident_id: str, version: str) -> str:
    """What to do about a stranded incident, in one sentence."""
    return (
        f"incident {incident_id} was begun by another version of Mendline (`{version}`) and stands still: end it with that "
        f"version, or let this one begin it anew with `mendline adopt {incident_id}`"
    )


def answer(config: Config, store: Store, asked: Approval, given: Answer) -> Approval:
    """Answer what a plan asks, for good, and wake its incident, in whatever process it waits. Twice is once.

    Raises: `RefusedByPolicy` when the answer does not count.
    """
    standing = approvals.give(store, asked, given, config.policy.approvers)
    record = store.incident(asked.incident_id)
    # The answer is kept: an incident that cannot be woken, or has no workflow yet, finds it when it looks by itself.
    with suppress(MendlineError), closing(journal(config)) as durable:
        if record is not None:
            durable.send(_workflow_id(record.incident), approvals.TOPIC, standing.key, standing.key)
    return standing


def _model_line(model: Model) -> str:
    money = "" if model.max_cost_per_incident is None else f" and {model.max_cost_per_incident:g} USD"
    return (
        f"model: `{model.id}` is asked below {model.ask_below:.2f} sure, with at most {model.max_tokens:,} tokens{money}"
        " per incident; it may read what is redacted and call read-only diagnostics (not tried now: it would cost)"
    )


def _workflow_id(incident: Incident) -> str:
    """Names the cause too: incidents are numbered from 1 again when the state database was deleted and the journal was not."""
    return f"{WORKFLOW}-{incident.id}-{incident.fingerprint[:12]}"


def _unless_away(call: Callable[[], object], stop: threading.Event) -> None:
    """Call; what cannot be done now is said, and tried again in the next round: the watch itself never ends."""
    try:
        call()
    except MendlineError as error:
        LOG.warning("%s; trying again", error)
        stop.wait(AWAY_SECONDS)
    except Exception:  # a bug that one run brings to light must not end the watch over all others
        LOG.exception("the watch met an error of its own; trying again")
        stop.wait(AWAY_SECONDS)
