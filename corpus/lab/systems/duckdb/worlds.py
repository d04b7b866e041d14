"""The pipelines that use DuckDB, each with a world in which it works."""

from __future__ import annotations

import json

from corpus.lab.bench import Bench
from corpus.lab.case import Program
from corpus.lab.services import web

HEADER = "trip_id,bike_no,station_from,station_to,started_at,minutes,metres"
STATIONS = """
COPY (SELECT printf('S%02d', n) AS code, 'Station ' || n AS name, 10 + n AS docks, DATE '2020-05-01' + n::INTEGER AS opened_on
      FROM range(1, 25) AS t(n)) TO 'in/stations.parquet' (FORMAT parquet)
"""
NETWORK = """
CREATE TABLE permission_zone AS
SELECT printf('H%d', n) AS hub, 'City ' || n AS city, 'L' || n % 3 AS error_429 FROM range(1, 9) AS t(n)
"""


def query(bench: Bench, script: str, database: str = ":memory:") -> str:
    """Run a script in DuckDB by the system's own interpreter."""
    code = "import duckdb, sys; duckdb.connect(sys.argv[1]).execute(sys.stdin.read())"
    return bench.run(str(bench.python), "-c", code, database, text=script)


def rides(bench: Bench) -> None:
    for part in range(3):
        lines = [
            f"{part * 400 + n},{7000 + n % 90},S{1 + n % 24:02},S{1 + (n * 5) % 24:02},2026-11-21 {6 + n % 16:02}:{n % 60:02}:00,"
            f"{4 + n % 37},{700 + n * 3}"
            for n in range(400)
        ]
        bench.write(f"in/trips_{part}.csv", "\n".join([HEADER, *lines]) + "\n")
    bench.path("out/.keep").touch()
    query(bench, STATIONS)
    bench.env["STORE"] = "rides.duckdb"


def scan(n: int) -> dict[str, object]:
    """One scan of a parcel."""
    at = f"2026-11-21T{n % 24:02}:{n % 60:02}:00"
    event = {"kind": ("in", "out")[n % 2], "weight_g": 300 + n}
    return {"parcel": f"PK{n // 2:05}", "scanned_at": at, "hub": f"H{1 + n % 8}", "event": event, "declared": "19.90"}


def write_scans(bench: Bench, part: int, scans: list[dict[str, object]]) -> None:
    bench.write(f"in/scans/{part:03}.ndjson", "".join(json.dumps(each) + "\n" for each in scans))


def parcels(bench: Bench) -> None:
    for part in range(4):
        write_scans(bench, part, [scan(n) for n in range(part * 250, (part + 1) * 250)])
    bench.write("in/manifest.csv", "expected\n1000\n")
    bench.path("out/.keep").touch()
    query(bench, NETWORK, "network.duckdb")
    bench.env["STORE"] = "parcels.duckdb"


def quotes(plant: str) -> web.Reply:
    """One partner's feed."""
    return web.Reply(200, [{"plant": plant, "hour": f"2026-11-21 {n:02}:00:00", "eur_mwh": 40 + n} for n in range(24)])


def feeds(bench: Bench) -> None:
    bench.path("feeds/.keep").touch()
    server = web.serve(bench, {f"/{name}": [quotes(name)] for name in ("wind", "solar", "gas")})
    bench.env.update(FEED_URL=server.url, FEED_KEY="pk_9d2e77")


RIDES = Program(
    name="rides", command=("{python}", "build_marts.py"), files=("build_marts.py", "rides/models"), world=rides
)
PARCELS = Program(
    name="parcels", command=("{python}", "build_marts.py"), files=("build_marts.py", "parcels/models"), world=parcels
)
QUOTES = Program(name="quotes", command=("{python}", "fetch_feed.py"), files=("fetch_feed.py",), world=feeds)
