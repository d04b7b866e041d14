"""pgloader: the loans of a library's branches (CSV, then SQL), the catalogue of an old system (SQLite to PostgreSQL)."""

from __future__ import annotations

import gzip

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import cut, edited, small_disk
from corpus.lab.services import postgres, sqlite

HEADER = "loan_id,member,isbn,lent_on,fee_cents"
BRANCHES = ("mitte", "nord", "west")
TABLES = """
CREATE TABLE loan (
    loan_id integer PRIMARY KEY, member integer NOT NULL, isbn char(13) NOT NULL, lent_on date NOT NULL,
    fee_cents integer NOT NULL CHECK (fee_cents BETWEEN 0 AND 5000)
);
CREATE TABLE member_overview (
    member integer PRIMARY KEY, loans integer NOT NULL, fees_euros numeric(9, 2), last_lent_on date, rank integer
);
"""
CATALOGUE = """
CREATE TABLE shelf (shelf_id INTEGER PRIMARY KEY, shelf TEXT NOT NULL);
CREATE TABLE title (
    title_id INTEGER PRIMARY KEY, title VARCHAR(120) NOT NULL, shelf_id INTEGER NOT NULL, pages SMALLINT,
    acquired_on DATE NOT NULL, withdrawn_on DATE
);
CREATE INDEX title_shelf ON title (shelf_id);
"""


def loans(branch: int, count: int = 250) -> list[str]:
    first = 1000 * (branch + 1)
    return [f"{first + n},{n % 80},97835{first + n:08},2026-11-{1 + n % 20:02},{(n * 15) % 400}" for n in range(count)]


def _deliver(bench: Bench, branch: int, rows: list[str], header: str = HEADER, encoding: str = "utf-8") -> None:
    content = gzip.compress(("\n".join([header, *rows]) + "\n").encode(encoding), mtime=0)
    bench.path(f"delivery/loans_{BRANCHES[branch]}_2026-11-20.csv.gz").write_bytes(content)


def _loans_world(bench: Bench) -> None:
    postgres.start(bench, schema=TABLES)
    for branch in range(3):
        _deliver(bench, branch, loans(branch))


def _catalogue_world(bench: Bench) -> None:
    postgres.start(bench)
    shelves = ",".join(f"({n}, 'Regal {n}')" for n in range(1, 31))
    titles = ",".join(
        f"({n}, 'Titel {n}', {1 + n % 30}, {90 + n % 500}, '2019-05-{1 + n % 28:02}', NULL)" for n in range(1, 900)
    )
    sqlite.execute(
        bench, "catalogue.db", f"{CATALOGUE} INSERT INTO shelf VALUES {shelves}; INSERT INTO title VALUES {titles};"
    )


LOANS = Program(
    name="loans",
    command=("bash", "load_loans.sh"),
    files=("load_loans.sh", "loans.load", "members.sql"),
    world=_loans_world,
)
MOVE = Program(
    name="catalogue",
    command=("bash", "move_catalogue.sh"),
    files=("move_catalogue.sh", "catalogue.load"),
    world=_catalogue_world,
)


def _rows(branch: int, number: int, row: str, encoding: str = "utf-8") -> Prepare:
    rows = loans(branch)
    rows[number] = row
    return lambda bench: _deliver(bench, branch, rows, encoding=encoding)


def _old(script: str) -> Prepare:
    return sqlite.script("catalogue.db", script)


def _stop(bench: Bench) -> None:
    postgres.running(bench).stop()


def _stop_in_overview(bench: Bench) -> None:
    server = postgres.running(bench)
    server.when_waiting(bench, "member_overview", server.stop)


def _codes(bench: Bench) -> None:
    for branch in range(3):
        _deliver(bench, branch, [row.replace(",", ",M-", 1) for row in loans(branch)])


def _slow_ranks(bench: Bench) -> None:
    server = postgres.running(bench)
    server.execute("ALTER ROLE etl SET statement_timeout = '900ms'")
    server.execute(
        "INSERT INTO loan SELECT 100000 + n, 500 + n, '9780000000000', '2020-01-01', 0 FROM generate_series(1, 20000) n"
    )
    bench.replace("load_loans.sh", "count(*) FROM loan", "count(*) FROM loan WHERE lent_on > '2026-01-01'")


CASES = (
    Case(
        name="loans_with_channel",
        family="column_count",
        cause="a branch's export has one more column",
        program=LOANS,
        inject=lambda b: _deliver(
            b, 1, [row.replace(",", ",2,", 1) for row in loans(1)], HEADER.replace(",", ",desk,", 1)
        ),
        trap="reads as values that are no dates, line by line; only the header shows the column",
    ),
    Case(
        name="fee_column_renamed",
        family="renamed",
        cause="a release of the warehouse renamed the column fee_cents",
        program=LOANS,
        inject=postgres.script("ALTER TABLE loan RENAME fee_cents TO fee", user="etl"),
    ),
    Case(
        name="member_becomes_code",
        family="retyped",
        cause="all branches write members as codes",
        program=LOANS,
        inject=_codes,
    ),
    Case(
        name="shelf_gone",
        family="table_gone",
        cause="the old system calls its table of shelves location",
        program=MOVE,
        inject=_old("ALTER TABLE shelf RENAME TO location"),
    ),
    Case(
        name="day_that_is_none",
        family="unparsable",
        subtype="invalid_date",
        cause="a loan was lent on a day that does not exist",
        program=LOANS,
        inject=_rows(2, 130, "3130,50,9783500003130,2026-11-31,15"),
    ),
    Case(
        name="title_twice",
        family="duplicate",
        cause="the old system holds two titles of the same number",
        program=MOVE,
        inject=_old(
            "ALTER TABLE title RENAME TO t;"
            "CREATE TABLE title (title_id INTEGER, title VARCHAR(120), shelf_id INTEGER, pages SMALLINT,"
            " acquired_on DATE, withdrawn_on DATE);"
            "INSERT INTO title SELECT * FROM t; INSERT INTO title SELECT * FROM t WHERE title_id = 44; DROP TABLE t;"
        ),
    ),
    Case(
        name="delivery_cut",
        family="malformed",
        subtype="truncated_file",
        cause="a branch's file is incomplete",
        program=LOANS,
        inject=cut("delivery/loans_west_2026-11-20.csv.gz", 900),
    ),
    Case(
        name="fee_too_high",
        family="range",
        subtype="check_violation",
        cause="a fee of one loan is above all fees",
        program=LOANS,
        inject=_rows(0, 60, "1060,60,9783500001060,2026-11-02,990000"),
    ),
    Case(name="warehouse_down", family="refused", cause="the warehouse is down", program=MOVE, inject=_stop),
    Case(
        name="warehouse_stops",
        family="reset",
        subtype="connection_lost",
        cause="the warehouse goes down while the overview is made",
        program=LOANS,
        inject=_stop_in_overview,
    ),
    Case(
        name="password_expired",
        family="credentials",
        cause="the password of our role has expired",
        program=LOANS,
        inject=postgres.script("ALTER ROLE etl VALID UNTIL '2025-01-01'", user="postgres"),
    ),
    Case(
        name="sessions_taken",
        family="connections",
        cause="all sessions of the warehouse are in use",
        program=MOVE,
        inject=postgres.sessions_taken,
        trap="reads as a failure to connect",
    ),
    Case(
        name="unpacked_full",
        family="disk",
        cause="the volume of the unpacked files has no space",
        program=LOANS,
        inject=small_disk("unpacked", "20k"),
    ),
    Case(
        name="ranks_take_long",
        family="time_limit",
        subtype="query_timeout",
        cause="the ranking exceeds the limit for a statement",
        program=LOANS,
        inject=_slow_ranks,
    ),
    Case(
        name="command_file_edited",
        family="configuration",
        cause="an edit of the load's description broke its syntax",
        program=MOVE,
        inject=edited("catalogue.load", "include drop, create", "include drop create"),
        trap="`KABOOM` and a parser, as of a malformed input",
    ),
    Case(
        name="may_not_insert",
        family="permission",
        cause="our role may no longer write into the loans",
        program=LOANS,
        inject=postgres.script("ALTER TABLE loan OWNER TO postgres; GRANT SELECT ON loan TO etl", user="postgres"),
    ),
    Case(
        name="branch_not_delivered",
        family="missing_input",
        cause="a branch did not deliver",
        program=LOANS,
        inject=lambda b: b.path("delivery/loans_nord_2026-11-20.csv.gz").unlink(),
    ),
)
SYSTEM = System(name="pgloader", debian=("pgloader", "postgresql-15"), cases=CASES)
