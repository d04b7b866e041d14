"""A power company's night: five Dagster assets, two sources. An ordinary pipeline that has never heard of Mendline."""

import json
import os
import sys
import urllib.request
from pathlib import Path

import dagster as dg
import duckdb

HERE = Path(os.environ.get("GRID_HOME", Path(__file__).parent))


def settings() -> dict[str, object]:
    return json.loads((HERE / "settings.json").read_text())


def warehouse() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(str(HERE / "grid.db"))
    if limit := settings().get("memory_limit"):
        connection.execute(f"SET memory_limit = '{limit}'")
        connection.execute("SET temp_directory = ''")
    return connection


@dg.asset
def land_readings(context: dg.AssetExecutionContext) -> None:
    """Meter readings, as the meters' gateway writes them: JSON lines, one file a night."""
    path = HERE / "gateway" / f"{settings()['night']}.jsonl"
    context.log.info("reading %s", path.name)
    with warehouse() as db:
        db.execute(
            "CREATE OR REPLACE TABLE lake.readings AS SELECT * FROM read_json(?, format = 'newline_delimited')",
            [str(path)],
        )


@dg.asset
def land_tariffs(context: dg.AssetExecutionContext) -> None:
    """Tariffs from the regulator's service."""
    request = urllib.request.Request(f"{settings()['regulator']}/tariffs?night={settings()['night']}")
    with urllib.request.urlopen(request, timeout=2) as answer:
        tariffs = json.loads(answer.read())
    spool = HERE / "tariffs.json"
    spool.write_text(json.dumps(tariffs))
    context.log.info("%d tariffs", len(tariffs))
    with warehouse() as db:
        db.execute("CREATE OR REPLACE TABLE lake.tariffs AS SELECT * FROM read_json(?)", [str(spool)])


@dg.asset(deps=[land_readings])
def hourly_usage(context: dg.AssetExecutionContext) -> None:
    """Usage per meter and hour."""
    with warehouse() as db:
        db.execute("BEGIN")
        db.execute("DELETE FROM usage.hourly WHERE night = ?", [settings()["night"]])
        db.execute(
            "INSERT INTO usage.hourly SELECT ?, meter, hour, kwh, quality_flag FROM face.readings",
            [settings()["night"]],
        )
        db.execute("COMMIT")
        context.log.info("hourly usage written")


@dg.asset(deps=[hourly_usage, land_tariffs])
def priced_usage() -> None:
    """Usage with its price."""
    release = settings().get("release")
    with warehouse() as db:
        rate = None if release == "2.0" else 1
        db.execute("BEGIN")
        db.execute("DELETE FROM usage.priced WHERE night = ?", [settings()["night"]])
        db.execute(
            """INSERT INTO usage.priced SELECT u.night, u.meter, u.hour, u.kwh, round(u.kwh * t.cents / ?, 2)
               FROM usage.hourly u JOIN face.tariffs t ON t.band = CASE WHEN u.hour < 6 THEN 'night' ELSE 'day' END
               WHERE u.night = ?""",
            [100 * rate, settings()["night"]],
        )
        db.execute("COMMIT")


@dg.asset(deps=[priced_usage])
def household_bill() -> None:
    """The bill: one row per meter and night."""
    with warehouse() as db:
        db.execute("BEGIN")
        db.execute("DELETE FROM bills.household WHERE night = ?", [settings()["night"]])
        db.execute(
            """INSERT INTO bills.household SELECT night, meter, sum(kwh), sum(price), count(*),
               string_agg(hour || ':' || kwh, ',' ORDER BY hour) FROM usage.priced WHERE night = ? GROUP BY ALL""",
            [settings()["night"]],
        )
        db.execute("COMMIT")


defs = dg.Definitions(
    assets=[land_readings, land_tariffs, hourly_usage, priced_usage, household_bill],
    jobs=[dg.define_asset_job("billing_night", selection="*", executor_def=dg.in_process_executor)],
)

if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        result = defs.resolve_job_def("billing_night").execute_in_process(instance=instance, raise_on_error=False)
    sys.exit(0 if result.success else 1)
