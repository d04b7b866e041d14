"""Turn the clinics' visit events into one row per patient and specialty."""

import logging
import os

import polars as pl

logging.basicConfig(level=logging.INFO, format="[%(asctime)s] %(name)s %(levelname)s %(message)s")
SPECIALTY = pl.Enum(["cardiology", "dermatology", "paediatrics", "surgery"])
log = logging.getLogger("clinic_visits")

VISIT = pl.Schema({
    "visit_id": pl.Int64,
    "patient": pl.Struct({"ref": pl.String, "born": pl.String}),
    "specialty": pl.String,
    "minutes": pl.Int64,
    "fee_cents": pl.Int32,
    "admitted": pl.String,
})  # fmt: skip


def read_visits() -> pl.DataFrame:
    frame = pl.read_ndjson("visits.ndjson", schema=VISIT)
    log.info("visits.ndjson: %d rows, nulls per column %s", frame.height, frame.null_count().to_dicts()[0])
    typed = frame.cast({"specialty": SPECIALTY, "minutes": pl.UInt8})
    return typed.unnest("patient").with_columns(
        pl.col("admitted").str.to_date("%d.%m.%Y"), pl.col("born").str.to_date("%Y-%m-%d").alias("born_on")
    )


def enrich(visits: pl.DataFrame) -> pl.DataFrame:
    insurers = pl.read_parquet("insurers.parquet")
    log.info("insurers.parquet: %d rows %s", insurers.height, dict(insurers.schema))
    merged = visits.join(insurers, left_on="ref", right_on="patient_ref", how="left", validate="m:1")
    uninsured = merged.filter(pl.col("insurer").is_null())
    log.info("%d visits matched, %d did not", merged.height - uninsured.height, uninsured.height)
    if uninsured.height:
        raise ValueError(f"patients of no insurer: {uninsured['ref'].unique().sort().head(3).to_list()}")
    return merged


def check_schema(frame: pl.DataFrame) -> pl.DataFrame:
    expected = ["visit_id", "ref", "specialty", "minutes", "fee_cents", "admitted", "born_on", "insurer", "share_pct"]
    log.info("columns before export: %s", frame.columns)
    return frame.select(expected).cast({"share_pct": pl.Int8, "fee_cents": pl.Int64})


def summarise(frame: pl.DataFrame) -> pl.DataFrame:
    log.info("busiest: %s", frame.group_by("specialty").len().sort("len", descending=True).to_dicts())
    return frame.group_by("ref", "insurer", "specialty").agg(
        pl.col("minutes").cast(pl.Int64).sum(),
        (pl.col("fee_cents") * pl.col("share_pct") // 100).sum().alias("due_cents"),
    )


def main() -> None:
    rows = summarise(check_schema(enrich(read_visits())))
    history = pl.read_parquet("history.parquet")
    both = pl.concat([history, rows.with_columns(pl.col("minutes").cast(pl.Int64))], how="vertical")
    both.write_parquet(os.environ.get("TARGET", "history.new.parquet"))
    log.info("history: %d + %d rows", history.height, rows.height)


if __name__ == "__main__":
    main()
