"""SQLMesh on DuckDB: a project of SQL models, one Python model and audits, planned and applied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import edited, small_disk, unreachable
from corpus.lab.services.web import Reply, page, serve

SETUP = """
import duckdb
con = duckdb.connect("energy.db")
con.execute("CREATE SCHEMA raw")
con.execute("CREATE TABLE raw.suppliers AS SELECT n AS supplier_id, 'Supplier ' || n AS supplier FROM range(5) t(n)")
con.execute("CREATE TABLE raw.contracts AS SELECT 'M' || n AS meter, n % 5 AS supplier_id, 21.5 + n % 7 AS cents_per_kwh FROM range(40) t(n)")
con.execute("STATEMENT")
"""
Row = dict[str, Any]


def lines(part: int) -> list[str]:
    return [f"M{n % 40},2026-11-{1 + n // 40:02d} {part * 6:02d}:15:00,{n % 9}.{n % 1000:03d}" for n in range(400)]


def spot() -> list[Row]:
    return [{"hour": f"2026-11-{1 + n // 24:02d}T{n % 24:02d}:00:00", "price": 700 + n % 300} for n in range(240)]


def energy(bench: Bench, statement: str = "SELECT 1") -> None:
    for part in range(3):
        bench.write(f"data/readings-{part}.csv", "\n".join(["meter,read_at,kwh", *lines(part)]) + "\n")
    bench.path("energy.db").unlink(missing_ok=True)
    bench.run(str(bench.python), "-c", SETUP.replace("STATEMENT", statement))
    bench.path("export/x")
    exchange(bench, Reply(200, {"zone": "DK1", "prices": spot()}))


def exchange(bench: Bench, reply: Reply) -> None:
    bench.env["EXCHANGE_URL"] = serve(bench, {"/v2/spot": [reply]}).url


FILES = ("config.yaml", "models", "audits")
PLAN = Program(
    name="energy",
    command=("sqlmesh", "plan", "--auto-apply", "--no-prompts", "--skip-tests"),
    files=FILES,
    world=energy,
)
LOGGED = Program(
    name="nightly",
    command=("sqlmesh", "--log-to-stdout", "plan", "--auto-apply", "--no-prompts", "--skip-tests"),
    files=FILES,
    world=energy,
)


def stored(statement: str) -> Prepare:
    return lambda bench: energy(bench, statement)


def answered(reply: Reply) -> Prepare:
    return lambda bench: exchange(bench, reply)


def renamed_reading(bench: Bench) -> None:
    for part in range(3):
        bench.replace(f"data/readings-{part}.csv", "read_at,kwh", "read_at,energy_kwh")


def few(bench: Bench) -> None:
    for part in range(3):
        bench.write(f"data/readings-{part}.csv", "\n".join(["meter,read_at,kwh", *lines(part)[:31]]) + "\n")


def little_memory(bench: Bench) -> None:
    bench.replace("config.yaml", "memory_limit: 400MB", "memory_limit: 24MB\n        max_temp_directory_size: 1MB")
    rows = [
        f"M{n % 40},2026-11-{1 + n % 20:02d} {n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d},{n % 9}.5"
        for n in range(600_000)
    ]
    bench.write("data/readings-9.csv", "\n".join(["meter,read_at,kwh", *rows]) + "\n")


def nothing_delivered(bench: Bench) -> None:
    for part in range(3):
        bench.path(f"data/readings-{part}.csv").unlink()


def each(change: Callable[[Row], Row]) -> Prepare:
    return answered(Reply(200, {"zone": "DK1", "prices": [change(row) for row in spot()]}))


CASES = (
    Case(
        name="kwh_renamed",
        family="renamed",
        cause="the files' kwh is called energy_kwh",
        program=LOGGED,
        inject=renamed_reading,
    ),
    Case(
        name="price_renamed",
        family="renamed",
        cause="the exchange's price is called eur_per_mwh now",
        program=PLAN,
        inject=each(lambda row: {"hour": row["hour"], "eur_per_mwh": row["price"]}),
    ),
    Case(
        name="suppliers_gone",
        family="table_gone",
        cause="the table of suppliers was renamed by its owner",
        program=PLAN,
        inject=stored("ALTER TABLE raw.suppliers RENAME TO vendors"),
    ),
    Case(
        name="kwh_with_a_unit",
        family="unparsable",
        cause="a reading is the text 4.1 kWh",
        program=PLAN,
        inject=edited("data/readings-1.csv", ",0.045", ",4.1 kWh", 1),
    ),
    Case(
        name="reading_twice",
        family="duplicate",
        cause="a meter's reading of one time is in the files twice",
        program=PLAN,
        inject=edited("data/readings-2.csv", "M7,2026-11-01", "M8,2026-11-01", 1),
    ),
    Case(
        name="few_readings",
        family="volume",
        cause="the files hold 93 readings of 1200",
        program=PLAN,
        inject=few,
        subtype="incomplete",
        trap="an audit whose query counts rows; the word threshold",
    ),
    Case(
        name="cost_negative",
        family="range",
        cause="a reading is far below zero",
        program=PLAN,
        inject=edited("data/readings-0.csv", ",3.003", ",-3003", 1),
        subtype="check_violation",
    ),
    Case(name="exchange_503", family="outage", cause="the exchange is down", program=PLAN, inject=answered(page(503))),
    Case(
        name="exchange_refuses",
        family="refused",
        cause="nobody listens where the exchange was",
        program=LOGGED,
        inject=unreachable("EXCHANGE_URL"),
        trap="hundreds of lines of the framework's own logging",
    ),
    Case(
        name="exchange_hangs",
        family="slow",
        cause="the exchange does not answer",
        program=PLAN,
        inject=answered(Reply(ending="hang")),
    ),
    Case(
        name="plan_tail",
        family="no_cause",
        cause="only the end of the log was kept",
        program=PLAN,
        inject=edited("data/readings-1.csv", "M9,2026-11-01", ",2026-11-01", 1),
        keep="tail:3",
        subtype="general_error",
    ),
    Case(
        name="export_full",
        family="disk",
        cause="the volume of the export is full",
        program=PLAN,
        inject=small_disk("export", "8k"),
        subtype="disk_full",
    ),
    Case(
        name="little_memory",
        family="memory",
        cause="the models need more memory than the engine may have",
        program=LOGGED,
        inject=little_memory,
    ),
    Case(
        name="comma_lost",
        family="code_bug",
        cause="the new release of a model lost a comma",
        program=PLAN,
        inject=edited("models/daily_cost.sql", "  tariffs.supplier,\n  SUM", "  tariffs.supplier\n  SUM"),
    ),
    Case(
        name="gateway_misnamed",
        family="configuration",
        cause="the deployment names a gateway that the project does not have",
        program=PLAN,
        inject=edited("config.yaml", "default_gateway: energy", "default_gateway: warehouse"),
        trap="reads like a connection that is missing",
    ),
    Case(
        name="readings_not_delivered",
        family="missing_input",
        cause="no file of readings was delivered",
        program=PLAN,
        inject=nothing_delivered,
    ),
)
SYSTEM = System(
    name="sqlmesh", requirements=("sqlmesh==0.236.4", "duckdb==1.5.6"), cases=CASES, environment={"COLUMNS": "120"}
)
