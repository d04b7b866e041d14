"""The story of one fault: a clone of the healthy world, the service on it, the fault, the days after, the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from mendline.demo.faults.base import Fault, Injection, Site, restore, run_day
from mendline.demo.oracle import BadRows, EndState, judge
from mendline.demo.references import FAULT_DAY, References
from mendline.demo.run_record import runs, stage_ends
from mendline.demo.service import Service, Watcher, watching
from mendline.demo.world import World
from mendline.errors import Unavailable
from mendline.stores.base import IncidentRecord

END_TIMEOUT_S = 120.0
LEFT_ALONE = ("awaiting_approval", "escalated")
OUTCOMES = ("none", "recovered", "resolved", "awaiting_approval", "escalated")  # from best to worst


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Something to show while it happens: which fault, and one line of what is going on."""

    fault: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Told:
    """How one fault's story ended.

    `outcome` is the worst of its incidents' outcomes, "none" when there was none. `found_type` is None when there was no
    incident. `seconds` runs from the first failure to the last incident's end; 0 without incident. `complaints` are all ways
    in which Mendline was wrong, `differences` all ways in which the warehouse is. `failed_stages` are those of the fault's
    day, as the engine recorded them.
    """

    fault: Fault
    found_type: str | None
    outcome: str
    seconds: float
    failed_stages: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def is_wrong(self) -> bool:
        """True when type, outcome or number of incidents was not as declared."""
        return bool(self.complaints)

    @property
    def is_harmed(self) -> bool:
        """True when the warehouse is not in the declared end state."""
        return bool(self.differences)


@dataclass(kw_only=True)
class Story:
    """Plays one fault in a directory of its own. `days` counts from 1; the fault strikes on day 2.

    On day 3 a source that changed its shape still has the new one; from the next day on everything is as it was. The story
    of a fault that does not last ends with day 3 at the latest.
    """

    fault: Fault
    base: World
    references: References
    directory: Path
    days: int
    tell: Callable[[Moment], None] = lambda _moment: None
    _bad_rows: tuple[BadRows, ...] = ()
    _failed_stages: tuple[str, ...] = ()
    _complaints: list[str] = field(default_factory=list)
    _shown: dict[str, str] = field(default_factory=dict)

    def play(self) -> Told:
        """Play all days and judge. A service that dies or hangs is a complaint, not an error."""
        world = self.base.clone(self._home)
        incidents: tuple[IncidentRecord, ...] = ()
        try:
            with world.open_servers() as servers, Service(world).running() as service, watching(service) as watcher:
                for number in range(FAULT_DAY, self.last_day + 1):
                    site = Site(world=world, servers=servers, day=world.day(number))
                    found = self._day(site, number, watcher)
                    incidents = found if number == FAULT_DAY else incidents
        except Unavailable as error:
            self._complaints.append(str(error))
        self._say("comparing the warehouse with the reference")
        # Whoever calls for a person must have left everything as it was, also where a repair was hoped for.
        is_left = any(_outcome(record) in LEFT_ALONE for record in incidents)
        end_state = EndState.UNTOUCHED if is_left else self.fault.end_state
        verdict = judge(
            world.warehouse,
            self.references.warehouse(self.fault, end_state, self.last_day),
            end_state=end_state,
            bad_rows=self._bad_rows,
        )
        return self._told(incidents, verdict.differences)

    @property
    def last_day(self) -> int:
        """The number of the last day that is played."""
        return self.days if self.fault.lasting is not None else min(self.days, FAULT_DAY + 1)

    @property
    def _home(self) -> Path:
        return self.directory / self.fault.name

    def progress(self) -> str:
        """How far the newest run of this story is, "" before there is one. Reads only; any thread may ask at any time."""
        home = World(self._home).dagster_home
        begun = runs(home)
        ends = stage_ends(home, begun[-1]) if begun else {}
        failed = [stage for stage, end in ends.items() if end == "failed"]
        if not ends:
            return ""
        return f"run {len(begun)}: {len(ends)} stages ended" + (f", failed: {', '.join(failed)}" if failed else "")

    def _day(self, site: Site, number: int, watcher: Watcher) -> tuple[IncidentRecord, ...]:
        if number > FAULT_DAY:
            restore(site, self.base)
        injection = self._injected(site, number)
        known = frozenset(record.incident.id for record in watcher.incidents())
        self._say(f"running {site.day}")
        run = run_day(site, injection)
        self._say(f"{site.day}: the run " + ("passed" if run.succeeded else "failed"))
        if number == FAULT_DAY:
            ends = stage_ends(site.world.dagster_home, run.run_id)
            self._failed_stages = tuple(stage for stage, end in ends.items() if end == "failed")
        seen = watcher.wait_for_end(run.run_id, END_TIMEOUT_S, succeeded=run.succeeded, known=known, on_look=self._look)
        if number == FAULT_DAY + 1 and seen.incidents:
            self._complaints.append(f"the next day, {site.day}, had {_listed(seen.incidents)}")
        elif number > FAULT_DAY:
            self._require_good_end(site.day, seen.incidents)
        return seen.incidents

    def _injected(self, site: Site, number: int) -> Injection:
        if number == FAULT_DAY:
            self._say(self.fault.summary)
            injection = self.fault.inject(site)
            self._bad_rows = injection.bad_rows
            return injection
        if number == FAULT_DAY + 1 and self.fault.lasting is not None:
            return self.fault.lasting(site)
        return Injection()

    def _require_good_end(self, day: date, incidents: tuple[IncidentRecord, ...]) -> None:
        bad = tuple(record for record in incidents if _outcome(record) not in ("resolved", "recovered"))
        if bad:
            self._complaints.append(f"{day}, with everything as it was, had {_listed(bad)}")

    def _look(self, incidents: tuple[IncidentRecord, ...]) -> None:
        for record in incidents:
            state = _outcome(record) or record.phase
            if self._shown.get(record.incident.id) != state:
                self._shown[record.incident.id] = state
                stages = ", ".join(record.incident.stages) or "run"
                self._say(f"incident {record.incident.id} ({stages}): {state}")

    def _say(self, text: str) -> None:
        self.tell(Moment(fault=self.fault.name, text=text))

    def _told(self, incidents: tuple[IncidentRecord, ...], differences: tuple[str, ...]) -> Told:
        outcome = max((_outcome(record) or "none" for record in incidents), key=OUTCOMES.index, default="none")
        types = [record.outcome.classification.type.value for record in incidents if record.outcome is not None]
        expected = self.fault.expected_type.value if self.fault.expected_type else None
        found = next((name for name in types if name != expected), types[0] if types else None)
        count = self.fault.incident_count if self.fault.expected_type else 0
        if outcome not in self.fault.expected_outcomes:
            self._complaints.append(f"the outcome is {outcome}: {_listed(incidents)}")
        if found != expected and outcome != "recovered":
            self._complaints.append(f"the type found is {found}")
        if len(incidents) != count and outcome != "recovered":
            self._complaints.append(f"{len(incidents)} incidents were opened, {count} expected: {_listed(incidents)}")
        return Told(
            fault=self.fault,
            found_type=found,
            outcome=outcome,
            seconds=_seconds(incidents),
            failed_stages=self._failed_stages,
            complaints=tuple(self._complaints),
            differences=differences,
        )


def _outcome(record: IncidentRecord) -> str:
    return record.outcome.kind.value if record.outcome is not None else ""


def _listed(incidents: tuple[IncidentRecord, ...]) -> str:
    return "; ".join(
        f"incident {record.incident.id} ({', '.join(record.incident.stages)}) {_outcome(record)}: "
        + (record.outcome.headline if record.outcome else record.phase)
        for record in incidents
    )


def _seconds(incidents: tuple[IncidentRecord, ...]) -> float:
    ended = [record.outcome.ended_at for record in incidents if record.outcome is not None]
    failed = [failure.failed_at for record in incidents for failure in record.incident.failures]
    return (max(ended) - min(failed)).total_seconds() if ended and failed else 0.0
