"""Luigi: the rain bulletin of a water board, local scheduler, one or two workers."""

from __future__ import annotations

import gzip
import resource
import signal
import sqlite3
import subprocess
from pathlib import Path

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.services.web import Reply, Web, page, serve

WEBS: dict[Path, Web] = {}
CATCHMENTS = ("Aller", "Leine", "Oker", "Wümme")
READINGS = "incoming/gauges-2026-11-20.csv.gz"
Row = tuple[str, str, str]


def _gauges() -> list[dict[str, str]]:
    return [{"gauge": f"G{n:03}", "catchment": CATCHMENTS[n % 4]} for n in range(48)]


def _rows(hours: int = 24) -> list[Row]:
    return [(f"G{n:03}", f"{hour:02}", f"{(n * hour) % 7 / 10}") for hour in range(hours) for n in range(48)]


def _deliver(bench: Bench, rows: list[Row], header: str = "gauge,hour,mm", *, encoding: str = "utf-8") -> None:
    text = "\n".join([header, *(",".join(row) for row in rows)]) + "\n"
    bench.path(READINGS).write_bytes(gzip.compress(text.encode(encoding), mtime=0))


def _board(bench: Bench) -> None:
    _deliver(bench, _rows())
    WEBS[bench.directory] = web = serve(bench, {"/gauges": [Reply(body=_gauges())]})
    bench.replace("luigi.cfg", "http://127.0.0.1:0", web.url)
    _execute(
        bench,
        "CREATE TABLE rain (catchment TEXT NOT NULL, day TEXT NOT NULL, mm REAL NOT NULL, PRIMARY KEY (catchment, day));"
        "CREATE TABLE catchment (catchment TEXT PRIMARY KEY, title TEXT NOT NULL, normal REAL NOT NULL);"
        "INSERT INTO catchment VALUES ('Aller', 'Aller', 80), ('Leine', 'Leine', 90), ('Oker', 'Oker', 60), ('Wümme', 'Wümme', 70)",
    )


def _execute(bench: Bench, script: str) -> None:
    store = sqlite3.connect(bench.path("rain.db"))
    with store:
        store.executescript(script)
    store.close()


BOARD = Program(
    name="bulletin", command=("bash", "nightly.sh"), files=("bulletin.py", "nightly.sh", "luigi.cfg"), world=_board
)


def _sql(script: str) -> Prepare:
    return lambda bench: _execute(bench, script)


def _registry(*replies: Reply) -> Prepare:
    return lambda bench: WEBS[bench.directory].set("/gauges", *replies)


def _delivered(rows: list[Row], header: str = "gauge,hour,mm", encoding: str = "utf-8") -> Prepare:
    return lambda bench: _deliver(bench, rows, header, encoding=encoding)


def _edit(name: str, old: str, new: str) -> Prepare:
    return lambda bench: bench.replace(name, old, new)


def _value(number: int, value: str) -> Prepare:
    rows = _rows()
    rows[number] = (*rows[number][:2], value)
    return _delivered(rows)


def _cut_file(bench: Bench) -> None:
    path = bench.path(READINGS)
    path.write_bytes(path.read_bytes()[:1500])


def _file_limit(bench: Bench) -> None:
    _deliver(bench, _rows(24) * 12)
    bench.limits[resource.RLIMIT_FSIZE] = 60_000


def _hard_look(bench: Bench, line: str) -> None:
    bench.replace(
        "bulletin.py",
        "        totals: dict[str, list[float]] = {}\n",
        f"        totals: dict[str, list[float]] = {{}}\n{line}",
    )


PAIRS = """        with self.input().open() as file:
            seen_hours = [row[:2] for row in csv.reader(file)]
        log.info("%d readings to compare", len(seen_hours))
        doubled = sum(a == b for a in seen_hours for b in seen_hours)
        log.info("%d pairs", doubled)
"""


def _too_long(bench: Bench) -> None:
    _hard_look(bench, PAIRS)
    _deliver(bench, _rows() * 20)
    bench.replace(
        "bulletin.py", "worker_timeout = luigi.IntParameter(default=20", "worker_timeout = luigi.IntParameter(default=2"
    )
    bench.env["WORKERS"] = "2"


def _all_pairs(bench: Bench) -> None:
    _hard_look(
        bench,
        PAIRS.replace(
            "sum(a == b for a in seen_hours for b in seen_hours)",
            "len([a + b for a in seen_hours for b in seen_hours])",
        ),
    )
    _deliver(bench, _rows() * 4)
    bench.limits[resource.RLIMIT_AS] = 700_000_000


def _kill_child(bench: Bench) -> None:
    _hard_look(bench, PAIRS)
    _deliver(bench, _rows() * 20)
    bench.env["WORKERS"] = "2"
    bench.when("readings to compare", lambda process: _signal_children(process, signal.SIGKILL))


def _signal_children(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal the youngest process of the session: the one that runs the task."""
    subprocess.run(["pkill", f"-{number}", "-n", "-s", str(process.pid), "luigi"], check=False)


def _interrupt(bench: Bench) -> None:
    _hard_look(bench, PAIRS)
    _deliver(bench, _rows() * 20)
    bench.kill_when("readings to compare", signal.SIGINT)


def _six_hours(bench: Bench) -> None:
    _deliver(bench, _rows(6))
    bench.replace("luigi.cfg", "[Gauges]", "[CatchmentTotals]\nleast = 280\n\n[Gauges]")


def _other_account(bench: Bench) -> None:
    bench.path("work").mkdir(mode=0o755)
    bench.directory.chmod(0o755)
    bench.command = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *bench.command)


def _case(
    name: str, family: str, cause: str, inject: Prepare, trap: str = "", subtype: str = "", keep: str = "all"
) -> Case:
    return Case(
        name=name, family=family, program=BOARD, cause=cause, inject=inject, trap=trap, subtype=subtype, keep=keep
    )


CASES = (
    _case(
        "mm_called_precipitation",
        "renamed",
        "the readings' column mm is called precipitation_mm now",
        _delivered(_rows(), "gauge,hour,precipitation_mm"),
        trap="a KeyError of two letters in the middle of a worker's log; the columns are logged",
    ),
    _case(
        "rain_needs_source",
        "added",
        "the store's owner added a required column",
        _sql(
            "ALTER TABLE rain RENAME TO rain_old; CREATE TABLE rain (catchment TEXT, day TEXT, mm REAL, source TEXT NOT NULL, PRIMARY KEY (catchment, day))"
        ),
        trap="a NOT NULL violation of a column that the task does not fill",
        subtype="column_added",
    ),
    _case(
        "catchment_table_renamed",
        "table_gone",
        "the store's owner renamed a table",
        _sql("ALTER TABLE catchment RENAME TO basin"),
    ),
    _case("gauge_reads_dashes", "unparsable", "a reading is dashes", _value(601, "---"), subtype="invalid_value"),
    _case("readings_cut_off", "malformed", "the delivered file is cut", _cut_file, subtype="truncated_file"),
    _case(
        "stored_before",
        "duplicate",
        "the store holds a catchment's total of that day, entered by hand",
        _sql("INSERT INTO rain VALUES ('Oker', '2026-11-20', 11.5)"),
    ),
    _case(
        "six_hours_only",
        "volume",
        "the file holds six hours of twenty-four",
        _six_hours,
        subtype="incomplete",
    ),
    _case(
        "registry_down",
        "outage",
        "the registry is down",
        _registry(page(502)),
        trap="the scheduler's summary and its return code come last",
    ),
    _case(
        "registry_moved",
        "endpoint",
        "the registry's address is gone",
        _registry(Reply(410, {"error": "v1 was switched off", "see": "/v2/stations"})),
        subtype="endpoint_changed",
    ),
    _case("registry_silent", "slow", "the registry does not answer", _registry(Reply(ending="hang"))),
    _case(
        "registry_limits",
        "rate_limit",
        "the registry has had enough calls of us",
        _registry(Reply(429, {"error": "daily calls used"}, {"Retry-After": "7200"})),
    ),
    _case(
        "registry_key_expired",
        "credentials",
        "the registry's key has expired",
        _registry(
            Reply(
                401,
                {"error": "token expired", "at": "2026-11-01"},
                {"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        ),
    ),
    _case(
        "clean_file_limit",
        "disk",
        "the account may not write files of that size",
        _file_limit,
        subtype="file_too_large",
    ),
    _case(
        "compare_too_long",
        "time_limit",
        "more readings than can be compared in the time that a worker has",
        _too_long,
        subtype="killed_process",
    ),
    _case(
        "compare_memory",
        "memory",
        "all pairs of readings do not fit into the process",
        _all_pairs,
        trap="ends with luigi's return code",
    ),
    _case(
        "compare_killed",
        "killed",
        "the machine killed the task's process for memory",
        _kill_child,
        trap="only an exit code of -9 in a line of the scheduler",
    ),
    _case(
        "readings_not_delivered",
        "missing_input",
        "the file of the day was not delivered",
        lambda bench: bench.path(READINGS).unlink(),
        trap="missing external dependencies, and no traceback",
    ),
    _case(
        "registry_not_set",
        "configuration",
        "the new configuration does not name the registry",
        _edit("luigi.cfg", "[Gauges]", "[GaugesV2]"),
        trap="a parameter that is missing",
    ),
    _case(
        "output_twice",
        "code_bug",
        "the new release asks for a task with a parameter that it does not have",
        _edit(
            "bulletin.py",
            "return CatchmentTotals(day=self.day)",
            "return CatchmentTotals(day=self.day, unit=self.store)",
        ),
    ),
    _case("work_of_other_account", "permission", "the folder belongs to another account", _other_account),
    _case("stopped_by_hand", "interrupted", "somebody stopped the run", _interrupt),
    _case(
        "summary_only",
        "no_cause",
        "the runner kept the summary alone",
        _value(400, "12.5 mm"),
        keep="tail:22",
        trap="only the scheduler's summary is left",
        subtype="general_error",
    ),
)
SYSTEM = System(name="luigi", requirements=("luigi==3.8.1",), cases=CASES)
