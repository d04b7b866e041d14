"""Harvest the clinics' visits of one day and keep them in the region's store."""

import asyncio
import json
import logging
import os
import sys
from dataclasses import dataclass
from datetime import datetime

import aiofiles
import aiohttp
import aiosqlite

LEVEL = os.environ.get("LOG_LEVEL", "INFO")
logging.basicConfig(level=LEVEL, stream=sys.stdout, format="%(asctime)s | %(levelname)-7s | %(name)s | %(message)s")
log = logging.getLogger("harvest")

MOST_AT_ONCE = 4
ATTEMPTS = 3
TIMEOUT = aiohttp.ClientTimeout(total=1.5, connect=1.0)


@dataclass
class Visit:
    visit_id: str
    clinic: str
    patient_ref: str
    started_at: str
    minutes: int
    charge: float


async def get_page(http: aiohttp.ClientSession, gate: asyncio.Semaphore, clinic: str, page: int) -> dict:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            async with gate, http.get(f"/v1/clinics/{clinic}/visits", params={"page": page}) as answer:
                log.debug("%s page %d: %s %s", clinic, page, answer.status, dict(answer.headers))
                answer.raise_for_status()
                return await answer.json()
        except (TimeoutError, aiohttp.ClientError) as problem:
            if attempt == ATTEMPTS:
                raise
            log.warning("%s page %d: attempt %d/%d: %r", clinic, page, attempt, ATTEMPTS, problem)
            await asyncio.sleep(0.05 * attempt)
    raise AssertionError


async def harvest(http: aiohttp.ClientSession, gate: asyncio.Semaphore, clinic: str) -> list[Visit]:
    page, found, announced = 1, [], None
    while page:
        answer = await get_page(http, gate, clinic, page)
        announced = answer["total"]
        async with aiofiles.open(f"raw/{clinic}_{page}.json", "w") as file:
            await file.write(json.dumps(answer))
        found += [Visit(**visit) for visit in answer["visits"]]
        page = answer["next"]
    log.info("%s: %d visits, %d announced", clinic, len(found), announced)
    if len(found) != announced:
        raise ValueError(f"{clinic}: {len(found)} visits harvested of {announced}")
    return found


def check_schema(visits: list[Visit]) -> list[tuple]:
    rows = []
    for visit in visits:
        started = datetime.fromisoformat(visit.started_at)
        if started.hour < 23:
            shift = "day" if 6 <= started.hour < 22 else "night"
        hourly = visit.charge / visit.minutes * 60
        rows.append((visit.visit_id, visit.clinic, visit.patient_ref, started.isoformat(), shift, round(hourly, 2)))
    return rows


async def store(rows: list[tuple]) -> None:
    async with aiosqlite.connect(os.environ.get("STORE", "region.db")) as db:
        await db.executemany("INSERT INTO visit VALUES (?, ?, ?, ?, ?, ?)", rows)
        await db.commit()
        async with db.execute(
            "SELECT clinic, count(*), avg(hourly) FROM visit GROUP BY clinic ORDER BY clinic"
        ) as all_clinics:
            async for clinic, count, hourly in all_clinics:
                log.info("%s: %d stored, %.2f an hour", clinic, count, hourly)


async def main() -> None:
    with open("clinics.txt") as file:
        clinics = file.read().split()
    token = os.environ["CLINIC_TOKEN"]
    log.info("harvesting %d clinics from %s", len(clinics), os.environ["CLINIC_API"])
    gate = asyncio.Semaphore(MOST_AT_ONCE)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(os.environ["CLINIC_API"], headers=headers, timeout=TIMEOUT) as http:
        harvests = await asyncio.gather(*(harvest(http, gate, clinic) for clinic in clinics))
    visits = [visit for each in harvests for visit in each]
    log.info("%d visits of %d clinics", len(visits), len(clinics))
    rows = check_schema(visits)
    await store(rows)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except Exception:
        log.exception("harvest failed")
        sys.exit(1)
