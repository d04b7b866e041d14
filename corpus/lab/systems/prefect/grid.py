"""Settle the feed-in of the wind parks of one day: pull the meters' readings, sort and merge them, write the settlement."""

import os
import sqlite3
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import httpx
from prefect import flow, get_run_logger, task
from prefect.task_runners import ThreadPoolTaskRunner

HOUR = timedelta(hours=1)
FORMAT = "%Y-%m-%dT%H:%MZ"


@task(retries=2, retry_delay_seconds=[0.2, 0.4], task_run_name="park-{park}")
def pull(park: str, day: str) -> list[str]:
    headers = {"Authorization": f"Bearer {os.environ['GRID_TOKEN']}"}
    with httpx.Client(base_url=os.environ["GRID_URL"], headers=headers, timeout=1.2) as grid:
        reply = grid.get(f"/v3/parks/{park}/feed-in", params={"day": day}).raise_for_status()
    readings = reply.json()
    get_run_logger().info("%s: %d readings", park, len(readings))
    lines = []
    for reading in readings:
        start = datetime.strptime(reading["from"], FORMAT)
        lines.append(f"{park}\t{start:%H}\t{reading['mwh']:.3f}\t{(start + HOUR).isoformat()}")
    return lines


@task
def sort_spool(parks: list[list[str]]) -> Path:
    spool = Path("spool/readings.tsv")
    spool.write_text("".join(f"{line}\n" for lines in parks for line in lines), encoding="utf-8")
    get_run_logger().info("sorting %d bytes", spool.stat().st_size)
    subprocess.run(["sort", "-k1,1", "-k2,2", "-o", "spool/sorted.tsv", str(spool)], check=True)
    return Path("spool/sorted.tsv")


@task(timeout_seconds=3)
def merge(spool: Path) -> int:
    database = sqlite3.connect("grid.db")
    rows = [line.split("\t") for line in spool.read_text(encoding="utf-8").splitlines()]
    with database:
        database.executemany(
            "INSERT INTO feed_in (park, hour, mwh, until) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (park, hour) DO UPDATE SET mwh = excluded.mwh, until = excluded.until",
            rows,
        )
        database.execute("UPDATE feed_in SET euros = mwh * (SELECT euros FROM price WHERE price.hour = feed_in.hour)")
    get_run_logger().info("merged %d rows", len(rows))
    return len(rows)


@task
def names() -> dict[str, str]:
    lines = Path("parks.tsv").read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines)


@flow(name="settlement-file")
def settlement_file(day: str, titles: dict[str, str]) -> None:
    database = sqlite3.connect("grid.db")
    totals = database.execute("SELECT park, sum(mwh), sum(euros) FROM feed_in GROUP BY park ORDER BY park").fetchall()
    with Path("out", f"settlement-{day}.txt").open("w", encoding="utf-8") as file:
        for park, mwh, euros in totals:
            file.write(f"{titles[park]:<40}{mwh:>12.3f}{euros:>14.2f}\n")
    get_run_logger().info("%d parks settled, %.3f MWh", len(totals), sum(total[1] for total in totals))


@flow(name="grid-settlement", task_runner=ThreadPoolTaskRunner(max_workers=2))
def settle(day: str = "2026-11-20") -> None:
    titles = names()
    pulled = pull.map(sorted(titles), day)
    spool = sort_spool([future.result() for future in pulled])
    merge(spool)
    settlement_file(day, titles)


if __name__ == "__main__":
    settle()
