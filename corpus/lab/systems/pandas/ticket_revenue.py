"""Convert last night's ticket sales to euro and put them beside the venue's capacity."""

import logging
import os

import pandas as pd

logging.basicConfig(level=logging.DEBUG, format="[%(asctime)s] [%(name)s:%(lineno)d] %(levelname)s: %(message)s")
logging.getLogger("urllib3").setLevel(logging.INFO)
log = logging.getLogger("tickets.revenue")

BASE = os.environ["RATES_URL"]


def fetch(path):
    log.debug("GET %s%s", BASE, path)
    headers = {"Authorization": "Bearer " + os.environ["RATES_TOKEN"], "User-Agent": "tickets/3.2"}
    frame = pd.read_csv(BASE + path, storage_options=headers)
    log.info("%s: %d rows, columns %s", path, *frame.shape[:1], list(frame.columns))
    return frame


def sales():
    parts = []
    for name in sorted(os.listdir("sales")):
        try:
            part = pd.read_json(f"sales/{name}", lines=True, dtype={"seat": "string"})
        except ValueError:
            with open(f"sales/{name}") as file:
                log.error("cannot read %s, it ends with %r", name, file.read()[-140:])
            raise
        log.debug("%s: %d tickets, %d bytes of memory", name, len(part), part.memory_usage(deep=True).sum())
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def main():
    sold = sales()
    log.info("%d tickets of %d events", len(sold), sold["event_id"].nunique())
    rates = fetch("/v1/rates.csv").set_index("currency")["eur"]
    venues = fetch("/v1/venues.csv").set_index("venue")
    sold["eur"] = (sold["price"] * sold["currency"].map(rates)).round(2)
    by_venue = sold.groupby("venue").agg(tickets=("seat", "size"), eur=("eur", "sum"))
    report = by_venue.join(venues[["capacity"]], validate="one_to_one")
    report["filled"] = report["tickets"] / report["capacity"]
    crowded = report.index[report["filled"] > 1]
    if len(crowded):
        raise ValueError(f"more tickets than seats: {report.loc[crowded].to_dict('index')}")
    log.info("report:\n%s", report.to_string())
    report.to_csv("revenue.csv")
    log.info("revenue.csv written")


if __name__ == "__main__":
    main()
