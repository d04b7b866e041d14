"""dlt: a help desk's REST API with frozen contracts, a port's files with a model, both into DuckDB."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
from collections.abc import Callable
from typing import Any

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.services import certificate, web
from corpus.lab.systems.dlt.worlds import DESK, PORT, agents, answer, apis, booking, tickets


def _silent(inject: Callable[[Bench], object]) -> Prepare:
    def run(bench: Bench) -> None:
        inject(bench)

    return run


def _case(
    name: str,
    family: str,
    program: Program,
    inject: Callable[[Bench], object],
    cause: str,
    *,
    trap: str = "",
    subtype: str = "",
    keep: str = "all",
) -> Case:
    return Case(
        name=name,
        family=family,
        cause=cause,
        program=program,
        inject=_silent(inject),
        trap=trap,
        subtype=subtype,
        keep=keep,
    )


def _edit(name: str, old: str, new: str, count: int = -1) -> Prepare:
    return lambda bench: bench.replace(name, old, new, count=count)


def _replies(path: str, *replies: web.Reply) -> Prepare:
    return lambda bench: apis["desk"].set(path, *replies)


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
    return _silent(lambda bench: bench.write("bookings/2026-05-02.ndjson", "\n".join(map(json.dumps, rows)) + "\n"))


def _limit(which: int, most: int) -> Prepare:
    return lambda bench: bench.limits.update({which: most})


def _latin1(bench: Bench) -> None:
    text = bench.path("berths.csv").read_text(encoding="utf-8")
    bench.write("berths.csv", text.replace("east quay", "Südkai"), encoding="latin-1")


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
    bench.when("2026-05-01.ndjson", lambda process: _kill_children(process.pid))


def _kill_children(parent: int) -> None:
    subprocess.run(["pkill", "-KILL", "-P", str(parent)], check=False)


def _untrusted(variable: str, days: int) -> Prepare:
    """Put a server with a certificate of its own making before the API."""

    def inject(bench: Bench) -> None:
        pair = certificate.self_signed(bench, "localhost", days=days)
        port = free_port()
        command = [
            "openssl",
            "s_server",
            "-accept",
            str(port),
            "-cert",
            str(pair.certificate),
            "-key",
            str(pair.key),
            "-www",
        ]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        bench.on_exit(server.wait)
        bench.on_exit(server.kill)
        assert server.stdout is not None
        for line in server.stdout:
            if line.startswith(b"ACCEPT"):
                break
        bench.env[variable] = f"https://127.0.0.1:{port}"

    return inject


def _full_disk(bench: Bench) -> None:
    where = bench.path("scratch")
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(where)], check=True)
    bench.on_exit(lambda: subprocess.run(["umount", str(where)], check=True))
    bench.env["DESK_DB"] = "scratch/desk.duckdb"


SHAPE = (
    _case(
        "minutes_are_text",
        "retyped",
        DESK,
        _pages({"minutes": "1 h 20 min"}),
        "minutes are a text since the API's release",
        trap="surfaces as a value that cannot be coerced",
    ),
    _case(
        "ticket_id_renamed",
        "renamed",
        DESK,
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
        "ticket_id is called id now",
        trap="surfaces as a null constraint of the key",
    ),
    _case(
        "agent_id_removed",
        "removed",
        DESK,
        _pages({}, gone="agent_id"),
        "the tickets carry no agent_id any more",
        trap="surfaces as a null constraint",
    ),
    _case(
        "bookings_have_new_field",
        "contract",
        PORT,
        _bookings({"memory_limit": 4}, range(0, 900)),
        "the port's files have a new field",
        subtype="column_added",
        trap="the field is called memory_limit",
    ),
    _case(
        "depth_renamed",
        "renamed",
        PORT,
        _edit("berths.csv", "depth_m", "draught_m"),
        "the file's depth_m was renamed",
        trap="a KeyError in our own generator",
    ),
)
VALUES = (
    _case("subject_empty", "null", DESK, _pages({"subject": None}, rows=slice(7, 8)), "one ticket has no subject"),
    _case(
        "agent_unknown",
        "orphan",
        DESK,
        _pages({"agent_id": 404}, rows=slice(0, 3)),
        "three tickets of an agent nobody knows",
        trap="the agent's number is 404",
    ),
    _case(
        "refund_too_large",
        "range",
        DESK,
        _pages({"refund": "1234567.00"}, rows=slice(9, 10)),
        "a refund beyond the target's precision",
        subtype="out_of_range",
    ),
    _case(
        "berth_unknown",
        "orphan",
        PORT,
        _bookings({"berth": 77}, range(201, 203)),
        "bookings of a berth that the port does not have",
        trap="surfaces as a null violation after a left join",
    ),
    _case(
        "booking_twice",
        "duplicate",
        PORT,
        _bookings({"booking_no": "B00150"}, range(200, 201)),
        "one booking stands twice",
    ),
    _case(
        "depth_negative",
        "range",
        PORT,
        _edit("berths.csv", "7;12.5;", "7;-12.5;"),
        "a berth of negative depth",
        subtype="check_violation",
    ),
    _case(
        "line_cut",
        "malformed",
        PORT,
        lambda bench: bench.write(
            "bookings/2026-05-03.ndjson",
            bench.path("bookings/2026-05-03.ndjson").read_text(encoding="utf-8")[:9000],
        ),
        "the file ends within a line",
        subtype="truncated_file",
    ),
    _case("latin1_berths", "encoding", PORT, _latin1, "the file came as latin-1"),
)
REMOTE = (
    _case(
        "certificate_replaced",
        "tls",
        DESK,
        _untrusted("DESK_URL", 30),
        "the API presents a self-signed certificate",
        trap="surfaces as exceeded retries below an extraction error",
    ),
    _case(
        "desk_down",
        "outage",
        DESK,
        _replies("/tickets", web.page(502)),
        "the desk's API is down from the second resource on",
    ),
    _case(
        "desk_refused",
        "refused",
        DESK,
        lambda bench: bench.env.update(DESK_URL=f"http://127.0.0.1:{free_port()}"),
        "nobody listens at the desk's API",
    ),
    _case(
        "desk_unknown",
        "dns",
        DESK,
        lambda bench: bench.env.update(DESK_URL="http://desk-api.support.invalid"),
        "the desk's name is not in the DNS",
    ),
    _case(
        "desk_sends_a_page",
        "protocol",
        DESK,
        _replies(
            "/agents",
            web.Reply(
                200,
                "<html><head><title>Sign in</title></head><body>Please sign in</body></html>",
                {"Content-Type": "text/html"},
            ),
        ),
        "a sign-in page with status 200",
        subtype="outage_page",
        trap="surfaces as a JSON error",
    ),
    _case(
        "token_expired",
        "credentials",
        DESK,
        _replies("/agents", web.Reply(401, {"error": "token expired", "code": "E_SCHEMA_AUTH"})),
        "the token has expired",
        subtype="expired_credentials",
    ),
    _case(
        "too_many_requests",
        "rate_limit",
        DESK,
        _replies(
            "/tickets", answer("tickets", tickets(1), 4), web.Reply(429, {"error": "quota"}, {"Retry-After": "1"})
        ),
        "the API limits the rate from the second page on",
        subtype="rate_limit",
    ),
)
LIMITS = (
    _case("disk_full", "disk", DESK, _full_disk, "the database's disk is full", trap="surfaces as a failed load job"),
    _case(
        "database_too_large",
        "disk",
        PORT,
        _limit(resource.RLIMIT_FSIZE, 30_000),
        "no file may be larger than 30 kB",
        subtype="file_too_large",
    ),
    _case("no_handles", "handles", DESK, _limit(resource.RLIMIT_NOFILE, 6), "the stage may hold six files open"),
    _case(
        "duckdb_memory",
        "memory",
        PORT,
        _edit(
            "load_berths.py",
            "    with pipeline.sql_client() as client:\n",
            "    with pipeline.sql_client() as client:\n        client.execute_sql(\"SET memory_limit='1MB'\")\n",
        ),
        "the database may use 1 MB",
    ),
    _case(
        "killed_while_loading",
        "killed",
        PORT,
        _killed,
        "the kernel kills the stage",
        subtype="killed_process",
    ),
)


OURS = (
    _case(
        "database_held",
        "concurrency",
        DESK,
        _held,
        "another process has the database open",
        subtype="lock_contention",
        trap="an IO error of a connection",
    ),
    _case(
        "no_token",
        "configuration",
        DESK,
        lambda bench: bench.env.pop("DESK_TOKEN"),
        "the token's variable is not set",
    ),
    _case(
        "wrong_paginator",
        "configuration",
        DESK,
        _edit("load_tickets.py", '"type": "page_number"', '"type": "page_numbers"'),
        "the configuration names a paginator that does not exist",
        trap="speaks of a schema",
    ),
    _case(
        "berths_not_delivered",
        "missing_input",
        PORT,
        lambda bench: bench.path("berths.csv").unlink(),
        "the berths' file was not delivered",
    ),
    _case(
        "generator_bug",
        "code_bug",
        PORT,
        _edit("load_berths.py", 'int(row["berth"])', 'int(row["berth"]).strip()'),
        "the new release strips a number",
        trap="an AttributeError inside an extraction",
    ),
    _case(
        "missing_extra",
        "environment",
        PORT,
        _edit("load_berths.py", "import dlt\n", "import dlt\nimport adlfs\n", 1),
        "a library that is not installed",
    ),
    _case(
        "stopped",
        "interrupted",
        PORT,
        lambda bench: bench.kill_when("2026-05-01.ndjson", signal.SIGINT),
        "an operator pressed Ctrl-C",
    ),
    _case(
        "end_cut",
        "no_cause",
        DESK,
        _pages({"minutes": "1 h"}),
        "the log was cut before the error",
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
