import logging

import pandas as pd

logger = logging.getLogger(__name__)


def gather(counters):
    frames = []
    for name, load in sorted(counters.items()):
        frame = load()
        logger.info("counter %s: %d hours", name, len(frame))
        frames.append(frame)
    hours = pd.concat(frames, ignore_index=True)
    hours["entered"] = hours["entered"].astype(int)
    hours["left"] = hours["left"].astype(int)
    return hours


def by_day(hours, galleries, least_hours):
    hours["day"] = pd.to_datetime(hours["hour"], format="ISO8601").dt.date.astype(str)
    seen = hours.groupby(["gallery", "day"])["hour"].nunique()
    if (seen < least_hours).any():
        raise ValueError(f"counters were silent: {seen[seen < least_hours].to_dict()}")
    if (hours["entered"] < 0).any():
        raise ValueError(f"entered below zero:\n{hours[hours['entered'] < 0]}")
    daily = hours.groupby(["gallery", "day"], as_index=False)[["entered", "left"]].sum()
    strangers = set(daily["gallery"]) - set(galleries["gallery"])
    assert not strangers, f"galleries without a row in the plan: {sorted(strangers)}"
    return daily.set_index(["gallery", "day"], verify_integrity=True).reset_index()


def density(daily, galleries, exhibits):
    rooms = galleries.merge(exhibits.groupby("gallery", as_index=False)["exhibit"].count(), on="gallery", how="left")
    table = daily.merge(rooms, on="gallery", validate="many_to_one")
    table["per_sqm"] = table["entered"] / table["area_sqm"]
    return table


def guards(hours, persons_per_guard):
    busy = hours.groupby("gallery", as_index=False)["entered"].max()
    busy["guards"] = (busy["entered"] / persons_per_guard).apply(lambda x: max(1, round(x)))
    return busy
