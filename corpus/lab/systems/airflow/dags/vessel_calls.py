"""Daily vessel calls: fetch the port authority's list, check it, store it, summarise it."""

import csv
import logging
import os
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import requests
from airflow.sdk import dag, task

log = logging.getLogger(__name__)
STORE = Path(os.environ["AIRFLOW_HOME"]) / "calls.db"
INBOX = Path(os.environ["AIRFLOW_HOME"]) / "inbox"


@dag(schedule="@daily", start_date=datetime(2026, 5, 1), catchup=False, default_args={"retries": 0})
def vessel_calls():
    @task
    def fetch_calls() -> list[dict]:
        url = os.environ["PORT_API"] + "/calls?day=2026-05-04"
        answer = requests.get(url, timeout=2, headers={"X-Api-Key": os.environ["PORT_KEY"]})
        log.info("port authority answered %d with %d bytes", answer.status_code, len(answer.content))
        answer.raise_for_status()
        calls = answer.json()["calls"]
        log.info("fetched %d calls with %s", len(calls), sorted(calls[0]))
        return calls

    @task
    def read_tugs() -> dict[str, int]:
        with open(INBOX / "tugs.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        log.info("tugs.csv: %d rows, header %s", len(rows), list(rows[0]))
        return {row["berth"]: int(row["tugs"]) for row in rows}

    @task(execution_timeout=timedelta(seconds=float(os.environ.get("STORE_SECONDS", "30"))))
    def store(calls: list[dict], tugs: dict[str, int]) -> int:
        with sqlite3.connect(STORE, timeout=1) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.executemany(
                "INSERT INTO call (call_no, vessel, berth, tonnage, tugs) VALUES (:call_no, :vessel, :berth, :tonnage, :tugs)",
                [{**call, "tugs": tugs.get(call["berth"], 1)} for call in calls],
            )
            total = connection.execute("SELECT count(*) FROM call").fetchone()[0]
        log.info("call holds %d rows", total)
        return len(calls)

    @task
    def summarise(stored: int) -> None:
        with sqlite3.connect(STORE) as connection:
            rows = connection.execute(
                "SELECT berth, count(*), sum(tonnage) / sum(tugs) FROM call GROUP BY berth"
            ).fetchall()
        for berth, count, mean in rows:
            log.info("berth %s: %d calls, %.1f t per tug", berth, count, mean)
        target = Path(os.environ["AIRFLOW_HOME"]) / "summary.csv"
        target.write_text("".join(f"{berth},{count},{mean:.1f}\n" for berth, count, mean in rows))

    summarise(store(fetch_calls(), read_tugs()))


vessel_calls()
