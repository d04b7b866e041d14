"""Fetch the fuel cards' transactions of the week (CSV), add them up by vehicle, send the fleet its summary (Excel)."""

import csv
import ftplib
import io
import os
import sys
import time
from collections import defaultdict
from decimal import Decimal

from openpyxl import Workbook


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] fuel_cards: {text}", file=sys.stderr)


def session() -> ftplib.FTP:
    for attempt in (1, 2, 3):
        try:
            exchange = ftplib.FTP()
            exchange.connect(os.environ["DEPOT_HOST"], int(os.environ["DEPOT_PORT"]), timeout=1)
            exchange.login("depot", os.environ["DEPOT_PASSWORD"])
            say(f"{exchange.getwelcome()} (attempt {attempt})")
            return exchange
        except (OSError, EOFError, ftplib.error_temp) as error:
            say(f"attempt {attempt}: {type(error).__name__}: {error}")
            last = error
    raise last


def fetch(exchange: ftplib.FTP, day: str) -> list[dict[str, str]]:
    lines: list[str] = []
    exchange.retrlines(f"RETR {day}.csv", lines.append)
    with open(f"kept/{day}.csv", "w", encoding="utf-8") as copy:
        copy.write("\n".join(lines) + "\n")
    header, *body = csv.reader(lines, delimiter=";")
    trailer = body.pop()
    say(f"{day}: {';'.join(header)}, {len(body)} transactions, trailer {trailer}")
    assert int(trailer[1]) == len(body), f"{day}: trailer says {trailer[1]} transactions, file holds {len(body)}"
    return [dict(zip(header, row, strict=True)) for row in body]


def by_vehicle(transactions: list[dict[str, str]]) -> dict[str, list[Decimal]]:
    sums: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for each in transactions:
        litres, price = Decimal(each["litres"]), Decimal(each["price"])
        sums[each["vehicle"]][0] += litres
        sums[each["vehicle"]][1] += litres * price
    return sums


def workbook(sums: dict[str, list[Decimal]]) -> bytes:
    book = Workbook()
    sheet = book.active
    sheet.append(["vehicle", "litres", "euros", "euros per litre"])
    for vehicle, (litres, euros) in sorted(sums.items()):
        sheet.append([vehicle, litres, round(euros, 2), round(euros / litres, 3)])
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def main() -> None:
    exchange = session()
    exchange.cwd("/cards")
    days = os.environ["DAYS"].split()
    transactions = [each for day in days for each in fetch(exchange, day)]
    sums = by_vehicle(transactions)
    say(f"{len(transactions)} transactions of {len(sums)} vehicles")
    content = workbook(sums)
    say(exchange.storbinary("STOR /summaries/fuel.xlsx", io.BytesIO(content)))
    exchange.quit()


if __name__ == "__main__":
    main()
