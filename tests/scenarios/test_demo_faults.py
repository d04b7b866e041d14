"""The main scenario: every fault of the demo against the real service, judged by what a healthy run leaves."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from mendline import journal_json
from mendline.classify import verdict
from mendline.demo import runner
from mendline.demo.faults.base import Fault
from mendline.demo.faults.catalogue import FAULTS, chosen
from mendline.demo.references import References
from mendline.demo.screen import Screen
from mendline.demo.story import Story
from mendline.demo.warm_python import warmed
from mendline.demo.world import World
from mendline.errors import InputError
from mendline.incident import FailureType, LogExcerpt, from_json
from mendline.tools.retrieve_logs import WATCH

SCALE = 0.002
SEED = 7
LASTING_DAYS = 4  # healthy, fault, next day, as it was
# A killed process writes nothing; a division by zero may as well be the data's fault, and a number that is too large a bad
# value: the monitor and the diagnostics tell.
NEED_MORE_THAN_THE_LOG = ("process_killed", "bug_in_a_stage", "integer_widened")


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


@dataclass(frozen=True, kw_only=True)
class Ground:
    base: World
    references: References
    directory: Path


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A world with one healthy day behind it, which the service remembers."""
    directory = tmp_path_factory.mktemp("faults")
    screen = Screen(quiet())
    with warmed():
        base = runner.make_base(directory / "base", days=LASTING_DAYS, scale=SCALE, seed=SEED, screen=screen)
        yield Ground(base=base, references=References(base, directory), directory=directory)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_ends_as_declared_and_stays_so(ground: Ground, fault: Fault) -> None:
    """The cause shows up where declared, is found, has its outcome, lasts, and leaves the warehouse as the oracle says."""
    told = Story(
        fault=fault,
        base=ground.base,
        references=ground.references,
        directory=ground.directory,
        days=LASTING_DAYS,
    ).play()
    assert set(told.failed_stages) == set(fault.failing_stages)
    assert told.differences == ()
    assert told.complaints == ()
    if fault.expected_type is not None and fault.name not in NEED_MORE_THAN_THE_LOG:
        log = kept_log(ground.directory / fault.name)
        said = verdict.classify(log)
        assert log.source == WATCH or said.type is fault.expected_type, (
            "the log by itself, without what the monitor saw"
        )


def kept_log(home: Path) -> LogExcerpt:
    """The first log that the service read, from its journal."""
    query = "SELECT output FROM operation_outputs WHERE function_name = 'retrieve_logs:1' ORDER BY started_at_epoch_ms"
    with closing(sqlite3.connect(World(home).state / "workflows.db")) as journal:
        (output,) = journal.execute(query).fetchone()
    log: LogExcerpt = from_json(LogExcerpt, journal_json.read(output))
    return log


def test_the_catalogue_covers_every_kind_of_fault() -> None:
    by_type = {kind: [fault for fault in FAULTS if fault.expected_type is kind] for kind in (*FailureType, None)}
    assert len(FAULTS) >= 30
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert len(by_type[FailureType.SCHEMA_CHANGE]) >= 8
    assert len(by_type[FailureType.DATA_QUALITY]) >= 16
    assert len(by_type[FailureType.API_FAILURE]) >= 6
    assert len(by_type[FailureType.RESOURCE]) >= 3
    assert len(by_type[FailureType.UNKNOWN]) >= 3
    assert len(by_type[None]) >= 2


def test_an_unknown_fault_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="`no_such_fault`"):
        chosen(("healthy_day", "no_such_fault"))


def test_the_demo_reports_what_it_played(tmp_path: Path) -> None:
    """The command's own way: exit code, table, totals and the JSON file agree."""
    console = quiet()
    file = tmp_path / "demo.json"
    code = runner.run_demo(("negative_amounts_few", "trailer_mismatch_few"), 2, SCALE, SEED, file, console)
    body = json.loads(file.read_text())
    assert code == 0
    assert [item["fault"] for item in body["faults"]] == ["negative_amounts_few", "trailer_mismatch_few"]
    assert [item["outcome"] for item in body["faults"]] == ["resolved", "escalated"]
    assert all(item["warehouse_right"] and item["found_type"] == "DATA_QUALITY" for item in body["faults"])
    assert body["totals"] == {"faults": 2, "remediable": 1, "resolved": 1, "escalated": 1, "wrong": 0, "harmed": 0}
    assert (body["scale"], body["seed"]) == (SCALE, SEED)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 of 1 remediable faults resolved without a human, 1 escalated, 0 wrong, 0 harmed" in shown
