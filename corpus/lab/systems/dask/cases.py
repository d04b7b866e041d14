"""Dask: libraries' loans (dataframes on a local cluster), cold stores' alarms (a bag on threads)."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.services.web import Reply, Web, page, serve

WEBS: dict[Path, Web] = {}
BRANCHES = ("Altona", "Barmbek", "Dulsberg", "Eilbek", "Horn", "Veddel")
MEDIA = ("book", "film", "game", "record")
FOUND = """
import pandas as pd
branches = ["Altona", "Barmbek", "Dulsberg", "Eilbek", "Horn", "Veddel"]
table = pd.DataFrame({"branch": pd.array(branches, dtype="string"), "district": [f"D{n // 2}" for n in range(6)]})
table.rename(columns=RENAMED).to_parquet("branches.parquet")
"""
HEADER = "loan_id,branch,medium,days,lent_on"


def _loans(month: int, count: int = 400) -> list[str]:
    return [
        f"{month * 100_000 + n},{BRANCHES[n % 6]},{MEDIA[n % 4]},{n * 7 % 60},2026-{month:02}-{1 + n % 28:02}"
        for n in range(count)
    ]


def _write(bench: Bench, month: int, lines: list[str], header: str = HEADER) -> None:
    bench.write(f"loans/2026-{month:02}.csv", "\n".join([header, *lines]) + "\n")


def _libraries(bench: Bench) -> None:
    for month in range(1, 7):
        _write(bench, month, _loans(month))
    bench.write("fees.csv", "medium,per_day\nbook,0.1\nfilm,0.5\ngame,0.4\nrecord,0.2\n")
    bench.run(str(bench.python), "-c", FOUND.replace("RENAMED", "{}"))
    bench.path("out/.keep").touch()


def _events(hour: int) -> list[dict[str, Any]]:
    return [
        {
            "store": ("north", "quay", "south")[n % 3],
            "probe": f"p{n % 12}",
            "celsius": -22 + n % 9,
            "at": f"2026-11-20T{hour:02}:{n % 60:02}:00Z",
        }
        for n in range(240)
    ]


def _put(bench: Bench, hour: int, lines: list[str]) -> None:
    bench.path(f"events/{hour:02}.jsonl.gz").write_bytes(
        gzip.compress("".join(each + "\n" for each in lines).encode(), mtime=0)
    )


def _stores(bench: Bench) -> None:
    for hour in range(8):
        _put(bench, hour, [json.dumps(each) for each in _events(hour)])
    routes = {f"/stores/{each}": [Reply(body={"name": each, "ceiling_c": -16})] for each in ("north", "quay", "south")}
    WEBS[bench.directory] = server = serve(bench, routes)
    bench.env["STORES_API"] = server.url


LOANS = Program(name="loans", command=("{python}", "loan_report.py"), files=("loan_report.py",), world=_libraries)
STORES = Program(name="stores", command=("{python}", "sensor_bag.py"), files=("sensor_bag.py",), world=_stores)


def _loan(month: int, number: int, old: str, new: str) -> Prepare:
    def inject(bench: Bench) -> None:
        lines = _loans(month)
        lines[number] = lines[number].replace(old, new)
        _write(bench, month, lines)

    return inject


def _header(old: str, new: str) -> Prepare:
    def inject(bench: Bench) -> None:
        for month in range(1, 7):
            _write(bench, month, _loans(month), HEADER.replace(old, new))

    return inject


def _added(bench: Bench) -> None:
    for month in (4, 5, 6):
        _write(bench, month, [f"{line},desk" for line in _loans(month)], HEADER + ",channel")


def _event(hour: int, number: int, change: dict[str, Any]) -> Prepare:
    def inject(bench: Bench) -> None:
        events = _events(hour)
        events[number] |= change
        _put(bench, hour, [json.dumps(each) for each in events])

    return inject


def _cut_hour(bench: Bench) -> None:
    path = bench.path("events/05.jsonl.gz")
    path.write_bytes(path.read_bytes()[:600])


def _branches(bench: Bench) -> None:
    bench.run(str(bench.python), "-c", FOUND.replace("RENAMED", "{'branch': 'library'}"))


def _greedy(bench: Bench) -> None:
    _write(bench, 5, _loans(5, 2_000_000))
    bench.env["WORKER_MEMORY"] = "350MB"


def _full_out(bench: Bench) -> None:
    place = bench.path("out")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(place)], check=True)
    bench.on_exit(lambda: subprocess.run(["umount", "-l", str(place)], check=False))


def _no_loans(bench: Bench) -> None:
    for path in bench.path("loans").iterdir():
        path.unlink()


def _quay(*replies: Reply) -> Prepare:
    return lambda bench: WEBS[bench.directory].set("/stores/quay", *replies)


def _edit(name: str, old: str, new: str) -> Prepare:
    return lambda bench: bench.replace(name, old, new)


def _case(
    name: str,
    family: str,
    cause: str,
    program: Program,
    inject: Prepare,
    trap: str = "",
    subtype: str = "",
    keep: str = "all",
) -> Case:
    return Case(
        name=name, family=family, program=program, cause=cause, inject=inject, trap=trap, subtype=subtype, keep=keep
    )


CASES = (
    _case(
        "lent_on_renamed",
        "renamed",
        "the files' column lent_on is called issued now",
        LOANS,
        _header("lent_on", "issued"),
    ),
    _case(
        "channel_since_april",
        "added",
        "the files have a column more since April",
        LOANS,
        _added,
        subtype="column_added",
        trap="the first files are as they were; the worker complains of columns that do not match",
    ),
    _case(
        "branch_called_library",
        "renamed",
        "the list of branches calls branch library",
        LOANS,
        _branches,
        trap="a KeyError after the check",
    ),
    _case(
        "days_open",
        "unparsable",
        "a loan of the text open days",
        LOANS,
        _loan(3, 111, ",57,", ",open,"),
        subtype="invalid_value",
        trap="speaks of dtypes",
    ),
    _case(
        "month_delivered_twice",
        "duplicate",
        "the file of June was delivered twice",
        LOANS,
        lambda bench: _write(bench, 7, _loans(6)),
        trap="a check of our own reports numbers alone",
    ),
    _case(
        "event_of_dash",
        "unparsable",
        "a probe sends n/a",
        STORES,
        _event(6, 77, {"celsius": "n/a"}),
        subtype="invalid_value",
    ),
    _case(
        "hour_cut",
        "malformed",
        "the file of an hour is cut",
        STORES,
        _cut_hour,
        subtype="truncated_file",
        trap="an EOFError of the codec",
    ),
    _case("stores_api_down", "outage", "the API of the stores is down", STORES, _quay(page(503))),
    _case(
        "stores_api_page",
        "protocol",
        "the API gives a page of maintenance with status 200",
        STORES,
        _quay(Reply(200, "<html><h1>We will be back soon</h1></html>", {"Content-Type": "text/html"})),
        subtype="outage_page",
        trap="JSON that cannot be decoded, among files of JSON",
    ),
    _case(
        "stores_api_refuses",
        "refused",
        "nothing listens at the API",
        STORES,
        lambda bench: bench.env.update(STORES_API=f"http://127.0.0.1:{free_port()}"),
    ),
    _case(
        "stores_api_token",
        "credentials",
        "the API refuses our token",
        STORES,
        _quay(Reply(403, {"error": "token revoked"})),
        subtype="forbidden",
    ),
    _case(
        "worker_out_of_memory",
        "memory",
        "a month is larger than the worker",
        LOANS,
        _greedy,
        trap="ends with connections that are closed and a KilledWorker",
    ),
    _case("out_volume_full", "disk", "the volume of the results is full", LOANS, _full_out, subtype="disk_full"),
    _case("loans_not_delivered", "missing_input", "no file of loans was delivered", LOANS, _no_loans),
    _case(
        "fee_of_overdue",
        "code_bug",
        "the new release takes the fee from a column that it names wrongly itself",
        LOANS,
        _edit("loan_report.py", 'agg({"loan_id": "count", "fee": "sum"})', 'agg({"loan_id": "cuont", "fee": "sum"})'),
    ),
    _case(
        "workers_of_none",
        "configuration",
        "the deployment gives a memory limit that is no number",
        LOANS,
        lambda bench: bench.env.update(WORKER_MEMORY="600 megs"),
        trap="the word memory",
    ),
    _case(
        "minute_bug",
        "code_bug",
        "the new release calls an undefined name",
        STORES,
        _edit("sensor_bag.py", 'int(event["at"][14:16])', 'minute_of(event["at"])'),
    ),
    _case(
        "report_cut",
        "no_cause",
        "the kept log ends before the error",
        LOANS,
        _branches,
        keep="head:2",
        trap="progress alone",
        subtype="no_error_in_log",
    ),
)
SYSTEM = System(
    name="dask",
    requirements=("dask==2026.8.0", "distributed==2026.8.0", "pandas==3.1.1", "pyarrow==26.0.1"),
    cases=CASES,
    environment={"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"},
)
