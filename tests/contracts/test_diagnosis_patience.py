"""A warehouse that goes away while an incident is diagnosed: waited for, and said only when it stays away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from contracts.bench import PostgresBench
from mendline.incident import Finding, FindingVerdict, Outcome, OutcomeKind
from mendline.life import PATIENCE
from mendline.testing.direct_durable import VirtualClock
from mendline.tools.base import ToolContext
from mendline.tools.inspect_schema_diff import InspectSchemaDiff
from mendline.tools.profile_failed_batch import ProfileFailedBatch
from postgres_server import PostgresServer
from unit.test_workflow import column_renamed, rows_bad
from unit.workflow_world import CONFIG, Freight

SURE = 0.8  # less than a diagnostic that saw the fault gives, more than words alone
CAREFUL = CONFIG.replace("{decision: auto}", f"{{decision: auto, min_confidence: {SURE}}}")


@dataclass
class Outage(VirtualClock):
    """The server falls before the first look into it, and is back after so many pauses."""

    server: PostgresServer
    pauses: int
    has_fallen: bool = False
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def begin(self) -> None:
        if not self.has_fallen:
            self.has_fallen = True
            self.server.stop()

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self.slept.append(seconds)
        if len(self.slept) == self.pauses:
            self.server.start()


class Falling:
    """A diagnostic before whose first look the server falls."""

    def __init__(self, diagnostic: InspectSchemaDiff | ProfileFailedBatch, outage: Outage) -> None:
        self.name = diagnostic.name
        self._diagnostic, self._outage = diagnostic, outage

    def run(self, context: ToolContext) -> tuple[Finding, ...]:
        self._outage.begin()
        return self._diagnostic.run(context)


@pytest.fixture
def server(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """The server that all tests share; it stands again afterwards."""
    yield postgres_server
    postgres_server.stop()
    postgres_server.start()


def handled(
    server: PostgresServer, directory: Path, fault: Callable[[Freight], None], pauses: int
) -> tuple[Outcome, Outage]:
    """What became of an incident that was handled through an outage."""
    bench = PostgresBench(server.create_database())
    world = Freight(directory, config=CAREFUL, bench=bench)
    fault(world)
    incident = world.fail()
    world.clock = outage = Outage(server=server, pauses=pauses)
    hands = world.hands()
    diagnostics = {**hands.diagnostics}
    for one in (InspectSchemaDiff(), ProfileFailedBatch()):
        diagnostics[one.name] = Falling(one, outage)
    assert world.begin(incident, hands=replace(hands, diagnostics=diagnostics))
    assert world.journal.errors[incident] is None
    bench.warehouse.close()
    return world.outcome(incident), outage


@pytest.mark.parametrize("fault", [column_renamed, rows_bad], ids=lambda fault: fault.__name__)
def test_a_warehouse_that_comes_back_costs_a_diagnosis_nothing_but_time(
    server: PostgresServer, tmp_path: Path, fault: Callable[[Freight], None]
) -> None:
    outcome, outage = handled(server, tmp_path, fault, pauses=2)
    assert outcome.kind is OutcomeKind.RESOLVED, (outcome.classification, outcome.recommended)
    assert outcome.classification.confidence >= SURE
    assert all(finding.verdict is not FindingVerdict.CANNOT_TELL for finding in outcome.findings)
    assert outage.slept[:2] == list(PATIENCE[:2])


def test_a_warehouse_that_stays_away_is_waited_for_once_and_then_said(server: PostgresServer, tmp_path: Path) -> None:
    outcome, _ = handled(server, tmp_path, rows_bad, pauses=len(PATIENCE) + 1)
    looks = [finding for finding in outcome.findings if finding.tool in ("inspect_schema_diff", "profile_failed_batch")]
    assert looks
    assert {finding.verdict for finding in looks} == {FindingVerdict.CANNOT_TELL}
    assert outcome.classification.confidence < SURE
    assert outcome.kind is OutcomeKind.ESCALATED
