"""Synchronise vessel positions and port calls into daily files; httpx with tenacity."""

import argparse
import csv
import datetime
import logging
import os

import httpx
import tenacity

logging.basicConfig(
    level=logging.INFO, format="%(levelname).1s%(asctime)s %(name)s] %(message)s", datefmt="%m%d %H:%M:%S"
)
log = logging.getLogger("positions")
FIELDS = ["mmsi", "lat", "lon", "speed_kn", "heading", "seen_at"]

retrying = tenacity.retry(
    stop=tenacity.stop_after_attempt(4),
    wait=tenacity.wait_fixed(0.05),
    retry=tenacity.retry_if_exception_type((httpx.TransportError, httpx.HTTPStatusError)),
    before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
)


class Feed:
    def __init__(self, url, key):
        self.http = httpx.Client(base_url=url, headers={"X-Api-Key": key}, timeout=httpx.Timeout(0.6, connect=1.0))

    @retrying
    def get(self, path, **query):
        answer = self.http.get(path, params=query)
        answer.raise_for_status()
        return answer

    def schema(self):
        """Give the fields that the feed says it has."""
        return [field["name"] for field in self.get("/schema").json()["fields"]]

    def positions(self, area):
        cursor = ""
        while cursor is not None:
            body = self.get("/positions", area=area, cursor=cursor).json()
            yield from body["data"]
            cursor = body["meta"]["next_cursor"]


def check_schema(found, wanted):
    missing = [name for name in wanted if name not in found]
    log.info("feed has fields %s", ", ".join(found))
    if missing:
        raise LookupError(f"fields not in feed: {missing}")


def clean(row):
    seen = datetime.datetime.fromisoformat(row["seen_at"])
    lat, lon = float(row["lat"]), float(row["lon"])
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        raise ValueError(f"position of {row['mmsi']} is {lat}, {lon}")
    speed = round(row["speed_kn"] * 1.852, 1)
    return {**row, "lat": lat, "lon": lon, "speed_kn": speed, "seen_at": seen.isoformat()}


def write(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
        file.flush()
        os.fsync(file.fileno())
    log.info("%s: %d rows, %d bytes", path, len(rows), os.path.getsize(path))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("areas", nargs="+")
    given = parser.parse_args()
    feed = Feed(os.environ["FEED_URL"], os.environ["FEED_KEY"])
    check_schema(feed.schema(), FIELDS)
    for area in given.areas:
        rows = [clean(row) for row in feed.positions(area)]
        seen = {row["mmsi"] for row in rows}
        assert len(seen) == len(rows), f"{len(rows)} rows of {len(seen)} vessels in {area}"
        write(f"{area}.csv", rows)
    log.info("%d areas done", len(given.areas))


if __name__ == "__main__":
    main()
