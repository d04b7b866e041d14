"""Fetch the partners' feeds, append each to the store, and publish the tariffs that follow."""

import json
import logging
import os
import sys
import urllib.error
import urllib.request

import duckdb

logging.basicConfig(
    level=logging.INFO,
    stream=sys.stdout,
    format="%(levelname).1s%(asctime)s %(process)d %(filename)s:%(lineno)d] %(message)s",
)
log = logging.getLogger(__name__)
BASE = os.environ["FEED_URL"]


def fetch(name: str) -> str:
    request = urllib.request.Request(
        f"{BASE}/{name}.json", headers={"Authorization": f"Bearer {os.environ.get('FEED_KEY', '')}"}
    )
    log.info("%s: GET %s", name, request.full_url)
    for attempt in range(1, 4):
        try:
            with urllib.request.urlopen(request, timeout=1.5) as reply:
                body = reply.read()
                log.info("%s: %s %s, %d bytes", name, reply.status, reply.headers.get("Content-Type"), len(body))
        except urllib.error.HTTPError as error:
            if (error.code < 500 and error.code != 429) or attempt == 3:
                raise
            log.warning("%s: attempt %d: %s", name, attempt, error)
        except OSError as error:
            if attempt == 3:
                raise
            log.warning("%s: attempt %d: %r", name, attempt, error)
        else:
            path = f"feeds/{name}.json"
            with open(path, "wb") as file:
                file.write(body)
            return path
    raise AssertionError(name)


def main() -> None:
    store = duckdb.connect("energy.duckdb")
    store.execute(
        "CREATE TABLE IF NOT EXISTS quote (plant VARCHAR, hour TIMESTAMP, eur_mwh DECIMAL(8, 2), PRIMARY KEY (plant, hour))"
    )
    for name in ("wind", "solar", "gas"):
        path = fetch(name)
        found = store.execute(
            "INSERT OR REPLACE INTO quote SELECT plant, hour::TIMESTAMP, eur_mwh FROM read_json(?, format = 'array')",
            [path],
        ).fetchone()
        log.info("%s: %d quotes", name, found[0])
    rows = store.execute("SELECT hour, min(eur_mwh), max(eur_mwh) FROM quote GROUP BY hour ORDER BY hour").fetchall()
    with open("feeds/tariff.json", "w", encoding="utf-8") as file:
        json.dump([[str(value) for value in row] for row in rows], file)
    log.info("tariff of %d hours published", len(rows))


if __name__ == "__main__":
    main()
