"""What a tool is: a diagnostic that only reads, or a repair that plans, applies once, verifies and undoes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from mendline.incident import (
    Check,
    Classification,
    Declined,
    FailureKind,
    Finding,
    Incident,
    LogExcerpt,
    Plan,
    Receipt,
)

if TYPE_CHECKING:
    from mendline.config import Config, Dataset
    from mendline.engines.base import Engine
    from mendline.ledger import Ledger
    from mendline.stores.base import Store
    from mendline.warehouses.base import Warehouse


@dataclass(frozen=True, kw_only=True)
class Services:
    """The parts that tools work with; built once by `app.py`, the same for every incident."""

    config: Config
    engines: Mapping[str, Engine]
    warehouses: Mapping[str, Warehouse]
    store: Store
    ledger: Ledger


@dataclass(frozen=True, kw_only=True)
class ToolContext:
    """What a tool may know about the incident it works on.

    `classification` is the hypothesis under test (not always the first belief). `datasets` are the datasets that the
    failed stages read or load, most likely first. `findings` holds what diagnostics have said so far for this hypothesis.
    `attempt` counts repairs tried for this incident, from 1; it is part of every idempotency key. `is_patient`: the caller
    waits for a warehouse that is away and asks again, so a diagnostic lets `Unavailable` pass instead of answering.
    """

    services: Services
    incident: Incident
    log: LogExcerpt
    classification: Classification
    datasets: tuple[Dataset, ...]
    findings: tuple[Finding, ...] = ()
    attempt: int = 1
    is_patient: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def is_of_an_earlier_run(self, dataset: Dataset) -> bool:
        """Whether the landing table may still hold an earlier batch, because the stage that loads it is what failed."""
        failures = self.incident.failures
        return any(f.stage == dataset.loaded_by and f.kind is not FailureKind.BAD_DATA for f in failures)

    def finding(self, tool: str, dataset: str | None = None) -> Finding | None:
        """The latest finding of `tool` (about `dataset`, when given); None when it has not run."""
        for finding in reversed(self.findings):
            if finding.tool == tool and dataset in (None, finding.dataset):
                return finding
        return None


@runtime_checkable
class Diagnostic(Protocol):
    """A tool that only reads."""

    name: str

    def run(self, context: ToolContext) -> tuple[Finding, ...]:
        """Examine the world and answer; never write.

        Gives one finding per dataset examined, most telling first, and at least one. A diagnostic that cannot reach what
        it needs answers `cannot_tell` with the reason; for a patient context it raises `Unavailable` while a warehouse is
        away.
        """
        ...


@runtime_checkable
class Repair(Protocol):
    """A tool that changes the world, once, and can prove and undo it."""

    name: str
    risk: str
    cannot_undo: str

    def plan(self, context: ToolContext) -> Plan | Declined:
        """Decide everything that `apply` will do. No effect; the same world gives the same plan and key."""
        ...

    def is_done(self, plan: Plan, context: ToolContext) -> bool:
        """Say from the state of the world whether the plan's effect is there. No effect."""
        ...

    def apply(self, plan: Plan, context: ToolContext) -> Receipt:
        """Make it so, through the ledger. Twice is once: the second call returns the first call's receipt.

        Raises: `Unavailable` when the world could not be reached (nothing was changed), `Rejected` when it refused.
        """
        ...

    def verify(self, plan: Plan, receipt: Receipt, context: ToolContext) -> tuple[Check, ...]:
        """Check the effect itself, independently of how it was made (the stage's re-run is judged elsewhere)."""
        ...

    def obstacle(self, receipt: Receipt, context: ToolContext) -> str:
        """Why `undo` would not bring the state before `apply` back, as the world is now; "" when it would. No effect."""
        ...

    def undo(self, receipt: Receipt, context: ToolContext) -> None:
        """Bring back the state before `apply`. Twice is once. Raises `NotSupported` when the receipt cannot be undone."""
        ...
