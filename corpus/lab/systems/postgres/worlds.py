"""The pipelines that fill PostgreSQL, each with a world in which it works."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, nothing
from corpus.lab.services import postgres, web
from corpus.lab.services.postgres import Server

Change = Callable[[Bench, Server], object]  # what a case does to the running world
LOCALES = {
    "de": "de_DE.UTF-8",
    "fr": "fr_FR.UTF-8",
    "es": "es_ES.UTF-8",
    "ru": "ru_RU.UTF-8",
    "ja": "ja_JP.UTF-8",
    "zh": "zh_CN.UTF-8",
    "pt": "pt_BR.UTF-8",
}

CLINIC = """
CREATE TABLE practice (practice_id integer PRIMARY KEY, name text NOT NULL, open_minutes integer NOT NULL);
INSERT INTO practice SELECT n, 'Practice ' || n, 480 FROM generate_series(1, 6) AS n;
CREATE TABLE appointment (practice_id integer NOT NULL REFERENCES practice, appointment_no integer, patient_no varchar(10) NOT NULL,
  day date NOT NULL, minutes smallint NOT NULL CONSTRAINT memory_check CHECK (minutes BETWEEN 5 AND 240), note text,
  PRIMARY KEY (practice_id, appointment_no));
CREATE TABLE workload (practice_id integer, day date, appointments integer, utilisation integer, PRIMARY KEY (practice_id, day));
"""
FREIGHT = """
CREATE TABLE carrier (carrier_id integer PRIMARY KEY, name varchar(60) NOT NULL);
INSERT INTO carrier SELECT n, 'Carrier ' || n FROM generate_series(1, 9) AS n;
CREATE TABLE shipment (consignment varchar(20) PRIMARY KEY, carrier_id integer NOT NULL REFERENCES carrier, depot varchar(3) NOT NULL,
  goods varchar(40) NOT NULL, weight_kg numeric(8, 2) NOT NULL, collected_at timestamp NOT NULL);
"""
ENERGY = """
CREATE SCHEMA landing; CREATE SCHEMA core;
CREATE TABLE landing.reading (meter_no text, read_at timestamp, register text, kwh text, quality char(1));
CREATE TABLE core.meter (meter_no text PRIMARY KEY, supplier text NOT NULL, tariff text NOT NULL);
CREATE TABLE core.tariff (tariff text PRIMARY KEY, eur_per_kwh numeric(8, 5) NOT NULL);
CREATE TABLE core.commitment (supplier text PRIMARY KEY, kwh_planned numeric(12, 3) NOT NULL);
CREATE TABLE core.reading (meter_no text REFERENCES core.meter, read_at timestamp, register text, kwh numeric(9, 3) NOT NULL,
  quality char(1), PRIMARY KEY (meter_no, read_at, register));
CREATE TABLE core.settlement (day date, supplier text, kwh numeric(14, 3), amount_eur numeric(14, 2), share_pct numeric(6, 2),
  PRIMARY KEY (day, supplier));
INSERT INTO core.tariff VALUES ('base', 0.28110), ('night', 0.19020);
INSERT INTO core.commitment VALUES ('Nordlicht', 2000), ('Talwerke', 1500), ('Suedstrom', 900);
INSERT INTO core.meter SELECT 'DE' || 1000 + n, (ARRAY['Nordlicht', 'Talwerke', 'Suedstrom'])[1 + n % 3],
  (ARRAY['base', 'night'])[1 + n % 2] FROM generate_series(1, 60) AS n;
"""
TICKETS = """
CREATE TABLE ticket_landing (pulled_on date NOT NULL, body jsonb NOT NULL);
CREATE TABLE ticket (ticket_id bigint PRIMARY KEY, opened_at timestamptz NOT NULL, queue text NOT NULL, priority smallint NOT NULL,
  customer_email text, minutes_open integer);
"""
LIBRARY = """
CREATE SCHEMA lending;
CREATE TABLE lending.reader (reader_no integer PRIMARY KEY, email varchar(80), category varchar(12));
INSERT INTO lending.reader SELECT n, 'Reader' || n || '@example.org', 'adult' FROM generate_series(1, 400) AS n;
CREATE TABLE lending.loan (loan_id bigint PRIMARY KEY, branch varchar(4) NOT NULL, item_no varchar(12) NOT NULL,
  reader_no integer NOT NULL, lent_on date NOT NULL, due_on date NOT NULL, fee_cents integer);
"""
SIGNAL = """
CREATE TABLE signal (hour bigint NOT NULL, dbm smallint NOT NULL) PARTITION BY RANGE (hour);
DO $$ BEGIN FOR h IN 0..71 LOOP
  EXECUTE format('CREATE TABLE %I PARTITION OF signal FOR VALUES FROM (%s) TO (%s)', 'cell_' || 2026112000 + h / 24 * 100 + h % 24,
    2026112000 + h / 24 * 100 + h % 24, 2026112001 + h / 24 * 100 + h % 24);
END LOOP; END $$;
INSERT INTO signal SELECT 2026112200 + n % 24, -60 - n % 37 FROM generate_series(1, 2000) AS n;
"""


def clinic_files(bench: Bench) -> None:
    lines = [
        f"{1 + n % 6},{100 + n},P{4000 + n},2026-11-21,{10 + n % 5 * 5},{'check-up' if n % 4 else ''}"
        for n in range(180)
    ]
    bench.write(
        "appointments.csv", "\n".join(["practice_id,appointment_no,patient_no,day,minutes,note", *lines]) + "\n"
    )


def _shipment(n: int) -> dict[str, object]:
    at = f"2026-11-21T{5 + n % 14:02}:{n % 60:02}:00"
    depot = ("HAM", "LEJ", "MUC", "CGN")[n % 4]
    goods = ("pallets", "steel coils", "reefer, 4 °C", "machine parts")[n % 3]
    given = {"consignment": f"CN-{70000 + n}", "carrier": 1 + n % 9, "depot": depot, "goods": goods}
    return given | {"weight_kg": 120 + n * 3.25, "collected_at": at}


def freight_files(bench: Bench) -> None:
    bench.write("exchange.jsonl", "".join(json.dumps(_shipment(n), ensure_ascii=False) + "\n" for n in range(240)))


def energy_files(bench: Bench) -> None:
    lines = [f"DE{1001 + n % 60},2026-11-21 {n // 60:02}:00:00,1.8.0,{0.4 + n % 7 * 0.351:.3f},V" for n in range(1440)]
    bench.write("readings_2026-11-21.csv", "\n".join(["meter_no,read_at,register,kwh,quality", *lines]) + "\n")
    bench.path("handover/.keep").touch()


def ticket(n: int) -> dict[str, object]:
    """One ticket as the desk's API gives it."""
    queue = ("billing", "delivery", "technical")[n % 3]
    given = {"id": 5000 + n, "opened_at": f"2026-11-21T08:{n % 60:02}:00Z", "queue": queue, "priority": 1 + n % 4}
    return given | {"customer": {"email": f"c{n}@example.net", "tier": "gold"}, "minutes_open": 15 * n}


def page_of(path: str) -> web.Reply:
    """The desk's reply to a page of its list: three pages of forty tickets."""
    number = int(path.partition("page=")[2] or 1)
    found = [ticket(n) for n in range(40 * (number - 1), 40 * number)]
    return web.Reply(200, {"tickets": found, "next_page": number + 1 if number < 3 else None})


def library_files(bench: Bench) -> None:
    for at, branch in enumerate(("ost", "west", "nord")):
        lines = [
            f"{100000 + at * 1000 + n};{branch};B{300 + n};{1 + (n * 7 + at) % 400};2026-11-02;2026-11-{16 + n % 5};{n % 8 * 50}"
            for n in range(150)
        ]
        bench.write(
            f"reports/{branch}.csv",
            "\n".join(["loan_id;branch;item_no;reader_no;lent_on;due_on;fee_cents", *lines]) + "\n",
        )
    bench.path("outbox/.keep").touch()
    bench.env.update(PYTHON=str(bench.python), BRANCHES="ost west nord", WAREHOUSE_SCHEMA="lending")


def _served(schema: str, files: Prepare) -> Prepare:
    def world(bench: Bench) -> None:
        files(bench)
        postgres.start(bench, schema=schema)

    return world


def _desk(bench: Bench) -> None:
    """Start the desk's API beside the server; a case changes its replies."""
    server = web.serve(bench, {"/v2/tickets": [page_of]})
    bench.env.update(DESK_URL=server.url, DESK_TOKEN="dsk_live_4f1c9a0b7e")


def _program(name: str, schema: str, files: Prepare, first: str, *others: str) -> Program:
    runner = "{python}" if first.endswith(".py") else "bash"
    return Program(name=name, command=(runner, first), files=(first, *others), world=_served(schema, files))


CLINICS = _program("clinics", CLINIC, clinic_files, "load_appointments.py")
FREIGHTS = _program("freight", FREIGHT, freight_files, "sync_shipments.py", "models.py")
METERS = _program("energy", ENERGY, energy_files, "run_day.sh", "stage.sql", "merge.sql", "settle.sql", "handover.sql")
DESK = _program("helpdesk", TICKETS, _desk, "pull_tickets.py")
LOANS = _program("library", LIBRARY, library_files, "night.sh", "loans.py", "reminders.py", "warehouse.py")
CELLS = _program("cells", SIGNAL, nothing, "rotate.sh")


def case(
    name: str,
    family: str,
    cause: str,
    program: Program,
    change: Change,
    *,
    language: str = "en",
    **more: Any,
) -> Case:
    """Give a case whose change gets the server too; `language` is the server's and the client's."""

    def inject(bench: Bench) -> None:
        server = postgres.running(bench)
        if language != "en":
            server.configure(lc_messages=LOCALES[language])
            bench.env["LC_ALL"] = LOCALES[language]
        change(bench, server)

    return Case(
        name=name,
        family=family,
        cause=cause,
        program=program,
        inject=inject,
        language=language.partition("_")[0],
        **more,
    )


def sql(script: str) -> Change:
    """Run statements as superuser."""
    return lambda bench, server: server.execute(script)


def edit(name: str, old: str, new: str, *, count: int = -1) -> Change:
    """Change a file of the working directory."""
    return lambda bench, server: bench.replace(name, old, new, count=count)


def env(**values: str) -> Change:
    """Change the program's environment."""
    return lambda bench, server: bench.env.update(values)


def both(*changes: Change) -> Change:
    """Do several changes in order."""

    def change(bench: Bench, server: Server) -> None:
        for each in changes:
            each(bench, server)

    return change
