"""Load the meter readings of one day into the local store."""

import csv
import logging
import sqlite3

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s - %(message)s")
log = logging.getLogger("load_readings")


def main() -> None:
    store = sqlite3.connect("meters.db")
    store.execute("PRAGMA foreign_keys = ON")
    with open("readings.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    log.info("read %d rows from readings.csv", len(rows))
    with store:
        store.executemany(
            "INSERT INTO reading (meter_id, read_on, kwh) VALUES (:meter_id, :read_on, :kwh)",
            rows,
        )
    total = store.execute("SELECT sum(kwh) FROM reading JOIN meter USING (meter_id)").fetchone()[0]
    log.info("stored %d rows, %.1f kWh in all", len(rows), total)


if __name__ == "__main__":
    main()
