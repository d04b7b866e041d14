"""dlt: a help desk's REST API with frozen contracts, a port's files with a model, both into DuckDB."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Prepare, System, case
from corpus.lab.faults import edited, environment, kill_children, limited, recoded, unreachable, unset
from corpus.lab.services import certificate, web
from corpus.lab.systems.dlt.worlds import DESK, PORT, agents, answer, booking, tickets


def _replies(path: str, *replies: web.Reply) -> Prepare:
    return web.answers(path, *replies)


def _pages(change: dict[str, Any], gone: str = "", rows: slice = slice(None)) -> Prepare:
    """Serve the four pages of tickets with a change to some of the third page's rows, or all rows without a field."""
    pages = [tickets(page) for page in range(1, 5)]
    for row in pages[2][rows]:
        row.update(change)
    for row in (row for page in pages for row in page if gone):
        row.pop(gone)
    return _replies("/tickets", *(answer("tickets", page, 4) for page in pages))


def _agents(change: dict[str, Any]) -> Prepare:
    return _replies("/agents", answer("agents", [{**row, **change} for row in agents()]))


def _bookings(change: dict[str, Any], numbers: range) -> Prepare:
    rows = [{**booking(n), **change} if n in numbers else booking(n) for n in range(150, 300)]
    return lambda bench: bench.write("bookings/2026-05-02.ndjson", "\n".join(map(json.dumps, rows)) + "\n")


def _held(bench: Bench) -> None:
    """Let another process have the database open for writing."""
    script = "import duckdb,sys; c = duckdb.connect('desk.duckdb'); c.execute('create table t(i int)'); print('open', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [str(bench.python), "-c", script], cwd=bench.directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    bench.on_exit(holder.wait)
    bench.on_exit(holder.kill)


def _killed(bench: Bench) -> None:
    script = '{python} load_berths.py; rc=$?; echo "load_berths exited with $rc"; exit $rc'
    bench.command = ("bash", "-c", script)
    bench.when("2026-05-01.ndjson", kill_children)


def _full_disk(bench: Bench) -> None:
    bench.mount("scratch", "size=64k")
    bench.env["DESK_DB"] = "scratch/desk.duckdb"


SHAPE = (
    case(
        "minutes_are_text",
        "retyped",
        DESK,
        "minutes are a text since the API's release",
        _pages({"minutes": "1 h 20 min"}),
        trap="surfaces as a value that cannot be coerced",
    ),
    case(
        "ticket_id_renamed",
        "renamed",
        DESK,
        "ticket_id is called id now",
        _replies(
            "/tickets",
            *(
                answer(
                    "tickets",
                    [
                        {("id" if key == "ticket_id" else key): value for key, value in row.items()}
                        for row in tickets(page)
                    ],
                    4,
                )
                for page in range(1, 5)
            ),
        ),
        trap="surfaces as a null constraint of the key",
    ),
    case(
        "agent_id_removed",
        "removed",
        DESK,
        "the tickets carry no agent_id any more",
        _pages({}, gone="agent_id"),
        trap="surfaces as a null constraint",
    ),
    case(
        "bookings_have_new_field",
        "contract",
        PORT,
        "the port's files have a new field",
        _bookings({"memory_limit": 4}, range(0, 900)),
        subtype="column_added",
        trap="the field is called memory_limit",
    ),
    case(
        "depth_renamed",
        "renamed",
        PORT,
        "the file's depth_m was renamed",
        edited("berths.csv", "depth_m", "draught_m"),
        trap="a KeyError in our own generator",
    ),
)
VALUES = (
    case("subject_empty", "null", DESK, "one ticket has no subject", _pages({"subject": None}, rows=slice(7, 8))),
    case(
        "agent_unknown",
        "orphan",
        DESK,
        "three tickets of an agent nobody knows",
        _pages({"agent_id": 404}, rows=slice(0, 3)),
        trap="the agent's number is 404",
    ),
    case(
        "refund_too_large",
        "range",
        DESK,
        "a refund beyond the target's precision",
        _pages({"refund": "1234567.00"}, rows=slice(9, 10)),
        subtype="out_of_range",
    ),
    case(
        "berth_unknown",
        "orphan",
        PORT,
        "bookings of a berth that the port does not have",
        _bookings({"berth": 77}, range(201, 203)),
        trap="surfaces as a null violation after a left join",
    ),
    case(
        "booking_twice",
        "duplicate",
        PORT,
        "one booking stands twice",
        _bookings({"booking_no": "B00150"}, range(200, 201)),
    ),
    case(
        "depth_negative",
        "range",
        PORT,
        "a berth of negative depth",
        edited("berths.csv", "7;12.5;", "7;-12.5;"),
        subtype="check_violation",
    ),
    case(
        "line_cut",
        "malformed",
        PORT,
        "the file ends within a line",
        lambda bench: bench.write(
            "bookings/2026-05-03.ndjson",
            bench.path("bookings/2026-05-03.ndjson").read_text(encoding="utf-8")[:9000],
        ),
        subtype="truncated_file",
    ),
    case("latin1_berths", "encoding", PORT, "the file came as latin-1", recoded("berths.csv", "east quay", "Südkai")),
)
REMOTE = (
    case(
        "certificate_replaced",
        "tls",
        DESK,
        "the API presents a self-signed certificate",
        certificate.untrusted("DESK_URL", 30),
        trap="surfaces as exceeded retries below an extraction error",
    ),
    case(
        "desk_down",
        "outage",
        DESK,
        "the desk's API is down from the second resource on",
        _replies("/tickets", web.page(502)),
    ),
    case(
        "desk_refused",
        "refused",
        DESK,
        "nobody listens at the desk's API",
        unreachable("DESK_URL"),
    ),
    case(
        "desk_unknown",
        "dns",
        DESK,
        "the desk's name is not in the DNS",
        environment(DESK_URL="http://desk-api.support.invalid"),
    ),
    case(
        "desk_sends_a_page",
        "protocol",
        DESK,
        "a sign-in page with status 200",
        _replies(
            "/agents",
            web.Reply(
                200,
                "<html><head><title>Sign in</title></head><body>Please sign in</body></html>",
                {"Content-Type": "text/html"},
            ),
        ),
        subtype="outage_page",
        trap="surfaces as a JSON error",
    ),
    case(
        "token_expired",
        "credentials",
        DESK,
        "the token has expired",
        _replies("/agents", web.Reply(401, {"error": "token expired", "code": "E_SCHEMA_AUTH"})),
        subtype="expired_credentials",
    ),
    case(
        "too_many_requests",
        "rate_limit",
        DESK,
        "the API limits the rate from the second page on",
        _replies(
            "/tickets", answer("tickets", tickets(1), 4), web.Reply(429, {"error": "quota"}, {"Retry-After": "1"})
        ),
        subtype="rate_limit",
    ),
)
LIMITS = (
    case("disk_full", "disk", DESK, "the database's disk is full", _full_disk, trap="surfaces as a failed load job"),
    case(
        "database_too_large",
        "disk",
        PORT,
        "no file may be larger than 30 kB",
        limited(resource.RLIMIT_FSIZE, 30_000),
        subtype="file_too_large",
    ),
    case("no_handles", "handles", DESK, "the stage may hold six files open", limited(resource.RLIMIT_NOFILE, 6)),
    case(
        "duckdb_memory",
        "memory",
        PORT,
        "the database may use 1 MB",
        edited(
            "load_berths.py",
            "    with pipeline.sql_client() as client:\n",
            "    with pipeline.sql_client() as client:\n        client.execute_sql(\"SET memory_limit='1MB'\")\n",
        ),
    ),
    case(
        "killed_while_loading",
        "killed",
        PORT,
        "the kernel kills the stage",
        _killed,
        subtype="killed_process",
    ),
)


OURS = (
    case(
        "database_held",
        "concurrency",
        DESK,
        "another process has the database open",
        _held,
        subtype="lock_contention",
        trap="an IO error of a connection",
    ),
    case(
        "no_token",
        "configuration",
        DESK,
        "the token's variable is not set",
        unset("DESK_TOKEN"),
    ),
    case(
        "wrong_paginator",
        "configuration",
        DESK,
        "the configuration names a paginator that does not exist",
        edited("load_tickets.py", '"type": "page_number"', '"type": "page_numbers"'),
        trap="speaks of a schema",
    ),
    case(
        "berths_not_delivered",
        "missing_input",
        PORT,
        "the berths' file was not delivered",
        lambda bench: bench.path("berths.csv").unlink(),
    ),
    case(
        "generator_bug",
        "code_bug",
        PORT,
        "the new release strips a number",
        edited("load_berths.py", 'int(row["berth"])', 'int(row["berth"]).strip()'),
        trap="an AttributeError inside an extraction",
    ),
    case(
        "missing_extra",
        "environment",
        PORT,
        "a library that is not installed",
        edited("load_berths.py", "import dlt\n", "import dlt\nimport adlfs\n", 1),
    ),
    case(
        "stopped",
        "interrupted",
        PORT,
        "an operator pressed Ctrl-C",
        lambda bench: bench.kill_when("2026-05-01.ndjson", signal.SIGINT),
    ),
    case(
        "end_cut",
        "no_cause",
        DESK,
        "the log was cut before the error",
        _pages({"minutes": "1 h"}),
        keep="head:9",
        subtype="no_error_in_log",
    ),
)
SYSTEM = System(
    name="dlt",
    requirements=("dlt[duckdb]==1.31.0", "requests==2.34.2", "pydantic==2.14.3"),
    environment={
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "INFO",
        "DLT_DATA_DIR": ".dlt_data",
        "RUNTIME__REQUEST_MAX_ATTEMPTS": "2",
        "RUNTIME__REQUEST_BACKOFF_FACTOR": "0.1",
    },
    cases=(*SHAPE, *VALUES, *REMOTE, *LIMITS, *OURS),
)
