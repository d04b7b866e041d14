"""Join the stations' readings of a weather service to features of the hour."""

import io
import os
import sys
import traceback
import urllib.request
from datetime import datetime

import ibis
import pandas as pd


def say(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S.%f} weather_features> {text}", flush=True)


def readings(con: ibis.BaseBackend, site: str) -> ibis.Table:
    with urllib.request.urlopen(f"{os.environ['WEATHER_URL']}/v3/sites/{site}/hourly.json", timeout=5) as reply:
        body = reply.read()
        say(f"{site}: {reply.status} {reply.headers.get_content_type()}, {len(body)} bytes")
    frame = pd.read_json(io.BytesIO(body))
    say(f"{site}: {len(frame)} hours of {', '.join(map(str, frame.columns))}")
    return con.create_table(f"raw_{site}", frame).mutate(site=ibis.literal(site))


def features(hours: ibis.Table) -> ibis.Table:
    window = ibis.window(group_by="site", order_by="hour", preceding=5, following=0)
    return hours.mutate(
        hour=hours.hour.cast("timestamp"),
        mean_c=hours.celsius.mean().over(window),
        gust_change=hours.gust_ms - hours.gust_ms.lag().over(ibis.window(group_by="site", order_by="hour")),
        is_frost=hours.celsius < 0,
    )


def main() -> int:
    con = ibis.duckdb.connect()
    ibis.set_backend(con)
    tables = []
    for site in os.environ["SITES"].split(","):
        tables.append(readings(con, site).select("site", "hour", "celsius", "gust_ms", "humidity"))
        say(f"{site} read")
    hours = ibis.union(*tables)
    result = features(hours).to_pandas()
    say(f"{len(result)} rows of features")
    assert not result["site"].isna().any()
    counted = result.groupby("site").size()
    say("; ".join(f"{site} {count}" for site, count in counted.items()))
    if counted.min() < counted.max() * 0.5:
        raise ValueError(f"hours per site from {counted.min()} to {counted.max()}")
    result.to_csv("features.csv", index=False)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:
        traceback.print_exc()
        say("task weather_features finished with state FAILED")
        sys.exit(1)
