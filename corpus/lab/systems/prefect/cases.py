"""Prefect: the billing of clinics (one flow), the settlement of wind parks (mapped tasks, a flow within a flow)."""

from __future__ import annotations

import subprocess

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import all_of, edited, small_disk
from corpus.lab.services import sqlite
from corpus.lab.services.web import Reply, answers, page, running, serve

VISITS = "inbox/visits-2026-11-20.csv"
HEADER = "visit_id;clinic;code;minutes;seen_on"
CLINICS = ("Altona", "Barmbek", "Eilbek", "Harburg")
PARKS = ("Borkum", "Dan Tysk", "Meerwind", "Nordsee Ost")
CHARGES = """
CREATE TABLE charge (
    visit_id INTEGER PRIMARY KEY, clinic TEXT NOT NULL, seen_on TEXT NOT NULL, cents INTEGER NOT NULL CHECK (cents > 0)
);
"""
FEED_IN = """
CREATE TABLE feed_in (
    park TEXT NOT NULL, hour TEXT NOT NULL, mwh REAL NOT NULL CHECK (mwh BETWEEN 0 AND 400), until TEXT NOT NULL,
    euros REAL, PRIMARY KEY (park, hour)
);
CREATE TABLE price (hour TEXT PRIMARY KEY, euros REAL NOT NULL);
"""


def visits() -> list[str]:
    return [f"{7000 + n};{CLINICS[n % 4]};GO{n % 5};{5 + n % 40};2026-11-{1 + n % 20:02}" for n in range(60)]


def _home(bench: Bench) -> None:
    """Let all runs share the server's database, whose making takes half of a run."""
    bench.env["PREFECT_HOME"] = str(bench.directory.parent / "home")


def _clinics(bench: Bench) -> None:
    _home(bench)
    items = [{"code": f"GO{n}", "points": 80 + 35 * n} for n in range(5)]
    web = serve(bench, {"/tariffs/2026": [Reply(body={"items": items})]})
    bench.env["CHAMBER_URL"] = web.url
    bench.write(VISITS, "\n".join([HEADER, *visits()]) + "\n")
    bench.path("statements/x")
    sqlite.execute(bench, "billing.db", CHARGES)


def feed_in(park: int, pattern: str = "2026-11-20T{hour:02}:00Z") -> list[dict[str, object]]:
    return [{"from": pattern.format(hour=hour), "mwh": 20.5 + 3 * park + hour} for hour in range(24)]


def _grid(bench: Bench) -> None:
    _home(bench)
    routes = {f"/v3/parks/W{n}/feed-in": [Reply(body=feed_in(n))] for n in range(4)}
    web = serve(bench, routes)
    bench.env |= {"GRID_URL": web.url, "GRID_TOKEN": "gt_live_5b1e0c77a2"}
    bench.write("parks.tsv", "".join(f"W{n}\t{title}\n" for n, title in enumerate(PARKS)))
    for folder in ("spool", "out"):
        bench.path(f"{folder}/x")
    prices = "".join(f"INSERT INTO price VALUES ('{hour:02}', {60 + hour});" for hour in range(24))
    sqlite.execute(bench, "grid.db", FEED_IN + prices)


BILLING = Program(
    name="billing", command=("{python}", "billing.py"), files=("billing.py", "billing.toml"), world=_clinics
)
GRID = Program(name="grid", command=("{python}", "grid.py"), files=("grid.py",), world=_grid)


def _delivered(rows: list[str], header: str = HEADER, encoding: str = "utf-8") -> Prepare:
    return lambda bench: _write(bench, VISITS, "\n".join([header, *rows]) + "\n", encoding)


def _write(bench: Bench, name: str, text: str, encoding: str = "utf-8") -> None:
    bench.write(name, text, encoding=encoding)


def _row(number: int, old: str, new: str) -> Prepare:
    rows = visits()
    assert old in rows[number]
    rows[number] = rows[number].replace(old, new)
    return _delivered(rows)


def _web(path: str, *replies: Reply) -> Prepare:
    return answers(path, *replies)


def _full_statements(bench: Bench) -> None:
    small_disk("statements", "16k")(bench)
    bench.write("statements/2026-10.tar", "x" * 8000)


def _moments(bench: Bench) -> None:
    for n in range(4):
        _web(f"/v3/parks/W{n}/feed-in", Reply(body=feed_in(n, "2026-11-20T{hour:02}:00:00.000+00:00")))(bench)


def _many_readings(bench: Bench) -> None:
    for n in range(4):
        _web(f"/v3/parks/W{n}/feed-in", Reply(body=feed_in(n) * 700))(bench)


def _kill_sort(bench: Bench) -> None:
    """Let the sort wait for a reader of its output; the system takes its process away meanwhile."""
    _many_readings(bench)
    bench.run("mkfifo", "spool/sorted.tsv")
    bench.when("sorting", _signal_sort)


def _signal_sort(process: subprocess.Popen[bytes]) -> None:
    for _ in range(400):
        done = subprocess.run(["pkill", "-KILL", "-x", "-s", str(process.pid), "sort"], check=False)
        if done.returncode == 0:
            return
        subprocess.run(["sleep", "0.02"], check=True)


def _slow_merge(bench: Bench) -> None:
    """Give the settlement a history of readings, and a price for each minute of them."""
    sqlite.execute(
        bench,
        "grid.db",
        "DROP TABLE price; CREATE TABLE price (hour TEXT, euros REAL);"
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 90000)"
        " INSERT INTO price SELECT 'x' || i, i FROM n;"
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
        " INSERT INTO feed_in SELECT 'P' || i, '00', 1, '', 0 FROM n;",
    )


def _negative(bench: Bench) -> None:
    readings = feed_in(2)
    readings[17]["mwh"] = -1.25
    _web("/v3/parks/W2/feed-in", Reply(body=readings))(bench)


def _one_null(bench: Bench) -> None:
    readings = feed_in(1)
    readings[5]["mwh"] = None
    _web("/v3/parks/W1/feed-in", Reply(body=readings))(bench)


LIMITED = Reply(429, {"error": "rate limit exceeded", "limit": "120/min"}, {"Retry-After": "37"})
BUSY = Reply(503, {"message": "maintenance"})

CASES = (
    Case(
        name="minutes_renamed",
        family="renamed",
        cause="the clinics' export calls the minutes duration_min",
        program=BILLING,
        inject=_delivered(visits()[:14], HEADER.replace("minutes", "duration_min")),
    ),
    Case(
        name="insurer_added",
        family="added",
        subtype="column_added",
        cause="the clinics' export has one more column, the insurer",
        program=BILLING,
        inject=_delivered([f"{row};AOK" for row in visits()], f"{HEADER};insurer"),
    ),
    Case(
        name="charge_table_gone",
        family="table_gone",
        cause="the table of charges was renamed in the billing database",
        program=BILLING,
        inject=all_of(
            sqlite.script("billing.db", "ALTER TABLE charge RENAME TO charge_v2"),
            lambda b: running(b).set("/tariffs/2026", BUSY, *running(b).routes["/tariffs/2026"]),
        ),
        trap="the tariff's service was away first and came back",
    ),
    Case(
        name="start_with_seconds",
        family="retyped",
        cause="the grid's service writes all times in another format",
        program=GRID,
        inject=_moments,
    ),
    Case(
        name="minutes_in_words",
        family="unparsable",
        subtype="invalid_value",
        cause="one visit has words instead of minutes",
        program=BILLING,
        inject=_row(44, ";9;", ";connection timed out;"),
        trap="the value reads like a failure of the network",
    ),
    Case(
        name="visit_twice",
        family="duplicate",
        cause="the export holds a visit twice",
        program=BILLING,
        inject=_delivered([*visits(), visits()[9]]),
    ),
    Case(
        name="parks_in_latin",
        family="encoding",
        cause="the list of parks was saved in Latin-1",
        program=GRID,
        inject=lambda b: _write(b, "parks.tsv", "W0\tBorkum Süd\nW1\tDan Tysk\n", "latin-1"),
    ),
    Case(
        name="negative_feed_in",
        family="range",
        subtype="check_violation",
        cause="a meter reports less than nothing for an hour",
        program=GRID,
        inject=_negative,
    ),
    Case(
        name="hour_without_reading",
        family="null",
        cause="one hour of one park has no reading",
        program=GRID,
        inject=_one_null,
        trap="a TypeError in a pull from a service, retried like an outage",
    ),
    Case(
        name="chamber_down",
        family="outage",
        cause="the chamber's service is in maintenance",
        program=BILLING,
        inject=_web("/tariffs/2026", page(503)),
    ),
    Case(
        name="chamber_page",
        family="protocol",
        subtype="outage_page",
        cause="the chamber's service answers every question with its page of maintenance, status 200",
        program=BILLING,
        inject=_web(
            "/tariffs/2026", Reply(200, "<!doctype html><title>Wartung</title>", {"Content-Type": "text/html"})
        ),
        trap="surfaces as JSON that does not parse",
    ),
    Case(
        name="grid_silent",
        family="slow",
        cause="the grid's service takes the question for one park and does not answer",
        program=GRID,
        inject=_web("/v3/parks/W3/feed-in", Reply(ending="hang")),
    ),
    Case(
        name="grid_limits",
        family="rate_limit",
        cause="the grid's service limits our questions",
        program=GRID,
        inject=all_of(*(_web(f"/v3/parks/W{n}/feed-in", LIMITED) for n in (1, 2))),
    ),
    Case(
        name="token_expired",
        family="credentials",
        cause="the token for the grid's service has expired",
        program=GRID,
        inject=all_of(*(_web(f"/v3/parks/W{n}/feed-in", Reply(401, {"error": "token expired"})) for n in range(4))),
    ),
    Case(
        name="memory_of_worker",
        family="memory",
        cause="the flow may have less memory than a long export needs",
        program=BILLING,
        inject=all_of(
            edited("billing.toml", "6000", "1250"),
            _delivered([row.replace("7", "1", 1) for n in range(1, 20000) for row in visits()[:50]]),
        ),
    ),
    Case(
        name="statements_full",
        family="disk",
        cause="the volume of the statements has no space",
        program=BILLING,
        inject=_full_statements,
    ),
    Case(
        name="merge_takes_long",
        family="time_limit",
        subtype="query_timeout",
        cause="the merge has a history to go through and exceeds its time limit",
        program=GRID,
        inject=_slow_merge,
        trap="a TimeoutError without any other system in it",
    ),
    Case(
        name="sort_killed",
        family="killed",
        subtype="killed_process",
        cause="the sort's process was killed",
        program=GRID,
        inject=_kill_sort,
    ),
    Case(
        name="points_in_cents",
        family="configuration",
        cause="a deployment wrote the value of a point as a text",
        program=BILLING,
        inject=edited("billing.toml", "cents_per_point = 11", 'cents_per_point = "0.11 EUR"'),
        trap="a validation of types, as of data",
    ),
    Case(
        name="hour_attribute",
        family="code_bug",
        cause="a release asks the time for a method that it does not have",
        program=GRID,
        inject=edited("grid.py", "(start + HOUR).isoformat()", "(start + HOUR).to_iso8601()"),
    ),
    Case(
        name="visits_not_delivered",
        family="missing_input",
        cause="the day's export was not delivered",
        program=BILLING,
        inject=lambda b: b.path(VISITS).unlink(),
    ),
    Case(
        name="log_cut",
        family="no_cause",
        subtype="no_error_in_log",
        cause="the log ends in the middle of the run",
        program=BILLING,
        inject=_row(12, ";GO2;", ";GO9;"),
        keep="head:8",
    ),
)
SYSTEM = System(
    name="prefect",
    requirements=("prefect==3.8.8", "fastapi==0.139.0"),
    environment={
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "80",
    },
    cases=CASES,
)
