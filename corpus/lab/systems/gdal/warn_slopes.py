"""Merge the avalanche service's ratings with the zones and publish the warning map of the day."""

import json
import os
import subprocess
import sys
import time

STORE = "avalanche.db"
STEPS = {
    "zones": [
        "ogr2ogr",
        "-f",
        "SQLite",
        "-update",
        "-append",
        STORE,
        "inbox/zones.shp",
        "-nln",
        "zone",
        "-nlt",
        "NONE",
        "-sql",
        "SELECT zone_id, canton, elev_min, elev_max FROM zones",
    ],
    "ratings": [
        "ogr2ogr",
        "-f",
        "SQLite",
        "-update",
        "-append",
        STORE,
        "/vsicurl/{service}/v2/ratings.geojson",
        "-nln",
        "rating",
        "-nlt",
        "NONE",
    ],
    "stations": [
        "ogr2ogr",
        "-f",
        "SQLite",
        "-update",
        "-append",
        STORE,
        "inbox/stations",
        "-nln",
        "snow",
        "-nlt",
        "NONE",
        "-oo",
        "AUTODETECT_TYPE=NO",
    ],
    "inspect": [
        "ogrinfo",
        "-ro",
        "-q",
        STORE,
        "-sql",
        "SELECT r.level, count(*) AS zones, avg(z.elev_max - z.elev_min) AS span "
        "FROM rating r JOIN zone z USING (zone_id) GROUP BY r.level",
    ],
    "map": [
        "ogr2ogr",
        "-f",
        "GeoJSON",
        "outbox/warning.geojson",
        "inbox/zones.shp",
        "-t_srs",
        "{srs}",
        "-sql",
        "SELECT zones.zone_id, zones.canton, r.level FROM zones LEFT JOIN '"
        + STORE
        + "'.rating r ON zones.zone_id = r.zone_id",
    ],
}


def tell(level, event, **more):
    print(json.dumps({"ts": time.strftime("%Y-%m-%dT%H:%M:%SZ"), "lvl": level, "event": event, **more}), flush=True)


def run(step, command, given):
    command = [part.format(**given) if part.startswith(("/vsicurl", "{")) else part for part in command]
    tell("info", "step.start", step=step, argv=" ".join(command)[:160])
    started = time.monotonic()
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for line in done.stdout.decode(errors="replace").splitlines():
        tell("error" if line.startswith(("ERROR", "FAILURE")) else "info", "tool", step=step, line=line)
    tell("info", "step.end", step=step, rc=done.returncode, s=round(time.monotonic() - started, 1))
    return done.returncode


def main():
    given = {"service": os.environ["RATING_SERVICE"], "srs": os.environ.get("MAP_SRS", "EPSG:4326")}
    tell("info", "run.start", day="2027-01-18", pid=os.getpid())
    for step, command in STEPS.items():
        rc = run(step, command, given)
        if rc:
            tell("critical", "run.failed", step=step, rc=rc)
            return 1
    shown = json.load(open("outbox/warning.geojson"))["features"]
    tell("info", "run.done", zones=len(shown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
