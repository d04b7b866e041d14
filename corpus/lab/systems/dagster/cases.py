"""Dagster: a job of ops by its command line, and assets that are materialised in process."""

from __future__ import annotations

from corpus.lab.case import System
from corpus.lab.systems.dagster import harbour_cases, observatory_cases

SYSTEM = System(
    name="dagster",
    cases=harbour_cases.CASES + observatory_cases.CASES,
    requirements=("dagster==1.13.29", "duckdb==2.0.0", "pandas==3.1.1", "requests==2.34.2"),
    environment={"DAGSTER_DISABLE_TELEMETRY": "1"},
)
