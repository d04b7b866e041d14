"""Take the depots' stock reports (Excel) from the exchange and put them into the stock ledger."""

import ftplib
import logging
import os
import sqlite3
from pathlib import Path

from openpyxl import load_workbook

logging.basicConfig(level=logging.INFO, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s")
log = logging.getLogger("stock_reports")
COLUMNS = ("article", "batch", "quantity", "expires")


def connect() -> ftplib.FTP:
    exchange = ftplib.FTP(timeout=1.5)
    log.info(exchange.connect(os.environ["DEPOT_HOST"], int(os.environ["DEPOT_PORT"])))
    log.info(exchange.login("depot", os.environ["DEPOT_PASSWORD"]))
    exchange.cwd("reports")
    return exchange


def fetch(exchange: ftplib.FTP, name: str) -> Path:
    path = Path("incoming", name)
    with path.open("wb") as file:
        exchange.retrbinary(f"RETR {name}", file.write, blocksize=2048)
    log.info("%s: %d bytes", name, path.stat().st_size)
    return path


def rows(path: Path) -> list[tuple]:
    book = load_workbook(path, read_only=True, data_only=True)
    sheet = book["Stock"]
    lines = sheet.iter_rows(values_only=True)
    header = next(lines)
    log.info("%s: sheets %s, columns %s", path.name, book.sheetnames, header)
    place = [header.index(column) for column in COLUMNS]
    depot = path.stem.removeprefix("stock_")
    found = []
    for line in lines:
        article, batch, quantity, expires = (line[at] for at in place)
        found.append((depot, article, batch, quantity, expires and expires.date().isoformat()))
    return found


def put(ledger: sqlite3.Connection, found: list[tuple]) -> None:
    with ledger:
        ledger.executemany("INSERT INTO stock VALUES (?, ?, ?, ?, ?)", found)
    log.info("%d batches into the ledger", len(found))


def main() -> None:
    ledger = sqlite3.connect("stock.db")
    exchange = connect()
    names = sorted(name for name in exchange.nlst() if name.endswith(".xlsx"))
    log.info("%d reports on the exchange", len(names))
    paths = [fetch(exchange, name) for name in names]
    exchange.quit()
    for path in paths:
        put(ledger, rows(path))
    total = ledger.execute("SELECT count(DISTINCT article), sum(quantity) FROM stock").fetchone()
    log.info("articles: %d, units: %d", *total)


if __name__ == "__main__":
    try:
        main()
    except Exception:
        log.exception("stock reports not taken")
        raise SystemExit(1) from None
