"""Move the tickets that the counters sold from their stream into the revenue store."""

import json
import logging
import os
import sqlite3
import sys

import redis

logging.basicConfig(
    level=os.environ.get("LOG_LEVEL", "INFO"), format="%(asctime)s %(levelname)-7s [%(name)s] %(message)s"
)
log = logging.getLogger("revenue.consume")
STREAM, GROUP, WORKER = "counter:tickets", "revenue", "worker-a"


def connect() -> redis.Redis:
    client = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True, socket_timeout=1.0)
    for attempt in range(1, 4):
        try:
            client.ping()
            break
        except redis.ConnectionError as error:
            log.warning("redis is not reachable (attempt %d of 3): %s", attempt, error)
            if attempt == 3:
                raise
    log.info("connected to redis, %d entries wait in %s", client.xlen(STREAM), STREAM)
    return client


def batches(client: redis.Redis):
    while True:
        answer = client.xreadgroup(GROUP, WORKER, {STREAM: ">"}, count=50)
        if not answer:
            return
        yield answer[0][1]


def as_row(entry_id: str, fields: dict[str, str]) -> dict:
    ticket = json.loads(fields["payload"])
    log.debug("entry %s: ticket %s at %s", entry_id, ticket.get("ticket_no"), ticket.get("station"))
    return {
        "ticket_no": ticket["ticket_no"],
        "station": ticket["station"],
        "product": ticket.get("product"),
        "sold_on": ticket["sold_at"][:10],
        "cents": ticket["cents"] - ticket.get("discount_cents", 0),
    }


def store_batch(store: sqlite3.Connection, rows: list[dict]) -> None:
    with store:
        store.executemany("INSERT INTO sale VALUES (:ticket_no, :station, :product, :sold_on, :cents)", rows)


def report(store: sqlite3.Connection) -> None:
    query = (
        "SELECT region, count(*), sum(cents) FROM sale JOIN station ON code = station GROUP BY region ORDER BY region"
    )
    for region, tickets, cents in store.execute(query):
        log.info("region %s: %d tickets, %.2f EUR", region, tickets, cents / 100)


def main() -> None:
    store = sqlite3.connect("revenue.db")
    store.execute("PRAGMA foreign_keys = ON")
    client = connect()
    taken = 0
    for entries in batches(client):
        if not taken:
            log.info("first entry %s", entries[0][1])
        store_batch(store, [as_row(entry_id, fields) for entry_id, fields in entries])
        client.xack(STREAM, GROUP, *[entry_id for entry_id, _ in entries])
        taken += len(entries)
        log.info("stored %d entries up to %s", taken, entries[-1][0])
    report(store)


if __name__ == "__main__":
    try:
        main()
    except Exception:
        log.exception("consumer stopped")
        sys.exit(1)
