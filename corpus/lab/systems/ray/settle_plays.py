"""Settles a week of radio plays: every play priced by its station's tariff, one amount per rights holder."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import ray
import ray.data
import requests

log = logging.getLogger("settle")
DATABASE = Path("rights.db").resolve()


def store() -> sqlite3.Connection:
    connection = sqlite3.connect(DATABASE, timeout=3)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def fetch_tariffs() -> dict[str, float]:
    """Ask the society's service for the cents per second of every station; a busy service is asked again."""
    key = {"api_key": os.environ["TARIFF_KEY"]}
    for attempt in range(1, 5):
        answer = requests.get(f"{os.environ['TARIFF_URL']}/tariffs", params=key, timeout=4)
        if answer.status_code not in (429, 503) or attempt == 4:
            break
        log.warning("tariffs: %s, attempt %d of 4", answer.status_code, attempt)
        time.sleep(float(answer.headers.get("Retry-After", 0.1)))
    answer.raise_for_status()
    return {each["station"]: each["cents_per_s"] for each in answer.json()["tariffs"]}


def price(batch: pd.DataFrame, tariffs: dict[str, float], holders: dict[str, str]) -> pd.DataFrame:
    """Give each play its rights holder and its amount."""
    started = pd.to_datetime(batch["started"], format="%Y-%m-%dT%H:%M:%S")
    amount = batch["station"].map(lambda station: tariffs[station]) * batch["seconds"]
    return pd.DataFrame(
        {
            "play_id": batch["play_id"],
            "station": batch["station"],
            "isrc": batch["isrc"],
            "holder": [holders[isrc] for isrc in batch["isrc"]],
            "day": started.dt.strftime("%Y-%m-%d"),
            "cents": amount.round().astype("int64"),
        }
    )


def write_statements(priced: pd.DataFrame, folder: Path) -> int:
    """Write one statement per holder, all of them open until the last play is written."""
    with contextlib.ExitStack() as stack:
        open_files: dict[str, Any] = {}
        for play in priced.itertuples():
            if play.holder not in open_files:
                path = folder / f"{play.holder}.csv"
                open_files[play.holder] = stack.enter_context(path.open("w", encoding="utf-8"))
            open_files[play.holder].write(f"{play.day};{play.station};{play.isrc};{play.cents}\n")
    return len(open_files)


def main() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s [%(name)s] %(message)s", stream=sys.stdout
    )
    logging.getLogger("urllib3").setLevel(logging.INFO)
    ray.init(
        num_cpus=2,
        object_store_memory=int(os.environ.get("RAY_STORE_BYTES", "80000000")),
        include_dashboard=False,
        _temp_dir=os.environ["RAY_HOME"],
    )
    tariffs = fetch_tariffs()
    works = pq.read_table("works.parquet").to_pylist()
    holders = {work["isrc"]: work["holder"] for work in works}
    log.info("%d tariffs, %d works", len(tariffs), len(holders))
    plays = ray.data.read_csv("plays/", override_num_blocks=2)
    log.info("columns of the plays: %s", ", ".join(plays.schema().names))
    priced = plays.map_batches(
        price, batch_format="pandas", fn_kwargs={"tariffs": tariffs, "holders": holders}
    ).materialize()
    if priced.count() < int(os.environ["LEAST_PLAYS"]):
        raise SystemExit(f"settle: {priced.count()} plays, the stations announced {os.environ['LEAST_PLAYS']}")
    priced.write_sql("INSERT INTO play VALUES (?, ?, ?, ?, ?, ?)", store, concurrency=1)
    count = write_statements(priced.to_pandas(), Path("statements"))
    log.info("%d statements written", count)


if __name__ == "__main__":
    main()
