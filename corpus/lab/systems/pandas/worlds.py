"""The pandas programs and what they find in their directories."""

from __future__ import annotations

import datetime
import json
import random
import sqlite3
import subprocess
from collections.abc import Callable

from corpus.lab.bench import Bench
from corpus.lab.case import Prepare, Program
from corpus.lab.services import web

RATES = "currency,eur\nEUR,1.0\nCHF,1.04\nGBP,1.17\nSEK,0.088\n"
VENUES = "venue,city,capacity\n" + "".join(f"hall-{n},city-{n % 5},{400 + n}\n" for n in range(1, 21))
XLSX = """
import pandas as pd
rows = [("L%03d" % n, n % 7, 0.21 + n / 100, 9.5) for n in range(40)]
frame = pd.DataFrame(rows, columns=["lane", "zone", "eur_per_kg", "min_charge"])
{change}
frame.to_excel("in/rates.xlsx", sheet_name="{sheet}", index=False)
"""
PARQUET = """
import numpy as np, pandas as pd, pathlib
for month, days in {months!r}:
    for day in range(1, days + 1):
        at = pd.date_range(f"{{month}}-{{day:02d}}", periods=96, freq="15min")
        frame = pd.DataFrame({{
            "meter": np.repeat(np.arange({meters}), 96), "at": np.tile(at, {meters}),
            "kw": np.random.default_rng(day).gamma(2.0, 1.5, 96 * {meters}), "quality": "A",
        }})
        frame["substation"] = "SS-" + (frame["meter"] % 24).astype(str).str.zfill(2)
        path = pathlib.Path(f"values/{{month}}/day={{day:02d}}.parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path)
"""


def rates_book(bench: Bench, change: str = "", sheet: str = "tariff") -> None:
    bench.run(str(bench.python), "-c", XLSX.format(change=change, sheet=sheet))


def freight(bench: Bench) -> None:
    bench.path("out/").mkdir(exist_ok=True)
    rows = [f"FR{n:05d},L{n % 40:03d},2026-03-{n % 28 + 1:02d},{20 + n * 3.5},{n % 6 + 1},{n * 11}" for n in range(300)]
    head = "shipment_no,lane,picked_up,weight_kg,pallets,declared_value"
    bench.write("in/shipments.csv", "\n".join([head, *rows]) + "\n")
    rates_book(bench)


def tickets(bench: Bench) -> None:
    pick = random.Random(7)
    for night in range(1, 13):
        rows = [
            {
                "event_id": night,
                "venue": f"hall-{night % 20 + 1}",
                "seat": f"{row}-{seat}",
                "price": pick.randrange(20, 90),
                "currency": pick.choice(["EUR", "CHF", "GBP"]),
            }
            for row in range(10)
            for seat in range(12)
        ]
        bench.write(f"sales/event-{night:02d}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    csv = {"Content-Type": "text/csv"}
    server = web.serve(
        bench,
        {
            "/v1/rates.csv": [web.Reply(200, RATES, csv)],
            "/v1/venues.csv": [web.Reply(200, VENUES, csv)],
        },
    )
    bench.env |= {"RATES_URL": server.url, "RATES_TOKEN": "rt_live_9fK2vQ0aLx81"}


def values(bench: Bench, days: int = 5, meters: int = 120) -> None:
    bench.path("profiles/").mkdir(exist_ok=True)
    bench.run(str(bench.python), "-c", PARQUET.format(months=[("2026-02", days)], meters=meters))


def night(bench: Bench) -> None:
    values(bench)
    bench.env["MONTHS"] = "2026-02"
    for n in range(1, 31):
        lines = [f"row{k},{k * n}" for k in range(40)]
        bench.write(f"archive/part-{n:02d}.csv", "\n".join(["name,total", *lines]) + "\n")


def lending(bench: Bench) -> None:
    db = sqlite3.connect(bench.path("lending.db"))
    with db:
        db.executescript("""
            CREATE TABLE book (isbn TEXT PRIMARY KEY, title TEXT NOT NULL);
            CREATE TABLE loan (
                card_no INTEGER NOT NULL, isbn TEXT NOT NULL, branch TEXT NOT NULL, lent_on TEXT NOT NULL,
                days INTEGER NOT NULL CHECK (days BETWEEN 1 AND 90), due_on TEXT NOT NULL,
                PRIMARY KEY (card_no, isbn, lent_on));
        """)
        db.executemany("INSERT INTO book VALUES (?, ?)", [(f"978-{n:04d}", f"Title no. {n}") for n in range(500)])
    db.close()
    start = datetime.date(2026, 1, 5)
    rows = [
        f"{10000 + n};978-{n % 500:04d};{('Nord', 'Süd', 'Hafen')[n % 3]};"
        f"{start + datetime.timedelta(days=n % 40):%d.%m.%Y};{n % 28 + 1}"
        for n in range(2000)
    ]
    bench.write("loans.csv", "\n".join(["card_no;isbn;branch;lent_on;days", *rows]) + "\n")


FREIGHT = Program(name="freight", command=("{python}", "lane_costs.py"), files=("lane_costs.py",), world=freight)
TICKETS = Program(
    name="tickets", command=("{python}", "ticket_revenue.py"), files=("ticket_revenue.py",), world=tickets
)
ENERGY = Program(name="energy", command=("{python}", "load_profile.py"), files=("load_profile.py",), world=values)
NIGHT = Program(
    name="night",
    command=("bash", "nightly.sh"),
    files=("nightly.sh", "load_profile.py", "housekeeping.py"),
    world=night,
)
LOANS = Program(name="lending", command=("{python}", "loans.py"), files=("loans.py", "loans.ini"), world=lending)


def in_rows(name: str, change: Callable[[list[str]], list[str]]) -> Prepare:
    """Change the lines of a file."""

    def inject(bench: Bench) -> None:
        path = bench.path(name)
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    return inject


def reshape(change: str) -> Prepare:
    """Write one or all of the parquet files anew, changed by Python code over `path` and `frame`."""
    code = (
        "import pandas as pd, pathlib\n"
        "for path in sorted(pathlib.Path('values/2026-02').glob('*.parquet')):\n"
        "    frame = pd.read_parquet(path)\n"
        f"    {change}\n"
        "    frame.to_parquet(path)\n"
    )
    return lambda bench: bench.run(str(bench.python), "-c", code)


def kill_child(text: str, number: str, *, of: str) -> Prepare:
    """Send a signal to the wrapper's child that runs `of`, once the log holds `text`."""

    def inject(bench: Bench) -> None:
        bench.when(
            text,
            lambda process: subprocess.run(["pkill", number, "-P", str(process.pid), "-f", of], check=False),
        )

    return inject
