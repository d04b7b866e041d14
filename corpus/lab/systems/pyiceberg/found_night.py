"""Found the observatory's catalogue: three tables and last month's targets."""

import pyarrow as pa
from pyiceberg.catalog import load_catalog
from pyiceberg.schema import Schema
from pyiceberg.types import DoubleType, LongType, NestedField, StringType

catalog = load_catalog("observatory")
catalog.create_namespace("night")
catalog.create_table(
    "night.exposure",
    Schema(
        NestedField(1, "frame", StringType(), required=True),
        NestedField(2, "night", StringType(), required=True),
        NestedField(3, "target", StringType(), required=True),
        NestedField(4, "filter", StringType()),
        NestedField(5, "exptime_s", DoubleType(), required=True),
        NestedField(6, "airmass", DoubleType()),
        identifier_field_ids=[1],
    ),
)
target = catalog.create_table(
    "night.target",
    Schema(
        NestedField(1, "target", StringType(), required=True),
        NestedField(2, "ra_deg", DoubleType()),
        NestedField(3, "dec_deg", DoubleType()),
        NestedField(4, "priority", LongType()),
    ),
)
catalog.create_table(
    "night.seeing",
    Schema(
        NestedField(1, "at", StringType()),
        NestedField(2, "fwhm", DoubleType()),
        NestedField(3, "humidity", DoubleType()),
    ),
)
old = [{"target": f"NGC{n}", "ra_deg": n / 30, "dec_deg": -20.5, "priority": 3} for n in range(100, 120)]
target.append(pa.Table.from_pylist(old, schema=target.schema().as_arrow()))
