"""Faults of the dbt project that counts admissions per ward on DuckDB."""

from __future__ import annotations

import signal
import subprocess

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program
from corpus.lab.faults import edited
from corpus.lab.systems.processes.freight import kill_member

LANDING = """
import duckdb
db = duckdb.connect('clinic/clinic.duckdb')
db.execute('CREATE SCHEMA landing')
db.execute('''CREATE TABLE landing.admission AS SELECT
    'AD' || i AS admission_id, 'P' || (i % 400) AS patient_no, ['A1', 'A2', 'B1', 'C3'][i % 4 + 1] AS ward,
    ['planned', 'emergency', 'transfer'][i % 3 + 1] AS kind,
    strftime(TIMESTAMP '2026-02-01' + to_minutes(i * 37), '%Y-%m-%d %H:%M:%S') AS admitted_at,
    CAST(1 + i % 9 AS VARCHAR) AS stay_days, now() AS loaded_at FROM range(1500) r(i)''')
db.execute("CREATE TABLE landing.schema_permission AS SELECT 'nurse' AS role_name, true AS may_read, 'A1' AS ward")
"""


def execute(bench: Bench, *statements: str) -> None:
    script = f"import duckdb\ndb = duckdb.connect('clinic/clinic.duckdb')\nfor s in {statements!r}: db.execute(s)"
    bench.run(str(bench.python), "-c", script)


def world(bench: Bench) -> None:
    bench.run(str(bench.python), "-c", LANDING)


def _fresh(bench: Bench) -> None:
    world(bench)
    bench.env["FRESHNESS"] = "yes"


def _history(bench: Bench) -> None:
    world(bench)
    execute(bench, "CREATE TABLE main.admission_history AS SELECT * FROM landing.admission WHERE admission_id < 'AD2'")


CLINIC = Program(name="clinic", command=("bash", "build.sh", "clinic"), files=("build.sh", "clinic"), world=world)
FRESH = Program(name="clinic_fresh", command=("bash", "build.sh", "clinic"), files=("build.sh", "clinic"), world=_fresh)
HISTORY = Program(
    name="clinic_history", command=("bash", "build.sh", "clinic"), files=("build.sh", "clinic"), world=_history
)


def sql(*statements: str) -> Prepare:
    return lambda bench: execute(bench, *statements)


def edit(name: str, old: str, new: str) -> Prepare:
    return lambda bench: bench.replace(f"clinic/{name}", old, new)


def debug(*more: Prepare) -> Prepare:
    """Do all of it, and let dbt print its debug log."""

    def inject(bench: Bench) -> None:
        bench.env["DBT_FLAGS"] = "--debug"
        for each in more:
            each(bench)

    return inject


MORE = (
    "INSERT INTO landing.admission SELECT 'X' || i, 'P' || (i % 400), 'A1', 'planned',"
    " strftime(TIMESTAMP '2026-03-01' + to_minutes(i * 4), '%Y-%m-%d %H:%M:%S'), '0.5', now() FROM range(ROWS) r(i)"
)


def _little_memory(bench: Bench) -> None:
    execute(bench, MORE.replace("ROWS", "1500"))
    bench.env |= {"CLINIC_MEMORY": "30MB", "CLINIC_SPILL_SIZE": "1MB"}


def _spill_full(bench: Bench) -> None:
    execute(bench, MORE.replace("ROWS", "9000"))
    bench.mount("clinic/spill", "size=2m")
    bench.env |= {"CLINIC_MEMORY": "40MB"}


def _read_only(bench: Bench) -> None:
    subprocess.run(["chown", "-R", "nobody", str(bench.directory / "clinic")], check=True)
    subprocess.run(["chown", "root", str(bench.path("clinic/clinic.duckdb"))], check=True)
    bench.command = ("setpriv", "--reuid=65534", "--clear-groups", *bench.command)


CASES = (
    Case(
        name="clinic_kind_renamed",
        family="renamed",
        cause="the feed's column kind is called admission_type now",
        program=CLINIC,
        inject=sql("ALTER TABLE landing.admission RENAME COLUMN kind TO admission_type"),
    ),
    Case(
        name="clinic_history_new_column",
        family="added",
        cause="the feed brings a new column insurer",
        program=HISTORY,
        inject=sql("ALTER TABLE landing.admission ADD COLUMN insurer VARCHAR"),
        trap="surfaces as a compilation error, as a bug in the model would",
    ),
    Case(
        name="clinic_permission_gone",
        family="table_gone",
        cause="the feed's table schema_permission was dropped",
        program=CLINIC,
        inject=debug(sql("DROP TABLE landing.schema_permission")),
        trap="the table is called schema_permission; a debug log of hundreds of lines",
    ),
    Case(
        name="clinic_stay_is_interval",
        family="retyped",
        cause="the feed's stay_days is an interval now",
        program=CLINIC,
        inject=sql(
            "ALTER TABLE landing.admission ALTER stay_days SET DATA TYPE INTERVAL USING to_days(CAST(stay_days AS INTEGER))"
        ),
    ),
    Case(
        name="clinic_stay_not_a_number",
        family="unparsable",
        cause="one stay says n/a",
        program=CLINIC,
        inject=debug(
            sql("UPDATE landing.admission SET stay_days = 'n/a (timeout of connection)' WHERE admission_id = 'AD907'")
        ),
        trap="the value quotes a timeout; a debug log of hundreds of lines",
    ),
    Case(
        name="clinic_admission_repeated",
        family="duplicate",
        cause="three admissions were delivered twice",
        program=CLINIC,
        inject=sql(
            "INSERT INTO landing.admission SELECT * FROM landing.admission WHERE admission_id IN ('AD5', 'AD6', 'AD7')"
        ),
    ),
    Case(
        name="clinic_ward_unknown",
        family="null",
        cause="ten admissions have no ward",
        program=CLINIC,
        inject=sql("UPDATE landing.admission SET ward = NULL WHERE admission_id LIKE 'AD9_'"),
    ),
    Case(
        name="clinic_kind_unforeseen",
        family="range",
        subtype="check_violation",
        cause="some admissions have the kind `permission denied`",
        program=CLINIC,
        inject=sql("UPDATE landing.admission SET kind = 'permission denied' WHERE admission_id LIKE 'AD33_'"),
    ),
    Case(
        name="clinic_feed_is_old",
        family="volume",
        subtype="stale_data",
        cause="the feed was last loaded five days ago",
        program=FRESH,
        inject=sql("UPDATE landing.admission SET loaded_at = loaded_at - INTERVAL 5 DAY"),
    ),
    Case(
        name="clinic_memory_limit",
        family="memory",
        cause="the store may use 30 MB of memory and spill one",
        program=CLINIC,
        inject=_little_memory,
    ),
    Case(
        name="clinic_spill_full",
        family="disk",
        cause="the file system for spilling has 2 MB",
        program=CLINIC,
        inject=debug(_spill_full),
        trap="a debug log of hundreds of lines, and a hint about memory",
    ),
    Case(
        name="clinic_dbt_killed",
        family="killed",
        cause="the kernel killed dbt",
        program=CLINIC,
        inject=kill_member("OK created sql table model main.stg_admission", "dbt"),
    ),
    Case(
        name="clinic_store_not_ours",
        family="permission",
        cause="the store's file belongs to another account",
        program=CLINIC,
        inject=_read_only,
    ),
    Case(
        name="clinic_reference_misspelt",
        family="code_bug",
        cause="a change refers to a model that does not exist",
        program=CLINIC,
        inject=edit(
            "models/readmission.sql", "from {{ ref('stg_admission') }} a", "from {{ ref('stg_admissions') }} a"
        ),
        trap="a node that was not found, like a table that is gone",
    ),
    Case(
        name="clinic_contract_of_model",
        family="code_bug",
        cause="a change of our own model counts admissions as a text",
        program=CLINIC,
        inject=edit("models/ward_day.sql", "count(*) as admissions", "count(* as admissions"),
        trap="a parser error at the column list",
    ),
    Case(
        name="clinic_stopped",
        family="interrupted",
        cause="an operator stopped the build",
        program=CLINIC,
        inject=kill_member("OK created sql table model main.stg_admission", "dbt", signal.SIGINT),
    ),
    Case(
        name="clinic_short_log",
        family="no_cause",
        subtype="undetermined",
        cause="a number of beds is a word in the seed; the runner kept the last lines only",
        program=CLINIC,
        inject=edited("clinic/seeds/wards.csv", "B1,30", "B1,thirty"),
        keep="tail:4",
        trap="four lines: a count of errors and a status",
    ),
)
