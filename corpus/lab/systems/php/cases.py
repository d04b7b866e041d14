"""PHP: hotel bookings from a channel's API into SQLite, a pharmacy's price lists into PostgreSQL."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import all_of, as_nobody, cut, edited, recoded, renamed, unreachable
from corpus.lab.services import postgres, sqlite, web

Row = dict[str, Any]
STORE = """
CREATE TABLE room (room TEXT PRIMARY KEY, beds INTEGER);
CREATE TABLE booking (
    booking_id INTEGER PRIMARY KEY, room TEXT NOT NULL, guest TEXT NOT NULL, arrival TEXT NOT NULL,
    nights INTEGER NOT NULL CHECK (nights BETWEEN 1 AND 60), price REAL NOT NULL
);
"""
INI = """[store]
dsn = "sqlite:stay.db"
[limits]
memory = 32M
[report]
days = 14
"""
TABLES = """
CREATE TABLE price (pzn char(8) PRIMARY KEY, title text NOT NULL, price numeric(8, 2) NOT NULL, valid_from date NOT NULL);
CREATE TABLE stock (pzn char(8) PRIMARY KEY, cost numeric(8, 2) NOT NULL, packs int NOT NULL);
"""


def bookings(count: int = 240) -> list[Row]:
    return [
        {
            "booking_id": 31_000 + n,
            "room": f"{1 + n % 5}{n % 12:02}",
            "guest": f"Guest {n}",
            "arrival": f"2026-08-{1 + n % 20:02}",
            "nights": 1 + n % 6,
            "price": 80.5 + n % 90,
        }
        for n in range(count)
    ]


def pages(rows: list[Row], size: int = 60) -> list[web.Reply]:
    starts = range(0, len(rows), size)
    return [
        web.Reply(body={"bookings": rows[at : at + size], "next": str(at + size) if at + size < len(rows) else None})
        for at in starts
    ]


def stay_world(bench: Bench) -> None:
    bench.write("stay.ini", INI)
    bench.path("out/.keep").touch()
    rooms = ",".join(f"('{1 + n % 5}{n % 12:02}', 2)" for n in range(60))
    store(f"{STORE} INSERT INTO room VALUES {rooms};")(bench)
    server = web.serve(bench, {"/bookings": pages(bookings())})
    bench.env |= {"CHANNEL_URL": server.url, "CHANNEL_KEY": "ck_live_a8e2"}


def pzn(n: int) -> str:
    head = f"{1_200_000 + n * 13}"
    total = sum((at + 1) * int(digit) for at, digit in enumerate(head))
    return f"{head}{total % 11 % 10}"


def wholesale(count: int) -> list[str]:
    return [
        f'  <item pzn="{pzn(n)}"><title>Salve {n}</title><price>{3 + n % 40}.{n % 90 + 10}</price><valid>2026-07-01</valid></item>'
        for n in range(count)
    ]


def xml(bench: Bench, items: Iterable[str]) -> None:
    body = "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', '<list supplier="Kurz">', *items, "</list>"])
    bench.write("lists/wholesale.xml", body + "\n")


def pharmacy_world(bench: Bench) -> None:
    values = ",".join(f"('{pzn(n)}', {2 + n % 30}, {n % 50})" for n in range(260))
    postgres.start(bench, schema=f"{TABLES} INSERT INTO stock VALUES {values};")
    xml(bench, wholesale(180))
    lines = [f"{pzn(n)};Syrup {n};{4 + n % 20}.95;2026-07-15" for n in range(180, 260)]
    bench.write("lists/generic.csv", "\n".join(["pzn;title;price;valid", *lines]) + "\n")
    bench.env |= {"STEP_SECONDS": "20", "LABELS": "labels.txt"}


STAY = Program(name="stay", command=("php", "sync_bookings.php"), files=("sync_bookings.php",), world=stay_world)
PHARMACY = Program(
    name="pharmacy", command=("php", "import_pricelist.php"), files=("import_pricelist.php",), world=pharmacy_world
)


def store(script: str) -> Prepare:
    return sqlite.script("stay.db", script)


def channel(*replies: web.Reply) -> Prepare:
    return web.answers("/bookings", *replies)


def booked(change: Callable[[Row], Row], *, only: int = -1) -> Prepare:
    rows = [change(row) if only in (-1, n) else row for n, row in enumerate(bookings())]
    return channel(*pages(rows))


def command(*words: str) -> Prepare:
    def inject(bench: Bench) -> None:
        bench.command = words

    return inject


def _small_labels(bench: Bench) -> None:
    bench.mount("labels", "size=20k")
    bench.env["LABELS"] = "labels/2026-07.txt"


def _small_store(bench: Bench) -> None:
    bench.mount("volume", "size=24k")
    bench.path("volume/stay.db").write_bytes(bench.path("stay.db").read_bytes())
    bench.replace("stay.ini", "sqlite:stay.db", "sqlite:volume/stay.db")


def _closing(bench: Bench) -> None:
    server = postgres.running(bench)
    postgres.session(bench, *server.socket(postgres.ACCOUNT))
    server.signal("TERM")


def _role_limit(bench: Bench) -> None:
    server = postgres.running(bench)
    server.execute("ALTER ROLE etl CONNECTION LIMIT 2")
    for _ in range(2):
        postgres.session(bench, *server.socket("etl"))


def _as_reader(bench: Bench) -> None:
    bench.run("chmod", "-R", "a+rX", ".")
    as_nobody(bench)


def _long_list(bench: Bench) -> None:
    xml(bench, wholesale(180) * 600)
    bench.replace("import_pricelist.php", "set_time_limit(", "ini_set('memory_limit', '1G');\nset_time_limit(")
    bench.env["STEP_SECONDS"] = "1"


def _server_memory(bench: Bench) -> None:
    server = postgres.running(bench)
    server.execute("ALTER ROLE etl SET statement_timeout = '300ms'")
    slow = "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM sum(n) FROM generate_series(1, 9000000) AS n; RETURN new; END $$"
    server.execute(f"{slow}; CREATE TRIGGER audit BEFORE INSERT ON price FOR EACH ROW EXECUTE FUNCTION audit()")


def _limited(bench: Bench) -> None:
    bench.limits[resource.RLIMIT_FSIZE] = 30_000
    bench.command = (
        "bash",
        "-c",
        'php import_pricelist.php; status=$?; echo "pharmacy: php left with $status"; exit $status',
    )


CASES = (
    Case(
        name="guest_renamed",
        family="renamed",
        cause="the channel calls guest guest_name",
        program=STAY,
        inject=booked(renamed("guest", "guest_name")),
        trap="a null is refused; only PHP's warning tells that the key is not there",
    ),
    Case(
        name="nights_as_text",
        family="retyped",
        cause="the channel gives nights as text",
        program=STAY,
        inject=all_of(
            channel(web.page(502), web.page(503), *pages([row | {"nights": str(row["nights"])} for row in bookings()]))
        ),
        trap="two failed requests that were repeated with success",
    ),
    Case(
        name="list_named_reservations",
        family="renamed",
        cause="the list in the channel's answer is called reservations",
        program=STAY,
        inject=channel(web.Reply(body={"reservations": bookings(60), "next": None})),
        trap="a TypeError of count() for null",
    ),
    Case(
        name="store_without_price",
        family="removed",
        cause="booking.price was dropped",
        program=STAY,
        inject=store("ALTER TABLE booking DROP COLUMN price"),
    ),
    Case(
        name="price_element_renamed",
        family="renamed",
        cause="the supplier's XML has net instead of price",
        program=PHARMACY,
        inject=all_of(
            edited("lists/wholesale.xml", "<price>", "<net>"), edited("lists/wholesale.xml", "</price>", "</net>")
        ),
        trap="an empty text is no number, as of one bad value; the printed elements tell",
    ),
    Case(
        name="valid_column_renamed",
        family="renamed",
        cause="the CSV has valid_from instead of valid; the server speaks German",
        program=PHARMACY,
        inject=all_of(
            edited("lists/generic.csv", "pzn;title;price;valid", "pzn;title;price;valid_from"), postgres.in_german
        ),
        trap="a NOT NULL violation, in German, after a warning",
        language="de",
    ),
    Case(
        name="valid_from_became_number",
        family="retyped",
        cause="price.valid_from became a bigint",
        program=PHARMACY,
        inject=postgres.script(
            "ALTER TABLE price ALTER valid_from TYPE bigint USING extract(epoch FROM valid_from)::bigint"
        ),
        trap="invalid input syntax, as of a bad value, for the first of all dates",
    ),
    Case(
        name="stock_renamed",
        family="table_gone",
        cause="stock is called inventory",
        program=PHARMACY,
        inject=postgres.script("ALTER TABLE stock RENAME TO inventory"),
    ),
    Case(
        name="guest_missing",
        family="null",
        cause="one booking has a null for the guest",
        program=STAY,
        inject=booked(lambda row: row | {"guest": None}, only=133),
        trap="a TypeError, as of a bug or a changed type",
    ),
    Case(
        name="booking_twice",
        family="duplicate",
        cause="the channel gives one booking on two pages",
        program=STAY,
        inject=booked(lambda row: row | {"booking_id": 31_004}, only=190),
    ),
    Case(
        name="arrival_in_words",
        family="unparsable",
        cause="one arrival is 'TBC - connection late'",
        program=STAY,
        inject=booked(lambda row: row | {"arrival": "TBC - connection lost, call back"}, only=71),
        trap="the value speaks of a lost connection",
        subtype="invalid_date",
    ),
    Case(
        name="nights_zero",
        family="range",
        cause="one booking has no nights",
        program=STAY,
        inject=booked(lambda row: row | {"nights": 0}, only=15),
        subtype="check_violation",
    ),
    Case(
        name="wholesale_cut",
        family="malformed",
        cause="the XML file was cut in transit",
        program=PHARMACY,
        inject=cut("lists/wholesale.xml", 9000),
        trap="the parser's warnings are followed by a property read on a bool, as of a bug, and by too few items",
        subtype="truncated_file",
    ),
    Case(
        name="wholesale_latin1",
        family="encoding",
        cause="the XML says UTF-8 and is Latin-1",
        program=PHARMACY,
        inject=recoded("lists/wholesale.xml", "Salve 90<", "Salbe für Hände<"),
        trap="ends in too few items, as of a short delivery",
    ),
    Case(
        name="check_digit",
        family="unparsable",
        cause="the number of one item is mistyped",
        program=PHARMACY,
        inject=edited("lists/generic.csv", pzn(200), pzn(200)[:7] + str((int(pzn(200)[7]) + 1) % 10)),
        subtype="invalid_value",
    ),
    Case(
        name="cost_zero",
        family="range",
        cause="the stock holds an item that cost nothing",
        program=PHARMACY,
        inject=postgres.script(f"UPDATE stock SET cost = 0 WHERE pzn = '{pzn(31)}'"),
        subtype="division_by_zero",
    ),
    Case(
        name="price_on_request",
        family="unparsable",
        cause="one price is 'a. A.'; the server speaks German",
        program=PHARMACY,
        inject=all_of(
            edited("lists/generic.csv", f"{pzn(222)};Syrup 222;6.95", f"{pzn(222)};Syrup 222;a. A."), postgres.in_german
        ),
        language="de",
    ),
    Case(
        name="channel_down",
        family="outage",
        cause="the channel answers 500 from the third page on",
        program=STAY,
        inject=channel(*pages(bookings())[:2], web.Reply(500, {"error": "Column 'rate_plan' cannot be null"})),
        trap="the channel's own error speaks of a column and a null",
    ),
    Case(
        name="channel_page_instead",
        family="protocol",
        cause="a gateway answers with its page and status 200",
        program=STAY,
        inject=channel(*pages(bookings())[:1], web.Reply(200, web.page(503).body, {"Content-Type": "text/html"})),
        trap="a JSON syntax error, as of bad data; the type of the content tells",
        subtype="outage_page",
    ),
    Case(
        name="channel_silent",
        family="slow",
        cause="the channel stops answering after two pages",
        program=STAY,
        inject=channel(*pages(bookings())[:2], web.Reply(ending="hang")),
    ),
    Case(
        name="channel_limits",
        family="rate_limit",
        cause="the channel's limit per minute is reached",
        program=STAY,
        inject=channel(
            *pages(bookings())[:3], web.Reply(429, {"error": "memory of your plan: 3 requests a minute used up"})
        ),
        trap="the body speaks of memory",
    ),
    Case(
        name="channel_refuses",
        family="refused",
        cause="nobody listens where the channel was",
        program=STAY,
        inject=unreachable("CHANNEL_URL"),
    ),
    Case(
        name="channel_cut",
        family="reset",
        cause="the channel closes the connection in the middle of the answer",
        program=STAY,
        inject=channel(*pages(bookings())[:2], web.Reply(200, pages(bookings())[2].payload, {}, "cut")),
        trap="the status is 200 and bytes came",
        subtype="connection_lost",
    ),
    Case(
        name="channel_key_expired",
        family="credentials",
        cause="the key has expired",
        program=STAY,
        inject=channel(web.Reply(401, {"error": "key ck_live_a8e2 expired", "contract": "schema v4"})),
        trap="the body speaks of a contract and a schema",
    ),
    Case(
        name="password_expired",
        family="credentials",
        cause="the role's password is past its date",
        program=PHARMACY,
        inject=postgres.script("ALTER ROLE etl VALID UNTIL '2026-01-01'"),
    ),
    Case(
        name="warehouse_closing",
        family="outage",
        cause="the database server is shutting down",
        program=PHARMACY,
        inject=_closing,
    ),
    Case(
        name="calendar_over_limit",
        family="memory",
        cause="the year's bookings do not fit into PHP's memory limit",
        program=STAY,
        inject=all_of(edited("stay.ini", "memory = 32M", "memory = 4M"), channel(*pages(bookings(24_000), 4_000))),
    ),
    Case(
        name="store_full",
        family="disk",
        cause="the volume of the store is full",
        program=STAY,
        inject=_small_store,
        trap="a General error 13 of the database",
    ),
    Case(
        name="labels_volume_full",
        family="disk",
        cause="the volume of the labels is full",
        program=PHARMACY,
        inject=_small_labels,
    ),
    Case(
        name="labels_file_limit",
        family="disk",
        cause="the labels are bigger than a file may be",
        program=PHARMACY,
        inject=_limited,
        subtype="file_too_large",
    ),
    Case(
        name="step_seconds",
        family="time_limit",
        cause="a list of 108,000 items does not fit into the step's processor time",
        program=PHARMACY,
        inject=_long_list,
        subtype="cpu_limit",
    ),
    Case(
        name="upsert_cancelled",
        family="time_limit",
        cause="a slow trigger and the statement's time limit; the server speaks German",
        program=PHARMACY,
        inject=all_of(_server_memory, postgres.in_german),
        trap="a query canceled, in German, with a trace through the application",
        language="de",
        subtype="query_timeout",
    ),
    Case(
        name="role_sessions",
        family="connections",
        cause="our role's sessions are all in use",
        program=PHARMACY,
        inject=_role_limit,
        trap="connection to server failed, as of an outage",
    ),
    Case(
        name="check_schema_undefined",
        family="code_bug",
        cause="checkSchema calls a function that does not exist",
        program=STAY,
        inject=edited("sync_bookings.php", "implode(', ', $columns)", "join_columns($columns)"),
        trap="the function with the bug is called checkSchema",
    ),
    Case(
        name="upsert_arguments",
        family="code_bug",
        cause="a release calls upsert without its items",
        program=PHARMACY,
        inject=edited("import_pricelist.php", "upsert($db, $items);\n    line", "upsert($db);\n    line"),
    ),
    Case(
        name="report_section_missing",
        family="configuration",
        cause="the deployed settings have no section report",
        program=STAY,
        inject=edited("stay.ini", "[report]\n", ""),
        trap="an undefined key and a TypeError for null, as of a field that the data lack",
    ),
    Case(
        name="dsn_of_other_driver",
        family="configuration",
        cause="the deployed data source names a driver that does not exist",
        program=STAY,
        inject=edited("stay.ini", "sqlite:stay.db", "sqlite3:stay.db"),
    ),
    Case(
        name="without_extensions",
        family="environment",
        cause="the new image starts PHP without its extensions",
        program=STAY,
        inject=command("php", "-n", "sync_bookings.php"),
    ),
    Case(
        name="store_read_only",
        family="permission",
        cause="the job runs as an account that may only read the store",
        program=STAY,
        inject=_as_reader,
    ),
    Case(
        name="stock_not_ours",
        family="permission",
        cause="our role may not read stock",
        program=PHARMACY,
        inject=all_of(
            postgres.script("ALTER TABLE stock OWNER TO postgres; REVOKE ALL ON stock FROM etl"), postgres.in_german
        ),
        trap="in German, after a warning",
        language="de",
    ),
    Case(
        name="wholesale_not_delivered",
        family="missing_input",
        cause="the XML file is not there",
        program=PHARMACY,
        inject=lambda b: b.path("lists/wholesale.xml").unlink(),
        trap="speaks of an external entity, a property on a bool and too few items",
    ),
    Case(
        name="only_that_it_failed",
        family="no_cause",
        cause="the stock table is gone; the runner kept what came on the standard output",
        program=PHARMACY,
        inject=postgres.script("DROP TABLE stock"),
        keep="head:4",
        trap="the log says that it failed and no more",
        subtype="general_error",
    ),
)

SYSTEM = System(
    name="php",
    debian=("php-cli", "php-curl", "php-sqlite3", "php-pgsql", "php-xml", "postgresql-15", "locales-all"),
    cases=CASES,
)
