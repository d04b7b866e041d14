"""Take over the shipments of the freight exchange and write one manifest, sorted by time over all depots."""

import heapq
import json
import logging
import os
from contextlib import ExitStack
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from models import Carrier, Shipment
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session

logging.basicConfig(level=logging.INFO, format="[%(asctime)s] %(levelname)s %(name)s:%(lineno)d - %(message)s")
log = logging.getLogger("sync_shipments")
BATCH = 50

engine = create_engine(
    os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:"),
    pool_size=5,
    max_overflow=2,
    pool_timeout=3,
    pool_pre_ping=True,
)


def shipments():
    for line in Path("exchange.jsonl").read_text(encoding="utf-8").splitlines():
        given = json.loads(line)
        yield Shipment(
            consignment=given["consignment"],
            carrier_id=given["carrier"],
            depot=given["depot"],
            goods=given["goods"],
            weight_kg=Decimal(str(given["weight_kg"])),
            collected_at=datetime.fromisoformat(given["collected_at"]),
        )


def load() -> int:
    read = list(shipments())
    log.info("exchange.jsonl holds %d shipments", len(read))
    with Session(engine) as session, session.begin():
        log.info("%d carriers known", session.scalar(select(func.count()).select_from(Carrier)))
        for start in range(0, len(read), BATCH):
            session.add_all(read[start : start + BATCH])
            session.flush()
            log.info("flushed shipments %d to %d", start + 1, min(start + BATCH, len(read)))
    return len(read)


def by_depot(stack: ExitStack, depot: str):
    session = stack.enter_context(Session(engine))
    query = (
        select(Shipment.collected_at, Shipment.consignment, Shipment.depot)
        .where(Shipment.depot == depot)
        .order_by(Shipment.collected_at, Shipment.consignment)
    )
    rows = session.execute(query, execution_options={"stream_results": True, "yield_per": 20})
    log.info("depot %s opened", depot)
    return rows


def write_manifest() -> int:
    with Session(engine) as session:
        depots = session.scalars(select(Shipment.depot).distinct().order_by(Shipment.depot)).all()
    count = 0
    with ExitStack() as stack, open("manifest.csv", "w", encoding="utf-8") as file:
        for at, consignment, depot in heapq.merge(*[by_depot(stack, each) for each in depots]):
            file.write(f"{at:%Y-%m-%dT%H:%M},{consignment},{depot}\n")
            count += 1
    return count


def main() -> None:
    loaded = load()
    log.info("loaded %d shipments", loaded)
    log.info("manifest of %d lines written", write_manifest())


if __name__ == "__main__":
    main()
