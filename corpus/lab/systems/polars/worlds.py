"""The healthy worlds: a day of wind farm output, a day of clinic visits."""

from __future__ import annotations

import json

from corpus.lab.bench import Bench
from corpus.lab.case import Program
from corpus.lab.services import web

FARMS = ("brae", "corrie", "dunmore")
TABLES = """
import polars as pl
ids = [f"T{n:03d}" for n in range(1, 31)]
farms = ["brae", "corrie", "dunmore"] * 10
plan = {"turbine_id": ids, "farm": farms, "expected_kwh": [410] * 30, "rated_kw": [500] * 30}
pl.DataFrame(plan).write_parquet("forecast/plan.parquet")
"""
CLINIC_TABLES = """
import polars as pl
patients = [f"PT-{n:04d}" for n in range(300)]
insured = {"patient_ref": patients, "insurer": ["AOK", "TK", "DAK"] * 100, "share_pct": [80, 90, 100] * 100}
pl.DataFrame(insured).write_parquet("insurers.parquet")
specialty = pl.Enum(["cardiology", "dermatology", "paediatrics", "surgery"])
row = {"ref": "PT-0001", "insurer": "TK", "specialty": "surgery", "minutes": 40, "due_cents": 1200}
pl.DataFrame([row], schema_overrides={"specialty": specialty}).write_parquet("history.parquet")
"""


def tell(bench: Bench, script: str) -> None:
    """Run a preparation written in polars."""
    bench.run(str(bench.python), "-c", script)


def wind(bench: Bench) -> None:
    bench.path("forecast/plan.parquet")
    tell(bench, TABLES)
    for number in range(1, 31):
        rows = [
            f"T{number:03d},2026-05-04T{hour:02d}:{minute:02d},{60 + number + hour},{4 + hour % 9}.5,{minute // 15}"
            for hour in range(24)
            for minute in (0, 15, 30, 45)
        ]
        bench.write(
            f"telemetry/T{number:03d}.csv", "\n".join(["turbine_id,slot,output_kwh,wind_ms,state", *rows]) + "\n"
        )
    rates = {"tariffs": [{"farm": farm, "eur_per_mwh": "71.25"} for farm in FARMS]}
    server = web.serve(bench, {"/v2/tariffs": [web.Reply(200, rates)]})
    bench.env.update(TARIFF_URL=server.url, TARIFF_TOKEN="wt_live_5b0c7e21fake")


def visit(number: int) -> dict[str, object]:
    return {
        "visit_id": 9000 + number,
        "patient": {"ref": f"PT-{number % 290:04d}", "born": f"19{50 + number % 49}-0{1 + number % 9}-1{number % 9}"},
        "specialty": ("cardiology", "dermatology", "paediatrics", "surgery")[number % 4],
        "minutes": 10 + number % 50,
        "fee_cents": 2500 + number * 7,
        "admitted": f"{1 + number % 28:02d}.04.2026",
    }


def clinics(bench: Bench) -> None:
    bench.write("visits.ndjson", "".join(json.dumps(visit(number)) + "\n" for number in range(800)))
    tell(bench, CLINIC_TABLES)


WIND = Program(name="wind", command=("{python}", "settle_wind.py"), files=("settle_wind.py",), world=wind)
NIGHTLY = Program(
    name="wind_nightly", command=("bash", "nightly.sh", "{python}"), files=("settle_wind.py", "nightly.sh"), world=wind
)
CLINICS = Program(name="clinics", command=("{python}", "clinic_visits.py"), files=("clinic_visits.py",), world=clinics)
