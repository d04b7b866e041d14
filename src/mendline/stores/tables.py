"""The tables of the state database; values stand in them as JSON, columns only where a query needs one."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect

SCHEMA_VERSION = 3  # of the versions so far, each only adds tables


class Moment(TypeDecorator[datetime]):
    """An aware UTC time as ISO text of fixed width, so that text order is time order on every database."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


metadata = MetaData()

# The prefix lets the tables live in a PostgreSQL database that others use too.
settings = Table(
    "mendline_settings",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False),
)

incidents = Table(
    "mendline_incidents",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("fingerprint", Text, nullable=False, unique=True),
    Column("body", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("outcome_kind", String(32), index=True),
    Column("outcome", Text),
    Column("report_markdown", Text, nullable=False),
)

feedback = Table(
    "mendline_feedback",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("incident", ForeignKey(incidents.c.number), nullable=False, index=True),
    Column("body", Text, nullable=False),
)

cursors = Table(
    "mendline_cursors",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

snapshots = Table(
    "mendline_snapshots",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("dataset", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("taken_at", Moment, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("dataset", "run_id"),
)

accommodations = Table(
    "mendline_accommodations",
    metadata,
    Column("dataset", Text, primary_key=True),
    Column("body", Text, nullable=False),
)

intents = Table(
    "mendline_intents",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False, unique=True),
    Column("incident_id", Text, nullable=False, index=True),
    Column("repair", Text, nullable=False),
    Column("plan_json", Text, nullable=False),
    Column("intended_at", Moment, nullable=False),
    Column("receipt", Text),
    Column("undone_at", Moment),
)

approvals = Table(
    "mendline_approvals",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False, unique=True),
    Column("incident_id", Text, nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("answer", Text),
)

logs = Table(
    "mendline_logs",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("incident_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("incident_id", "run_id"),
)

claims = Table(
    "mendline_claims",
    metadata,
    Column("key", Text, primary_key=True),
    Column("owner", Text, nullable=False),
)

leases = Table(
    "mendline_leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("expires_at", Moment, nullable=False),
)

# Who is not in here is dead, and stays dead: a worker that comes back takes a new name.
workers = Table(
    "mendline_workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("beat_at", Moment, nullable=False),
)
