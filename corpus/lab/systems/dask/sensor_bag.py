"""Sum up the cold stores' alarms of a day: JSON lines through a bag, on local threads."""

import json
import logging
import os
import urllib.request

import dask
import dask.bag as db
from dask.diagnostics import ProgressBar

logging.basicConfig(level=logging.INFO, format="%(levelname)s:%(asctime)s:%(name)s:%(message)s")
log = logging.getLogger("sensor_bag")


@dask.delayed
def limits(store: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{os.environ['STORES_API']}/stores/{store}", timeout=1) as reply:
        body = reply.read()
        log.info("%s: %d %s, %d bytes", store, reply.status, reply.headers["Content-Type"], len(body))
        return {"store": store, "ceiling": json.loads(body)["ceiling_c"]}


def flat(event: dict) -> dict:
    return {
        "store": event["store"],
        "probe": event["probe"],
        "celsius": float(event["celsius"]),
        "minute": int(event["at"][14:16]),
    }


def main() -> None:
    events = db.read_text("events/*.jsonl.gz", encoding="utf-8").map(json.loads)
    log.info("%d files, fields %s", events.npartitions, "/".join(events.take(1)[0]))
    ceilings = {each["store"]: each["ceiling"] for each in dask.compute(*map(limits, ("north", "quay", "south")))}
    readings = events.map(flat)
    with ProgressBar(minimum=30):
        warm = readings.filter(lambda each: each["celsius"] > ceilings[each["store"]])
        count, alarms, hottest = dask.compute(readings.count(), warm.count(), readings.pluck("celsius").max())
    log.info("%d readings, %d alarms, %.1f C at most", count, alarms, hottest)
    by_store = warm.foldby("store", lambda total, _: total + 1, 0, lambda a, b: a + b, 0).compute()
    db.from_sequence(by_store, npartitions=1).map(json.dumps).to_textfiles("out/alarms-*.jsonl")
    log.info("alarms of %d stores written", len(by_store))


if __name__ == "__main__":
    main()
