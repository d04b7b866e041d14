"""dbt: a project on DuckDB and one on PostgreSQL, built as every night."""

from __future__ import annotations

from corpus.lab.case import System
from corpus.lab.systems.dbt import clinic_cases, freight_cases

SYSTEM = System(
    name="dbt",
    cases=clinic_cases.CASES + freight_cases.CASES,
    requirements=("dbt-core==1.11.16", "dbt-duckdb==1.11.1", "dbt-postgres==1.11.0"),
    debian=("postgresql-15",),
    environment={"DO_NOT_TRACK": "1", "DBT_SEND_ANONYMOUS_USAGE_STATS": "0"},
)
