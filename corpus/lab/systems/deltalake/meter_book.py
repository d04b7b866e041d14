"""Book the grid's feeder readings into the Iceberg catalog and compact the sheet of the month."""

import logging
import os

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import EqualTo

logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO"), format="%(levelname)s:%(name)s:%(message)s")
log = logging.getLogger("meter_book")
DAY_AS_TEXT = pj.ParseOptions(explicit_schema=pa.schema([("day", pa.string())]))


def main() -> None:
    catalog = load_catalog(
        "grid", type="sql", uri=os.environ["CATALOG_URI"], warehouse="file:///srv/deltalake/feeders/warehouse"
    )
    feeders = catalog.load_table("grid.feeder")
    readings = catalog.load_table("grid.reading")
    log.info("catalog holds %s", catalog.list_tables("grid"))

    plan = pq.read_table("inbox/feeders.parquet")
    log.info("feeders: %d rows, %s", plan.num_rows, plan.schema.names)
    feeders.overwrite(plan)

    for day in ("2026-10-01", "2026-10-02", "2026-10-03"):
        batch = pj.read_json(f"inbox/{day}.jsonl", parse_options=DAY_AS_TEXT)
        log.info(
            "%s: %d readings, %s",
            day,
            batch.num_rows,
            dict(zip(batch.column_names, map(str, batch.schema.types), strict=True)),
        )
        readings.append(batch.select(["feeder", "day", "quarter", "kw", "quality"]))
        log.info("%s: snapshot %s", day, readings.current_snapshot().summary["total-records"])

    known = set(feeders.scan().to_arrow()["feeder"].to_pylist())
    october = readings.scan(row_filter=EqualTo("quality", "A"), selected_fields=("feeder", "kw")).to_arrow()
    sums = october.group_by("feeder").aggregate([("kw", "sum")])
    log.info("sheet: %d of %d feeders, %.1f kW", sums.num_rows, len(known), sum(sums["kw_sum"].to_pylist()))


if __name__ == "__main__":
    main()
