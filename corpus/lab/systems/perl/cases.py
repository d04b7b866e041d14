"""Perl: call records rated into PostgreSQL (DBI, Text::CSV, LWP), a fire brigade's roster in SQLite (Log4perl)."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import all_of, as_nobody, edited, environment
from corpus.lab.services import postgres, sqlite, web

TABLES = """
CREATE TABLE subscriber (subscriber_id int PRIMARY KEY, msisdn text NOT NULL, operator text NOT NULL);
INSERT INTO subscriber SELECT n, '4179' || (1000000 + n), 'op' || n % 5 FROM generate_series(0, 199) AS n;
CREATE TABLE bill (subscriber_id int PRIMARY KEY REFERENCES subscriber, cents numeric(10, 2) NOT NULL, calls int NOT NULL);
INSERT INTO bill SELECT subscriber_id, 0, 0 FROM subscriber;
CREATE TABLE call (
    call_id bigint PRIMARY KEY, subscriber_id int NOT NULL REFERENCES subscriber, started_at timestamptz NOT NULL,
    duration_s int NOT NULL CHECK (duration_s >= 0), cents numeric(10, 2) NOT NULL
);
"""
HEADER = "call_id;msisdn;started;duration_s;zone"
TARIFFS = {zone: {"setup": at, "per_minute": 4 + at * 3} for at, zone in enumerate(("home", "eu", "world", "sea"))}
GRADES = """CREATE TABLE pay_grade (grade TEXT PRIMARY KEY, rate REAL NOT NULL, overtime REAL NOT NULL);
INSERT INTO pay_grade VALUES ('F1', 24.5, 0.25), ('F2', 28.0, 0.25), ('L1', 33.5, 0.5)"""
SHIFTS = """CREATE TABLE shift (
    badge TEXT NOT NULL, begins TEXT NOT NULL, hours REAL NOT NULL CHECK (hours BETWEEN 0.5 AND 48), pay REAL NOT NULL,
    PRIMARY KEY (badge, begins)
)"""


def calls(part: int) -> list[list[str]]:
    zones = list(TARIFFS)
    return [
        [
            str(700_000 + n),
            f"4179{1_000_000 + n * 7 % 200}",
            f"2026-06-0{1 + n % 7}T{n % 24:02}:05:00Z",
            str(20 + n % 400),
            zones[n % 4],
        ]
        for n in range(part * 150, part * 150 + 150)
    ]


def land(bench: Bench, part: int, rows: list[list[str]], header: str = HEADER) -> None:
    bench.write(f"cdr/exchange_{part}.csv", "\n".join([header, *(";".join(row) for row in rows)]) + "\n")


def calls_world(bench: Bench) -> None:
    postgres.start(bench, schema=TABLES)
    for part in range(4):
        land(bench, part, calls(part))
    bench.path("out/.keep").touch()
    server = web.serve(bench, {"/tariffs": [web.Reply(body={"tariffs": TARIFFS})]})
    bench.env |= {"TARIFF_URL": server.url, "TARIFF_TOKEN": "tf_live_5d20", "LEAST": "400"}


def shifts(station: int) -> list[str]:
    grades = ("F1", "F2", "L1")
    return [
        f"B{station}{n % 30:03} {f'Firefighter {n % 30}':20}2026-07-{1 + n // 30:02}T07:00"
        f"2026-07-{2 + n // 30:02}T0{1 + n % 7}:00{grades[n % 3]}"
        for n in range(240)
    ]


def plan(bench: Bench, station: int, lines: list[str]) -> None:
    bench.write(f"plans/station_{station}.txt", "\n".join(lines) + "\n")


def roster_world(bench: Bench) -> None:
    for station in range(1, 5):
        plan(bench, station, shifts(station))
    settings = {"store": "roster.db", "plans": "plans", "payroll": "payroll.txt"}
    bench.write("roster.json", json.dumps(settings, indent=2))
    store(f"{GRADES}; {SHIFTS}")(bench)


CALLS = Program(name="calls", command=("perl", "rate_calls.pl"), files=("rate_calls.pl",), world=calls_world)
ROSTER = Program(name="roster", command=("perl", "roster.pl"), files=("roster.pl", "log4perl.conf"), world=roster_world)


def store(script: str) -> Prepare:
    return sqlite.script("roster.db", script)


def tariffs(*replies: web.Reply) -> Prepare:
    return web.answers("/tariffs", *replies)


def rows(part: int, change: Callable[[list[str]], list[str]], header: str = HEADER) -> Prepare:
    return lambda bench: land(bench, part, [change(row) for row in calls(part)], header)


def row(part: int, number: int, **values: str) -> Prepare:
    names = HEADER.split(";")

    def inject(bench: Bench) -> None:
        changed = calls(part)
        changed[number] = [values.get(name, old) for name, old in zip(names, changed[number], strict=True)]
        land(bench, part, changed)

    return inject


def shift(station: int, number: int, old: str, new: str) -> Prepare:
    def inject(bench: Bench) -> None:
        lines = shifts(station)
        if old not in lines[number]:
            raise LookupError(lines[number])
        plan(bench, station, [*lines[:number], lines[number].replace(old, new), *lines[number + 1 :]])

    return inject


def _latin1(bench: Bench) -> None:
    path = bench.path("plans/station_3.txt")
    text = path.read_text().replace("Firefighter 17      ", "Firefighter Müller  ", 1)
    path.write_bytes(text.encode("latin-1"))


def _cancelled(bench: Bench) -> None:
    server = postgres.running(bench)
    server.execute("ALTER ROLE etl SET statement_timeout = '400ms'")
    slow = "CREATE FUNCTION weigh() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM sum(n) FROM generate_series(1, 90000) AS n; RETURN new; END $$"
    server.execute(f"{slow}; CREATE TRIGGER weigh BEFORE INSERT ON call FOR EACH ROW EXECUTE FUNCTION weigh()")


def _server_stops(bench: Bench) -> None:
    server = postgres.running(bench)
    server.when_waiting(bench, "call", lambda: server.stop("fast"))


def _temp_limit(bench: Bench) -> None:
    many = [[str(700_000 + n), f"4179{1_000_000 + n % 200}", "2026-06-01T01:05:00Z", "60", "eu"] for n in range(60_000)]
    land(bench, 0, many[::-1])
    land(bench, 1, [])
    land(bench, 2, [])
    land(bench, 3, [])
    server = postgres.running(bench)
    server.execute(
        "ALTER ROLE etl SET work_mem = '64kB'; ALTER ROLE etl SET enable_hashjoin = off; ALTER ROLE etl SET enable_nestloop = off"
    )
    server.execute("ALTER ROLE etl SET temp_file_limit = '1MB'")


def _memory(bench: Bench) -> None:
    bench.replace("roster.pl", "my %hours;", "my @calendar = map { [ (0) x 5000 ] } 1 .. 40 * @shifts;\nmy %hours;")
    bench.limits[resource.RLIMIT_AS] = 400_000_000


def _payroll_on_small_volume(bench: Bench) -> None:
    bench.mount("payroll", "size=8k")
    bench.replace("roster.json", "payroll.txt", "payroll/2026-07.txt")


def _killed(bench: Bench) -> None:
    """Kill the interpreter and leave the shell, as the kernel does."""

    def kill(process: subprocess.Popen[bytes]) -> None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)

    bench.command = ("bash", "-c", 'perl roster.pl; echo "roster ended with $? after ${SECONDS}s"; exit 1')
    bench.replace("roster.pl", "my %hours;", "my @calendar = map { [ (0) x 300 ] } 1 .. 900 * @shifts;\nmy %hours;")
    bench.when("shifts stored", kill)


def _stopped(bench: Bench) -> None:
    bench.command = ("bash", "-c", "trap 'echo roster: caught SIGINT; exit 130' INT; perl roster.pl")
    bench.replace("roster.pl", "my %hours;", "my @calendar = map { [ (0) x 300 ] } 1 .. 900 * @shifts;\nmy %hours;")
    bench.kill_when("shifts stored", signal.SIGINT)


def _no_module(bench: Bench) -> None:
    bench.replace("rate_calls.pl", "use Text::CSV;", "use Text::CSV;\nuse Time::Duration::Parse;")


def _as_stranger(bench: Bench) -> None:
    bench.run("chmod", "-R", "a+rwX", ".")
    bench.run("chmod", "600", "plans/station_4.txt")
    as_nobody(bench)


def _nobody_listens(bench: Bench) -> None:
    bench.env["PGPORT"] = str(free_port())


CASES = (
    Case(
        name="duration_renamed",
        family="renamed",
        cause="one exchange calls duration_s seconds",
        program=CALLS,
        inject=rows(2, lambda row: row, HEADER.replace("duration_s", "seconds")),
        trap="Perl only warns of uninitialised values, and the database refuses a NULL; the printed header tells",
    ),
    Case(
        name="msisdn_to_number",
        family="retyped",
        cause="subscriber.msisdn became a bigint",
        program=CALLS,
        inject=all_of(
            tariffs(web.page(503), web.page(503), web.Reply(body={"tariffs": TARIFFS})),
            postgres.script("ALTER TABLE subscriber ALTER msisdn TYPE bigint USING msisdn::bigint"),
        ),
        trap="an outage of the tariffs that was overcome comes first",
    ),
    Case(
        name="bill_column_renamed",
        family="renamed",
        cause="bill.calls was renamed; the server speaks German",
        program=CALLS,
        inject=all_of(postgres.script("ALTER TABLE bill RENAME calls TO call_count"), postgres.in_german),
        language="de",
    ),
    Case(
        name="subscriber_moved",
        family="table_gone",
        cause="subscriber was moved to another schema",
        program=CALLS,
        inject=postgres.script(
            "CREATE SCHEMA crm; ALTER TABLE subscriber SET SCHEMA crm; GRANT USAGE ON SCHEMA crm TO etl"
        ),
    ),
    Case(
        name="tariff_is_a_number",
        family="retyped",
        cause="a tariff is a bare number where it was an object",
        program=CALLS,
        inject=all_of(environment(VERBOSE="1"), tariffs(web.Reply(body={"tariffs": TARIFFS | {"sea": 19}}))),
        trap="strict refs, as of a bug in the program",
    ),
    Case(
        name="plan_with_new_column",
        family="column_count",
        cause="station 2 writes its vehicle between the name and the times",
        program=ROSTER,
        inject=lambda b: plan(b, 2, [f"{line[:26]}HLF-20  {line[26:]}" for line in shifts(2)]),
        trap="a date cannot be parsed, as of one bad value",
    ),
    Case(
        name="grade_rate_dropped",
        family="removed",
        cause="pay_grade has no overtime any more",
        program=ROSTER,
        inject=store("ALTER TABLE pay_grade DROP COLUMN overtime"),
    ),
    Case(
        name="duration_words",
        family="unparsable",
        cause="one duration is '4m10s'",
        program=CALLS,
        inject=row(1, 77, duration_s="4m10s"),
        trap="Perl warns of a non-numeric argument and goes on",
    ),
    Case(
        name="call_booked_before",
        family="duplicate",
        cause="two exchanges deliver the same call; the server speaks German",
        program=CALLS,
        inject=all_of(row(3, 12, call_id="700155"), postgres.in_german),
        language="de",
    ),
    Case(
        name="started_in_future",
        family="range",
        cause="a call starts in the month 13",
        program=CALLS,
        inject=row(2, 40, started="2026-13-02T09:05:00Z"),
        subtype="out_of_range",
    ),
    Case(
        name="quote_in_zone",
        family="malformed",
        cause="a field opens a quotation that never ends",
        program=CALLS,
        inject=row(1, 140, zone='"sea'),
    ),
    Case(
        name="few_records",
        family="volume",
        cause="two exchanges delivered headers only",
        program=CALLS,
        inject=all_of(lambda b: land(b, 1, []), lambda b: land(b, 2, [])),
        subtype="incomplete",
    ),
    Case(
        name="name_in_latin1",
        family="encoding",
        cause="one name is written in Latin-1",
        program=ROSTER,
        inject=_latin1,
        trap="the message speaks of a map that it cannot do",
    ),
    Case(
        name="call_without_start",
        family="null",
        cause="a call has no time",
        program=CALLS,
        inject=row(0, 100, started=""),
    ),
    Case(
        name="shift_of_three_days",
        family="range",
        cause="a shift ends three days late",
        program=ROSTER,
        inject=shift(4, 33, "2026-07-03T", "2026-07-09T"),
        subtype="check_violation",
    ),
    Case(
        name="tariffs_maintenance",
        family="protocol",
        cause="a proxy answers with its own page and status 200",
        program=CALLS,
        inject=tariffs(web.Reply(200, web.page(502).body, {"Content-Type": "text/html"})),
        trap="malformed JSON, as of a bad file",
        subtype="outage_page",
    ),
    Case(
        name="tariffs_forbidden",
        family="credentials",
        cause="the token was revoked",
        program=CALLS,
        inject=tariffs(web.Reply(403, {"error": "token revoked", "hint": "schema:tariffs:read needs a live token"})),
        trap="the hint speaks of a schema",
        subtype="forbidden",
    ),
    Case(
        name="tariffs_silent",
        family="slow",
        cause="the tariff service does not answer",
        program=CALLS,
        inject=tariffs(web.Reply(ending="hang")),
    ),
    Case(
        name="tariffs_host_gone",
        family="dns",
        cause="the tariff service's name does not resolve",
        program=CALLS,
        inject=environment(TARIFF_URL="http://tariffs.swisstariff.invalid"),
        trap="LWP gives it as a status 500",
    ),
    Case(
        name="warehouse_refuses",
        family="refused",
        cause="no database server listens",
        program=CALLS,
        inject=_nobody_listens,
    ),
    Case(
        name="warehouse_stops",
        family="reset",
        cause="the database server is stopped in the middle of the booking",
        program=CALLS,
        inject=_server_stops,
        subtype="connection_lost",
    ),
    Case(
        name="sessions_taken",
        family="connections",
        cause="the server's sessions are all in use",
        program=CALLS,
        inject=postgres.sessions_taken,
        trap="fails in connect, as of a server that is away",
    ),
    Case(
        name="booking_cancelled",
        family="time_limit",
        cause="the booking runs into the statement's time limit; the server speaks German",
        program=CALLS,
        inject=all_of(_cancelled, postgres.in_german),
        trap="a query canceled, in German, as if by a user",
        language="de",
        subtype="query_timeout",
    ),
    Case(
        name="sort_space",
        family="limit",
        cause="the join needs more temporary files than the role may use",
        program=CALLS,
        inject=_temp_limit,
        subtype="limit_exceeded",
    ),
    Case(
        name="calendar_memory",
        family="memory",
        cause="the calendar does not fit into the address space",
        program=ROSTER,
        inject=_memory,
    ),
    Case(
        name="payroll_volume_full",
        family="disk",
        cause="the payroll's volume is full",
        program=ROSTER,
        inject=_payroll_on_small_volume,
    ),
    Case(
        name="roster_killed",
        family="killed",
        cause="the kernel killed the interpreter",
        program=ROSTER,
        inject=_killed,
    ),
    Case(
        name="check_schema_share",
        family="code_bug",
        cause="check_schema divides by an entry that does not exist",
        program=CALLS,
        inject=edited(
            "rate_calls.pl",
            "note('table %s: %d columns', $table, $columns);",
            "note('table %s: %d columns, %.0f %%', $table, $columns, 100 * $columns / $tables{least});",
        ),
        trap="the function with the bug is called check_schema, and divides by zero as data would",
    ),
    Case(
        name="method_renamed",
        family="code_bug",
        cause="a release calls a method that Time::Piece does not have",
        program=ROSTER,
        inject=edited("roster.pl", "{begin}->datetime,", "{begin}->iso_timestamp,"),
    ),
    Case(
        name="table_typo",
        family="code_bug",
        cause="a release has a mistake in its SQL",
        program=CALLS,
        inject=edited("rate_calls.pl", "FROM staged AS s JOIN", "FROM staged AS s, JOIN"),
        trap="the database complains of the statement",
    ),
    Case(
        name="role_without_right",
        family="permission",
        cause="our role lost its right on bill",
        program=CALLS,
        inject=postgres.script("ALTER TABLE bill OWNER TO postgres; REVOKE ALL ON bill FROM etl"),
        trap="the check sees no columns of the table that it may not see, as if it were gone",
    ),
    Case(
        name="plan_not_readable",
        family="permission",
        cause="one plan was put down with rights for its owner only",
        program=ROSTER,
        inject=_as_stranger,
    ),
    Case(
        name="module_missing",
        family="environment",
        cause="a release needs a module that the image does not hold",
        program=CALLS,
        inject=_no_module,
    ),
    Case(
        name="settings_with_comma",
        family="configuration",
        cause="the deployed settings file has a comma too many",
        program=ROSTER,
        inject=edited("roster.json", '"payroll.txt"', '"payroll.txt",'),
        trap="malformed JSON, as of bad data",
    ),
    Case(
        name="settings_not_deployed",
        family="configuration",
        cause="the settings file is not there",
        program=ROSTER,
        inject=lambda b: b.path("roster.json").unlink(),
        trap="malformed JSON and an undefined value",
    ),
    Case(
        name="stopped",
        family="interrupted",
        cause="someone pressed Ctrl-C",
        program=ROSTER,
        inject=_stopped,
    ),
    Case(
        name="only_the_beginning",
        family="no_cause",
        cause="a shift begins at 31 o'clock; the runner kept the first lines",
        program=ROSTER,
        inject=shift(4, 50, "2026-07-02T07:00", "2026-07-02T31:00"),
        keep="head:3",
        trap="nothing but progress",
        subtype="no_error_in_log",
    ),
)

SYSTEM = System(
    name="perl",
    debian=(
        "perl",
        "libdbi-perl",
        "libdbd-sqlite3-perl",
        "libdbd-pg-perl",
        "libtext-csv-perl",
        "libtext-csv-xs-perl",
        "libwww-perl",
        "libjson-perl",
        "liblog-log4perl-perl",
        "postgresql-15",
        "locales-all",
    ),
    cases=CASES,
)
