"""Turn quarter-hour meter values into load profiles per substation."""

import argparse
import logging
import time

import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq

logging.basicConfig(
    level=logging.INFO, format="%(asctime)s.%(msecs)03d %(process)d %(levelname).1s %(message)s", datefmt="%H:%M:%S"
)
log = logging.getLogger()


def read_month(folder):
    files = sorted(ds.dataset(folder, format="parquet").files)
    days = []
    for file in files:
        day = pq.read_table(file, columns=["meter", "substation", "at", "kw", "quality"]).to_pandas()
        log.info("%s rows=%d substations=%d", file, len(day), day["substation"].nunique())
        days.append(day)
    return pd.concat(days, ignore_index=True)


def check_schema(frame, kinds):
    for name, kind in kinds.items():
        log.info("column %s is %s", name, frame[name].dtype)
        if frame[name].dtype.kind not in kind:
            raise TypeError(f"{name}: expected kind {kind!r}, got {frame[name].dtype}")


def profile(month):
    month = month[month["quality"].isin(["A", "B"])]
    month = month.set_index("at").sort_index()
    wide = month.pivot_table(index="at", columns="substation", values="kw", aggfunc="sum")
    log.info("profile has %d points in time and %d substations", *wide.shape)
    smooth = wide.rolling("2h").mean()
    peaks = pd.DataFrame({"peak_kw": smooth.max(), "at": smooth.idxmax()})
    for row in peaks.itertuples():
        log.info("peak of %s: %.1f kW at %s", row.Index, row.peak_kw, row.at)
    return smooth


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--months", default="2026-02")
    parser.add_argument("--out", default="profiles")
    given = parser.parse_args()
    started = time.monotonic()
    for name in given.months.split(","):
        month = read_month(f"values/{name}")
        log.info("month %s: %d values, %.0f MB", name, len(month), month.memory_usage(deep=True).sum() / 2**20)
        check_schema(month, {"at": "M", "kw": "f", "meter": "i"})
        expected = month["meter"].nunique() * month["at"].nunique()
        if len(month) < expected * 0.95:
            raise RuntimeError(f"month {name}: {len(month)} values of {expected}")
        profile(month).to_parquet(f"{given.out}/{name}.parquet")
    log.info("done in %.1f s", time.monotonic() - started)


if __name__ == "__main__":
    main()
