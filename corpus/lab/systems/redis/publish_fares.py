"""Publish tomorrow's fares: one hash per route, an index by price, then the number of the version."""

import csv
import logging
import os
from contextlib import ExitStack

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

logging.basicConfig(level=logging.INFO, format="%(levelname)s:%(name)s:%(message)s")
log = logging.getLogger("fares")
INDEX, VERSION = "fares:by_price", "fares:version"


def read_fares(path: str) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    log.info("%s holds %d fares, columns %s", path, len(rows), ",".join(rows[0]))
    return rows


def checked(rows: list[dict]) -> list[dict]:
    seen: set[tuple] = set()
    for row in rows:
        key = (row["route"], row["class"])
        if key in seen:
            raise ValueError(f"fare {key} is listed a second time with {row['cents']} cents")
        seen.add(key)
        if not 100 <= int(row["cents"]) <= 50_000:
            raise ValueError(f"fare {key}: {row['cents']} cents are not between 100 and 50000")
    return rows


def publish(client: redis.Redis, rows: list[dict]) -> None:
    with client.pipeline(transaction=False) as pipe:
        for row in rows:
            pipe.hset(f"fare:{row['route']}:{row['class']}", mapping={"cents": row["cents"], "from": row["valid_from"]})
            pipe.zadd(INDEX, {f"{row['route']}:{row['class']}": int(row["cents"])})
        pipe.execute()
    log.info("wrote %d fares", len(rows))


def raise_version(client: redis.Redis) -> int:
    with client.pipeline() as pipe:
        pipe.watch(VERSION)
        current = int(pipe.get(VERSION))
        log.info("current version is %d", current)
        if client.zcard(INDEX) == 0:
            raise RuntimeError("the index is empty")
        write_leaflets(client)
        pipe.multi()
        pipe.set(VERSION, current + 1)
        pipe.execute()
    return current + 1


def write_leaflets(client: redis.Redis) -> None:
    os.makedirs("leaflets", exist_ok=True)
    with ExitStack() as stack:
        files: dict[str, object] = {}
        for member, cents in client.zrange(INDEX, 0, -1, withscores=True):
            route, kind = member.split(":")
            if route not in files:
                files[route] = stack.enter_context(open(f"leaflets/{route}.txt", "w", encoding="utf-8"))
            files[route].write(f"{kind} {cents / 100:.2f}\n")
    log.info("wrote %d leaflets", len(files))


def main() -> None:
    rows = checked(read_fares("fares.csv"))
    retry = Retry(ConstantBackoff(0.05), 2)
    client = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True, socket_timeout=0.8, retry=retry)
    log.info("redis role: %s", client.role()[0])
    publish(client, rows)
    log.info("published version %d", raise_version(client))


if __name__ == "__main__":
    main()
