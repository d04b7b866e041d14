"""R: river gauges with readr, dplyr and DBI; rating curves of weirs in base R."""

from __future__ import annotations

import resource
import shutil
import signal
from collections.abc import Callable
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import all_of, as_nobody, edited, environment, small_disk, unreachable
from corpus.lab.services import sqlite, web

Station = dict[str, Any]
TABLE = """CREATE TABLE daily_level (
    station TEXT NOT NULL, basin TEXT NOT NULL, day TEXT NOT NULL, mean_m REAL NOT NULL, peak_m REAL NOT NULL,
    readings INTEGER NOT NULL CHECK (readings BETWEEN 1 AND 96), PRIMARY KEY (station, day)
)"""
BASINS = ("ill", "thur", "reuss", "aare")
CONFIG = """Version: 4.1
Gaugings: gaugings.csv
CpuSeconds: 60
Draws: 40
GridCells: 2000
Target: out
"""


def stations() -> list[Station]:
    return [
        {"station": f"G{n:03}", "basin": BASINS[n % 4], "zero_m": 400 + n / 4, "alarm_m": 402.2 + n / 4}
        for n in range(24)
    ]


def readings(first: int) -> list[str]:
    return [
        f"G{n:03},2026-04-{11:02}T{hour:02}:00:00Z,{120 + (n * 7 + hour * 5) % 140}"
        for n in range(first, first + 6)
        for hour in range(24)
    ]


def land(bench: Bench, first: int, lines: list[str], header: str = "station,measured_at,level_cm") -> None:
    bench.write(f"landing/gauges_{first // 6 + 1}.csv", "\n".join([header, *lines]) + "\n")


def gauges_world(bench: Bench) -> None:
    for first in range(0, 24, 6):
        land(bench, first, readings(first))
    bench.path("out/.keep").touch()
    store(TABLE)(bench)
    server = web.serve(bench, {"/v1/stations": [web.Reply(body=stations())]})
    bench.env |= {
        "REGISTER_URL": server.url,
        "REGISTER_TOKEN": "rg_live_77b0e1",
        "LEVELS_DB": "levels.db",
    }


def discharge_world(bench: Bench) -> None:
    bench.write("discharge.dcf", CONFIG)
    bench.path("out/.keep").touch()
    bench.path("published/.keep").touch()
    weirs = ("Auer", "Birs", "Cluse", "Doubs")
    rows = [
        f"{weir};{0.4 + n / 10:.1f};{(0.4 + n / 10) ** 1.6 * (3 + at) + (n % 3) / 10:.3f};{'ADCP' if n % 2 else 'vane'}"
        for at, weir in enumerate(weirs)
        for n in range(24)
    ]
    bench.write("gaugings.csv", "\n".join(["weir;stage;flow;method", *rows]) + "\n")
    lines = [
        f"{weir},2026-03-{day:02} {hour:02}:00:00,{0.6 + (day + hour) % 20 / 10:.1f}"
        for weir in weirs
        for day in range(1, 32)
        for hour in range(24)
    ]
    bench.write("stages.csv", "\n".join(["weir,at,stage", *lines]) + "\n")


GAUGES = Program(name="gauges", command=("Rscript", "gauges.R"), files=("gauges.R",), world=gauges_world)
DISCHARGE = Program(
    name="discharge", command=("bash", "night.sh"), files=("discharge.R", "night.sh"), world=discharge_world
)


def store(script: str) -> Prepare:
    return sqlite.script("levels.db", script)


def edit(name: str, *changes: tuple[str, str]) -> Prepare:
    def inject(bench: Bench) -> None:
        for old, new in changes:
            bench.replace(name, old, new)

    return inject


def register(*replies: web.Reply) -> Prepare:
    return web.answers("/v1/stations", *replies)


def registered(change: Callable[[Station], Station]) -> Prepare:
    return register(web.Reply(body=[change(row) for row in stations()]))


def _small_store(bench: Bench) -> None:
    bench.mount("store", "size=24k")
    shutil.move(bench.path("levels.db"), bench.path("store/levels.db"))
    bench.env["LEVELS_DB"] = "store/levels.db"


def _short_delivery(bench: Bench) -> None:
    for first in (6, 12, 18):
        land(bench, first, [line for line in readings(first) if line.startswith(f"G{first:03}")])


def _as_reader(bench: Bench) -> None:
    bench.run("chmod", "-R", "a+rX", ".")
    as_nobody(bench)


def _big_grid(bench: Bench) -> None:
    bench.replace("discharge.dcf", "GridCells: 2000", "GridCells: 30000000")
    bench.limits[resource.RLIMIT_AS] = 1_500_000_000


def restaged(first: int) -> Prepare:
    return lambda bench: land(bench, first, readings(first), "station,measured_at,stage_cm")


def _silent(bench: Bench) -> None:
    quiet = ("G008,2026-04-11T03", "G008,2026-04-11T04", "G008,2026-04-11T05")
    land(bench, 6, [line.rpartition(",")[0] + "," if line.startswith(quiet) else line for line in readings(6)])


def _latin1(bench: Bench) -> None:
    path = bench.path("gaugings.csv")
    path.write_bytes(path.read_bytes().replace(b"Doubs;1.", b"Do\xfcbs;1."))


def _emptied(bench: Bench) -> None:
    bench.run("rm", "-r", "landing")
    bench.path("landing").mkdir()


CASES = (
    Case(
        name="level_header_renamed",
        family="renamed",
        cause="one provider's files call level_cm stage_cm since a firmware update",
        program=GAUGES,
        inject=all_of(*(restaged(first) for first in range(0, 24, 6))),
    ),
    Case(
        name="one_provider_renamed",
        family="renamed",
        cause="one of four files calls level_cm stage_cm; the others fill the column, so it is missing in a quarter of the rows",
        program=GAUGES,
        inject=restaged(12),
        trap="a NOT NULL violation at the end; only readr's warning and the printed columns tell of the renaming",
    ),
    Case(
        name="zero_point_quoted",
        family="retyped",
        cause="the register gives zero_m as text",
        program=GAUGES,
        inject=register(
            web.page(502), web.page(502), web.Reply(body=[row | {"zero_m": str(row["zero_m"])} for row in stations()])
        ),
        trap="a register that failed twice with 502 and recovered comes first",
    ),
    Case(
        name="peak_column_dropped",
        family="removed",
        cause="peak_m was dropped from the target table",
        program=GAUGES,
        inject=store("ALTER TABLE daily_level DROP COLUMN peak_m"),
    ),
    Case(
        name="station_key_renamed",
        family="renamed",
        cause="the register's key is called code instead of station",
        program=GAUGES,
        inject=registered(lambda row: {("code" if key == "station" else key): value for key, value in row.items()}),
    ),
    Case(
        name="level_table_moved",
        family="table_gone",
        cause="daily_level was renamed in the warehouse",
        program=GAUGES,
        inject=store("ALTER TABLE daily_level RENAME TO daily_level_v1"),
    ),
    Case(
        name="stages_with_sensor_column",
        family="column_count",
        cause="stages.csv has a fourth column",
        program=DISCHARGE,
        inject=edit("stages.csv", ("weir,at,stage", "weir,sensor,at,stage"), (",2026-", ",R1,2026-")),
        trap="a real was expected and a date found, as if one value were bad",
    ),
    Case(
        name="flow_missing_from_gaugings",
        family="renamed",
        cause="the gaugings file names discharge what was flow",
        program=DISCHARGE,
        inject=edit("gaugings.csv", ("weir;stage;flow;method", "weir;stage;discharge;method")),
        trap="R looks for the column among the global objects and says the object is not found, as for a bug; str() shows the columns",
    ),
    Case(
        name="silent_gauge",
        family="null",
        cause="one station sends no levels for three hours",
        program=GAUGES,
        inject=_silent,
    ),
    Case(
        name="station_registered_twice",
        family="duplicate",
        cause="the register lists a station in two basins",
        program=GAUGES,
        inject=register(web.Reply(body=[*stations(), stations()[5] | {"basin": "aare"}])),
    ),
    Case(
        name="short_delivery",
        family="volume",
        cause="three of four files hold one station instead of six",
        program=GAUGES,
        inject=_short_delivery,
    ),
    Case(
        name="gaugings_with_remark",
        family="unparsable",
        cause="one flow is the remark 'ice'",
        program=DISCHARGE,
        inject=edited("gaugings.csv", "Cluse;1.4;", "Cluse;1.4;ice;vane\nCluse;1.4;", count=1),
        trap="the one bad value makes a text column: R says non-numeric argument, str() shows the column as chr",
    ),
    Case(
        name="gaugings_latin1",
        family="encoding",
        cause="one weir's name is written in Latin-1",
        program=DISCHARGE,
        inject=_latin1,
        trap="the reader stops at the byte with a mere warning, and the regression of what is left fails",
    ),
    Case(
        name="gaugings_short_line",
        family="malformed",
        cause="a line of the gaugings was cut",
        program=DISCHARGE,
        inject=edited("gaugings.csv", "Birs;1.9;", "Birs;1.8\nBirs;1.9;", count=1),
    ),
    Case(
        name="zero_stage",
        family="range",
        cause="a gauging has the stage 0, whose logarithm is infinite",
        program=DISCHARGE,
        inject=edited("gaugings.csv", "Doubs;0.4;", "Doubs;0.0;", count=1),
    ),
    Case(
        name="register_outage",
        family="outage",
        cause="the register answers 503",
        program=GAUGES,
        inject=register(web.Reply(503, {"error": "upstream table stations is being rebuilt", "schema": "hydro"})),
        trap="the body speaks of a table and a schema",
    ),
    Case(
        name="register_maintenance_page",
        family="protocol",
        cause="the register's proxy gives a maintenance page with status 200",
        program=GAUGES,
        inject=register(web.Reply(200, web.page(503).body, {"Content-Type": "text/html"})),
        trap="reads as a lexical error of bad JSON",
        subtype="outage_page",
    ),
    Case(
        name="register_hangs",
        family="slow",
        cause="the register takes the connection and never answers",
        program=GAUGES,
        inject=register(web.Reply(ending="hang")),
    ),
    Case(
        name="register_down",
        family="refused",
        cause="nothing listens where the register was",
        program=GAUGES,
        inject=unreachable("REGISTER_URL"),
    ),
    Case(
        name="token_expired",
        family="credentials",
        cause="the token has expired",
        program=GAUGES,
        inject=register(
            web.Reply(401, {"code": "E_SCHEMA_AUTH", "message": "token rg_live_77b0e1 expired 2026-04-11T00:00:00Z"})
        ),
        trap="the code of the error says SCHEMA",
    ),
    Case(
        name="store_volume_full",
        family="disk",
        cause="the volume of the database is full",
        program=GAUGES,
        inject=_small_store,
    ),
    Case(
        name="target_volume_full",
        family="disk",
        cause="the volume of the results is full",
        program=DISCHARGE,
        inject=small_disk("out", "48k"),
    ),
    Case(
        name="grid_too_big",
        family="memory",
        cause="the address space of the step does not hold the grid",
        program=DISCHARGE,
        inject=_big_grid,
    ),
    Case(
        name="cpu_allowance",
        family="time_limit",
        cause="the bootstrap needs more processor time than the step may use",
        program=DISCHARGE,
        inject=edit("discharge.dcf", ("Draws: 40", "Draws: 9000"), ("CpuSeconds: 60", "CpuSeconds: 3")),
        subtype="cpu_limit",
    ),
    Case(
        name="check_schema_typo",
        family="code_bug",
        cause="a misspelled function in check_schema",
        program=GAUGES,
        inject=edit("gauges.R", ("absent <- setdiff(", "absent <- set_diff(")),
        trap="the function with the bug is called check_schema",
    ),
    Case(
        name="band_of_missing",
        family="code_bug",
        cause="the band is read by names that quantile does not give",
        program=DISCHARGE,
        inject=edit("discharge.R", ("band[2] - band[1] > 3", 'band["95"] - band["5"] > 3')),
        trap="missing value where TRUE/FALSE needed reads like nulls in the data, which str() shows sound",
    ),
    Case(
        name="target_folder_unset",
        family="configuration",
        cause="the deployed configuration has no Target",
        program=DISCHARGE,
        inject=edit("discharge.dcf", ("Target: out\n", "")),
        trap="subscript out of bounds",
    ),
    Case(
        name="library_path_wrong",
        family="environment",
        cause="the new image does not hold the R packages",
        program=GAUGES,
        inject=environment(R_LIBS_SITE="/opt/R/site-library"),
    ),
    Case(
        name="store_not_writable",
        family="permission",
        cause="the job runs as a user that may only read the database",
        program=GAUGES,
        inject=_as_reader,
    ),
    Case(
        name="gaugings_not_delivered",
        family="missing_input",
        cause="the gaugings file is not there",
        program=DISCHARGE,
        inject=lambda b: b.path("gaugings.csv").unlink(),
    ),
    Case(
        name="landing_empty",
        family="missing_input",
        cause="no gauge file was delivered",
        program=GAUGES,
        inject=_emptied,
        trap="the check complains of absent columns, and of no file",
    ),
    Case(
        name="log_ends_in_the_middle",
        family="no_cause",
        cause="one stage is n/a; the runner kept only the head of the log",
        program=DISCHARGE,
        inject=edited(
            "stages.csv",
            "Cluse,2026-03-09 07:00:00,",
            "Cluse,2026-03-09 07:00:00,n/a\nCluse,2026-03-09 07:00:00,",
            count=1,
        ),
        keep="head:15",
        trap="nothing but progress",
        subtype="no_error_in_log",
    ),
    Case(
        name="stopped_by_hand",
        family="interrupted",
        cause="someone pressed Ctrl-C",
        program=DISCHARGE,
        inject=all_of(
            edit("discharge.dcf", ("Draws: 40", "Draws: 4000")), lambda b: b.kill_when("Cluse: ", signal.SIGINT)
        ),
    ),
)


SYSTEM = System(
    name="r",
    debian=(
        "r-base-core",
        "r-cran-readr",
        "r-cran-dplyr",
        "r-cran-dbi",
        "r-cran-rsqlite",
        "r-cran-jsonlite",
        "r-cran-curl",
    ),
    cases=CASES,
)
