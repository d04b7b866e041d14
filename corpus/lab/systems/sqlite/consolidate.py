"""Put the tills of all regions into one ledger, in euros of the day."""

import http.client
import json
import logging
import os
import sqlite3
import sys
from pathlib import Path
from urllib.parse import urlsplit

logging.basicConfig(
    level=logging.DEBUG, stream=sys.stderr, format="%(asctime)s [%(levelname)s] consolidate(%(funcName)s): %(message)s"
)
log = logging.getLogger("consolidate")


def rates() -> dict[str, float]:
    address = urlsplit(os.environ["RATES_URL"])
    for attempt in (1, 2, 3):
        server = http.client.HTTPConnection(address.hostname, address.port, timeout=1)
        try:
            server.request("GET", address.path)
            reply = server.getresponse()
            body = reply.read()
        except OSError as error:
            log.warning("attempt %d: %s: %s", attempt, address.netloc, error)
            continue
        log.info("%s: %d %s", address.path, reply.status, reply.reason)
        if reply.status == 200:
            return json.loads(body)["rates"]
    raise ConnectionError(f"no rates from {address.netloc} after {attempt} attempts")


def check_quota(ledger: sqlite3.Connection, region: str) -> int:
    """Count what the region sold; every region has a quota of receipts a day."""
    sold, quota = ledger.execute(
        f"SELECT (SELECT count(*) FROM {region}.receipt), receipts FROM quota WHERE region = ?", (region,)
    ).fetchone()
    log.info("%s: %d receipts, quota %d", region, sold, quota)
    return sold


def take(ledger: sqlite3.Connection, region: str, rate: dict[str, float]) -> None:
    for receipt, currency, cents, at in ledger.execute(f"SELECT receipt, currency, cents, at FROM {region}.receipt"):
        euros = round(cents / 100 / rate[currency], 2)
        log.debug("%s %s: %s %s = %.2f EUR", region, receipt, cents, currency, euros)
        ledger.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", (region, receipt, at, euros))


def main() -> None:
    rate = rates()
    ledger = sqlite3.connect("ledger.db")
    regions = sorted(Path("tills").glob("*.db"))
    log.info("%d regions, %d currencies", len(regions), len(rate))
    for region in regions:
        ledger.execute(f"ATTACH ? AS {region.stem}", (str(region),))
    with ledger:
        for region in regions:
            check_quota(ledger, region.stem)
            take(ledger, region.stem, rate)
    total, receipts = ledger.execute("SELECT sum(euros), count(*) FROM entry").fetchone()
    log.info("ledger: %d receipts, %.2f EUR", receipts, total)


if __name__ == "__main__":
    main()
