"""Load the port's berth bookings from its daily files."""

import csv
import json
import logging
import os
from pathlib import Path

import dlt
from pydantic import BaseModel, ConfigDict

log = logging.getLogger("dlt")


class Booking(BaseModel):
    model_config = ConfigDict(extra="forbid")
    booking_no: str
    vessel: str
    berth: int
    arrives: str
    metres: float


@dlt.resource(name="bookings", columns=Booking, primary_key="booking_no", write_disposition="append")
def bookings(folder: str):
    for path in sorted(Path(folder).glob("*.ndjson")):
        log.info("reading %s (%d bytes)", path, path.stat().st_size)
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


@dlt.resource(
    name="berths",
    write_disposition="replace",
    columns={"berth": {"data_type": "bigint"}, "depth_m": {"data_type": "double"}},
)
def berths(path: str):
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter=";"):
            yield {"berth": int(row["berth"]), "depth_m": float(row["depth_m"]), "quay": row["quay"]}


def main() -> None:
    pipeline = dlt.pipeline("port", destination=dlt.destinations.duckdb("port.duckdb"), dataset_name="harbour")
    log.info("loaded %s", pipeline.run([berths("berths.csv"), bookings(os.environ.get("BOOKINGS", "bookings"))]))
    with pipeline.sql_client() as client:
        client.execute_sql(
            "CREATE TABLE IF NOT EXISTS plan (booking_no VARCHAR PRIMARY KEY, berth BIGINT NOT NULL,"
            " day DATE NOT NULL, depth_m DOUBLE NOT NULL CHECK (depth_m > 0))"
        )
        client.execute_sql(
            "INSERT INTO plan SELECT booking_no, b.berth, CAST(arrives AS DATE), depth_m FROM bookings b LEFT JOIN berths USING (berth)"
        )
        planned = client.execute_sql("SELECT count(*), min(depth_m) FROM plan")[0]
    log.info("planned %d calls, shallowest berth %.1f m", *planned)


if __name__ == "__main__":
    main()
