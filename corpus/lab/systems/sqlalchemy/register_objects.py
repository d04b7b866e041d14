"""Register the month's acquisitions, take the valuer's figures over, and write the rooms' report."""

import csv
import json
import logging
import os
import time
import urllib.error
import urllib.request
from datetime import date
from decimal import Decimal
from pathlib import Path

from museum import Exhibit, Inspection, Room, State
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.orm import Session

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
logging.getLogger("sqlalchemy.engine").setLevel(os.environ.get("SQL_LOG", "WARNING"))
log = logging.getLogger("register")


def read_inventory(path: str) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    log.info("%s: %d acquisitions, columns %s", path, len(rows), ", ".join(reader.fieldnames or ()))
    return rows


def fetch_valuations(attempts: int = 3) -> dict[str, object]:
    url = os.environ["VALUER_URL"]
    for attempt in range(1, attempts + 1):
        try:
            with urllib.request.urlopen(url, timeout=1) as reply:
                log.info("valuer: %d %s", reply.status, reply.headers["Content-Type"])
                listed = json.load(reply)
        except (OSError, ValueError) as error:
            log.warning("valuer, attempt %d of %d: %s: %s", attempt, attempts, type(error).__name__, error)
            if attempt == attempts:
                raise
            time.sleep(0.1)
        else:
            log.info("valuer: %d valuations", len(listed))
            return {each["accession"]: each["value"] for each in listed}
    raise AssertionError


def register(session: Session, rows: list[dict[str, str]]) -> None:
    for row in rows:
        room = session.scalars(select(Room).where(func.lower(Room.title) == row["room"].lower())).one()
        exhibit = Exhibit(
            accession=row["accession"],
            title=row.get("title"),
            state=State(row["state"]),
            acquired=date.fromisoformat(row["acquired"]),
            insured=Decimal(row["insured"]),
            room_code=room.code,
        )
        session.add(exhibit)
    session.flush()
    log.info("registered %d exhibits", len(rows))


def revalue(session: Session, valuations: dict[str, object]) -> None:
    changed = 0
    for exhibit in session.scalars(select(Exhibit).order_by(Exhibit.accession)):
        if exhibit.accession in valuations:
            exhibit.insured = valuations[exhibit.accession]
            changed += 1
    session.flush()
    log.info("took %d valuations over", changed)


def climate(session: Session) -> None:
    seen = session.scalars(select(Inspection).order_by(Inspection.id)).all()
    log.info("%d inspections on record", len(seen))
    latest = max(each.inspected_at for each in seen)
    log.info("latest inspection: %s", latest.isoformat(" ", "minutes"))


def report(session: Session) -> None:
    loads = session.execute(text("SELECT * FROM room_load")).mappings().all()
    lines = [f"{each['code']},{each['exhibits']},{round(100 * each['exhibits'] / each['capacity'])}%" for each in loads]
    Path("report.csv").write_text("\n".join(["room,exhibits,full", *lines]) + "\n", encoding="utf-8")
    log.info("report of %d rooms written", len(lines))


def main() -> None:
    engine = create_engine(os.environ.get("REGISTER_DSN", "sqlite:///register.db"))
    rows = read_inventory("acquisitions.csv")
    valuations = fetch_valuations()
    try:
        with Session(engine) as session, session.begin():
            register(session, rows)
            revalue(session, valuations)
            climate(session)
            report(session)
    except Exception:
        log.exception("the register was left as it was")
        raise SystemExit(1) from None
    log.info("done")


if __name__ == "__main__":
    main()
