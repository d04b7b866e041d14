"""Last night's exposures: star catalogue, exposures, photometry, summary."""

import os
import sys
import time

import pandas as pd
import requests
from dagster import (
    AssetCheckResult,
    AssetExecutionContext,
    ConfigurableResource,
    EnvVar,
    FilesystemIOManager,
    RetryPolicy,
    asset,
    asset_check,
    materialize,
)


class Catalogue(ConfigurableResource):
    url: str
    key: str

    def page(self, log, number):
        for attempt in (1, 2, 3):
            answer = requests.get(
                f"{self.url}/stars", params={"page": number}, headers={"X-Key": self.key}, timeout=1.0
            )
            kind, seconds = answer.headers.get("Content-Type"), answer.elapsed.total_seconds()
            log.info(f"stars page {number}: {answer.status_code} {kind} in {seconds:.2f} s, attempt {attempt}")
            if answer.status_code < 500 and answer.status_code != 429:
                break
            time.sleep(0.1)
        if answer.status_code >= 400:
            log.error(f"catalogue answered {answer.text.strip()[:200]}")
        answer.raise_for_status()
        return answer.json()


@asset(retry_policy=RetryPolicy(max_retries=2, delay=0.2))
def stars(context: AssetExecutionContext, catalogue: Catalogue) -> pd.DataFrame:
    found = []
    for number in (1, 2):
        page = catalogue.page(context.log, number)
        context.log.debug(f"page {number}: {page if len(str(page)) < 200 else str(page)[:200] + '...'}")
        found += [{"star": star["id"], "ra": star["ra_deg"], "magnitude": star["mag"]} for star in page["stars"]]
    return pd.DataFrame(found)


@asset
def exposures(context: AssetExecutionContext) -> pd.DataFrame:
    frame = pd.read_csv("exposures.csv", dtype={"star": "int64", "seconds": "float64"})
    frame["taken_at"] = pd.to_datetime(frame["taken_at"], format="%Y-%m-%dT%H:%M:%S")
    context.log.info(f"{len(frame)} exposures, {frame['seconds'].sum() / 3600:.1f} h")
    return frame


@asset
def photometry(context: AssetExecutionContext, stars: pd.DataFrame, exposures: pd.DataFrame) -> pd.DataFrame:
    joined = exposures.merge(stars, on="star", how="inner", validate="many_to_one")
    joined["flux"] = joined["counts"] / joined["seconds"]
    wide = joined.pivot_table(index="star", columns="taken_at", values="flux", dropna=False)
    context.log.info(f"{len(joined)} measurements, matrix {wide.shape[0]} x {wide.shape[1]}")
    return joined


@asset_check(asset=photometry, blocking=True)
def plausible_flux(photometry: pd.DataFrame) -> AssetCheckResult:
    share = float((photometry["flux"] > 0).mean())
    return AssetCheckResult(passed=share > 0.98, metadata={"share_positive": share, "rows": len(photometry)})


@asset
def check_schema_drift(context: AssetExecutionContext, photometry: pd.DataFrame) -> int:
    columns = photometry.columns
    expected = ["star", "taken_at", "flux"]
    missing = [name for name in expected if name not in columns]
    context.log.info(f"{len(columns)} columns, {len(missing)} missing")
    return len(missing)


@asset(deps=[check_schema_drift])
def summary(context: AssetExecutionContext, photometry: pd.DataFrame) -> None:
    table = photometry.groupby("star")["flux"].agg(["count", "mean"]).reset_index()
    table.to_csv(os.path.join(os.environ["SUMMARY_DIR"], "summary.csv"), index=False)
    context.log.info(f"summary of {len(table)} stars")


if __name__ == "__main__":
    result = materialize(
        [stars, exposures, photometry, plausible_flux, check_schema_drift, summary],
        resources={
            "catalogue": Catalogue(url=EnvVar("CATALOGUE_URL"), key=EnvVar("CATALOGUE_KEY")),
            "io_manager": FilesystemIOManager(base_dir=os.environ["STORAGE"]),
        },
        raise_on_error=False,
    )
    sys.exit(0 if result.success else 1)
