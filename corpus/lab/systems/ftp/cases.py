"""FTP: stock reports of depots in Excel (ftplib, openpyxl), transactions of fuel cards in CSV with a summary sent back."""

from __future__ import annotations

import json
import resource
import signal
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import edited, limited, small_disk
from corpus.lab.services import ftp

Cell = str | int | None
HERE = Path(__file__).parent
DEPOTS = ("bremen", "kassel", "ulm")
HEADER: list[Cell] = ["article", "batch", "quantity", "expires"]
DAYS = ("2026-11-16", "2026-11-17", "2026-11-18")
CARDS = "card;vehicle;station;litres;price"
STOCK = """
CREATE TABLE stock (
    depot TEXT NOT NULL, article TEXT NOT NULL, batch TEXT NOT NULL, quantity INTEGER NOT NULL CHECK (quantity >= 0),
    expires TEXT, PRIMARY KEY (depot, batch)
);
"""


def batches(count: int = 160) -> list[list[Cell]]:
    return [[f"PZN{4000 + n % 50}", f"B{n:05}", 3 * n % 70, f"@2027-{1 + n % 12:02}-15"] for n in range(count)]


def transactions(day: int, count: int = 120) -> list[str]:
    return [
        f"K{n % 30:03};HB-{100 + n % 24};S{n % 9};{20 + (n * 7) % 40}.{n % 10};1.6{(n + day) % 10}"
        for n in range(count)
    ]


def _serve(bench: Bench) -> ftp.Ftp:
    server = ftp.start(bench)
    bench.env |= {"DEPOT_HOST": "127.0.0.1", "DEPOT_PORT": str(server.port), "DEPOT_PASSWORD": ftp.PASSWORD}
    return server


def _report(bench: Bench, depot: str, rows: list[list[Cell]], header: list[Cell], sheet: str = "Stock") -> None:
    target = ftp.running(bench).home / f"reports/stock_{depot}.xlsx"
    target.parent.mkdir(exist_ok=True)
    given = json.dumps({"sheet": sheet, "rows": [header, *rows]})
    bench.run(str(bench.python), str(HERE / "write_book.py"), str(target), text=given)


def _stock_world(bench: Bench) -> None:
    _serve(bench)
    bench.path("incoming/x")
    for depot in DEPOTS:
        _report(bench, depot, batches(), HEADER)
    database = sqlite3.connect(bench.path("stock.db"))
    database.executescript(STOCK)
    database.close()


def _week(bench: Bench, day: int, rows: list[str], *, header: str = CARDS, trailer: int = -1) -> None:
    count = len(rows) if trailer < 0 else trailer
    lines = [header, *rows, f"END;{count}"]
    ftp.running(bench).put(f"cards/{DAYS[day]}.csv", ("\r\n".join(lines) + "\r\n").encode())


def _cards_world(bench: Bench) -> None:
    _serve(bench).put("summaries/readme.txt", b"weekly\n")
    bench.path("kept/x")
    bench.env["DAYS"] = " ".join(DAYS)
    for day in range(3):
        _week(bench, day, transactions(day))


REPORTS = Program(
    name="stock", command=("{python}", "stock_reports.py"), files=("stock_reports.py",), world=_stock_world
)
FUEL = Program(name="fuel", command=("{python}", "fuel_cards.py"), files=("fuel_cards.py",), world=_cards_world)


def _changed(change: Callable[[list[list[Cell]]], list[list[Cell]]], header: list[Cell] | None = None) -> Prepare:
    return lambda bench: _report(bench, "kassel", change(batches()), header or HEADER)


def _cell(number: int, column: int, value: Cell) -> Callable[[list[list[Cell]]], list[list[Cell]]]:
    def change(rows: list[list[Cell]]) -> list[list[Cell]]:
        rows[number][column] = value
        return rows

    return change


def _restart(**options: object) -> Prepare:
    """Run the server again on its port with other options."""

    def inject(bench: Bench) -> None:
        old = ftp.running(bench)
        old.stop()
        ftp.start(bench, port=old.port, **options)  # type: ignore[arg-type]

    return inject


def _hold_sessions(bench: Bench) -> None:
    """Keep as many sessions open as the server takes."""
    _restart(connections=2)(bench)
    for _ in range(2):
        held = socket.create_connection(("127.0.0.1", ftp.running(bench).port), timeout=3)
        held.recv(100)
        bench.on_exit(held.close)


def _cut_report(bench: Bench) -> None:
    path = ftp.running(bench).home / "reports/stock_ulm.xlsx"
    path.write_bytes(path.read_bytes()[:5000])


def _long_report(bench: Bench) -> None:
    _report(bench, "ulm", batches(60_000), HEADER)
    bench.limits[resource.RLIMIT_AS] = 44 << 20


def _bare_interpreter(bench: Bench) -> None:
    bench.command = ("{python}", "-S", "stock_reports.py")


def _environment(name: str, value: str) -> Prepare:
    return lambda bench: bench.env.update({name: value})


def _stop(bench: Bench) -> None:
    ftp.running(bench).stop()


def _moved(bench: Bench) -> None:
    home = ftp.running(bench).home
    (home / "cards").rename(home / "cards_2026_new")


def _nothing_there(bench: Bench) -> None:
    (ftp.running(bench).home / f"cards/{DAYS[2]}.csv").unlink()


def _silent(bench: Bench) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    bench.on_exit(server.close)
    bench.env["DEPOT_PORT"] = str(server.getsockname()[1])


CASES = (
    Case(
        name="sheet_renamed",
        family="table_gone",
        cause="a depot calls the sheet of its report Lagerbestand",
        program=REPORTS,
        inject=lambda b: _report(b, "kassel", batches(), HEADER, "Lagerbestand"),
    ),
    Case(
        name="batch_renamed",
        family="renamed",
        cause="a depot calls the column batch lot_no",
        program=REPORTS,
        inject=_changed(lambda rows: rows, ["article", "lot_no", "quantity", "expires"]),
        trap="a ValueError about a tuple; only the logged columns show the new name",
    ),
    Case(
        name="card_columns",
        family="column_count",
        cause="the cards' company put the odometer into the rows",
        program=FUEL,
        inject=lambda b: _week(b, 1, [f"{row};{9000 + n}" for n, row in enumerate(transactions(1))]),
    ),
    Case(
        name="price_replaced",
        family="removed",
        cause="the cards' company gives the whole amount instead of the price of a litre",
        program=FUEL,
        inject=lambda b: _week(b, 0, transactions(0), header=CARDS.replace("price", "gross_amount")),
    ),
    Case(
        name="report_cut",
        family="malformed",
        subtype="truncated_file",
        cause="a depot put an incomplete report on the exchange",
        program=REPORTS,
        inject=_cut_report,
    ),
    Case(
        name="quantity_empty",
        family="null",
        cause="a batch has no quantity",
        program=REPORTS,
        inject=_changed(_cell(91, 2, None)),
    ),
    Case(
        name="price_of_words",
        family="unparsable",
        subtype="invalid_value",
        cause="one transaction holds an error's words for its price",
        program=FUEL,
        inject=lambda b: _week(b, 2, [*transactions(2, 70), "K001;HB-100;S1;40.0;421 Too many connections"]),
        trap="only the kind of error tells it, the value is not shown",
    ),
    Case(
        name="transactions_missing",
        family="volume",
        subtype="reconciliation",
        cause="the file holds fewer transactions than its trailer says",
        program=FUEL,
        inject=lambda b: _week(b, 1, transactions(1, 60), trailer=120),
    ),
    Case(
        name="depot_refuses",
        family="refused",
        cause="the exchange is down",
        program=FUEL,
        inject=_stop,
    ),
    Case(
        name="password_changed",
        family="credentials",
        subtype="expired_credentials",
        cause="the exchange has let our password run out",
        program=REPORTS,
        inject=_restart(password="kiel-9911"),
    ),
    Case(
        name="session_dropped",
        family="reset",
        subtype="connection_lost",
        cause="the exchange closes the session in the middle of a transfer",
        program=REPORTS,
        inject=_restart(drop_after=3000),
        trap="a file is incomplete on our side afterwards",
    ),
    Case(
        name="cards_folder_moved",
        family="endpoint",
        cause="the exchange has renamed the folder of the cards",
        program=FUEL,
        inject=_moved,
        trap="reads like a file that was not delivered",
    ),
    Case(
        name="exchange_silent",
        family="slow",
        cause="the exchange takes connections and says nothing",
        program=REPORTS,
        inject=_silent,
    ),
    Case(
        name="sessions_used_up",
        family="connections",
        cause="all sessions that the exchange allows are in use",
        program=FUEL,
        inject=_hold_sessions,
        trap="a refusal by the other side, tried again",
    ),
    Case(
        name="incoming_full",
        family="disk",
        cause="our volume for incoming reports is full",
        program=REPORTS,
        inject=small_disk("incoming", "12k"),
    ),
    Case(
        name="kept_too_large",
        family="disk",
        subtype="file_too_large",
        cause="the worker may write files of 3,000 bytes",
        program=FUEL,
        inject=limited(resource.RLIMIT_FSIZE, 3000),
    ),
    Case(
        name="report_of_sixty_thousand",
        family="memory",
        cause="a report needs more memory than the worker may have",
        program=REPORTS,
        inject=_long_report,
    ),
    Case(
        name="port_in_words",
        family="configuration",
        cause="a deployment wrote the name of the port",
        program=FUEL,
        inject=_environment("DEPOT_PORT", "ftp"),
        trap="an unparsable value, but of the deployment",
    ),
    Case(
        name="interpreter_without_library",
        family="environment",
        subtype="configuration",
        cause="the job was started without the installed libraries",
        program=REPORTS,
        inject=_bare_interpreter,
    ),
    Case(
        name="sums_of_release",
        family="code_bug",
        cause="a release adds a text to a number",
        program=FUEL,
        inject=edited("fuel_cards.py", "[0] += litres", '[0] += each["litres"]'),
    ),
    Case(
        name="wednesday_not_there",
        family="missing_input",
        cause="the file of one day was not delivered",
        program=FUEL,
        inject=_nothing_there,
    ),
    Case(
        name="stopped_in_transfer",
        family="interrupted",
        cause="an operator stopped the job",
        program=REPORTS,
        inject=lambda b: b.kill_when("reports on the exchange", signal.SIGINT),
    ),
)
SYSTEM = System(name="ftp", requirements=("pyftpdlib==2.2.0", "openpyxl==3.1.5"), debian=(), cases=CASES)
