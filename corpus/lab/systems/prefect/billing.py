"""Bill the visits of the day: price them by the chamber's tariff, store the charges, write a statement for each clinic."""

import csv
import os
import resource
import sqlite3
import tomllib
from datetime import date
from pathlib import Path

import httpx
from prefect import flow, task
from prefect.logging import get_run_logger
from pydantic import BaseModel, ConfigDict, TypeAdapter


class Visit(BaseModel):
    model_config = ConfigDict(extra="forbid")
    visit_id: int
    clinic: str
    code: str
    minutes: int
    seen_on: date


@task(retries=2, retry_delay_seconds=0.3)
def fetch_tariff(year: int) -> dict[str, float]:
    reply = httpx.get(f"{os.environ['CHAMBER_URL']}/tariffs/{year}", timeout=1.5)
    reply.raise_for_status()
    tariff = {item["code"]: item["points"] for item in reply.json()["items"]}
    get_run_logger().info("tariff %d: %d codes", year, len(tariff))
    return tariff


@task
def read_visits(path: Path) -> list[Visit]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    get_run_logger().info("%s: %d rows", path, len(rows))
    return TypeAdapter(list[Visit]).validate_python(rows)


@task
def price(visits: list[Visit], tariff: dict[str, float], cents: int) -> list[tuple]:
    charges = [(v.visit_id, v.clinic, v.seen_on.isoformat(), round(tariff[v.code] * cents)) for v in visits]
    get_run_logger().info("priced %d visits, %.2f EUR", len(charges), sum(each[3] for each in charges) / 100)
    return charges


@task(retries=1, retry_delay_seconds=0.2)
def store(charges: list[tuple]) -> None:
    database = sqlite3.connect("billing.db")
    with database:
        database.executemany("INSERT INTO charge (visit_id, clinic, seen_on, cents) VALUES (?, ?, ?, ?)", charges)
    database.close()
    get_run_logger().info("stored %d charges", len(charges))


@task(task_run_name="statement-{clinic}")
def statement(clinic: str) -> None:
    database = sqlite3.connect("billing.db")
    query = "SELECT visit_id, seen_on, cents FROM charge WHERE clinic = ? ORDER BY seen_on, visit_id"
    lines = [
        f"{visit:>8} {seen_on} {cents / 100:>10.2f}" for visit, seen_on, cents in database.execute(query, (clinic,))
    ]
    Path("statements", f"{clinic}.txt").write_text("\n".join([f"Statement {clinic}", *lines, ""]), encoding="utf-8")
    get_run_logger().info("statement of %s: %d lines", clinic, len(lines))


@flow(name="clinic-billing")
def billing(day: date, year: int, cents_per_point: int, memory_mb: int) -> None:
    log = get_run_logger()
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    log.info("billing of %s, %d MB", day, memory_mb)
    tariff = fetch_tariff(year)
    visits = read_visits(Path("inbox") / f"visits-{day}.csv")
    charges = price(visits, tariff, cents_per_point)
    store(charges)
    for clinic in sorted({visit.clinic for visit in visits}):
        statement(clinic)
    log.info("billing of %s is done", day)


if __name__ == "__main__":
    billing(**tomllib.loads(Path("billing.toml").read_text(encoding="utf-8")))
