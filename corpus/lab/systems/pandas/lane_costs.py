"""Price one day's shipments and sum them per lane."""

import logging
import sys

import pandas as pd
import pyarrow as pa

logging.basicConfig(level=logging.INFO, format="%(asctime)s | %(levelname)-7s | %(module)s | %(message)s")
log = logging.getLogger("lane_costs")

RATE_COLUMNS = ["lane", "zone", "eur_per_kg", "min_charge"]
LANES = pa.schema([("lane", pa.string()), ("zone", pa.int16()), ("pallets", pa.int64()), ("cents", pa.int64())])


def read_shipments(path):
    frame = pd.read_csv(path)
    log.info("%s: %d rows", path, len(frame))
    log.info("dtypes: %s", {name: str(dtype) for name, dtype in frame.dtypes.items()})
    log.info("first rows:\n%s", frame.head(3).to_string())
    frame["picked_up"] = pd.to_datetime(frame["picked_up"], format="%Y-%m-%d")
    frame["weight_kg"] = frame["weight_kg"].astype("float64")
    return frame


def read_rates(path):
    rates = pd.read_excel(path, sheet_name="tariff")
    log.info("%s: %d lanes, columns %s", path, len(rates), list(rates.columns))
    return rates.reindex(columns=RATE_COLUMNS)


def price(shipments, rates):
    priced = shipments.merge(rates, on="lane", how="left", validate="many_to_one")
    log.info("matched %d of %d shipments with a tariff", priced["zone"].notna().sum(), len(priced))
    charge = (priced["weight_kg"] * priced["eur_per_kg"]).clip(lower=priced["min_charge"])
    priced["cents"] = (charge * 100).round().astype("int64")
    priced["pallets"] = priced["pallets"].astype("int64")
    return priced


def per_lane(priced):
    lanes = priced.groupby(["lane", "zone"], as_index=False)[["pallets", "cents"]].sum()
    log.info("%d lanes, %.2f EUR", len(lanes), lanes["cents"].sum() / 100)
    return lanes


def main():
    log.info("pandas %s, pyarrow %s", pd.__version__, pa.__version__)
    shipments = read_shipments("in/shipments.csv")
    rates = read_rates("in/rates.xlsx")
    priced = price(shipments, rates)
    lanes = per_lane(priced)
    lanes.to_parquet("out/lane_costs.parquet", schema=LANES, index=False)
    priced.to_excel("out/priced.xlsx", index=False, sheet_name="priced")
    log.info("wrote out/lane_costs.parquet and out/priced.xlsx")


if __name__ == "__main__":
    try:
        main()
    except Exception:
        log.exception("lane_costs failed")
        sys.exit(1)
