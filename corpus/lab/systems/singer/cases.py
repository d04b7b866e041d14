"""Singer: a tap of a ferry operator's API piped into a target that validates and writes to SQLite."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import all_of, as_nobody, edited, without
from corpus.lab.services import sqlite, web

Row = dict[str, Any]
TABLES = """
CREATE TABLE piers (pier TEXT PRIMARY KEY, town TEXT NOT NULL, berths INTEGER);
CREATE TABLE sailings (
    sailing_id INTEGER PRIMARY KEY, pier TEXT NOT NULL, departs TEXT NOT NULL, vehicles INTEGER NOT NULL,
    capacity INTEGER, load REAL
);
"""


def piers() -> list[Row]:
    return [{"pier": f"P{n}", "town": f"Town {n}", "berths": 1 + n % 3} for n in range(12)]


def sailings(count: int = 400) -> list[Row]:
    return [
        {
            "sailing_id": 8_000 + n,
            "pier": f"P{n % 12}",
            "departs": f"2026-09-{1 + n % 28:02}T{n % 24:02}:10:00Z",
            "vehicles": n * 7 % 90,
            "capacity": 90,
        }
        for n in range(count)
    ]


def pages(rows: list[Row], size: int = 100) -> list[web.Reply]:
    count = len(rows) // size
    return [
        web.Reply(body={"items": rows[at * size : (at + 1) * size], "next_page": at + 2 if at + 1 < count else None})
        for at in range(count)
    ]


def world(bench: Bench) -> None:
    ledger(TABLES)(bench)
    server = web.serve(bench, {"/piers": [web.Reply(body=piers())], "/sailings": pages(sailings())})
    tap = {
        "base_url": server.url,
        "api_key": "fk_live_31d9",
        "start_date": "2026-09-01T00:00:00Z",
        "operator": "Fjordlines",
    }
    bench.write("tap.json", json.dumps(tap, indent=2))
    bench.write("target.json", json.dumps({"ledger": "ledger.db", "batch_size": 150}))
    bench.write("state.json", "{}")


FERRIES = Program(
    name="ferries",
    command=("bash", "run.sh"),
    files=("run.sh", "tap_ferries.py", "target_ledger.py", "schemas"),
    world=world,
)


def ledger(script: str) -> Prepare:
    return sqlite.script("ledger.db", script)


def answer(*replies: web.Reply, path: str = "/sailings") -> Prepare:
    return web.answers(path, *replies)


def sailed(change: Callable[[Row], Row], *, only: int = -1) -> list[web.Reply]:
    return pages([change(row) if only in (-1, n) else row for n, row in enumerate(sailings())])


def _small_ledger(bench: Bench) -> None:
    bench.mount("volume", "size=36k")
    bench.path("volume/ledger.db").write_bytes(bench.path("ledger.db").read_bytes())
    bench.replace("target.json", "ledger.db", "volume/ledger.db")


def _children(of: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{of}/task/{of}/children").read_text().split()]


def _target_killed(bench: Bench) -> None:
    """Kill the target alone, as the kernel does with the biggest process."""

    def kill(process: subprocess.Popen[bytes]) -> None:
        for pid in _children(process.pid):
            if b"target_ledger" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)

    many = pages(sailings(20_000), 500)
    answer(*many)(bench)
    bench.when("Loaded 150 rows into 'sailings'", kill)


def _target_memory(bench: Bench) -> None:
    bench.replace("target.json", "150", "5000000")
    bench.replace("run.sh", "| python target", "| (ulimit -v 60000; exec python target")
    bench.replace("run.sh", "target_ledger.py >", "target_ledger.py) >")
    answer(*pages(sailings(60_000), 6_000))(bench)


def _as_reader(bench: Bench) -> None:
    bench.run("chmod", "-R", "a+rwX", ".")
    bench.run("chmod", "644", "ledger.db")
    as_nobody(bench)


def _cpu(bench: Bench) -> None:
    bench.replace("run.sh", "python tap_ferries.py", "(ulimit -St 2; exec python tap_ferries.py")
    bench.replace("run.sh", "--state state.json |", "--state state.json) |")
    answer(*pages(sailings(400_000), 20_000))(bench)


CASES = (
    Case(
        name="vehicles_as_text",
        family="retyped",
        cause="the API gives vehicles as text",
        program=FERRIES,
        inject=answer(web.page(502), web.page(502), *sailed(lambda row: row | {"vehicles": str(row["vehicles"])})),
        trap="two failed requests that were repeated with success; fails in the tap's division",
    ),
    Case(
        name="pier_as_number",
        family="retyped",
        cause="the API gives the pier as a number",
        program=FERRIES,
        inject=answer(*sailed(lambda row: row | {"pier": int(row["pier"][1:])})),
        trap="the tap's broken pipe is the last error",
    ),
    Case(
        name="pier_gone",
        family="removed",
        cause="the API does not send the pier of a sailing any more",
        program=FERRIES,
        inject=answer(*sailed(without("pier"))),
    ),
    Case(
        name="vessel_added",
        family="added",
        cause="the API sends a new field vessel",
        program=FERRIES,
        inject=answer(*sailed(lambda row: row | {"vessel": "MF Sula"})),
    ),
    Case(
        name="capacity_renamed",
        family="renamed",
        cause="capacity is called max_vehicles now",
        program=FERRIES,
        inject=answer(*sailed(lambda row: without("capacity")(row) | {"max_vehicles": 90})),
        trap="a bare KeyError, as of a bug",
    ),
    Case(
        name="ledger_column_renamed",
        family="renamed",
        cause="the column load of the ledger was renamed",
        program=FERRIES,
        inject=ledger("ALTER TABLE sailings RENAME COLUMN load TO load_factor"),
        trap="the tap has completed its sync",
    ),
    Case(
        name="ledger_table_gone",
        family="table_gone",
        cause="the ledger has no table piers",
        program=FERRIES,
        inject=ledger("DROP TABLE piers"),
        trap="the tap has completed its sync",
    ),
    Case(
        name="vehicles_null",
        family="null",
        cause="one sailing has no count of vehicles",
        program=FERRIES,
        inject=answer(*sailed(lambda row: row | {"vehicles": None}, only=260)),
        trap="an unsupported operand for NoneType, as of a bug",
    ),
    Case(
        name="load_over_maximum",
        family="range",
        cause="one sailing carries ten times what fits",
        program=FERRIES,
        inject=answer(*sailed(lambda row: row | {"vehicles": 900}, only=130)),
        trap="a failed validation in the schema's words",
    ),
    Case(
        name="capacity_zero",
        family="range",
        cause="one sailing has the capacity 0",
        program=FERRIES,
        inject=answer(*sailed(lambda row: row | {"capacity": 0}, only=333)),
        subtype="division_by_zero",
    ),
    Case(
        name="departure_cancelled",
        family="unparsable",
        cause="one departure is a remark",
        program=FERRIES,
        inject=answer(*sailed(lambda row: row | {"departs": "service unavailable (storm)"}, only=207)),
        trap="the value says service unavailable",
        subtype="invalid_date",
    ),
    Case(
        name="sailing_twice",
        family="duplicate",
        cause="the API gives a sailing twice",
        program=FERRIES,
        inject=answer(*sailed(lambda row: row | {"sailing_id": 8_003}, only=390)),
    ),
    Case(
        name="api_down",
        family="outage",
        cause="the API answers 503",
        program=FERRIES,
        inject=answer(*pages(sailings())[:2], web.Reply(503, "schema upgrade in progress, sailings table locked")),
        trap="the body speaks of a schema upgrade",
    ),
    Case(
        name="api_page",
        family="protocol",
        cause="a gateway gives its page with status 200",
        program=FERRIES,
        inject=all_of(
            edited("tap_ferries.py", "LOGGER.debug(", "LOGGER.info("),
            answer(*pages(sailings())[:1], web.Reply(200, web.page(504).body, {"Content-Type": "text/html"})),
        ),
        trap="a JSON decoder's error, as of bad data; the type of the content tells",
        subtype="outage_page",
    ),
    Case(
        name="api_throttles",
        family="rate_limit",
        cause="the API answers 429 to every attempt",
        program=FERRIES,
        inject=answer(*pages(sailings())[:3], web.Reply(429, {"error": "out of resource units"})),
        trap="the body speaks of resource units",
    ),
    Case(
        name="api_resets",
        family="reset",
        cause="the API resets every connection",
        program=FERRIES,
        inject=answer(web.Reply(ending="reset"), path="/piers"),
    ),
    Case(
        name="api_hangs",
        family="slow",
        cause="the API does not answer",
        program=FERRIES,
        inject=answer(*pages(sailings())[:1], web.Reply(ending="hang")),
    ),
    Case(
        name="key_expired",
        family="credentials",
        cause="the key has expired",
        program=FERRIES,
        inject=answer(web.Reply(401, {"error": "expired"}), path="/piers"),
    ),
    Case(
        name="stream_moved",
        family="endpoint",
        cause="the API has no /sailings any more",
        program=FERRIES,
        inject=answer(web.Reply(404, {"error": "no such resource"})),
        trap="the tap has read another stream well",
        subtype="not_found",
    ),
    Case(
        name="ledger_volume_full",
        family="disk",
        cause="the ledger's volume is full",
        program=FERRIES,
        inject=_small_ledger,
    ),
    Case(
        name="target_killed",
        family="killed",
        cause="the kernel killed the target",
        program=FERRIES,
        inject=_target_killed,
        trap="the tap's broken pipe is the loudest error",
    ),
    Case(
        name="target_memory",
        family="memory",
        cause="the target holds everything in one batch and reaches its limit",
        program=FERRIES,
        inject=_target_memory,
        trap="the tap's broken pipe is the last error",
    ),
    Case(
        name="tap_cpu",
        family="time_limit",
        cause="the tap needs more processor time than it may use",
        program=FERRIES,
        inject=_cpu,
        trap="the target ends well and the wrapper gives an exit code",
        subtype="cpu_limit",
    ),
    Case(
        name="key_not_configured",
        family="configuration",
        cause="the deployed configuration has no api_key",
        program=FERRIES,
        inject=edited("tap.json", '"api_key"', '"api_token"'),
        trap="speaks of missing required keys, as of a payload",
    ),
    Case(
        name="schema_file_missing",
        family="configuration",
        cause="the release was packed without schemas/sailings.json",
        program=FERRIES,
        inject=lambda b: b.path("schemas/sailings.json").unlink(),
        trap="the missing file is a schema",
    ),
    Case(
        name="bookmark_arguments",
        family="code_bug",
        cause="a release calls a function of the library with arguments that it does not take",
        program=FERRIES,
        inject=edited("tap_ferries.py", 'bookmark_properties=["departs"])', 'bookmarks=["departs"])'),
        trap="the function is called write_schema",
    ),
    Case(
        name="ledger_read_only",
        family="permission",
        cause="the job runs as an account that may not write the ledger",
        program=FERRIES,
        inject=_as_reader,
    ),
    Case(
        name="stopped_by_operator",
        family="interrupted",
        cause="someone pressed Ctrl-C",
        program=FERRIES,
        inject=all_of(
            edited("tap_ferries.py", "timeout=1.5", "timeout=60"),
            answer(*pages(sailings())[:2], web.Reply(ending="hang")),
            lambda bench: bench.kill_when("Loaded 150 rows", signal.SIGINT),
        ),
        trap="the trace ends in a wait for the API",
    ),
    Case(
        name="exit_codes_only",
        family="no_cause",
        cause="an API key without rights; the runner kept the last line",
        program=FERRIES,
        inject=answer(web.Reply(403, {"error": "forbidden"}), path="/piers"),
        keep="tail:1",
        trap="exit codes only",
        subtype="general_error",
    ),
)

SYSTEM = System(
    name="singer",
    requirements=("singer-python==6.8.0", "requests==2.34.2"),
    cases=CASES,
)
