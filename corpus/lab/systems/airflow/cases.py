"""Airflow: one DAG of four tasks, run with `airflow dags test`."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import edited, kill_children, unreachable
from corpus.lab.services import web

TABLES = """
CREATE TABLE berth (berth TEXT PRIMARY KEY);
INSERT INTO berth VALUES ('N1'), ('N2'), ('S1'), ('S2');
CREATE TABLE call (call_no TEXT PRIMARY KEY, vessel TEXT NOT NULL, berth TEXT NOT NULL REFERENCES berth,
  tonnage REAL NOT NULL CHECK (tonnage > 0), tugs INTEGER NOT NULL);
"""
METADATA = Path("/var/tmp/lab-airflow.db")  # the migrated metadata database, made once


def calls() -> list[dict[str, Any]]:
    return [
        {
            "call_no": f"C{n:04d}",
            "vessel": f"MV Heron {n}",
            "berth": ("N1", "N2", "S1", "S2")[n % 4],
            "tonnage": 900.0 + n,
        }
        for n in range(1, 121)
    ]


def world(bench: Bench) -> None:
    bench.env["AIRFLOW_HOME"] = str(bench.directory)
    if not METADATA.exists():
        bench.run("airflow", "db", "migrate")
        shutil.copy(bench.path("airflow.db"), METADATA)
    shutil.copy(METADATA, bench.path("airflow.db"))
    with sqlite3.connect(bench.path("calls.db")) as store:
        store.executescript(TABLES)
    store.close()
    bench.write("inbox/tugs.csv", "berth,tugs\nN1,2\nN2,1\nS1,3\nS2,2\n")
    server = web.serve(bench, {"/calls": [web.Reply(200, {"calls": calls()})]})
    bench.env.update(PORT_API=server.url, PORT_KEY="pk_live_2c41fake")


CALLS = Program(
    name="vessel_calls", command=("airflow", "dags", "test", "vessel_calls", "2026-05-04"), files=("dags",), world=world
)


def _case(
    name: str, family: str, inject: Prepare, cause: str, *, trap: str = "", subtype: str = "", keep: str = "all"
) -> Case:
    return Case(
        name=name,
        family=family,
        cause=cause,
        program=CALLS,
        inject=inject,
        trap=trap,
        subtype=subtype,
        keep=keep,
        timeout_s=180.0,
    )


def _replies(*replies: web.Reply) -> Prepare:
    return web.answers("/calls", *replies)


def _calls(numbers: range, change: dict[str, Any]) -> Prepare:
    return _replies(
        web.Reply(200, {"calls": [{**call, **change} if n in numbers else call for n, call in enumerate(calls())]})
    )


def _sql(script: str) -> Prepare:
    def inject(bench: Bench) -> None:
        with sqlite3.connect(bench.path("calls.db")) as store:
            store.executescript(script)
        store.close()

    return inject


def _locked(bench: Bench) -> None:
    """Let another process write to the store for as long as the program runs."""
    store = sqlite3.connect(bench.path("calls.db"), isolation_level=None)
    store.execute("BEGIN IMMEDIATE")
    bench.on_exit(store.close)


def _nested_berth(bench: Bench) -> None:
    rows = [{**call, "berth": {"code": call["berth"], "side": "port"}} for call in calls()]
    web.running(bench).set("/calls", web.Reply(200, {"calls": rows}))


def _without_tonnage(bench: Bench) -> None:
    rows = [{("gross_tonnage" if key == "tonnage" else key): value for key, value in call.items()} for call in calls()]
    web.running(bench).set("/calls", web.Reply(200, {"calls": rows}))


def _slow(bench: Bench) -> None:
    bench.env["STORE_SECONDS"] = "2"
    _sql(
        "CREATE TRIGGER audit AFTER INSERT ON call BEGIN SELECT count(*) FROM (WITH RECURSIVE n(i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000) SELECT i FROM n); END;"
    )(bench)


def _killed(bench: Bench) -> None:
    script = 'airflow dags test vessel_calls 2026-05-04; rc=$?; echo "vessel_calls: exit code $rc"; exit $rc'
    bench.command = ("bash", "-c", script)
    bench.when("fetched 120 calls", kill_children)


CASES = (
    _case(
        "run_killed",
        "killed",
        _killed,
        "the kernel kills the run",
        subtype="killed_process",
        trap="the last task's lines are healthy",
    ),
    _case(
        "berth_is_an_object",
        "nested",
        _nested_berth,
        "the port authority's berth is an object now",
        trap="surfaces as an unhashable key in our own task",
        subtype="type_changed",
    ),
    _case(
        "tonnage_renamed",
        "renamed",
        _without_tonnage,
        "the port authority calls tonnage gross_tonnage now",
        trap="surfaces as a missing binding of the driver",
    ),
    _case(
        "tugs_header_changed",
        "renamed",
        edited("inbox/tugs.csv", "berth,tugs", "berth,tug_count"),
        "the file's column tugs was renamed",
    ),
    _case(
        "call_table_changed",
        "table_gone",
        _sql("ALTER TABLE call RENAME TO vessel_call"),
        "the store's owner renamed the table",
    ),
    _case("call_twice", "duplicate", _calls(range(40, 41), {"call_no": "C0007"}), "one call stands twice"),
    _case(
        "unknown_berth",
        "orphan",
        _calls(range(60, 62), {"berth": "permission denied"}),
        "two calls at a berth that does not exist",
        trap="the berth is called like an error",
    ),
    _case(
        "tugs_unreadable",
        "unparsable",
        edited("inbox/tugs.csv", "S1,3", "S1,three"),
        "one number is a word",
        subtype="unparsable_value",
    ),
    _case("no_vessel", "null", _calls(range(9, 10), {"vessel": None}), "one call has no vessel"),
    _case("authority_down", "outage", _replies(web.page(503)), "the port authority's API is down"),
    _case("authority_hangs", "slow", _replies(web.Reply(ending="hang")), "the port authority does not answer"),
    _case(
        "authority_refused",
        "refused",
        unreachable("PORT_API"),
        "nobody listens at the port authority's API",
    ),
    _case(
        "key_revoked",
        "credentials",
        _replies(web.Reply(403, {"error": "key revoked"})),
        "the API key was revoked",
        subtype="forbidden",
    ),
    _case("store_locked", "concurrency", _locked, "another process writes to the store", subtype="lock_contention"),
    _case(
        "tugs_not_delivered",
        "missing_input",
        lambda bench: bench.path("inbox/tugs.csv").unlink(),
        "the tugs' file was not delivered",
    ),
    _case(
        "misspelt_key",
        "code_bug",
        edited("dags/vessel_calls.py", 'tugs.get(call["berth"], 1)', 'tugs.get(call["birth"], 1)'),
        "the new release misspells a key",
        trap="looks like a missing field; the fetch shows that it is there",
    ),
    _case(
        "store_too_slow",
        "time_limit",
        _slow,
        "a statement that works on too many rows for the task's time",
        subtype="query_timeout",
    ),
)


SYSTEM = System(
    name="airflow",
    requirements=("apache-airflow==3.3.2",),
    environment={
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__CORE__FERNET_KEY": "",
        "SCARF_ANALYTICS": "false",
    },
    cases=CASES,
)
