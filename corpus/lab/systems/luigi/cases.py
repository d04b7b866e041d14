"""Luigi: the rain bulletin of a water board, local scheduler, one or two workers."""

from __future__ import annotations

import gzip
import resource
import signal
import subprocess

from corpus.lab.bench import Bench
from corpus.lab.case import Prepare, Program, System, case
from corpus.lab.faults import as_nobody, edited
from corpus.lab.services import sqlite
from corpus.lab.services.web import Reply, answers, page, serve

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
    web = serve(bench, {"/gauges": [Reply(body=_gauges())]})
    bench.replace("luigi.cfg", "http://127.0.0.1:0", web.url)
    sqlite.execute(
        bench,
        "rain.db",
        "CREATE TABLE rain (catchment TEXT NOT NULL, day TEXT NOT NULL, mm REAL NOT NULL, PRIMARY KEY (catchment, day));"
        "CREATE TABLE catchment (catchment TEXT PRIMARY KEY, title TEXT NOT NULL, normal REAL NOT NULL);"
        "INSERT INTO catchment VALUES ('Aller', 'Aller', 80), ('Leine', 'Leine', 90), ('Oker', 'Oker', 60), ('Wümme', 'Wümme', 70)",
    )


BOARD = Program(
    name="bulletin", command=("bash", "nightly.sh"), files=("bulletin.py", "nightly.sh", "luigi.cfg"), world=_board
)


def _sql(script: str) -> Prepare:
    return sqlite.script("rain.db", script)


def _registry(*replies: Reply) -> Prepare:
    return answers("/gauges", *replies)


def _delivered(rows: list[Row], header: str = "gauge,hour,mm", encoding: str = "utf-8") -> Prepare:
    return lambda bench: _deliver(bench, rows, header, encoding=encoding)


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
    as_nobody(bench)


CASES = (
    case(
        "mm_called_precipitation",
        "renamed",
        BOARD,
        "the readings' column mm is called precipitation_mm now",
        _delivered(_rows(), "gauge,hour,precipitation_mm"),
        trap="a KeyError of two letters in the middle of a worker's log; the columns are logged",
    ),
    case(
        "rain_needs_source",
        "added",
        BOARD,
        "the store's owner added a required column",
        _sql(
            "ALTER TABLE rain RENAME TO rain_old; CREATE TABLE rain (catchment TEXT, day TEXT, mm REAL, source TEXT NOT NULL, PRIMARY KEY (catchment, day))"
        ),
        trap="a NOT NULL violation of a column that the task does not fill",
        subtype="column_added",
    ),
    case(
        "catchment_table_renamed",
        "table_gone",
        BOARD,
        "the store's owner renamed a table",
        _sql("ALTER TABLE catchment RENAME TO basin"),
    ),
    case("gauge_reads_dashes", "unparsable", BOARD, "a reading is dashes", _value(601, "---"), subtype="invalid_value"),
    case("readings_cut_off", "malformed", BOARD, "the delivered file is cut", _cut_file, subtype="truncated_file"),
    case(
        "stored_before",
        "duplicate",
        BOARD,
        "the store holds a catchment's total of that day, entered by hand",
        _sql("INSERT INTO rain VALUES ('Oker', '2026-11-20', 11.5)"),
    ),
    case(
        "six_hours_only",
        "volume",
        BOARD,
        "the file holds six hours of twenty-four",
        _six_hours,
        subtype="incomplete",
    ),
    case(
        "registry_down",
        "outage",
        BOARD,
        "the registry is down",
        _registry(page(502)),
        trap="the scheduler's summary and its return code come last",
    ),
    case(
        "registry_moved",
        "endpoint",
        BOARD,
        "the registry's address is gone",
        _registry(Reply(410, {"error": "v1 was switched off", "see": "/v2/stations"})),
        subtype="endpoint_changed",
    ),
    case("registry_silent", "slow", BOARD, "the registry does not answer", _registry(Reply(ending="hang"))),
    case(
        "registry_limits",
        "rate_limit",
        BOARD,
        "the registry has had enough calls of us",
        _registry(Reply(429, {"error": "daily calls used"}, {"Retry-After": "7200"})),
    ),
    case(
        "registry_key_expired",
        "credentials",
        BOARD,
        "the registry's key has expired",
        _registry(
            Reply(
                401,
                {"error": "token expired", "at": "2026-11-01"},
                {"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        ),
    ),
    case(
        "clean_file_limit",
        "disk",
        BOARD,
        "the account may not write files of that size",
        _file_limit,
        subtype="file_too_large",
    ),
    case(
        "compare_too_long",
        "time_limit",
        BOARD,
        "more readings than can be compared in the time that a worker has",
        _too_long,
        subtype="killed_process",
    ),
    case(
        "compare_memory",
        "memory",
        BOARD,
        "all pairs of readings do not fit into the process",
        _all_pairs,
        trap="ends with luigi's return code",
    ),
    case(
        "compare_killed",
        "killed",
        BOARD,
        "the machine killed the task's process for memory",
        _kill_child,
        trap="only an exit code of -9 in a line of the scheduler",
    ),
    case(
        "readings_not_delivered",
        "missing_input",
        BOARD,
        "the file of the day was not delivered",
        lambda bench: bench.path(READINGS).unlink(),
        trap="missing external dependencies, and no traceback",
    ),
    case(
        "registry_not_set",
        "configuration",
        BOARD,
        "the new configuration does not name the registry",
        edited("luigi.cfg", "[Gauges]", "[GaugesV2]"),
        trap="a parameter that is missing",
    ),
    case(
        "output_twice",
        "code_bug",
        BOARD,
        "the new release asks for a task with a parameter that it does not have",
        edited(
            "bulletin.py",
            "return CatchmentTotals(day=self.day)",
            "return CatchmentTotals(day=self.day, unit=self.store)",
        ),
    ),
    case("work_of_other_account", "permission", BOARD, "the folder belongs to another account", _other_account),
    case("stopped_by_hand", "interrupted", BOARD, "somebody stopped the run", _interrupt),
    case(
        "summary_only",
        "no_cause",
        BOARD,
        "the runner kept the summary alone",
        _value(400, "12.5 mm"),
        keep="tail:22",
        trap="only the scheduler's summary is left",
        subtype="general_error",
    ),
)
SYSTEM = System(name="luigi", requirements=("luigi==3.8.1",), cases=CASES)
