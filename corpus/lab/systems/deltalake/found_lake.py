"""Found the lake: the empty tables with their constraints."""

import sys

from deltalake import DeltaTable, Field, Schema
from deltalake.schema import PrimitiveType

fields = [
    Field("parcel_id", PrimitiveType("long"), nullable=False),
    Field("depot", PrimitiveType("string"), nullable=False),
    Field("weighed_at", PrimitiveType("timestamp_ntz")),
    Field("kg", PrimitiveType("double")),
]
table = DeltaTable.create(sys.argv[1], Schema(fields), partition_by=["depot"])
table.alter.add_constraint({"kg_plausible": "kg IS NULL OR (kg > 0 AND kg < 1000)"})
