"""Found the grid's catalog: two tables."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import load_catalog
from pyiceberg.schema import Schema
from pyiceberg.types import DoubleType, LongType, NestedField, StringType

os.makedirs("warehouse", exist_ok=True)
catalog = load_catalog(
    "grid", type="sql", uri=os.environ["CATALOG_URI"], warehouse="file:///srv/deltalake/feeders/warehouse"
)
catalog.create_namespace("grid")
catalog.create_table(
    "grid.feeder", Schema(NestedField(1, "feeder", StringType()), NestedField(2, "limit_kw", DoubleType()))
)
catalog.create_table(
    "grid.reading",
    Schema(
        NestedField(1, "feeder", StringType(), required=False),
        NestedField(2, "day", StringType()),
        NestedField(3, "quarter", LongType()),
        NestedField(4, "kw", DoubleType()),
        NestedField(5, "quality", StringType()),
    ),
)
pq.write_table(pa.table({"feeder": [f"F{n}" for n in range(12)], "limit_kw": [400.0] * 12}), "inbox/feeders.parquet")
