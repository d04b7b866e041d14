"""SQLite: meter readings (Python), wards (the command line), tills (many attached stores and a rates service)."""

from __future__ import annotations

import resource
import shutil
import signal
import sqlite3
import subprocess

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import edited, written
from corpus.lab.services import web

TABLES = """
CREATE TABLE meter (meter_id INTEGER PRIMARY KEY, street TEXT NOT NULL);
CREATE TABLE reading (
    meter_id INTEGER NOT NULL REFERENCES meter, read_on TEXT NOT NULL, kwh REAL NOT NULL CHECK (kwh >= 0),
    PRIMARY KEY (meter_id, read_on)
) STRICT;
"""
QUOTA = "CREATE TABLE quota (region TEXT PRIMARY KEY, receipts INTEGER); CREATE TABLE entry (region TEXT, receipt TEXT, at TEXT, euros REAL)"
RATES = web.Reply(200, {"base": "EUR", "rates": {"EUR": 1.0, "CHF": 0.95, "CZK": 25.1, "PLN": 4.3}})


def meters(bench: Bench) -> None:
    store = sqlite3.connect(bench.path("meters.db"))
    with store:
        store.executescript(TABLES)
        store.executemany("INSERT INTO meter VALUES (?, ?)", [(n, f"Elm street {n}") for n in range(1, 201)])
    store.close()
    lines = [f"{n},2026-03-01,{n * 1.5}" for n in range(1, 201)]
    bench.write("readings.csv", "\n".join(["meter_id,read_on,kwh", *lines]) + "\n")


def _beds(count: int) -> str:
    lines = [f"W{n % 6},B{n // 6},P{52000 + n},2026-11-{1 + n % 20:02},{n % 13}" for n in range(count)]
    return "\n".join(["ward,bed,patient,since,score", *lines]) + "\n"


def wards(bench: Bench) -> None:
    bench.write("in/beds.csv", _beds(180))
    bench.path("out/.keep").touch()
    _execute(
        bench,
        "CREATE TABLE ward (ward TEXT PRIMARY KEY, title TEXT, beds INTEGER);"
        "INSERT INTO ward VALUES ('W0', 'Surgery', 40), ('W1', 'Heart', 32), ('W2', 'Children', 36), ('W3', 'Eyes', 30),"
        "('W4', 'Lungs', 44), ('W5', 'Age', 50)",
        "wards.db",
    )


def tills(bench: Bench) -> None:
    _execute(bench, QUOTA, "ledger.db")
    for at, region in enumerate(("alps", "bohemia", "coast", "danube", "elbe")):
        _till(bench, region, ("CHF", "CZK", "EUR", "EUR", "PLN")[at], 300)
    server = web.serve(bench, {"/daily": [RATES]})
    bench.env["RATES_URL"] = server.url + "/daily"


def _till(bench: Bench, region: str, currency: str, count: int) -> None:
    rows = ",".join(
        f"('{region[0].upper()}{n:05}', '{currency}', {199 + n * 7}, '2026-11-21T{8 + n % 11:02}:15')"
        for n in range(count)
    )
    script = f"CREATE TABLE receipt (receipt TEXT PRIMARY KEY, currency TEXT, cents INTEGER, at TEXT); INSERT INTO receipt VALUES {rows}"
    _execute(bench, script, f"tills/{region}.db")
    _execute(bench, f"INSERT INTO quota VALUES ('{region}', 5000)", "ledger.db")


def _execute(bench: Bench, script: str, store: str = "meters.db") -> None:
    opened = sqlite3.connect(bench.path(store))
    with opened:
        opened.executescript(script)
    opened.close()


LOAD = Program(name="meters", command=("{python}", "load_readings.py"), files=("load_readings.py",), world=meters)
WARDS = Program(
    name="wards",
    command=("bash", "nightly.sh"),
    files=("nightly.sh", "import.sql", "reconcile.sql", "publish.sql"),
    world=wards,
)
TILLS = Program(name="tills", command=("{python}", "consolidate.py"), files=("consolidate.py",), world=tills)


def _sql(script: str, store: str = "meters.db") -> Prepare:
    return lambda bench: _execute(bench, script, store)


def _rates(*replies: web.Reply) -> Prepare:
    return web.answers("/daily", *replies)


def _full_volume(bench: Bench) -> None:
    bench.mount("volume", "size=40k")
    shutil.move(bench.path("meters.db"), bench.path("volume/meters.db"))
    bench.path("meters.db").symlink_to("volume/meters.db")
    lines = [f"{n % 200 + 1},20{10 + n // 200 % 16}-{1 + n // 3200 % 12:02}-01,{n}" for n in range(9000)]
    bench.write("readings.csv", "\n".join(["meter_id,read_on,kwh", *lines]) + "\n")


def _house(bench: Bench) -> None:
    lines = [line.partition(",") for line in _beds(180).splitlines()]
    named = [f"{ward},{'N' if n else 'house'},{rest}" for n, (ward, _, rest) in enumerate(lines)]
    bench.write("in/beds.csv", "\n".join(named) + "\n")


def _file_limit(bench: Bench) -> None:
    bench.write("in/beds.csv", _beds(6000))
    bench.limits[resource.RLIMIT_FSIZE] = 120_000


def _heap(bench: Bench) -> None:
    bench.replace("nightly.sh", "sqlite3 -bail", 'sqlite3 -bail -cmd "PRAGMA hard_heap_limit = 300000"')
    bench.write("in/beds.csv", _beds(4000))


def _many_regions(bench: Bench) -> None:
    for region in ("fens", "glens", "harz", "isar", "jura", "karst"):
        _till(bench, region, "EUR", 20)


def _damage(bench: Bench) -> None:
    _execute(bench, "VACUUM", "tills/coast.db")
    path = bench.path("tills/coast.db")
    data = bytearray(path.read_bytes())
    data[4096 : 4096 * 3] = bytes(n * 37 % 251 for n in range(4096 * 2))
    path.write_bytes(bytes(data))


def _kill_step(bench: Bench) -> None:
    bench.write("in/beds.csv", _beds(60_000))
    bench.replace("nightly.sh", "step reconcile 3", "step reconcile 60")
    bench.when("Run Time", _kill_shell)


def _kill_shell(process: subprocess.Popen[bytes]) -> None:
    subprocess.run(["pkill", f"-{signal.SIGKILL}", "-s", str(process.pid), "sqlite3"], check=False)


def _latin(bench: Bench) -> None:
    path = bench.path("readings.csv")
    path.write_text(path.read_text(encoding="utf-8").replace("77,2026", "77 Süd,2026", 1), encoding="latin-1")


CASES = (
    Case(
        name="target_column_renamed",
        family="renamed",
        cause="the store's owner renamed kwh to energy_kwh",
        program=LOAD,
        inject=_sql("ALTER TABLE reading RENAME COLUMN kwh TO energy_kwh"),
    ),
    Case(
        name="source_column_renamed",
        family="renamed",
        cause="the file's column kwh is called consumption now",
        program=LOAD,
        inject=edited("readings.csv", "read_on,kwh", "read_on,consumption"),
        trap="surfaces as a missing binding of the driver",
    ),
    Case(
        name="beds_of_six_columns",
        family="column_count",
        cause="the file of beds has a column house after the ward since a release of its source",
        program=WARDS,
        inject=_house,
        subtype="column_added",
        trap="hundreds of warnings, and a check fails a step later",
    ),
    Case(
        name="ward_title_gone",
        family="removed",
        cause="the title of a ward was removed",
        program=WARDS,
        inject=_sql("ALTER TABLE ward DROP COLUMN title", "wards.db"),
    ),
    Case(
        name="receipts_renamed",
        family="table_gone",
        cause="the region's till calls its table sale since its update",
        program=TILLS,
        inject=_sql("ALTER TABLE receipt RENAME TO sale", "tills/danube.db"),
        trap="breaks in a function called check_quota, after hundreds of debug lines",
    ),
    Case(
        name="reading_twice",
        family="duplicate",
        cause="the file holds one meter's reading twice",
        program=LOAD,
        inject=edited("readings.csv", "8,2026-03-01", "7,2026-03-01", 1),
    ),
    Case(
        name="reading_negative",
        family="range",
        cause="a reading below zero",
        program=LOAD,
        inject=edited("readings.csv", "64,2026-03-01,", "64,2026-03-01,-"),
        subtype="check_violation",
    ),
    Case(
        name="reading_not_a_number",
        family="unparsable",
        cause="a reading is the text ERR 502",
        program=LOAD,
        inject=edited("readings.csv", "64,2026-03-01,96.0", "64,2026-03-01,ERR 502"),
        trap="the store speaks of types",
    ),
    Case(name="readings_latin", family="encoding", cause="the file is in Latin-1", program=LOAD, inject=_latin),
    Case(
        name="till_damaged",
        family="malformed",
        cause="the file of one region's till is damaged",
        program=TILLS,
        inject=_damage,
        trap="after hundreds of debug lines; speaks of a disk",
        subtype="corruption",
    ),
    Case(
        name="rates_unavailable",
        family="outage",
        cause="the rates service is down",
        program=TILLS,
        inject=_rates(web.page(503)),
    ),
    Case(
        name="rates_hang",
        family="slow",
        cause="the rates service does not answer",
        program=TILLS,
        inject=_rates(web.Reply(ending="hang")),
    ),
    Case(
        name="rates_page",
        family="protocol",
        cause="the rates service gives a page of its proxy with status 200",
        program=TILLS,
        inject=_rates(web.Reply(500), web.Reply(200, web.page(504).body, {"Content-Type": "text/html"})),
        trap="status 200; JSON cannot be decoded",
        subtype="outage_page",
    ),
    Case(
        name="volume_full",
        family="disk",
        cause="the store's volume is full",
        program=LOAD,
        inject=_full_volume,
        subtype="disk_full",
    ),
    Case(
        name="wards_file_limit",
        family="disk",
        cause="the account may not write files as large as the store has become",
        program=WARDS,
        inject=_file_limit,
        subtype="file_too_large",
    ),
    Case(
        name="copy_volume_full",
        family="disk",
        cause="the volume of the copy is full",
        program=WARDS,
        inject=lambda bench: bench.mount("out", "size=12k"),
        subtype="disk_full",
    ),
    Case(
        name="wards_heap",
        family="memory",
        cause="the process may have less memory than the step needs",
        program=WARDS,
        inject=_heap,
    ),
    Case(
        name="eleven_regions",
        family="limit",
        cause="there are eleven regions, and the software attaches ten stores at most",
        program=TILLS,
        inject=_many_regions,
        subtype="limit_exceeded",
    ),
    Case(
        name="reconcile_too_long",
        family="time_limit",
        cause="more beds than the step can compare in the time it has",
        program=WARDS,
        inject=written("in/beds.csv", _beds(60_000)),
        subtype="killed_process",
        trap="ends with a status and the word signal",
    ),
    Case(
        name="reconcile_killed",
        family="killed",
        cause="the machine killed the step for its memory",
        program=WARDS,
        inject=_kill_step,
        trap="only the status 137 tells",
    ),
    Case(
        name="division_of_rates",
        family="code_bug",
        cause="the new release looks the rate up in the wrong variable",
        program=TILLS,
        inject=edited("consolidate.py", "/ rate[currency]", "/ rates[currency]"),
        trap="an error over types in a line that reads a column",
    ),
    Case(
        name="software_missing",
        family="environment",
        cause="the image does not have the software where the script calls it",
        program=WARDS,
        inject=edited("nightly.sh", "sqlite3 -bail", "/opt/sqlite/bin/sqlite3 -bail"),
        subtype="configuration",
        trap="reads like an input that is missing",
    ),
    Case(
        name="import_syntax",
        family="code_bug",
        cause="the new release of a script has a keyword too many",
        program=WARDS,
        inject=edited("reconcile.sql", "ORDER BY spread DESC LIMIT 5", "ORDER BY BY spread DESC LIMIT 5"),
    ),
    Case(
        name="beds_not_delivered",
        family="missing_input",
        cause="the file of beds was not delivered",
        program=WARDS,
        inject=lambda bench: bench.path("in/beds.csv").unlink(),
    ),
    Case(
        name="ledger_cut",
        family="no_cause",
        cause="the log ends while the receipts are taken",
        program=TILLS,
        inject=_sql("UPDATE receipt SET currency = 'XAU' WHERE receipt = 'E00200'", "tills/elbe.db"),
        keep="head:1100",
        trap="a thousand lines of progress with the word quota",
        subtype="no_error_in_log",
    ),
    Case(
        name="receipt_in_gold",
        family="unparsable",
        cause="a receipt in a currency that does not exist",
        program=TILLS,
        inject=_sql("UPDATE receipt SET currency = 'XXX' WHERE receipt = 'E00200'", "tills/elbe.db"),
        trap="a KeyError after 1,400 debug lines",
        subtype="invalid_value",
    ),
)
SYSTEM = System(name="sqlite", debian=("sqlite3",), cases=CASES)
