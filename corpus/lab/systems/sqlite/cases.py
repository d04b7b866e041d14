"""SQLite: a small store of meter readings that is filled once a day."""

from __future__ import annotations

import sqlite3

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Program, System

TABLES = """
CREATE TABLE meter (meter_id INTEGER PRIMARY KEY, street TEXT NOT NULL);
CREATE TABLE reading (
    meter_id INTEGER NOT NULL REFERENCES meter, read_on TEXT NOT NULL, kwh REAL NOT NULL CHECK (kwh >= 0),
    PRIMARY KEY (meter_id, read_on)
) STRICT;
"""


def world(bench: Bench) -> None:
    store = sqlite3.connect(bench.path("meters.db"))
    with store:
        store.executescript(TABLES)
        store.executemany("INSERT INTO meter VALUES (?, ?)", [(n, f"Elm street {n}") for n in range(1, 201)])
    store.close()
    lines = [f"{n},2026-03-01,{n * 1.5}" for n in range(1, 201)]
    bench.write("readings.csv", "\n".join(["meter_id,read_on,kwh", *lines]) + "\n")


LOAD = Program(name="meters", command=("{python}", "load_readings.py"), files=("load_readings.py",), world=world)


def _execute(bench: Bench, script: str) -> None:
    store = sqlite3.connect(bench.path("meters.db"))
    with store:
        store.executescript(script)
    store.close()


SYSTEM = System(
    name="sqlite",
    cases=(
        Case(
            name="target_column_renamed",
            family="renamed",
            cause="the store's owner renamed kwh to energy_kwh",
            program=LOAD,
            inject=lambda bench: _execute(bench, "ALTER TABLE reading RENAME COLUMN kwh TO energy_kwh"),
        ),
        Case(
            name="source_column_renamed",
            family="renamed",
            cause="the file's column kwh is called consumption now",
            program=LOAD,
            inject=lambda bench: bench.replace("readings.csv", "read_on,kwh", "read_on,consumption"),
            trap="surfaces as a missing binding of the driver",
        ),
        Case(
            name="reading_twice",
            family="duplicate",
            cause="the file holds one meter's reading twice",
            program=LOAD,
            inject=lambda bench: bench.replace("readings.csv", "8,2026-03-01", "7,2026-03-01", count=1),
        ),
        Case(
            name="unknown_meter",
            family="orphan",
            cause="a reading of a meter that nobody registered",
            program=LOAD,
            inject=lambda bench: bench.replace("readings.csv", "200,2026-03-01", "950,2026-03-01"),
        ),
    ),
)
