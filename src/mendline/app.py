"""Build the parts from the configuration; the calls that every surface shares."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from mendline import approvals, registry
from mendline.checkup import examine_dataset
from mendline.classify.model import LanguageModel
from mendline.config import Config, Dataset, Model
from mendline.durable import Durable, is_in_use
from mendline.engines.base import Engine
from mendline.errors import InputError, MendlineError, RefusedByPolicy
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
from mendline.playbook import Playbook, load_playbook
from mendline.policy import require_known, sentences
from mendline.redaction import Redactor
from mendline.scorecard.metrics import serve_metrics
from mendline.spending import Purse
from mendline.steps import Steps
from mendline.stores.base import Approval, IncidentRecord, Store
from mendline.stores.sql import SqlStore
from mendline.tools.base import Diagnostic, Repair, Services, ToolContext
from mendline.warehouses.base import Warehouse
from mendline.workflow import handle_incident

LOG = logging.getLogger("mendline")
WORKFLOW = "incident"
AWAY_SECONDS = 2.0
LOST_AFTER_SECONDS = 15.0  # without a sign of life a worker is dead
EVERY = 10_000_000


class App:
    """Mendline, built for one configuration. Opening it touches only its own state directory."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.directory = config.path(config.state.directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.store = SqlStore(f"sqlite:///{config.state_file}")
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
        require_known(config.policy, frozenset(self.repairs))
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
        self.store.bury_workers(LOST_AFTER_SECONDS)
        return bool(self.store.workers())

    def serve(self, stop: threading.Event) -> None:
        """Watch and work until `stop` is set; what is unfinished then goes on at the next start.

        Raises: `ConfigError` when another process serves the same state directory.
        """
        durable = Durable(self.directory)

        @durable.workflow(WORKFLOW)
        def _incident(steps: Steps, incident_id: str) -> None:
            try:
                handle_incident(incident_id, steps, self.hands)
            except Exception as error:  # the edge of a workflow: a bug of ours must still call a person
                LOG.exception("incident %s: the workflow itself failed", incident_id)
                reason = f"{type(error).__name__}: {error}"
                steps.run("bug", lambda: self.hands.give_up(self.hands.incident(incident_id), reason))

        def start(incident_id: str) -> None:
            durable.start(WORKFLOW, _workflow_id(self.hands.incident(incident_id)), incident_id)

        with ExitStack() as closing:
            closing.callback(self.close)
            durable.launch()
            closing.callback(durable.close)
            if self.config.state.metrics_port is not None:
                closing.callback(serve_metrics(self.config.state.metrics_port, self._all_incidents).close)
            for record in self.store.incidents(open_only=True):
                if durable.is_finished(_workflow_id(record.incident)):
                    reason = "its workflow has ended without an outcome; see the log of the service"
                    _unless_away(partial(self.hands.give_up, record.incident, reason), stop)
                else:  # opened, and killed before its workflow began
                    start(record.incident.id)
            self._watch(Intake(services=self.services, start=start), stop)

    def _all_incidents(self) -> tuple[IncidentRecord, ...]:
        return self.store.incidents(limit=EVERY)

    def _watch(self, intake: Intake, stop: threading.Event) -> None:
        pollers = [Poller(engine, self.store, on_run=intake.on_run) for engine in self.engines.values()]
        for poller in pollers:  # the first poll marks where watching begins: nothing that ends from here on is missed
            _unless_away(poller.poll, stop)
        for pipeline in self.config.pipelines:
            _unless_away(partial(intake.take_up, pipeline), stop)
        LOG.info("watching %s", ", ".join(sorted(self.config.pipelines)))
        while not stop.is_set():
            for poller in pollers:
                _unless_away(poller.poll, stop)
            stop.wait(self.config.monitor.poll_seconds)

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
        record = self.store.incident(incident_id)
        if record is None:
            raise InputError(f"there is no incident `{incident_id}`; `mendline incidents` lists them")
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


def answer(config: Config, store: Store, asked: Approval, given: Answer) -> Approval:
    """Answer what a plan asks, for good, and wake its incident, in whatever process it waits. Twice is once.

    Raises: `RefusedByPolicy` when the answer does not count.
    """
    standing = approvals.give(store, asked, given, config.policy.approvers)
    record = store.incident(asked.incident_id)
    # The answer is kept: an incident that cannot be woken, or has no workflow yet, finds it when it looks by itself.
    with suppress(MendlineError):
        if record is not None:
            durable = Durable(config.path(config.state.directory))
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
