"""Two real worker processes on one PostgreSQL: killed, stopped and woken, their server gone and back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from mendline.stores.sql import SqlStore
from mendline.testing.values import an_incident
from mendline.testing.waiting import wait_until
from postgres_server import PostgresServer

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("worker_process.py")
INCIDENT_COUNT = 10
LOST = 3
TAKEN_OVER_WITHIN_S = 30.0


@dataclass
class Cluster:
    """A state database with ten open incidents, a warehouse, and the workers that a test starts on them."""

    state_url: str
    warehouse_url: str
    directory: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def worker(self, name: str, stop_at: str = "nowhere", how: str = "SIGSTOP") -> subprocess.Popen[bytes]:
        arguments = [name, self.state_url, self.warehouse_url, str(self.directory), stop_at, how]
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen([sys.executable, str(PROGRAM), *arguments], stderr=log)
        self.processes.append(process)
        return process

    def trace(self) -> str:
        file = self.directory / "trace.txt"
        return file.read_text() if file.exists() else ""

    def wait_for(self, words: str, timeout_s: float = 60) -> None:
        wait_until(lambda: words in self.trace(), timeout_s, f"`{words}` in {self.directory}/trace.txt")

    def effects(self) -> dict[str, list[str]]:
        """Incident id -> the workers that marked it."""
        marked: dict[str, list[str]] = {}
        with psycopg.connect(self.warehouse_url) as connection:
            for incident_id, worker in connection.execute("SELECT incident_id, worker FROM effects").fetchall():
                marked.setdefault(incident_id, []).append(worker)
        return marked

    def open_count(self) -> int:
        with closing(SqlStore(self.state_url)) as store:
            return len(store.incidents(open_only=True))

    def answer(self, incident_id: str, step: str) -> object:
        """What the journal holds as a step's answer."""
        query = (
            "SELECT output FROM mendline_workflows.operation_outputs WHERE workflow_uuid = %s AND function_name = %s"
        )
        with psycopg.connect(self.state_url) as connection:
            ((output,),) = connection.execute(query, [f"incident-{incident_id}", step]).fetchall()
        return json.loads(json.loads(output)) if output.startswith('"') else json.loads(output)

    def assert_each_effect_once(self) -> None:
        assert self.open_count() == 0
        assert {incident_id: len(by) for incident_id, by in self.effects().items()} == {
            str(number): 1 for number in range(1, INCIDENT_COUNT + 1)
        }


@pytest.fixture
def cluster(postgres_server: PostgresServer, postgres_url: str, tmp_path: Path) -> Iterator[Cluster]:
    warehouse_url = postgres_server.create_database()
    with psycopg.connect(warehouse_url) as connection:
        connection.execute("CREATE TABLE effects (incident_id text, worker text)")
    with closing(SqlStore(postgres_url)) as store:
        for number in range(INCIDENT_COUNT):
            store.open_incident(an_incident(f"cause {number}"))
    made = Cluster(postgres_url, warehouse_url, tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.wait(30)
    postgres_server.drop_database(warehouse_url)


def stopped_incident(cluster: Cluster, name: str) -> str:
    line = next(line for line in cluster.trace().splitlines() if line.startswith(f"{name} stops"))
    return line.split()[-1]


def test_two_workers_have_each_effect_once(cluster: Cluster) -> None:
    """Both try to start every incident; one of them does."""
    both = [cluster.worker("a"), cluster.worker("b")]
    assert [process.wait(120) for process in both] == [0, 0]
    cluster.assert_each_effect_once()


@pytest.mark.parametrize("point", ["before", "inside", "after"])
def test_what_a_killed_worker_left_is_finished_by_the_other_in_time(cluster: Cluster, point: str) -> None:
    first = cluster.worker("a", point, "SIGKILL")
    assert first.wait(60) == -signal.SIGKILL
    left = cluster.open_count()
    assert left > 0
    second = cluster.worker("b")
    cluster.wait_for("b is ready")
    began_s = time.monotonic()
    assert second.wait(60) == 0
    assert time.monotonic() - began_s < TAKEN_OVER_WITHIN_S
    cluster.assert_each_effect_once()
    assert "b" in {by for (by,) in cluster.effects().values()}


@pytest.mark.parametrize("point", ["before", "between", "inside", "after", "closing"])
def test_a_worker_that_wakes_after_its_incidents_went_to_another_has_no_effect(cluster: Cluster, point: str) -> None:
    """It is stopped at one point of a step and woken once the other has finished: nothing twice, nothing recorded late."""
    stopped = cluster.worker("a", point)
    cluster.wait_for(f"a stops {point}")
    incident_id = stopped_incident(cluster, "a")
    other = cluster.worker("b")
    assert other.wait(60) == 0
    cluster.assert_each_effect_once()
    before = cluster.effects()
    stopped.send_signal(signal.SIGCONT)
    assert stopped.wait(60) == LOST
    cluster.assert_each_effect_once()
    assert cluster.effects() == before
    assert before[incident_id] == (["b"] if point in ("before", "between", "inside") else ["a"])
    step = "close" if point == "closing" else "apply"
    assert cluster.answer(incident_id, step) == "b"
    with closing(SqlStore(cluster.state_url)) as store:
        record = store.incident(incident_id)
    assert record is not None
    assert record.report_markdown == "closed by b"


def test_the_workers_go_on_after_their_state_database_was_away(
    cluster: Cluster, postgres_server: PostgresServer
) -> None:
    first = cluster.worker("a", "inside")
    cluster.wait_for("a stops inside")
    second = cluster.worker("b")
    cluster.wait_for("b is ready")
    postgres_server.stop()
    first.send_signal(signal.SIGCONT)
    cluster.wait_for("a refused")
    postgres_server.start()
    assert second.wait(120) == 0
    assert first.wait(60) in (0, LOST)  # it may have been stopped for too long
    cluster.assert_each_effect_once()
