"""The museum's register: ORM, unit of work, a valuer's API, a view."""

from __future__ import annotations

import sqlite3

from corpus.lab.bench import Bench
from corpus.lab.case import Prepare, Program, case
from corpus.lab.faults import environment
from corpus.lab.services.web import Reply, answers, serve

TABLES = """
CREATE TABLE room (code VARCHAR(4) PRIMARY KEY, title VARCHAR NOT NULL, capacity INTEGER NOT NULL);
CREATE TABLE exhibit (accession VARCHAR(12) PRIMARY KEY, title VARCHAR NOT NULL, state VARCHAR(8) NOT NULL, acquired DATE NOT NULL,
  insured NUMERIC(12, 2) NOT NULL, room_code VARCHAR(4) NOT NULL REFERENCES room, release INTEGER NOT NULL);
CREATE TABLE inspection (id INTEGER PRIMARY KEY, accession VARCHAR(12), inspected_at DATETIME NOT NULL, humidity FLOAT NOT NULL);
CREATE VIEW room_load AS SELECT r.code, r.capacity, count(e.accession) AS exhibits FROM room r LEFT JOIN exhibit e ON e.room_code = r.code GROUP BY r.code;
INSERT INTO room VALUES ('N1', 'Nave', 90), ('C2', 'Cloister', 60), ('T3', 'Treasury', 40), ('A4', 'Attic', 120);
"""
ROOMS = ("Nave", "Cloister", "Treasury", "Attic")
CODES = ("N1", "C2", "T3", "A4")
STATES = ("shown", "stored", "restored")


def _valuations() -> list[dict[str, object]]:
    return [{"accession": f"1998.{n:03}", "value": 1500 + n * 25.5} for n in range(40)]


def _museum(bench: Bench) -> None:
    store = sqlite3.connect(bench.path("register.db"))
    with store:
        store.executescript(TABLES)
        store.executemany(
            "INSERT INTO exhibit VALUES (?, ?, ?, '1998-05-02', ?, ?, 1)",
            [(f"1998.{n:03}", f"Chalice {n}", STATES[n % 3], 900 + n, CODES[n % 4]) for n in range(120)],
        )
        store.executemany(
            "INSERT INTO inspection VALUES (?, ?, ?, 48.5)",
            [(n + 1, f"1998.{n:03}", f"2026-10-{1 + n % 28:02} 09:{n % 60:02}:00.000000") for n in range(80)],
        )
    store.close()
    lines = [
        f"2026.{n:03},Etching {n},{STATES[n % 2]},2026-11-{1 + n % 28:02},{200 + n * 5}.00,{ROOMS[n % 4]}"
        for n in range(36)
    ]
    bench.write("acquisitions.csv", "\n".join(["accession,title,state,acquired,insured,room", *lines]) + "\n")
    web = serve(bench, {"/valuations": [Reply(body=_valuations())]})
    bench.env["VALUER_URL"] = f"{web.url}/valuations?since=2026-10"


REGISTER = Program(
    name="register",
    command=("{python}", "register_objects.py"),
    files=("register_objects.py", "museum.py"),
    world=_museum,
)


def _sql(script: str, *, is_verbose: bool = False) -> Prepare:
    def inject(bench: Bench) -> None:
        store = sqlite3.connect(bench.path("register.db"))
        with store:
            store.executescript(script)
        store.close()
        if is_verbose:
            bench.env["SQL_LOG"] = "INFO"

    return inject


def _csv(old: str, new: str, *, is_verbose: bool = False) -> Prepare:
    def inject(bench: Bench) -> None:
        bench.replace("acquisitions.csv", old, new)
        if is_verbose:
            bench.env["SQL_LOG"] = "INFO"

    return inject


def _valuer(*replies: Reply) -> Prepare:
    return answers("/valuations", *replies)


def _emptied_first(bench: Bench) -> None:
    bench.replace(
        "register_objects.py",
        "    for row in rows:\n        room",
        "    again = list(session.scalars(select(Exhibit).where(Exhibit.state == State.restored)))\n"
        "    session.connection().execute(Exhibit.__table__.delete().where(Exhibit.state == State.restored))\n"
        "    for exhibit in again:\n        exhibit.state = State.stored\n"
        "    for row in rows:\n        room",
    )
    bench.env["SQL_LOG"] = "INFO"


def _detached(bench: Bench) -> None:
    bench.replace(
        "register_objects.py",
        '    log.info("done")',
        '    log.info("done, rooms touched: %d", len({each.room.title for each in rooms_of(engine)}))',
    )
    bench.replace(
        "register_objects.py",
        "def main() -> None:",
        "def rooms_of(engine) -> list[Exhibit]:\n    with Session(engine) as session:\n"
        "        return list(session.scalars(select(Exhibit)))\n\n\ndef main() -> None:",
    )


CASES = (
    case(
        "exhibit_insured_renamed",
        "renamed",
        REGISTER,
        "the register's owner renamed insured to insured_value",
        _sql("ALTER TABLE exhibit RENAME COLUMN insured TO insured_value"),
    ),
    case(
        "acquisitions_without_title",
        "renamed",
        REGISTER,
        "the file's column title is called label now",
        _csv("accession,title,", "accession,label,", is_verbose=True),
        trap="a NULL violation; only the header in the first line tells",
    ),
    case(
        "view_without_capacity",
        "renamed",
        REGISTER,
        "the view's column capacity is called places now",
        _sql(
            "DROP VIEW room_load; CREATE VIEW room_load AS SELECT r.code, r.capacity AS places, count(e.accession) AS exhibits "
            "FROM room r LEFT JOIN exhibit e ON e.room_code = r.code GROUP BY r.code"
        ),
        trap="a KeyError of a row, at the very end",
    ),
    case(
        "room_listed_twice",
        "duplicate",
        REGISTER,
        "the list of rooms holds the treasury twice",
        _sql("INSERT INTO room VALUES ('T9', 'treasury', 40)"),
        trap="speaks of rows found, not of a key",
    ),
    case(
        "accession_given_twice",
        "duplicate",
        REGISTER,
        "an accession number is that of an exhibit of 1998",
        _csv("2026.020,", "1998.020,"),
    ),
    case(
        "state_on_loan",
        "unparsable",
        REGISTER,
        "an acquisition has a state that does not exist",
        _csv("2026.007,Etching 7,stored", "2026.007,Etching 7,on loan"),
        trap="an enum of our own code refuses it",
        subtype="invalid_value",
    ),
    case(
        "inspection_without_time",
        "unparsable",
        REGISTER,
        "an inspection's time is the text n/a",
        _sql("UPDATE inspection SET inspected_at = 'pending' WHERE id = 61"),
        trap="breaks while rows are fetched, not where they were written",
        subtype="invalid_date",
    ),
    case(
        "inspections_empty",
        "volume",
        REGISTER,
        "the month's inspections did not come",
        _sql("DELETE FROM inspection"),
        trap="max() of nothing looks like a bug",
        subtype="incomplete",
    ),
    case(
        "valuer_gives_page",
        "protocol",
        REGISTER,
        "the valuer's API answers with its log-in page, status 200",
        _valuer(
            Reply(
                200, "<!doctype html><title>Sign in</title><form action=/login></form>", {"Content-Type": "text/html"}
            )
        ),
        trap="JSON that cannot be decoded",
    ),
    case("valuer_resets", "reset", REGISTER, "the valuer's API resets the connections", _valuer(Reply(ending="reset"))),
    case(
        "valuer_limits_calls",
        "rate_limit",
        REGISTER,
        "the valuer's API has had enough calls",
        _valuer(Reply(429, {"error": "slow down"}, {"Retry-After": "3600"})),
    ),
    case(
        "deleted_before_update",
        "code_bug",
        REGISTER,
        "the new release deletes rows that it then updates",
        _emptied_first,
        trap="StaleDataError reads like two runs at once; the statements tell",
    ),
    case(
        "exhibits_detached",
        "code_bug",
        REGISTER,
        "the new release reads a relation after its session is closed",
        _detached,
    ),
    case(
        "dialect_misspelt",
        "configuration",
        REGISTER,
        "the deployment names a dialect that does not exist",
        environment(REGISTER_DSN="postgres://register:9f3c-lamp@db.museum.invalid/register"),
        trap="the host and a password stand nowhere; reads like a missing module",
    ),
    case(
        "register_elsewhere",
        "configuration",
        REGISTER,
        "the deployment points to a folder that does not exist",
        environment(REGISTER_DSN="sqlite:////var/lib/museum/register.db"),
        trap="the store cannot be opened",
    ),
    case(
        "register_cut",
        "no_cause",
        REGISTER,
        "the kept log ends before the error",
        _sql("UPDATE exhibit SET state = 'lost' WHERE accession = '1998.090'", is_verbose=True),
        trap="statements over states and a retry, and no error",
        subtype="no_error_in_log",
        keep="head:60",
    ),
)
