"""Stream the day's vessel positions to disk and into the port's store, port by port."""

import asyncio
import csv
import logging
import os

import aiofiles
import aiohttp
import aiosqlite

logging.basicConfig(level=logging.INFO, format='{"ts": "%(asctime)s", "level": "%(levelname)s", "msg": "%(message)s"}')
log = logging.getLogger(__name__)


async def stream(http: aiohttp.ClientSession, port: str) -> str:
    target = f"{os.environ.get('SPOOL', 'spool')}/{port}.csv"
    size = 0
    async with http.get(f"/export/{port}.csv") as answer, aiofiles.open(target, "wb") as file:
        answer.raise_for_status()
        async for chunk in answer.content.iter_chunked(65536):
            size += await file.write(chunk)
    log.info("%s: %d bytes to %s", port, size, target)
    return target


async def load(db: aiosqlite.Connection, port: str, path: str) -> None:
    async with aiofiles.open(path, encoding="utf-8") as file:
        lines = await file.readlines()
    reader = csv.DictReader(lines)
    log.info("%s: columns %s", port, "/".join(reader.fieldnames or ()))
    rows = [
        (port, row["mmsi"], row["seen_at"], float(row["lat"]), float(row["lon"]), row.get("draught_m"))
        for row in reader
    ]
    await db.executemany(
        "INSERT INTO position (port, mmsi, seen_at, lat, lon, draught_m) VALUES (?, ?, ?, ?, ?, ?)", rows
    )
    log.info("%s: %d positions", port, len(rows))


async def main() -> None:
    ports = os.environ["PORTS"].split(",")
    async with aiohttp.ClientSession(os.environ["AIS_URL"], timeout=aiohttp.ClientTimeout(total=5)) as http:
        async with asyncio.TaskGroup() as group:
            streams = [group.create_task(stream(http, port), name=port) for port in ports]
    async with aiosqlite.connect("port.db") as db:
        for port, streamed in zip(ports, streams, strict=True):
            await load(db, port, streamed.result())
        await db.commit()
        async with db.execute("SELECT count(*), count(DISTINCT mmsi) FROM position") as counted:
            log.info("port.db: %s positions of %s vessels", *(await counted.fetchone()))


if __name__ == "__main__":
    asyncio.run(main())
