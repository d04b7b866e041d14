"""Faults of the job that stores ship arrivals in DuckDB."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Program
from corpus.lab.faults import edited, recoded
from corpus.lab.systems.processes.freight import kill_member

TABLE = (
    "CREATE TABLE arrival (imo INTEGER, vessel VARCHAR NOT NULL, berth VARCHAR, arrived_at TIMESTAMP,"
    " draught_m DECIMAL(4, 2), depth_m DOUBLE NOT NULL, PRIMARY KEY (imo, arrived_at))"
)
RUN = """
ops:
  read_arrivals: {config: {file: arrivals.csv, day: "2026-06-11"}}
  store: {config: {path: harbour.duckdb}}
  report: {config: {path: harbour.duckdb}}
execution: {config: {in_process: {}}}
"""


def _execute(bench: Bench, statement: str) -> None:
    script = f"import duckdb; duckdb.connect('harbour.duckdb').execute({statement!r})"
    bench.run(str(bench.python), "-c", script)


def arrivals(bench: Bench, count: int, header: str = "imo,vessel,berth,arrived_at,draught_m") -> None:
    names = ("Aurora", "Meltemi", "Nordlys", "Cap Finistere", "Stella")
    lines = [
        f"{9_000_000 + n},{names[n % 5]} {n},B{n % 9 + 1},2026-06-11 {n % 24:02d}:{n % 60:02d}:00,{4 + n % 8}.{n % 10}"
        for n in range(count)
    ]
    bench.write("arrivals.csv", "\n".join([header, *lines]) + "\n")


def world(bench: Bench) -> None:
    bench.write("dagster_home/dagster.yaml", "telemetry:\n  enabled: false\n")
    bench.env["DAGSTER_HOME"] = str(bench.directory / "dagster_home")
    arrivals(bench, 900)
    bench.write("berths.csv", "berth,depth,quay\n" + "".join(f"B{n},{11 + n}.5,north\n" for n in range(1, 10)))
    bench.write("run.yaml", RUN)
    _execute(bench, TABLE)


def _many(bench: Bench) -> None:
    world(bench)
    bench.replace("run.yaml", "in_process: {}", "multiprocess: {max_concurrent: 1}")


COMMAND = ("dagster", "job", "execute", "-f", "harbour.py", "-j", "harbour_daily", "-c", "run.yaml")
HARBOUR = Program(name="harbour", command=COMMAND, files=("harbour.py",), world=world)
MANY = Program(name="harbour_mp", command=COMMAND, files=("harbour.py",), world=_many)


def _small_disk(bench: Bench) -> None:
    place = bench.mount("disk", "size=1m")
    shutil.move(bench.directory / "harbour.duckdb", place / "harbour.duckdb")
    bench.replace("run.yaml", "harbour.duckdb", "disk/harbour.duckdb")
    arrivals(bench, 120_000)


def _small_memory(bench: Bench) -> None:
    arrivals(bench, 260_000)
    bench.replace("run.yaml", "path: harbour.duckdb", "path: harbour.duckdb, memory_limit: 12MB")


def _read_only(bench: Bench) -> None:
    subprocess.run(["chown", "-R", "nobody", str(bench.directory)], check=True)
    subprocess.run(["chown", "root", str(bench.directory / "harbour.duckdb"), str(bench.directory)], check=True)
    bench.command = ("setpriv", "--reuid=65534", "--clear-groups", *bench.command)


def _again(bench: Bench) -> None:
    lines = bench.path("arrivals.csv").read_text().splitlines()
    bench.write("arrivals.csv", "\n".join([*lines[:500], lines[212], *lines[500:]]) + "\n")


def _pilot_added(bench: Bench) -> None:
    _execute(bench, "ALTER TABLE arrival ADD COLUMN pilot VARCHAR")


def _small_files(bench: Bench) -> None:
    arrivals(bench, 90_000)
    bench.limits[resource.RLIMIT_FSIZE] = 2_000_000


CASES = (
    Case(
        name="harbour_depth_renamed",
        family="renamed",
        cause="the list of berths calls its column depth water_depth now",
        program=HARBOUR,
        inject=edited("berths.csv", "berth,depth,quay", "berth,water_depth,quay"),
        trap="surfaces as a NOT NULL violation; the log names the list's columns",
    ),
    Case(
        name="harbour_draught_gone",
        family="removed",
        cause="the arrivals have no column draught_m any more",
        program=MANY,
        inject=edited("arrivals.csv", "arrived_at,draught_m", "arrived_at,eta_source"),
    ),
    Case(
        name="harbour_target_column_added",
        family="column_count",
        cause="the owner of the store added a column to the target",
        program=HARBOUR,
        inject=_pilot_added,
    ),
    Case(
        name="harbour_same_ship_twice",
        family="duplicate",
        cause="one arrival is in the file twice",
        program=HARBOUR,
        inject=_again,
    ),
    Case(
        name="harbour_old_encoding",
        family="encoding",
        cause="the file of the arrivals is in Latin-1, one vessel has letters beyond ASCII",
        program=HARBOUR,
        inject=recoded("arrivals.csv", "Meltemi 611", "Ærøskøbing"),
        trap="the error proposes a dozen settings of the reader",
    ),
    Case(
        name="harbour_draught_too_deep",
        family="range",
        subtype="out_of_range",
        cause="a draught was entered in centimetres",
        program=HARBOUR,
        inject=edited("arrivals.csv", ",2026-06-11 05:17:00,9.7", ",2026-06-11 05:17:00,970", count=1),
        trap="a conversion error of a decimal type",
    ),
    Case(
        name="harbour_store_disk_full",
        family="disk",
        cause="the disk of the store is full",
        program=HARBOUR,
        inject=_small_disk,
    ),
    Case(
        name="harbour_store_memory",
        family="memory",
        cause="the store may use 12 MB of memory",
        program=MANY,
        inject=_small_memory,
    ),
    Case(
        name="harbour_step_killed",
        family="killed",
        cause="the kernel killed the process of a step",
        program=MANY,
        inject=kill_member('Executing step "complete" in subprocess', "python", member=-1),
        trap="surfaces as a crashed child process of the framework",
    ),
    Case(
        name="harbour_pickle_limit",
        family="disk",
        subtype="file_too_large",
        cause="the job may write no file above 2 MB",
        program=HARBOUR,
        inject=_small_files,
        trap="fails while the framework stores an output",
    ),
    Case(
        name="harbour_config_key",
        family="configuration",
        cause="the run's configuration names a key that the op does not have",
        program=HARBOUR,
        inject=edited("run.yaml", "file: arrivals.csv, day", "path: arrivals.csv, day"),
        trap="words of missing and unexpected fields, as of a changed schema",
    ),
    Case(
        name="harbour_no_output",
        family="code_bug",
        cause="a change forgot to return the completed arrivals",
        program=MANY,
        inject=edited("harbour.py", "    return pd.DataFrame(records)", "    pd.DataFrame(records)"),
        trap="looks like missing data",
    ),
    Case(
        name="harbour_store_not_ours",
        family="permission",
        cause="the store belongs to another account after a restore",
        program=HARBOUR,
        inject=_read_only,
    ),
    Case(
        name="harbour_no_file",
        family="missing_input",
        cause="the arrivals were not delivered",
        program=HARBOUR,
        inject=lambda bench: bench.path("arrivals.csv").unlink(),
    ),
    Case(
        name="harbour_terminated",
        family="interrupted",
        cause="an operator stopped the run",
        program=HARBOUR,
        inject=kill_member("berths known", "dagster", signal.SIGINT),
    ),
    Case(
        name="harbour_log_head",
        family="no_cause",
        subtype="undetermined",
        cause="a ship twice in the file; the runner kept the first lines only",
        program=MANY,
        inject=_again,
        keep="head:22",
        trap="the log ends while all goes well",
    ),
)
