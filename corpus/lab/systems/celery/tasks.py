"""The tasks of the rental desk: fetch the bookings, price them, post them to the ledger."""

import csv
import json
import os
import sqlite3
import urllib.request

from celery import Celery
from celery.utils.log import get_task_logger

log = get_task_logger("rental")
app = Celery("rental", broker="filesystem://", backend="db+sqlite:///results.db")
app.conf.update(
    broker_transport_options={
        "data_folder_in": "queue",
        "data_folder_out": "queue",
        "control_folder": "control",
        "polling_interval": 0.1,
    },
    broker_connection_retry_on_startup=True,
    task_time_limit=int(os.environ.get("TASK_TIME_LIMIT", "20")),
    worker_hijack_root_logger=True,
)


@app.task(bind=True, name="rental.fetch", autoretry_for=(OSError,), max_retries=2, default_retry_delay=0)
def fetch(self, branch: str) -> list[dict]:
    log.info("fetching bookings of %s (try %d)", branch, self.request.retries + 1)
    with urllib.request.urlopen(f"{os.environ['DESK_API']}/branches/{branch}/bookings", timeout=1.5) as answer:
        bookings = json.load(answer)
    log.info("%s: %d bookings", branch, len(bookings))
    return bookings


@app.task(name="rental.price")
def price(bookings: list[dict]) -> list[list]:
    with open("rates.csv", newline="") as file:
        rates = {row["class"]: float(row["per_day"]) for row in csv.DictReader(file)}
    log.info("%d rate classes", len(rates))
    return [[b["booking"], b["branch"], b["days"], round(b["days"] * rates[b["class"]], 2)] for b in bookings]


@app.task(name="rental.post")
def post(priced: list[list]) -> int:
    ledger = sqlite3.connect("ledger.db")
    with ledger:
        ledger.executemany("INSERT INTO rental (booking, branch, days, amount) VALUES (?, ?, ?, ?)", priced)
    log.info("posted %d bookings, %.2f in all", len(priced), sum(row[3] for row in priced))
    return len(priced)
