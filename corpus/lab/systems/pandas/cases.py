"""pandas with pyarrow and openpyxl: extracts, merges, casts and aggregations of five small pipelines."""

from __future__ import annotations

import resource

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, System
from corpus.lab.faults import as_nobody, edited, small_disk, unreachable, unset
from corpus.lab.services import sqlite, web
from corpus.lab.services.web import answers
from corpus.lab.systems.pandas.worlds import (
    ENERGY,
    FREIGHT,
    LOANS,
    NIGHT,
    TICKETS,
    VENUES,
    in_rows,
    kill_child,
    rates_book,
    reshape,
    values,
)

HTML = web.page(200).payload.decode()


def much_data(limit: int) -> Prepare:
    """Give the month more meters than fit under a limit of the address space."""

    def inject(bench: Bench) -> None:
        values(bench, days=5, meters=6000)
        bench.limits[resource.RLIMIT_DATA] = limit

    return inject


def cpu(seconds: int, meters: int) -> Prepare:
    def inject(bench: Bench) -> None:
        values(bench, days=5, meters=meters)
        bench.command = ("bash", "-c", f"ulimit -S -t {seconds}; exec bash nightly.sh")

    return inject


def moved_host(bench: Bench) -> None:
    bench.env["RATES_URL"] = "http://rates.treasury.invalid"


def largest_file(size: int) -> Prepare:
    def inject(bench: Bench) -> None:
        bench.limits[resource.RLIMIT_FSIZE] = size

    return inject


def cut(name: str, part: float) -> Prepare:
    def inject(bench: Bench) -> None:
        path = bench.path(name)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])

    return inject


def full_database(bench: Bench) -> None:
    """Move the database to a disk with no room for the loans."""
    small_disk("store", "80k")(bench)
    bench.path("lending.db").rename(bench.path("moved.db"))
    bench.path("store/lending.db").write_bytes(bench.path("moved.db").read_bytes())
    bench.replace("loans.ini", "database = lending.db", "database = store/lending.db")


def many_tickets(bench: Bench) -> None:
    path = bench.path("sales/event-09.jsonl")
    path.write_text(path.read_text() * 5000)
    bench.limits[resource.RLIMIT_DATA] = 330 * 2**20


def many_loans(bench: Bench) -> None:
    """Let the table hold a million loans of the years before."""
    sqlite.execute(
        bench,
        "lending.db",
        "INSERT INTO loan WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)"
        " SELECT 2000000 + i, printf('978-%04d', i % 500), 'Nord', '01.02.2025', 14, '2025-02-15' FROM n",
    )
    bench.limits[resource.RLIMIT_DATA] = 230 * 2**20


def little_address_space(bench: Bench) -> None:
    bench.limits[resource.RLIMIT_AS] = 420 * 2**20


def killed_beside(bench: Bench) -> None:
    """Kill the profiles' process; the job beside it meets two rows that it skips."""
    bench.replace("archive/part-05.csv", "row7,35", "row7,n/a")
    bench.replace("archive/part-21.csv", "row9,189", "row9,permission denied")
    kill_child("rows=", "-KILL", of="load_profile")(bench)


def latin(bench: Bench) -> None:
    path = bench.path("loans.csv")
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1"))


SCHEMA = (
    Case(
        name="weight_renamed",
        family="renamed",
        cause="the shipments' column weight_kg is called gross_weight_kg now",
        program=FREIGHT,
        inject=edited("in/shipments.csv", "weight_kg", "gross_weight_kg", count=1),
    ),
    Case(
        name="tariff_column_renamed",
        family="renamed",
        cause="the tariff's column eur_per_kg is called price_per_kg now; reindex fills the missing one with nulls",
        program=FREIGHT,
        inject=lambda bench: rates_book(bench, "frame = frame.rename(columns={'eur_per_kg': 'price_per_kg'})"),
        trap="surfaces as nulls that cannot be cast to integer",
    ),
    Case(
        name="tariff_sheet_gone",
        family="table_gone",
        cause="the workbook's sheet tariff is called Tarif 2026 now",
        program=FREIGHT,
        inject=lambda bench: rates_book(bench, sheet="Tarif 2026"),
    ),
    Case(
        name="unnamed_leading_column",
        family="column_count",
        cause="every row of the shipments has one field more than the header; pandas takes the first as the index",
        program=FREIGHT,
        inject=in_rows("in/shipments.csv", lambda rows: [rows[0], *(f"{row},DE" for row in rows[1:])]),
        trap="surfaces as a date that cannot be parsed",
    ),
    Case(
        name="pickup_as_epoch",
        family="retyped",
        cause="picked_up holds milliseconds since 1970 in all rows, no longer a date",
        program=FREIGHT,
        inject=in_rows(
            "in/shipments.csv", lambda rows: [rows[0], *(row.replace("2026-03-", "17723232000") for row in rows[1:])]
        ),
        trap="surfaces as an unparsable date, but the whole column is int64",
    ),
    Case(
        name="kw_as_text",
        family="retyped",
        cause="the meter system writes kw as a string in all files",
        program=ENERGY,
        inject=reshape("frame['kw'] = frame['kw'].astype(str)"),
    ),
    Case(
        name="quality_column_removed",
        family="removed",
        cause="the files no longer hold the column quality",
        program=ENERGY,
        inject=reshape("frame = frame.drop(columns='quality')"),
        trap="an ArrowInvalid of the reader, no KeyError",
    ),
    Case(
        name="loan_channel_added",
        family="added",
        cause="the library system sends a new column channel, the table has none",
        program=LOANS,
        inject=in_rows("loans.csv", lambda rows: [rows[0] + ";channel", *(row + ";desk" for row in rows[1:])]),
    ),
    Case(
        name="book_table_gone",
        family="table_gone",
        cause="the table book was replaced by title_catalogue",
        program=LOANS,
        inject=sqlite.script("lending.db", "ALTER TABLE book RENAME TO title_catalogue"),
        trap="fails after all loans were appended",
    ),
    Case(
        name="venue_file_reordered",
        family="contract",
        cause="the API gives the venues separated by semicolons, with new names",
        program=TICKETS,
        inject=answers("/v1/venues.csv", web.Reply(200, VENUES.replace(",", ";").replace("capacity", "seats_total"))),
        trap="an API's answer, but the API is well; a usecols-like ValueError of the index",
    ),
)

VALUES = (
    Case(
        name="weight_with_comma",
        family="unparsable",
        cause="three weights have a decimal comma",
        program=FREIGHT,
        inject=in_rows(
            "in/shipments.csv",
            lambda rows: [*rows[:120], *('FR90001,L004,2026-03-04,"1.218,75",2,90',) * 3, *rows[120:]],
        ),
    ),
    Case(
        name="thirtieth_of_february",
        family="unparsable",
        subtype="invalid_date",
        cause="a pick-up on 2026-02-30",
        program=FREIGHT,
        inject=edited("in/shipments.csv", "2026-03-07", "2026-02-30", count=1),
    ),
    Case(
        name="lane_twice_in_tariff",
        family="duplicate",
        cause="the tariff holds lane L011 twice",
        program=FREIGHT,
        inject=lambda bench: rates_book(bench, "frame = pd.concat([frame, frame[frame['lane'] == 'L011']])"),
        trap="a MergeError that speaks of keys and datasets",
    ),
    Case(
        name="pallets_missing",
        family="null",
        cause="five shipments have no number of pallets",
        program=FREIGHT,
        inject=in_rows(
            "in/shipments.csv",
            lambda rows: [*rows[:40], *(f"FR8000{n},L00{n},2026-03-11,88.5,,40" for n in range(5)), *rows[40:]],
        ),
    ),
    Case(
        name="workbook_cut",
        family="malformed",
        cause="the tariff's workbook arrived half",
        program=FREIGHT,
        inject=cut("in/rates.xlsx", 0.6),
        subtype="truncated_file",
    ),
    Case(
        name="parquet_cut",
        family="malformed",
        cause="one day's parquet file lacks its end",
        program=ENERGY,
        inject=cut("values/2026-02/day=04.parquet", 0.8),
        subtype="truncated_file",
        trap="fails while the data set is discovered, the message speaks of a magic and a schema",
    ),
    Case(
        name="half_the_meters",
        family="volume",
        cause="the last two days hold a tenth of the meters",
        program=ENERGY,
        inject=reshape("frame = frame[frame['meter'] < (12 if path.stem > 'day=03' else 999)]"),
    ),
    Case(
        name="loans_in_latin1",
        family="encoding",
        cause="the file of the loans is Latin-1 instead of UTF-8",
        program=LOANS,
        inject=latin,
    ),
    Case(
        name="loan_of_a_year",
        family="range",
        subtype="check_violation",
        cause="one loan of 365 days, 90 are the most",
        program=LOANS,
        inject=in_rows("loans.csv", lambda rows: [*rows[:900], "77001;978-0001;Nord;02.02.2026;365", *rows[900:]]),
    ),
    Case(
        name="event_file_with_note",
        family="malformed",
        cause="one of the sales' files holds a line that is no JSON but a note to the reader, with an error's words",
        program=TICKETS,
        inject=lambda bench: (
            bench.path("sales/event-07.jsonl")
            .open("a")
            .write("ignore the rows above; category: HTTP 503 service unavailable, out of memory\n")
        ),
        trap="a broken line that names other kinds of failures",
        subtype="malformed_file",
    ),
    Case(
        name="price_absurd",
        family="volume",
        subtype="reconciliation",
        cause="one event's sales were exported ten times over, more tickets than seats",
        program=TICKETS,
        inject=lambda bench: bench.path("sales/event-03.jsonl").write_text(
            bench.path("sales/event-03.jsonl").read_text() * 10
        ),
    ),
)

OUTSIDE = (
    Case(
        name="rates_unavailable",
        family="outage",
        cause="the rates' server answers 503",
        program=TICKETS,
        inject=answers("/v1/rates.csv", web.page(503)),
    ),
    Case(
        name="rates_refused",
        family="refused",
        cause="nobody listens at the rates' address",
        program=TICKETS,
        inject=unreachable("RATES_URL"),
    ),
    Case(
        name="rates_unknown_host",
        family="dns",
        cause="the name of the rates' server does not resolve",
        program=TICKETS,
        inject=moved_host,
        trap="an URLError without the word DNS",
    ),
    Case(
        name="venues_as_page",
        family="protocol",
        subtype="outage_page",
        cause="the server gives a page of its proxy with status 200 instead of the venues",
        program=TICKETS,
        inject=answers("/v1/venues.csv", web.Reply(200, HTML.replace("200 OK", "Maintenance - back soon"))),
        trap="surfaces as a missing index column",
    ),
    Case(
        name="rates_token_expired",
        family="credentials",
        cause="the token for the rates has expired",
        program=TICKETS,
        inject=answers("/v1/rates.csv", web.Reply(401, {"error": "token expired"})),
    ),
    Case(
        name="venues_moved",
        family="endpoint",
        cause="the venues are no longer served at this path",
        program=TICKETS,
        inject=answers("/v1/venues.csv", web.Reply(410, {"error": "gone"})),
    ),
)

LIMITS = (
    Case(
        name="pivot_out_of_memory",
        family="memory",
        cause="the month is fifty times as large and the process may have 450 MB",
        program=ENERGY,
        inject=much_data(450 * 2**20),
    ),
    Case(
        name="profiles_disk_full",
        family="disk",
        cause="the disk of the profiles is full",
        program=ENERGY,
        inject=small_disk("profiles", "32k"),
    ),
    Case(
        name="priced_file_too_large",
        family="disk",
        subtype="file_too_large",
        cause="the user may write files of 12 KB",
        program=FREIGHT,
        inject=largest_file(12_000),
        trap="an error while the workbook's archive is written, followed by errors of the clean-up",
    ),
    Case(
        name="lending_db_disk_full",
        family="disk",
        cause="the disk that holds the lending database is full",
        program=LOANS,
        inject=full_database,
    ),
    Case(
        name="profile_killed",
        family="killed",
        cause="the kernel killed the profiles' process while the job beside it went on",
        program=NIGHT,
        inject=killed_beside,
        trap="errors of the other program in the same log; no traceback of the failing one",
    ),
    Case(
        name="profile_cpu_limit",
        family="time_limit",
        subtype="cpu_limit",
        cause="the night's processes may use two seconds of processor",
        program=NIGHT,
        inject=cpu(2, 9000),
        trap="no traceback, one line of the shell between another job's lines",
    ),
)

MORE_LIMITS = (
    Case(
        name="priced_disk_full",
        family="disk",
        cause="the disk of the folder out has room for the parquet file only",
        program=FREIGHT,
        inject=small_disk("out", "12k"),
        trap="the archive of the workbook is closed again and again, with follow-up errors",
    ),
    Case(
        name="sales_fill_memory",
        family="memory",
        cause="one event sold a thousand times as many tickets, the process may have 330 MB",
        program=TICKETS,
        inject=many_tickets,
        trap="the program's own lines speak of memory all the time",
    ),
    Case(
        name="statistics_fill_memory",
        family="memory",
        cause="the table of the loans has grown to a million rows, the process may have 230 MB",
        program=LOANS,
        inject=many_loans,
        trap="an error out of a database's query after all loans were appended",
    ),
    Case(
        name="small_address_space",
        family="memory",
        cause="the process may have 420 MB of addresses, no more than its libraries take",
        program=ENERGY,
        inject=little_address_space,
    ),
)

OURS = (
    Case(
        name="check_schema_called_wrongly",
        family="code_bug",
        cause="a release calls check_schema with a set instead of a dictionary",
        program=ENERGY,
        inject=edited("load_profile.py", '{"at": "M", "kw": "f", "meter": "i"}', '{"at", "kw", "meter"}', count=1),
        trap="the bug is in a check of the schema",
    ),
    Case(
        name="typo_in_aggregation",
        family="code_bug",
        cause="a release names an aggregation that does not exist",
        program=LOANS,
        inject=edited("loans.py", '["count", "mean"]', '["count", "average"]', count=1),
        trap="an AttributeError deep in pandas that speaks of a group's object",
    ),
    Case(
        name="other_engine_deployed",
        family="environment",
        cause="a release reads workbooks with an engine that is not installed",
        program=FREIGHT,
        inject=edited("lane_costs.py", 'sheet_name="tariff"', 'sheet_name="tariff", engine="calamine"', count=1),
    ),
    Case(
        name="out_not_writable",
        family="permission",
        cause="the job's user may not write to the folder out",
        program=FREIGHT,
        inject=as_nobody,
    ),
    Case(
        name="shipments_not_delivered",
        family="missing_input",
        cause="the shipments' file is not there",
        program=FREIGHT,
        inject=lambda bench: bench.path("in/shipments.csv").unlink(),
    ),
    Case(
        name="settings_without_section",
        family="configuration",
        cause="the deployed settings call the section lending instead of loans",
        program=LOANS,
        inject=edited("loans.ini", "[loans]", "[lending]", count=1),
        trap="a KeyError of a name that looks like a table's",
    ),
    Case(
        name="profiles_only_status",
        family="no_cause",
        subtype="undetermined",
        cause="the substation was dropped from the files; only the wrapper's last lines were kept",
        program=NIGHT,
        inject=reshape("frame = frame.drop(columns='substation')"),
        keep="tail:1",
        trap="a cut log; the other job's end is in it",
    ),
    Case(
        name="token_not_set",
        family="configuration",
        cause="the variable RATES_TOKEN is missing from the deployment",
        program=TICKETS,
        inject=unset("RATES_TOKEN"),
        trap="a KeyError that speaks of a token beside calls to an API",
    ),
)

SYSTEM = System(
    name="pandas",
    requirements=("pandas==3.1.1", "pyarrow==26.0.1", "openpyxl==3.1.5"),
    cases=(*SCHEMA, *VALUES, *OUTSIDE, *LIMITS, *MORE_LIMITS, *OURS),
)
