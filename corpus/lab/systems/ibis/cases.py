"""Ibis on DuckDB: the settlement of charging sessions from files, and features from a weather service."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Sequence
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import edited, unreachable, unset
from corpus.lab.services.web import Reply, Web, page, serve

SETUP = """
import duckdb
con = duckdb.connect("warehouse.ddb")
con.execute('''CREATE TABLE stations AS SELECT 'CP-' || n AS station_id,
    ['Alpha','Beta','Gamma'][n % 3 + 1] AS operator, 39 + n % 20 AS cents_per_kwh FROM range(60) t(n)''')
con.execute('''CREATE TABLE settlement (station_id VARCHAR NOT NULL, operator VARCHAR NOT NULL, day DATE, sessions BIGINT,
    kwh DECIMAL(18,3), cents BIGINT CHECK (cents >= 0), speed DOUBLE, PRIMARY KEY (station_id, day))''')
con.execute("STATEMENT")
"""
SITES = ("oslo", "turku", "visby", "narva")
Row = dict[str, Any]


def warehouse(bench: Bench, statement: str = "SELECT 1") -> None:
    bench.path("warehouse.ddb").unlink(missing_ok=True)
    bench.run(str(bench.python), "-c", SETUP.replace("STATEMENT", statement))


def sessions(bench: Bench, files: int = 4, count: int = 500) -> None:
    for part in range(files):
        rows = [
            f"S{part}{n:06d},CP-{n % 60},2026-11-21 {n % 24:02d}:1{part}:00,{5 + n % 50}.{n % 10}25,{10 + n % 90}"
            for n in range(count)
        ]
        bench.write(
            f"landing/sessions-{part}.csv", "\n".join(["session_no,station_id,started_at,kwh,minutes", *rows]) + "\n"
        )


def charging(bench: Bench) -> None:
    warehouse(bench)
    sessions(bench)
    bench.path("export/x")


def hours(site: str, count: int = 120) -> list[Row]:
    return [
        {
            "hour": f"2026-11-{1 + n // 24:02d}T{n % 24:02d}:00:00",
            "celsius": len(site) - n % 9 + 0.5,
            "gust_ms": 3.5 + n % 11,
            "humidity": 60 + n % 30,
        }
        for n in range(count)
    ]


def weather(bench: Bench, **changed: Reply) -> None:
    routes = {f"/v3/sites/{site}/": [changed.get(site, Reply(200, hours(site)))] for site in SITES}
    bench.env |= {"SITES": ",".join(SITES), "WEATHER_URL": served_by(bench, routes).url}


def served_by(bench: Bench, routes: dict[str, list[Reply]]) -> Web:
    given: dict[str, Sequence[Reply | Callable[[str], Reply]]] = dict(routes)
    return serve(bench, given)


CHARGING = Program(
    name="charging", command=("{python}", "settle_charging.py"), files=("settle_charging.py",), world=charging
)
WEATHER = Program(
    name="weather", command=("{python}", "weather_features.py"), files=("weather_features.py",), world=weather
)


def answered(**changed: Reply) -> Prepare:
    return lambda bench: weather(bench, **changed)


def of_visby(change: Callable[[Row], Row]) -> Prepare:
    return answered(visby=Reply(200, [change(row) for row in hours("visby")]))


def renamed(row: Row) -> Row:
    return {("wind_gust" if key == "gust_ms" else key): value for key, value in row.items()}


def full_export(bench: Bench) -> None:
    bench.mount("export", "size=4k")
    bench.write("export/yesterday.parquet", "x" * 4000)


def heavy(bench: Bench) -> None:
    sessions(bench, 4, 60_000)
    bench.command = (*bench.command, "memory_limit=12MB", "max_temp_directory_size=1MB")


def many_hours(bench: Bench) -> None:
    body = json.dumps(hours("oslo", 400)).encode()
    weather(bench, narva=Reply(200, b"[" + b",".join([body[1:-1]] * 3000) + b"]"))
    bench.limits[resource.RLIMIT_AS] = 2_600_000_000


def few_seconds(bench: Bench) -> None:
    sessions(bench, 6, 400_000)
    bench.limits[resource.RLIMIT_CPU] = 3
    bench.command = (
        "bash",
        "-c",
        f'{" ".join(bench.command)}; status=$?; echo "settle_charging: exit status $status"; exit $status',
    )


def latin(bench: Bench) -> None:
    path = bench.path("landing/sessions-2.csv")
    path.write_text(path.read_text().replace("S2000311,CP-11", "S2000311,CP-Süd", 1), encoding="latin-1")


def energy_renamed(bench: Bench) -> None:
    for n in range(4):
        bench.replace(f"landing/sessions-{n}.csv", ",kwh,", ",energy_wh,")


def nothing_delivered(bench: Bench) -> None:
    for n in range(4):
        bench.path(f"landing/sessions-{n}.csv").unlink()


CASES = (
    Case(
        name="sessions_kwh_renamed",
        family="renamed",
        cause="the files' kwh is called energy_wh now",
        program=CHARGING,
        inject=energy_renamed,
    ),
    Case(
        name="one_site_renamed",
        family="renamed",
        cause="one site's gusts are called wind_gust now",
        program=WEATHER,
        inject=of_visby(renamed),
    ),
    Case(
        name="settlement_column_dropped",
        family="removed",
        cause="the warehouse's owner dropped a column of the settlement",
        program=CHARGING,
        inject=lambda bench: warehouse(bench, "ALTER TABLE settlement DROP COLUMN speed"),
    ),
    Case(
        name="celsius_as_text",
        family="retyped",
        cause="one site gives its temperature as text with its unit",
        program=WEATHER,
        inject=of_visby(lambda row: row | {"celsius": f"{row['celsius']} °C"}),
    ),
    Case(
        name="stations_gone",
        family="table_gone",
        cause="the table of stations was renamed",
        program=CHARGING,
        inject=lambda bench: warehouse(bench, "ALTER TABLE stations RENAME TO charge_points"),
    ),
    Case(
        name="minutes_too_many",
        family="range",
        cause="a session of 99999 minutes",
        program=CHARGING,
        inject=edited(
            "landing/sessions-1.csv",
            "S1000077,CP-17,2026-11-21 05:11:00,32.725,87",
            "S1000077,CP-17,2026-11-21 05:11:00,32.725,99999",
        ),
        trap="an error of the conversion of a type",
    ),
    Case(
        name="started_on_no_day",
        family="unparsable",
        cause="a session started on the 31st of November",
        program=CHARGING,
        inject=edited("landing/sessions-3.csv", "2026-11-21 05:13", "2026-11-31 05:13", 1),
        subtype="invalid_date",
    ),
    Case(name="file_in_latin", family="encoding", cause="one file is in Latin-1", program=CHARGING, inject=latin),
    Case(
        name="site_of_few_hours",
        family="volume",
        cause="one site gave 9 of its 120 hours",
        program=WEATHER,
        inject=answered(turku=Reply(200, hours("turku", 9))),
        subtype="incomplete",
    ),
    Case(
        name="settled_twice",
        family="duplicate",
        cause="the warehouse holds a line of this day of one station already",
        program=CHARGING,
        inject=lambda bench: warehouse(
            bench, "INSERT INTO settlement VALUES ('CP-17', 'Gamma', DATE '2026-11-21', 1, 1, 1, 1)"
        ),
    ),
    Case(
        name="weather_503",
        family="outage",
        cause="the weather service is down",
        program=WEATHER,
        inject=answered(narva=page(503)),
    ),
    Case(
        name="weather_login_page",
        family="protocol",
        cause="the weather service gives its maintenance page with status 200",
        program=WEATHER,
        inject=answered(
            visby=Reply(
                200,
                "<!DOCTYPE html><html><head><title>We will be back soon</title></head></html>",
                {"Content-Type": "text/html"},
            )
        ),
        trap="looks like a malformed file",
        subtype="outage_page",
    ),
    Case(
        name="weather_refused",
        family="refused",
        cause="nobody listens where the weather service was",
        program=WEATHER,
        inject=unreachable("WEATHER_URL"),
    ),
    Case(
        name="export_full",
        family="disk",
        cause="the volume of the export is full",
        program=CHARGING,
        inject=full_export,
        subtype="disk_full",
    ),
    Case(
        name="settle_memory",
        family="memory",
        cause="the settlement needs more memory than the engine may have",
        program=CHARGING,
        inject=heavy,
    ),
    Case(
        name="cpu_seconds",
        family="time_limit",
        cause="the job's limit of processor seconds ended it",
        program=CHARGING,
        inject=few_seconds,
        subtype="killed_process",
        trap="only the status 137 tells",
    ),
    Case(
        name="operator_of_wrong_table",
        family="code_bug",
        cause="the new release calls a method that does not exist",
        program=CHARGING,
        inject=edited("settle_charging.py", ".round().cast(", ".rounded().cast("),
        trap="speaks of a missing attribute of a column",
    ),
    Case(
        name="sessions_not_delivered",
        family="missing_input",
        cause="no file of sessions was delivered",
        program=CHARGING,
        inject=nothing_delivered,
    ),
    Case(
        name="sites_unset",
        family="configuration",
        cause="the deployment does not set the sites",
        program=WEATHER,
        inject=unset("SITES"),
        trap="a KeyError like that of a field",
    ),
)
SYSTEM = System(
    name="ibis",
    requirements=("ibis-framework[duckdb]==12.0.0", "duckdb==2.0.0", "sqlglot==28.6.0"),
    cases=CASES,
    environment={"COLUMNS": "140"},
)
