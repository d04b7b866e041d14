"""Settle the day's charging sessions per station and operator, in the warehouse file."""

import logging
import sys
from pathlib import Path

import ibis
from ibis import _

logging.basicConfig(
    level=logging.INFO,
    stream=sys.stderr,
    format="%(asctime)s | %(levelname)-8s | %(name)s:%(funcName)s:%(lineno)d - %(message)s",
)
log = logging.getLogger("settle")


def land(con, folder: Path):
    sessions = con.read_csv(f"{folder}/sessions-*.csv", table_name="landed_sessions", header=True)
    log.info("%d files landed", len(list(folder.glob("sessions-*.csv"))))
    log.info("landed columns: %s", ", ".join(f"{name} {kind}" for name, kind in sessions.schema().items()))
    return sessions


def clean(sessions):
    return sessions.mutate(
        started_at=_.started_at.cast("timestamp"),
        kwh=_.kwh.cast("decimal(9,3)"),
        minutes=_.minutes.cast("int16"),
    ).filter(_.minutes > 0)


def settle(sessions, stations):
    return (
        sessions.join(stations, "station_id", how="left")
        .mutate(cents=(_.kwh * _.cents_per_kwh).round().cast("int64"), speed=_.kwh / _.minutes)
        .group_by(_.station_id, _.operator, day=_.started_at.date())
        .agg(sessions=_.count(), kwh=_.kwh.sum(), cents=_.cents.sum(), speed=_.speed.max())
        .order_by(_.operator, _.station_id)
    )


def main() -> None:
    con = ibis.duckdb.connect("warehouse.ddb", threads=2, **dict(part.split("=") for part in sys.argv[1:]))
    log.info("ibis %s on duckdb %s", ibis.__version__, con.version)
    stations = con.table("stations")
    log.info("%d stations", stations.count().execute())
    sessions = clean(land(con, Path("landing")))
    con.create_table("sessions_clean", sessions, temp=True)
    log.info("%d sessions cleaned", con.table("sessions_clean").count().execute())
    daily = settle(con.table("sessions_clean"), stations)
    log.debug("%s", ibis.to_sql(daily))
    con.insert("settlement", daily.to_pyarrow())
    log.info("%d lines of settlement", con.table("settlement").count().execute())
    con.table("settlement").to_parquet("export/settlement.parquet")
    log.info("exported")


if __name__ == "__main__":
    main()
