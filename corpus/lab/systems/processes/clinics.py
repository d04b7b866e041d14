"""Faults of the pool of workers that reads the clinics' appointment files."""

from __future__ import annotations

import resource
import sqlite3

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Program
from corpus.lab.faults import edited
from corpus.lab.systems.processes.freight import kill_member

TABLE = "CREATE TABLE timeout_slots (site TEXT, clinician TEXT, minutes INTEGER NOT NULL, share REAL NOT NULL)"


def _site(number: int, count: int = 6000) -> str:
    names = ("amara okafor", "jonas weiss", "li na", "maria silva")
    lines = [
        f"P{number:02d}{n:05d},2026-04-{1 + n % 28:02d} {8 + n % 9:02d}:{n % 4 * 15:02d},{names[n % 4]},{10 + n % 35}"
        for n in range(count)
    ]
    return "\n".join(["patient_no,slot_start,clinician,minutes", *lines]) + "\n"


def world(bench: Bench) -> None:
    for number in range(1, 15):
        bench.write(f"sites/clinic_{number:02d}.csv", _site(number))
    db = sqlite3.connect(bench.path("clinic.db"))
    db.execute(TABLE)
    db.close()


MERGE = Program(
    name="clinics", command=("/usr/bin/python3", "appointments.py"), files=("appointments.py",), world=world
)
CRON = Program(
    name="clinics_cron",
    command=("bash", "cron.sh", "merge-appointments", "/usr/bin/python3", "appointments.py"),
    files=("cron.sh", "appointments.py"),
    world=world,
)


def _windows_file(bench: Bench) -> None:
    bench.path("sites/clinic_09.csv").write_bytes(_site(9).replace("jonas weiss", "jürgen weiß").encode("cp1252"))


def _huge(bench: Bench) -> None:
    bench.write("sites/clinic_05.csv", _site(5, 700_000))
    bench.limits[resource.RLIMIT_AS] = 180_000_000


def _execute(bench: Bench, statement: str) -> None:
    db = sqlite3.connect(bench.path("clinic.db"))
    db.execute(statement)
    db.commit()
    db.close()


CASES = (
    Case(
        name="clinics_practitioner",
        family="renamed",
        cause="one clinic calls the column clinician practitioner now",
        program=MERGE,
        inject=edited("sites/clinic_07.csv", "clinician", "practitioner"),
        trap="surfaces as an attribute of None inside a worker, like a bug; the columns of the file are logged",
    ),
    Case(
        name="clinics_target_gone",
        family="table_gone",
        cause="the target table was renamed by its owner",
        program=CRON,
        inject=lambda bench: _execute(bench, "ALTER TABLE timeout_slots RENAME TO slot_share"),
        trap="the table's name holds the word timeout",
    ),
    Case(
        name="clinics_windows_umlauts",
        family="encoding",
        cause="one clinic's file is in Windows-1252",
        program=MERGE,
        inject=_windows_file,
    ),
    Case(
        name="clinics_thirtieth_of_february",
        family="unparsable",
        subtype="invalid_date",
        cause="an appointment on a day that does not exist",
        program=CRON,
        inject=edited("sites/clinic_03.csv", "2026-04-16 14:45", "2026-02-30 12:45", count=1),
    ),
    Case(
        name="clinics_minutes_missing",
        family="null",
        cause="an appointment without its minutes",
        program=MERGE,
        inject=edited("sites/clinic_12.csv", "jonas weiss,27", "jonas weiss,", count=1),
        trap="surfaces as an invalid literal for int",
    ),
    Case(
        name="clinics_worker_memory",
        family="memory",
        cause="a worker may use 180 MB of address space, one file needs more",
        program=MERGE,
        inject=_huge,
    ),
    Case(
        name="clinics_worker_killed",
        family="killed",
        cause="the kernel killed a worker of the pool",
        program=CRON,
        inject=kill_member("clinic_04.csv: 6000 appointments", "python3", member=-1),
        trap="surfaces as a broken pool with words of a future, after a run that went well so far",
    ),
    Case(
        name="clinics_unknown_name",
        family="code_bug",
        cause="a change of the schema check uses a name that nothing defines",
        program=MERGE,
        inject=edited(
            "appointments.py",
            "    if missing:\n",
            "    if not missing:\n        known = set(EXPECTED)\n    if set(header) - unknown:\n",
        ),
        trap="the function is called check_schema",
    ),
    Case(
        name="clinics_handle_to_worker",
        family="code_bug",
        cause="a change hands the database handle to the workers",
        program=CRON,
        inject=edited("appointments.py", "submit(read_site, path)", "submit(read_site, path, db)"),
        trap="words of a database connection",
    ),
)
