"""Every repair, killed at every point: the end is that of a calm night, and every effect is seen once.

The points are: before and after the record of every step; before, between and after the statements of every transaction in
the warehouse, and after its commit; before and after every write to the state database, every re-run and every message to
people; and in the middle of every sleep. One process after the other dies, each at the first point at which none died yet.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import kill_process
from contracts.bench import Bench, DuckDBBench, PostgresBench
from mendline.approvals import TOPIC, WAITING, give
from mendline.incident import Answer, OutcomeKind
from mendline.quality.release import Decision
from mendline.releasing import Word, give_up, release
from mendline.testing.direct_durable import DirectDurable, Killed
from mendline.testing.values import NOON
from mendline.undoing import undo
from unit.mortal_parts import ANSWER, At, Everywhere, Fate, Outage, Point
from unit.test_workflow import column_renamed, column_renamed_and_code_broken, rows_bad, source_down_twice
from unit.workflow_world import CONFIG, CONTRACT, PARCELS, Freight

Fault = Callable[[Freight], None]
Place = Callable[[Path], Bench]
TARGETED = CONFIG.replace("read_by: [weigh]", "read_by: [weigh]\n    targets: [model.weighed]")
EXTENDED = TARGETED.replace("    view: front.parcels\n", "").replace("policy:\n", "policy:\n  added_columns: add\n")
ADJUSTED = CONFIG.replace(
    "job: job}",
    "job: job, adjustable: [{stage: ship, path: ops.ship.config.page_size, on: [API_FAILURE], multiply_by: 0.5, min: 100,"
    " default: 1000}]}",
)
ASKING = CONFIG.replace("decision: auto", "decision: ask")
HEAVY = "CASE WHEN parcel_id < 103 THEN 'heavy' ELSE weight::VARCHAR END AS weight"
RETYPED = f"SELECT * REPLACE ({HEAVY}) FROM ({PARCELS})"
LONGER = f"SELECT * REPLACE (parcel_id::BIGINT * 1000000000 AS parcel_id) FROM ({PARCELS})"


def column_retyped(world: Freight) -> None:
    """The view is mended, and the rows that do not cast are set aside."""
    world.land(RETYPED)


def target_too_narrow(world: Freight) -> None:
    world.land(LONGER)


def column_added(world: Freight) -> None:
    """A stage that names the columns it finds, and a table that does not have the new one."""
    world.land(f"SELECT *, 'by rail' AS carrier FROM ({PARCELS})")
    world.engine.work["weigh"] = lambda: world.sql(
        "BEGIN; DELETE FROM model.weighed; INSERT INTO model.weighed (parcel_id, sender, weight, city, carrier) "
        "SELECT parcel_id, sender, weight, city, carrier FROM raw.parcels; COMMIT"
    )


def column_added_and_code_broken(world: Freight) -> None:
    column_added(world)
    named = world.engine.work["weigh"]

    def weigh() -> None:
        named()
        raise ZeroDivisionError("division by zero")

    world.engine.work["weigh"] = weigh


def target_too_narrow_and_code_broken(world: Freight) -> None:
    target_too_narrow(world)
    broken_behind(world)


def rows_bad_and_code_broken(world: Freight) -> None:
    rows_bad(world)
    broken_behind(world)


def broken_behind(world: Freight) -> None:
    """What the repair mends is mended, and the stage fails all the same."""

    def weigh() -> None:
        world.weigh()
        world.sql("DELETE FROM model.weighed")
        raise ZeroDivisionError("division by zero")

    world.engine.work["weigh"] = weigh


@dataclass(frozen=True, kw_only=True)
class Night:
    """A fault, and how it ends when nobody is killed."""

    fault: Fault
    kind: OutcomeKind = OutcomeKind.RESOLVED
    config: str = CONFIG
    effects: tuple[str, ...] = ("done",)  # in the warehouse's ledger


NIGHTS = {
    "apply_schema_migration, view": Night(fault=column_renamed),
    "apply_schema_migration, view and rows": Night(fault=column_retyped),
    "apply_schema_migration, target": Night(fault=target_too_narrow, config=TARGETED),
    "apply_schema_migration, new column": Night(fault=column_added, config=EXTENDED),
    "apply_schema_migration, new column, undone": Night(
        fault=column_added_and_code_broken, config=EXTENDED, kind=OutcomeKind.ESCALATED, effects=("done", "undone")
    ),
    "apply_schema_migration, view, undone": Night(
        fault=column_renamed_and_code_broken, kind=OutcomeKind.ESCALATED, effects=("done", "undone")
    ),
    "apply_schema_migration, target, undone": Night(
        fault=target_too_narrow_and_code_broken,
        config=TARGETED,
        kind=OutcomeKind.ESCALATED,
        effects=("done", "undone"),
    ),
    "apply_quality_filter": Night(fault=rows_bad),
    "apply_quality_filter, undone": Night(
        fault=rows_bad_and_code_broken, kind=OutcomeKind.ESCALATED, effects=("done", "undone")
    ),
    "retry_with_backoff": Night(fault=source_down_twice, config=ADJUSTED, effects=()),
    "apply_quality_filter, asked for": Night(fault=rows_bad, config=ASKING),
    "apply_schema_migration, view, asked for": Night(fault=column_renamed, config=ASKING),
}
ON_SERVER_ONLY = tuple(
    name for name in NIGHTS if "asked for" in name or "new column" in name or ("migration" in name and "undone" in name)
)
EVENTFUL = ["apply_schema_migration, view and rows", "apply_quality_filter, undone", "retry_with_backoff"]
FENCED = (
    "\nstate: {database: 'postgresql://nobody@127.0.0.1/shared'}\n"  # there may be other workers: effects are fenced
)
LEASE = "pipeline:memory/freight"


def everywhere(*claims: str, but_for: tuple[str, ...] = ()) -> list[Any]:
    """Each claim on each warehouse; those of `but_for` on the server only, which is quicker than a file."""
    on_file = [pytest.param("duckdb", claim) for claim in claims if claim not in but_for]
    return [*on_file, *(pytest.param("postgres", claim, marks=pytest.mark.slow) for claim in claims)]


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """An empty warehouse in a directory; on a server, in the place of the one before."""
    made: list[Bench] = []

    def make(directory: Path) -> Bench:
        directory.mkdir()
        url = request.getfixturevalue("repairs_database") if request.param == "postgres" else None
        made.append(DuckDBBench(directory / "freight.duckdb") if url is None else PostgresBench(url))
        return made[-1]

    yield make
    for bench in made:
        bench.warehouse.close()


def broken(directory: Path, night: Night, fate: Fate, place: Place | None = None) -> tuple[Freight, str]:
    bench = None if place is None else place(directory)
    config = night.config + (FENCED if bench is not None and bench.engine == "postgres" else "")
    world = Freight(directory, config=config, bench=bench, fate=fate)
    night.fault(world)
    return world, world.fail()


def handled(world: Freight, incident: str) -> Freight:
    """The world after the incident's end, however many processes it took."""
    while not world.begin(incident, meanwhile=approving(world, incident)):
        pass
    assert world.journal.errors[incident] is None
    return world


def seen(world: Freight, incident: str) -> Mapping[str, object]:
    """The state, what people can read of it, and the effects that were committed, in order. The pipeline must be free."""
    record = world.store.incident(incident)
    assert record is not None
    assert world.store.lease(LEASE, "another", 60)
    world.store.release(LEASE, "another")
    said = {"report": record.report_markdown, "feedback": record.feedback, "told": set(world.delivered)}
    return {**world.state(incident), **said, "effects": list(world.fate.effects)}


def approving(world: Freight, incident: str) -> Callable[[DirectDurable], None]:
    """A person who approves whatever people have been told of."""

    def meanwhile(durable: DirectDurable) -> None:
        record = world.store.incident(incident)
        for asked in world.store.approvals(incident):
            if asked.answer is None and record is not None and record.phase == WAITING and record.outcome is not None:
                give(world.store, asked, Answer(decision="approved", by="ann", at=world.clock.now()), ())
                durable.send(incident, TOPIC, asked.key, asked.key)

    return meanwhile


@pytest.mark.parametrize(("place", "name"), everywhere(*NIGHTS, but_for=ON_SERVER_ONLY), indirect=["place"])
def test_killed_at_every_point_the_end_is_the_same_and_every_effect_is_seen_once(
    tmp_path: Path, place: Place, name: str, record_property: Callable[[str, object], None]
) -> None:
    night, points = NIGHTS[name], Everywhere()
    world, incident = broken(tmp_path / "calm", night, Fate(), place)
    calm = seen(handled(world, incident), incident)
    assert world.outcome(incident).kind is night.kind
    assert tuple(what for what, _ in world.fate.effects) == night.effects
    world, same = broken(tmp_path / "killed", night, Fate(dies=points), place)
    assert seen(handled(world, same), incident) == calm
    record_property("kill points", f"{len(points.points)} {world.bench.engine}: {name}")


@settings(max_examples=2, deadline=None)
@given(st.sampled_from(EVENTFUL), st.lists(st.integers(1, 120), min_size=1, max_size=4))
def test_killed_at_any_points(tmp_path_factory: pytest.TempPathFactory, name: str, numbers: list[int]) -> None:
    world, incident = broken(tmp_path_factory.mktemp("calm"), NIGHTS[name], Fate())
    calm = seen(handled(world, incident), incident)
    world, _ = broken(tmp_path_factory.mktemp("killed"), NIGHTS[name], Fate(dies=At(numbers)))
    assert seen(handled(world, incident), incident) == calm


@pytest.mark.parametrize("name", ["apply_schema_migration, view, undone", "apply_quality_filter"])
@pytest.mark.parametrize(
    ("part", "nth"), [("warehouse", 1), ("warehouse", 21), ("store", 1), ("store", 3), (ANSWER, 1)]
)
def test_away_and_back_in_every_step_the_end_is_the_same(tmp_path: Path, name: str, part: str, nth: int) -> None:
    """But for how sure a diagnosis is of which a part could not be asked; and time passes."""
    world, incident = broken(tmp_path / "calm", NIGHTS[name], Fate())
    calm = seen(handled(world, incident), incident)
    outage = Outage(part, nth)
    world, _ = broken(tmp_path / "away", NIGHTS[name], Fate(misses=outage))
    after = seen(handled(world, incident), incident)
    assert outage.missed_count >= outage.length
    assert {key: after[key] for key in after if key not in ("outcome", "time")} == {
        key: calm[key] for key in calm if key not in ("outcome", "time")
    }
    assert world.outcome(incident).kind is NIGHTS[name].kind


def an_undo(world: Freight, incident: str) -> None:
    undo(world.services, world.hands().repairs, incident, by="ann", at=NOON, is_served=False)


def a_release(world: Freight, incident: str) -> None:
    release(world.services, word(incident, is_forced=False), is_served=False)


def a_forced_release(world: Freight, incident: str) -> None:
    release(world.services, word(incident, is_forced=True), is_served=False)


def a_discard(world: Freight, incident: str) -> None:
    give_up(world.services, word(incident, is_forced=False), is_served=False)


def word(incident: str, *, is_forced: bool) -> Word:
    return Word(incident_id=incident, decision=Decision(by="ann", at=NOON, note="n"), is_forced=is_forced)


def commanded(
    world: Freight, incident: str, command: Callable[[Freight, str], None], dies: Callable[[Point], bool]
) -> Freight:
    """The world after a person's command, repeated until it is not killed."""
    eased = CONTRACT.replace("sender, logicalType: string, required: true", "sender, logicalType: string")
    (world.path.parent / "parcels.yaml").write_text(eased, encoding="utf-8")
    world.fate.dies = dies
    while True:
        world.fate.begin()
        try:
            command(world, incident)
        except Killed:
            continue
        return world


COMMANDS: dict[str, tuple[Callable[[Freight, str], None], str]] = {
    "undo, view and rows": (an_undo, "apply_schema_migration, view and rows"),
    "undo, rows": (an_undo, "apply_quality_filter"),
    "quarantine release": (a_release, "apply_quality_filter"),
    "quarantine release --force": (a_forced_release, "apply_quality_filter"),
    "quarantine discard": (a_discard, "apply_quality_filter"),
}


@pytest.mark.parametrize(
    ("place", "said"),
    everywhere(*COMMANDS, but_for=tuple(COMMANDS)[1:]),
    indirect=["place"],
)
def test_a_command_killed_at_every_point_and_given_again_acts_once(
    tmp_path: Path, place: Place, said: str, record_property: Callable[[str, object], None]
) -> None:
    (command, name), points = COMMANDS[said], Everywhere()
    world, incident = broken(tmp_path / "calm", NIGHTS[name], Fate(), place)
    calm = seen(commanded(handled(world, incident), incident, command, lambda _: False), incident)
    assert len(world.fate.effects) == 2
    world, _ = broken(tmp_path / "killed", NIGHTS[name], Fate(), place)
    assert seen(commanded(handled(world, incident), incident, command, points), incident) == calm
    record_property("kill points", f"{len(points.points)} {world.bench.engine}: mendline {said}")


@pytest.mark.slow
def test_real_processes_killed_inside_the_effect_act_once(tmp_path: Path) -> None:
    """Each is killed at the next of the deaths; the last one lives."""
    calm, incident = broken(tmp_path / "calm", NIGHTS["apply_quality_filter"], Fate())
    wanted = seen(handled(calm, incident), incident)
    directory = tmp_path / "killed"
    command = [sys.executable, str(Path(kill_process.__file__)), str(directory)]
    codes = [
        subprocess.run([*command, *death], timeout=60, check=False).returncode for death in (*kill_process.DEATHS, ())
    ]
    assert codes == [-signal.SIGKILL] * len(kill_process.DEATHS) + [0]
    world = kill_process.opened(directory)
    apart = dict.fromkeys(("time", "report", "told", "effects"))
    assert {**seen(world, incident), **apart} == {**wanted, **apart}
    world.store.close()
