"""Pull yesterday's support tickets from the desk's API into the warehouse."""

import json
import logging
import os
import time

import psycopg
import requests
from psycopg.types.json import Jsonb
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

logging.basicConfig(level=logging.DEBUG, format="%(asctime)s | %(levelname)-7s | %(name)s | %(message)s")
log = logging.getLogger("pull_tickets")
logging.getLogger("psycopg").setLevel(logging.INFO)

FLATTEN = """
INSERT INTO ticket (ticket_id, opened_at, queue, priority, customer_email, minutes_open)
SELECT (body->>'id')::bigint, (body->>'opened_at')::timestamptz, body->>'queue', (body->>'priority')::smallint,
       body->'customer'->>'email', (body->>'minutes_open')::integer
FROM ticket_landing WHERE pulled_on = current_date
ON CONFLICT (ticket_id) DO UPDATE SET minutes_open = excluded.minutes_open, priority = excluded.priority
"""


class Desk:
    """The desk's API; waits as it is told to and tries five times."""

    def __init__(self) -> None:
        self.url = os.environ["DESK_URL"]
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {os.environ['DESK_TOKEN']}"
        again = Retry(
            total=4, backoff_factor=0.1, status_forcelist=(429, 502, 503, 504), respect_retry_after_header=True
        )
        self.session.mount("http://", HTTPAdapter(max_retries=again))

    def tickets(self):
        page = 1
        while page:
            reply = self.session.get(f"{self.url}/v2/tickets", params={"page": page}, timeout=(1, 2))
            reply.raise_for_status()
            answer = reply.json()
            log.debug("page %d: %s, %s", page, reply.headers.get("Content-Type"), ", ".join(answer))
            yield from answer["tickets"]
            log.info("page %d: %d tickets", page, len(answer["tickets"]))
            page = answer["next_page"]


def land(connection, tickets) -> int:
    connection.execute("DELETE FROM ticket_landing WHERE pulled_on = current_date")
    with connection.cursor() as cursor:
        rows = [(Jsonb(ticket),) for ticket in tickets]
        cursor.executemany("INSERT INTO ticket_landing (pulled_on, body) VALUES (current_date, %s)", rows)
    return len(rows)


def main() -> None:
    started = time.monotonic()
    with psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=2) as connection:
        count = land(connection, Desk().tickets())
        log.info("landed %d tickets", count)
        cursor = connection.execute(FLATTEN)
        log.info("flattened %d tickets", cursor.rowcount)
        by_queue = connection.execute("SELECT queue, count(*) FROM ticket GROUP BY queue ORDER BY queue").fetchall()
        log.info("open tickets: %s", json.dumps(dict(by_queue)))
    log.info("done after %.1f s", time.monotonic() - started)


if __name__ == "__main__":
    try:
        main()
    except Exception:
        log.exception("pull failed")
        raise SystemExit(2) from None
