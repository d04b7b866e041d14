"""Report the libraries' loans: many CSV files in, one table by branch and month out."""

import logging
import os
import sys

import dask
import dask.dataframe as dd
import pandas as pd
from dask.distributed import Client, LocalCluster

logging.basicConfig(
    level=logging.INFO, stream=sys.stderr, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s"
)
log = logging.getLogger("loan_report")
TYPES = {"loan_id": "int64", "branch": "string", "medium": "string", "days": "int64"}
SHAPE = {
    "loan_id": "int64",
    "branch": "string",
    "medium": "string",
    "days": "int64",
    "lent_on": "datetime64[us]",
    "fee": "float64",
}


def price(loans: pd.DataFrame, fees: dict[str, float]) -> pd.DataFrame:
    """Add the fee of what was kept longer than four weeks."""
    over = (loans["days"] - 28).clip(lower=0)
    return loans.assign(fee=over * loans["medium"].map(fees).astype("float64"))


def read(pattern: str) -> dd.DataFrame:
    loans = dd.read_csv(pattern, dtype=TYPES, parse_dates=["lent_on"], date_format="%Y-%m-%d", blocksize=None)
    log.info("%s: %d partitions, columns %s", pattern, loans.npartitions, ", ".join(loans.columns))
    return loans


def check(priced: dd.DataFrame) -> None:
    """Nothing is published when a fee is missing or a loan is told twice."""
    missing, rows, loans = dask.compute(priced["fee"].isna().sum(), priced.shape[0], priced["loan_id"].nunique())
    log.info("%d rows, %d loans, %d without a fee", rows, loans, missing)
    if missing or rows != loans:
        raise ValueError(f"{missing} loans have no fee, {rows - loans} rows are of a loan that was read before")


def publish(priced: dd.DataFrame, branches: dd.DataFrame) -> None:
    month = priced["lent_on"].dt.strftime("%Y-%m")
    joined = priced.assign(month=month).merge(branches, on="branch", how="inner")
    report = joined.groupby(["district", "month"]).agg({"loan_id": "count", "fee": "sum"}).compute()
    log.info("%d districts and months, %.2f in fees", len(report), report["fee"].sum())
    report.to_csv("out/report.csv")
    priced.to_parquet("out/loans", write_index=False)
    log.info("wrote %d files", len(os.listdir("out/loans")))


def main() -> None:
    cluster = LocalCluster(
        n_workers=1, threads_per_worker=1, memory_limit=os.environ.get("WORKER_MEMORY", "600MB"), dashboard_address=None
    )
    with cluster, Client(cluster) as client:
        log.info("cluster of %d worker", len(client.scheduler_info()["workers"]))
        fees = pd.read_csv("fees.csv").set_index("medium")["per_day"].to_dict()
        priced = read("loans/*.csv").map_partitions(price, fees, meta=SHAPE)
        check(priced)
        publish(priced, dd.read_parquet("branches.parquet"))


if __name__ == "__main__":
    main()
