"""Settle a day of wind farm output: turbine telemetry against forecasts and tariffs."""

import json
import logging
import os
import sys
from pathlib import Path

import polars as pl
import requests

logging.basicConfig(
    level=os.environ.get("LOG_LEVEL", "INFO"), format="%(asctime)s %(levelname)-8s %(name)s:%(lineno)d %(message)s"
)
log = logging.getLogger("settle_wind")

TELEMETRY = {
    "turbine_id": pl.String,
    "slot": pl.String,
    "output_kwh": pl.Float64,
    "wind_ms": pl.Float64,
    "state": pl.Int16,
}
OUT = Path(os.environ.get("OUT_DIR", "out"))


def telemetry() -> pl.LazyFrame:
    files = sorted(Path("telemetry").glob("*.csv"))
    log.info("telemetry: %d files, first %s", len(files), files[0] if files else "-")
    for path in files:
        log.debug("%s: %s", path, path.open(encoding="utf-8", errors="replace").readline().strip())
    frame = pl.scan_csv("telemetry/*.csv", schema_overrides=TELEMETRY)
    log.info("telemetry columns: %s", frame.collect_schema().names())
    return frame.with_columns(pl.col("slot").str.to_datetime("%Y-%m-%dT%H:%M"))


def tariffs() -> pl.LazyFrame:
    url = os.environ["TARIFF_URL"] + "/v2/tariffs?day=2026-05-04"
    for attempt in range(1, 4):
        answer = requests.get(url, timeout=(2, 3), headers={"Authorization": f"Bearer {os.environ['TARIFF_TOKEN']}"})
        log.info("GET %s -> %d, %d bytes", url, answer.status_code, len(answer.content))
        if answer.status_code != 429:
            break
        log.warning("rate limited, attempt %d of 3", attempt)
    answer.raise_for_status()
    payload = answer.json()
    log.info("tariffs: fields %s", list(payload))
    rows = payload["tariffs"]
    return pl.LazyFrame(rows, schema={"farm": pl.String, "eur_per_mwh": pl.String}, strict=True).cast(
        {"eur_per_mwh": pl.Decimal(10, 2)}
    )


def forecast() -> pl.LazyFrame:
    frame = pl.scan_parquet("forecast/*.parquet")
    return frame.select("turbine_id", "farm", pl.col("expected_kwh").cast(pl.Float64), "rated_kw")


def settle() -> pl.DataFrame:
    joined = (
        telemetry().join(forecast(), on="turbine_id", how="left", validate="m:1").join(tariffs(), on="farm", how="left")
    )
    hourly = joined.group_by("farm", pl.col("slot").dt.truncate("1h").alias("hour")).agg(
        pl.col("output_kwh").sum(),
        pl.col("expected_kwh").first(),
        pl.col("state").max(),
        pl.col("eur_per_mwh").first(),
        (pl.col("output_kwh") / pl.col("rated_kw")).mean().alias("utilisation"),
    )
    result = hourly.with_columns((pl.col("output_kwh") / 1000 * pl.col("eur_per_mwh").cast(pl.Float64)).alias("eur"))
    return result.sort("farm", "hour").collect(engine="streaming")


def check(result: pl.DataFrame) -> None:
    summary = result.group_by("farm").agg(
        pl.len().alias("hours"),
        pl.col("eur").sum(),
        pl.all_horizontal(pl.exclude("farm").is_not_null()).all().alias("full"),
    )
    for row in summary.sort("farm", nulls_last=True).iter_rows(named=True):
        log.info("farm %s: %s", row["farm"], json.dumps(row, default=str))
    assert summary["full"].all(), "settlement holds empty cells"
    assert summary["hours"].min() == 24, f"a farm has {summary['hours'].min()} of 24 hours"
    assert result["utilisation"].max() <= 1.2, f"utilisation of {result['utilisation'].max():.1f}"


def main() -> int:
    try:
        result = settle()
        check(result)
        OUT.mkdir(exist_ok=True)
        result.write_parquet(OUT / "settlement.parquet", statistics=False, compression="uncompressed")
        result.write_csv(OUT / "settlement.csv")
        log.info("wrote %d rows to %s", result.height, OUT)
    except Exception:
        log.exception("settlement of 2026-05-04 failed")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
