"""Dask: libraries' loans (dataframes on a local cluster), cold stores' alarms (a bag on threads)."""

from __future__ import annotations

import gzip
import json
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Prepare, Program, System, case
from corpus.lab.faults import cut, edited, environment, small_disk, unreachable
from corpus.lab.services import web
from corpus.lab.services.web import Reply, page, serve

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
    server = serve(bench, routes)
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


def _branches(bench: Bench) -> None:
    bench.run(str(bench.python), "-c", FOUND.replace("RENAMED", "{'branch': 'library'}"))


def _greedy(bench: Bench) -> None:
    _write(bench, 5, _loans(5, 2_000_000))
    bench.env["WORKER_MEMORY"] = "350MB"


def _no_loans(bench: Bench) -> None:
    for path in bench.path("loans").iterdir():
        path.unlink()


def _quay(*replies: Reply) -> Prepare:
    return web.answers("/stores/quay", *replies)


CASES = (
    case(
        "lent_on_renamed",
        "renamed",
        LOANS,
        "the files' column lent_on is called issued now",
        _header("lent_on", "issued"),
    ),
    case(
        "channel_since_april",
        "added",
        LOANS,
        "the files have a column more since April",
        _added,
        subtype="column_added",
        trap="the first files are as they were; the worker complains of columns that do not match",
    ),
    case(
        "branch_called_library",
        "renamed",
        LOANS,
        "the list of branches calls branch library",
        _branches,
        trap="a KeyError after the check",
    ),
    case(
        "days_open",
        "unparsable",
        LOANS,
        "a loan of the text open days",
        _loan(3, 111, ",57,", ",open,"),
        subtype="invalid_value",
        trap="speaks of dtypes",
    ),
    case(
        "month_delivered_twice",
        "duplicate",
        LOANS,
        "the file of June was delivered twice",
        lambda bench: _write(bench, 7, _loans(6)),
        trap="a check of our own reports numbers alone",
    ),
    case(
        "event_of_dash",
        "unparsable",
        STORES,
        "a probe sends n/a",
        _event(6, 77, {"celsius": "n/a"}),
        subtype="invalid_value",
    ),
    case(
        "hour_cut",
        "malformed",
        STORES,
        "the file of an hour is cut",
        cut("events/05.jsonl.gz", 600),
        subtype="truncated_file",
        trap="an EOFError of the codec",
    ),
    case("stores_api_down", "outage", STORES, "the API of the stores is down", _quay(page(503))),
    case(
        "stores_api_page",
        "protocol",
        STORES,
        "the API gives a page of maintenance with status 200",
        _quay(Reply(200, "<html><h1>We will be back soon</h1></html>", {"Content-Type": "text/html"})),
        subtype="outage_page",
        trap="JSON that cannot be decoded, among files of JSON",
    ),
    case(
        "stores_api_refuses",
        "refused",
        STORES,
        "nothing listens at the API",
        unreachable("STORES_API"),
    ),
    case(
        "stores_api_token",
        "credentials",
        STORES,
        "the API refuses our token",
        _quay(Reply(403, {"error": "token revoked"})),
        subtype="forbidden",
    ),
    case(
        "worker_out_of_memory",
        "memory",
        LOANS,
        "a month is larger than the worker",
        _greedy,
        trap="ends with connections that are closed and a KilledWorker",
    ),
    case(
        "out_volume_full",
        "disk",
        LOANS,
        "the volume of the results is full",
        small_disk("out", "24k"),
        subtype="disk_full",
    ),
    case("loans_not_delivered", "missing_input", LOANS, "no file of loans was delivered", _no_loans),
    case(
        "fee_of_overdue",
        "code_bug",
        LOANS,
        "the new release takes the fee from a column that it names wrongly itself",
        edited("loan_report.py", 'agg({"loan_id": "count", "fee": "sum"})', 'agg({"loan_id": "cuont", "fee": "sum"})'),
    ),
    case(
        "workers_of_none",
        "configuration",
        LOANS,
        "the deployment gives a memory limit that is no number",
        environment(WORKER_MEMORY="600 megs"),
        trap="the word memory",
    ),
    case(
        "minute_bug",
        "code_bug",
        STORES,
        "the new release calls an undefined name",
        edited("sensor_bag.py", 'int(event["at"][14:16])', 'minute_of(event["at"])'),
    ),
    case(
        "report_cut",
        "no_cause",
        LOANS,
        "the kept log ends before the error",
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
