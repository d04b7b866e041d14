"""Validate a day of greenhouse sensors with pandera, average them per house."""

import logging
import sys
import warnings

import pandas as pd
import pandera.pandas as pa

logging.basicConfig(level=logging.INFO, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s")
log = logging.getLogger("greenhouse")

READINGS = pa.DataFrameSchema(
    {
        "house": pa.Column(str, pa.Check.str_matches(r"^GH\d{2}$")),
        "sensor_id": pa.Column(int),
        "at": pa.Column("datetime64[us]"),
        "celsius": pa.Column(float, pa.Check.in_range(-20, 60)),
        "humidity": pa.Column(float, pa.Check.in_range(0, 100), nullable=True),
    },
    unique=["sensor_id", "at"],
    strict=True,
    ordered=True,
    checks=pa.Check(lambda frame: frame["house"].nunique() >= 10, error="at least ten houses"),
)


def read(path):
    frame = pd.read_csv(path, parse_dates=["at"])
    log.info("%s has %d rows, columns %s", path, *frame.shape[:1], list(frame.columns))
    return frame


def validate(frame):
    try:
        return READINGS.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        log.error("validation found %d failure cases:\n%s", len(cases), cases.head(6).to_string())
        raise


def averages(frame):
    by_house = frame.groupby(["house", pd.Grouper(key="at", freq="1h")])[["celsius", "humidity"]].mean()
    log.info("averages: %d rows", len(by_house))
    return by_house.reset_index()


def main():
    warnings.simplefilter("default")
    frame = read("readings.csv")
    averages(validate(frame)).to_csv(sys.argv[1])
    log.info("written: %s", sys.argv[1])


if __name__ == "__main__":
    try:
        main()
    except pa.errors.SchemaErrors:
        log.critical("stage greenhouse.validate failed", exc_info=True)
        sys.exit(2)
    except Exception:
        log.critical("stage greenhouse.validate failed", exc_info=True)
        sys.exit(1)
