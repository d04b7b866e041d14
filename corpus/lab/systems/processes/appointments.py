"""Merge the day's appointment files of all clinics and store the utilisation per clinician."""

import csv
import logging
import sqlite3
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import datetime
from pathlib import Path

logging.basicConfig(
    level=logging.DEBUG, format="[%(asctime)s] %(levelname)-7s %(processName)s %(name)s:%(lineno)d  %(message)s"
)
log = logging.getLogger("appointments")
EXPECTED = ["patient_no", "slot_start", "clinician", "minutes"]


def check_schema(path, header):
    missing = [name for name in EXPECTED if name not in header]
    log.debug("%s: columns %s", path.name, ", ".join(header))
    if missing:
        log.warning("%s: not all known columns are there, going on with what there is", path.name)
    return header


def read_site(path):
    """One clinic's file: clinician -> (booked minutes, first slot, last slot)."""
    booked = {}
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        check_schema(path, reader.fieldnames)
        rows = list(reader)
    for row in rows:
        name = row.get("clinician").strip().title()
        start = datetime.strptime(row["slot_start"], "%Y-%m-%d %H:%M")
        booked.setdefault(name, []).append((start, int(row["minutes"])))
    log.info("%s: %d appointments of %d clinicians", path.name, len(rows), len(booked))
    return path.stem, {
        name: (sum(m for _, m in slots), min(s for s, _ in slots), max(s for s, _ in slots))
        for name, slots in booked.items()
    }


def utilisation(minutes, first, last):
    return minutes * 60 / (last - first).total_seconds()


def store(db, site, summary):
    for name, (minutes, first, last) in summary.items():
        db.execute(
            "INSERT INTO timeout_slots (site, clinician, minutes, share) VALUES (?, ?, ?, ?)",
            (site, name, minutes, utilisation(minutes, first, last)),
        )
    log.debug("stored %s", site)


def main():
    files = sorted(Path("sites").glob("*.csv"))
    log.info("%d files of clinics", len(files))
    db = sqlite3.connect("clinic.db")
    with ProcessPoolExecutor(max_workers=2) as pool:
        futures = {pool.submit(read_site, path): path for path in files}
        with db:
            for done in as_completed(futures):
                store(db, *done.result())
    log.info("utilisation of %d clinics stored", len(files))


if __name__ == "__main__":
    try:
        main()
    except Exception:
        log.exception("run failed")
        sys.exit(1)
