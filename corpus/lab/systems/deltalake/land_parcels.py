"""Land the depots' weighings in the lake, settle yesterday's, and show the totals per depot."""

import logging
import os
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
from deltalake import DeltaTable, write_deltalake

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-8s [%(module)s:%(lineno)d] %(message)s")
log = logging.getLogger("parcels")

LAKE = os.environ.get("LAKE", "lake")
OPTIONS = {key: value for key, value in os.environ.items() if key.startswith("AWS_")}
OPTIONS |= {"max_retries": "2", "retry_timeout": "4s", "timeout": "2s"}
TYPES = {"parcel_id": pa.int64(), "depot": pa.string(), "weighed_at": pa.timestamp("s"), "kg": pa.float64()}


def read(path: Path) -> pa.Table:
    table = pv.read_csv(path, convert_options=pv.ConvertOptions(column_types=TYPES))
    log.info("%s: %d rows, columns %s", path.name, table.num_rows, table.column_names)
    return table


def land(path: Path) -> None:
    weighings = read(path)
    write_deltalake(f"{LAKE}/weighing", weighings, mode="append", partition_by=["depot"], storage_options=OPTIONS)
    log.info("%s: landed as version %d", path.name, DeltaTable(f"{LAKE}/weighing", storage_options=OPTIONS).version())


def settle(path: Path) -> None:
    corrections = read(path)
    target = DeltaTable(f"{LAKE}/weighing", storage_options=OPTIONS)
    done = (
        target.merge(corrections, "w.depot = c.depot AND w.parcel_id = c.parcel_id", source_alias="c", target_alias="w")
        .when_matched_update({"kg": "c.kg", "weighed_at": "c.weighed_at"})
        .when_not_matched_insert_all()
        .execute()
    )
    log.info("%s: %s updated, %s new", path.name, done["num_target_rows_updated"], done["num_target_rows_inserted"])


def totals() -> None:
    table = DeltaTable(f"{LAKE}/weighing", storage_options=OPTIONS).to_pyarrow_table()
    per_depot = table.group_by("depot").aggregate([("kg", "sum"), ("parcel_id", "count")]).sort_by("depot")
    for row in per_depot.to_pylist():
        share = row["kg_sum"] / pc.sum(table["kg"]).as_py()
        log.info(
            "%-10s %6d parcels %10.1f kg %5.1f %%", row["depot"], row["parcel_id_count"], row["kg_sum"], 100 * share
        )
    os.makedirs("out", exist_ok=True)
    pv.write_csv(per_depot, "out/totals.csv")


def main() -> int:
    log.info("lake %s, table at version %d", LAKE, DeltaTable(f"{LAKE}/weighing", storage_options=OPTIONS).version())
    for path in sorted(Path("inbox").glob("weighings_*.csv")):
        land(path)
    settle(Path("inbox/corrections.csv"))
    totals()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:
        log.exception("landing ended early")
        sys.exit(1)
