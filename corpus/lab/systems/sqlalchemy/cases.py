"""SQLAlchemy: a museum's register (ORM, SQLite) and road tolls (Core, reflection, alembic, PostgreSQL)."""

from __future__ import annotations

from corpus.lab.case import System
from corpus.lab.systems.sqlalchemy import register, tolls

SYSTEM = System(
    name="sqlalchemy",
    requirements=("sqlalchemy==2.1.9", "psycopg[binary]==3.3.9", "alembic==1.20.1"),
    debian=("postgresql-15", "locales-all"),
    cases=(*register.CASES, *tolls.CASES),
)
