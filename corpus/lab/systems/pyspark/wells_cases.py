"""Faults of the Spark SQL job that values well readings under ANSI rules."""

from __future__ import annotations

import json
import shutil

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program
from corpus.lab.faults import edited


def rows() -> list[dict[str, object]]:
    return [
        {
            "well": f"W{n % 40:02d}",
            "taken_on": f"2026-03-{1 + n // 40:02d}",
            "level_m": f"{12 + n % 7}.{n % 10}0",
            "pump_h": 2.5 + n % 5,
            "litres": 40_000 + n,
        }
        for n in range(480)
    ]


def put(bench: Bench, readings: list[dict[str, object]]) -> None:
    bench.write("readings/readings.jsonl", "".join(json.dumps(row) + "\n" for row in readings))


def world(bench: Bench) -> None:
    put(bench, rows())
    bench.write("rates.csv", "season,cent_per_litre\nwinter,0.21\nsummer,0.34\n")
    bench.write(
        "permits.json", "".join(json.dumps({"well": f"W{n:02d}", "litres_per_day": 90_000}) + "\n" for n in range(40))
    )


WELLS = Program(name="wells", command=("{python}", "wells.py"), files=("wells.py", "sql"), world=world)
GATED = Program(name="wells_gated", command=("{python}", "wells.py", "--gate"), files=("wells.py", "sql"), world=world)


def change(where: int, **values: object) -> Prepare:
    def inject(bench: Bench) -> None:
        readings = rows()
        readings[where] |= values
        put(bench, readings)

    return inject


def _renamed(bench: Bench) -> None:
    put(bench, [{("water_l" if name == "litres" else name): value for name, value in row.items()} for row in rows()])


def _old_target(bench: Bench) -> None:
    bench.replace("sql/target.sql", "cost DECIMAL(10, 2)", "cost DECIMAL(10, 2), audited BOOLEAN")


def _limit_gone(bench: Bench) -> None:
    bench.replace("wells.py", '"connection_limit")', '"permit")')


def _no_well(bench: Bench) -> None:
    put(bench, [row | ({"well": None} if n % 90 == 7 else {}) for n, row in enumerate(rows())])


CASES = (
    Case(
        name="wells_litres_renamed",
        family="renamed",
        cause="the readings' field litres is called water_l now",
        program=WELLS,
        inject=_renamed,
    ),
    Case(
        name="wells_target_widened",
        family="column_count",
        cause="the owner of the store added a column to the target",
        program=WELLS,
        inject=_old_target,
    ),
    Case(
        name="wells_view_gone",
        family="table_gone",
        cause="the view connection_limit is published as permit now",
        program=WELLS,
        inject=_limit_gone,
        trap="the relation's name is connection_limit",
    ),
    Case(
        name="wells_level_dry",
        family="unparsable",
        cause="a level was entered as the word dry",
        program=WELLS,
        inject=change(211, level_m="dry"),
    ),
    Case(
        name="wells_two_winters",
        family="duplicate",
        cause="the list of rates has the season winter twice",
        program=WELLS,
        inject=edited("rates.csv", "summer,0.34", "winter,0.23\nsummer,0.34"),
        trap="surfaces as a wrong use of a subquery; the log counts rows and seasons",
    ),
    Case(
        name="wells_reading_repeated",
        family="duplicate",
        cause="one well's reading of a day was delivered twice",
        program=WELLS,
        inject=lambda bench: put(bench, [*rows(), rows()[317]]),
        trap="the error advises to change a setting; three steps went well before",
    ),
    Case(
        name="wells_readings_without_well",
        family="null",
        cause="some readings do not say their well",
        program=GATED,
        inject=_no_well,
        trap="surfaces as an exception raised by the user",
    ),
    Case(
        name="wells_not_delivered",
        family="missing_input",
        cause="the readings of the day were not delivered",
        program=WELLS,
        inject=lambda bench: shutil.rmtree(bench.directory / "readings"),
    ),
    Case(
        name="wells_format_not_installed",
        family="environment",
        cause="the tables' format was changed to delta, which is not on the class path",
        program=WELLS,
        inject=edited("sql/target.sql", "USING parquet", "USING delta"),
    ),
)
