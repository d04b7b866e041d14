"""Settle a day of taps among the operators of a region's transit; the tables live in the region's REST catalogue."""

import os
import time
from datetime import UTC, datetime

import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import ServerError, ServiceUnavailableError
from pyiceberg.expressions import EqualTo, GreaterThanOrEqual

DAY = "2026-11-05"
OPERATORS = ("metro", "stadtbus", "ferry")


def say(level, message, **fields):
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    tail = "".join(f' {key}="{value}"' for key, value in fields.items())
    print(f'ts={stamp} level={level} svc=settle-taps msg="{message}"{tail}', flush=True)


def patient(action, *arguments):
    for attempt in (1, 2, 3):
        try:
            return action(*arguments)
        except (ServerError, ServiceUnavailableError) as trouble:
            if attempt == 3:
                raise
            say("warn", "catalogue in trouble, trying again", attempt=attempt, error=type(trouble).__name__)
            time.sleep(0.3)


def deliver(catalog, operator):
    batch = pq.read_table(f"inbox/{operator}_{DAY}.parquet")
    say("info", "delivery read", operator=operator, rows=batch.num_rows, columns=",".join(batch.column_names))
    fares = pc.min_max(batch["fare_ct"]).as_py()
    if fares["min"] < 0 or fares["max"] > 20_000:
        raise ValueError(f"{operator}: fares from {fares['min']} to {fares['max']} ct")
    table = patient(catalog.load_table, "transit.tap")
    table.append(batch, snapshot_properties={"operator": operator, "day": DAY})
    say("info", "delivered", operator=operator, snapshot=table.current_snapshot().snapshot_id)


def settle(catalog):
    taps = (
        patient(catalog.load_table, "transit.tap")
        .scan(row_filter=GreaterThanOrEqual("fare_ct", 1), selected_fields=("operator", "zone", "fare_ct"))
        .to_arrow()
    )
    sums = taps.group_by(["operator", "zone"]).aggregate([("fare_ct", "sum"), ("fare_ct", "count")])
    zones = patient(catalog.load_table, "transit.zone").scan(row_filter=EqualTo("active", True)).to_arrow()
    known = sums.join(zones, "zone", join_type="left anti")
    if known.num_rows:
        raise LookupError(f"taps in zones that do not exist: {sorted(set(known['zone'].to_pylist()))}")
    return sums


def main():
    catalog = load_catalog("region", type="rest", uri=os.environ["CATALOG_URI"], token=os.environ["CATALOG_TOKEN"])
    say("info", "catalogue", uri=catalog.uri)
    for operator in OPERATORS:
        deliver(catalog, operator)
    sums = settle(catalog)
    for row in sums.sort_by("operator").to_pylist():
        say("info", "share", **{key: row[key] for key in ("operator", "zone", "fare_ct_sum")})


if __name__ == "__main__":
    main()
