"""Validate the food bank's weekly intake with GX before it goes to the warehouse's folder."""

import json
import logging
import os
import sys

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
import requests

logging.basicConfig(level=logging.INFO, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s")
log = logging.getLogger("intake")

COLUMNS = ["intake_id", "donor", "category", "kilos", "received", "temperature"]
EXPECTATIONS = [
    gxe.ExpectTableColumnsToMatchOrderedList(column_list=COLUMNS),
    gxe.ExpectTableRowCountToBeBetween(min_value=250, max_value=5000),
    gxe.ExpectColumnValuesToBeUnique(column="intake_id"),
    gxe.ExpectColumnValuesToNotBeNull(column="donor"),
    gxe.ExpectColumnValuesToBeOfType(column="kilos", type_="float64"),
    gxe.ExpectColumnValuesToBeBetween(column="kilos", min_value=0.1, max_value=2000),
    gxe.ExpectColumnValuesToMatchStrftimeFormat(column="received", strftime_format="%Y-%m-%d"),
    gxe.ExpectColumnValuesToMatchRegex(column="intake_id", regex=r"^FB-\d{5}$"),
]


def categories() -> list[str]:
    answer = requests.get(os.environ["CATALOGUE_URL"] + "/categories", timeout=3)
    log.info("catalogue answered %d %s", answer.status_code, answer.headers.get("Content-Type"))
    answer.raise_for_status()
    return answer.json()


def read(path: str) -> pd.DataFrame:
    frame = pd.read_csv(path)
    log.info("%s: %d rows, dtypes %s", path, len(frame), {name: str(kind) for name, kind in frame.dtypes.items()})
    return frame


def validate(frame: pd.DataFrame, allowed: list[str]) -> bool:
    context = gx.get_context(mode="ephemeral")
    batch = (
        context.data_sources.add_pandas("intake")
        .add_dataframe_asset("week")
        .add_batch_definition_whole_dataframe("all")
    )
    in_set = gxe.ExpectColumnValuesToBeInSet(column="category", value_set=allowed)
    suite = context.suites.add(gx.ExpectationSuite(name="weekly_intake", expectations=[*EXPECTATIONS, in_set]))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name="weekly", data=batch, suite=suite))
    outcome = definition.run(batch_parameters={"dataframe": frame})
    for each in outcome.results:
        level = logging.INFO if each.success else logging.ERROR
        log.log(level, "%s %s", each.expectation_config.type, "ok" if each.success else "FAILED")
        if not each.success:
            log.error("%s", json.dumps(each.to_json_dict(), indent=2, default=str))
    log.info("%s", outcome.statistics)
    return bool(outcome.success)


def publish(frame: pd.DataFrame) -> None:
    frame["received"] = pd.to_datetime(frame["received"])
    donors = pd.read_csv("donors.csv")
    joined = frame.merge(donors, on="donor", how="left", validate="many_to_one", indicator=True)
    lost = joined[joined["_merge"] == "left_only"]
    log.info("%d of %d rows have a registered donor", len(joined) - len(lost), len(joined))
    if len(lost):
        log.error("first rows without donor:\n%s", lost.head(3).to_string())
        sys.exit("intake not published")
    for region, rows in joined.groupby("region"):
        rows.to_csv(os.path.join(os.environ.get("PUBLISH_TO", "."), f"intake_{region}.csv"), index=False)
        log.info("published %d rows for %s", len(rows), region)


def main() -> None:
    frame = read("intake.csv")
    if not validate(frame, categories()):
        sys.exit("validation of weekly_intake failed")
    publish(frame)


if __name__ == "__main__":
    main()
