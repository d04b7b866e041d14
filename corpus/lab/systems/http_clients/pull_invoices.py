"""Pull a clinic group's invoices page by page and store them for the ledger."""

import json
import logging
import os
import sqlite3
import sys
from decimal import Decimal

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

logging.basicConfig(
    level=os.environ.get("LOG_LEVEL", "INFO"),
    format="%(asctime)s %(levelname)-8s %(name)s: %(message)s",
)
log = logging.getLogger("clinic.invoices")

API = os.environ.get("CLINIC_API", "http://api.clinic.invalid")


def session():
    retry = Retry(
        total=3, backoff_factor=0.05, status_forcelist=(429, 500, 502, 503, 504), respect_retry_after_header=False
    )
    made = requests.Session()
    made.mount("http://", HTTPAdapter(max_retries=retry))
    return made


def token(http):
    answer = http.post(
        f"{API}/oauth/token",
        data={"grant_type": "client_credentials", "client_id": "ledger", "client_secret": os.environ["CLINIC_SECRET"]},
        timeout=1.5,
    )
    log.info("token endpoint: %s, %s", answer.status_code, answer.headers.get("Content-Type"))
    answer.raise_for_status()
    given = answer.json()
    log.info("token for scope %s, valid for %s s", given["scope"], given["expires_in"])
    return given["access_token"]


def pages(http, bearer):
    url = f"{API}/v2/invoices?page=1"
    while url:
        answer = http.get(url, headers={"Authorization": f"Bearer {bearer}"}, timeout=1.5)
        log.info(
            "%s -> %s, %s, %d bytes", url, answer.status_code, answer.headers.get("Content-Type"), len(answer.content)
        )
        answer.raise_for_status()
        body = answer.json()
        yield body["items"]
        url = body["next"]


def store(db, items):
    rows = []
    for item in items:
        cents = int(Decimal(item["amount"]) * 100)
        rows.append((item["invoice_no"], item["patient"]["id"], item["issued"][:10], cents, item["payer"].upper()))
    db.executemany("INSERT INTO invoice VALUES (?, ?, ?, ?, ?)", rows)
    log.info("stored %d invoices, first %s", len(rows), rows[0][0] if rows else None)
    return len(rows)


def main():
    db = sqlite3.connect(os.environ.get("LEDGER", "ledger.db"))
    db.execute(
        "CREATE TABLE IF NOT EXISTS invoice (invoice_no TEXT PRIMARY KEY, patient_id INTEGER NOT NULL,"
        " issued TEXT NOT NULL, cents INTEGER NOT NULL CHECK (cents >= 0), payer TEXT NOT NULL)"
    )
    http = session()
    bearer = token(http)
    with db:
        count = sum(store(db, items) for items in pages(http, bearer))
    least = int(os.environ.get("LEAST", "50"))
    if count < least:
        log.error("received %d invoices, at least %d were expected", count, least)
        return 4
    log.info("finished: %s", json.dumps({"invoices": count}))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:
        log.exception("pull_invoices failed")
        sys.exit(1)
