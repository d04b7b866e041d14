"""Found the region's tables and write the operators' deliveries."""

import sys

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.types import BooleanType, LongType, NestedField, StringType

home = sys.argv[1]
catalog = SqlCatalog("backing", uri=f"sqlite:///{home}/backing.db", warehouse=f"file://{home}/warehouse")
catalog.create_namespace("transit")
tap = catalog.create_table(
    "transit.tap",
    Schema(
        NestedField(1, "card", StringType()),
        NestedField(2, "operator", StringType()),
        NestedField(3, "zone", StringType()),
        NestedField(4, "tapped_at", StringType()),
        NestedField(5, "fare_ct", LongType()),
    ),
    properties={"commit.retry.num-retries": "2", "commit.retry.min-wait-ms": "50"},
)
zone = catalog.create_table(
    "transit.zone", Schema(NestedField(1, "zone", StringType()), NestedField(2, "active", BooleanType()))
)
zone.append(pa.table({"zone": [f"Z{n}" for n in range(8)], "active": [True] * 8}))


def taps(operator, count):
    return pa.table(
        {
            "card": [f"{operator[:2].upper()}{n * 37 % 9973:05}" for n in range(count)],
            "operator": [operator] * count,
            "zone": [f"Z{n % 8}" for n in range(count)],
            "tapped_at": [f"2026-11-05T{5 + n % 18:02}:{n % 60:02}:00" for n in range(count)],
            "fare_ct": [140 + n % 9 * 35 for n in range(count)],
        }
    )


tap.append(taps("metro", 5))
for operator, count in (("metro", 900), ("stadtbus", 700), ("ferry", 120)):
    pq.write_table(taps(operator, count), f"inbox/{operator}_2026-11-05.parquet")
