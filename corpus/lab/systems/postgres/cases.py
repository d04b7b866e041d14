"""PostgreSQL: clinics (psycopg), freight (ORM), energy (psql scripts), helpdesk (API to jsonb), library (Core), cells (PL/pgSQL)."""

from __future__ import annotations

from corpus.lab.case import System
from corpus.lab.systems.postgres import elsewhere, limits, ours, shapes, values

SYSTEM = System(
    name="postgres",
    requirements=(
        "psycopg[binary]==3.3.9",
        "sqlalchemy==2.1.9",
        "requests==2.34.2",
        "tenacity==9.2.1",
    ),
    debian=("postgresql-15", "locales-all"),
    cases=(*shapes.CASES, *values.CASES, *elsewhere.CASES, *limits.CASES, *ours.CASES),
)
