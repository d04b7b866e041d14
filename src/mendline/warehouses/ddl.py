"""What each engine lets Mendline change in place, and what stands in the way: a table of data, with sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Change = Literal["widen_column", "redefine_view_same_columns", "redefine_view_other_columns", "restore_unbound_view"]


@dataclass(frozen=True, kw_only=True)
class Ddl:
    """One change on one engine.

    `obstacles` are the kinds of objects on the column or table (or that depend on the view) under which it is not made,
    because the engine refuses it or because a person must look first. `is_possible` False: the engine has no way at all.
    """

    engine: str
    change: Change
    obstacles: frozenset[str] = frozenset()
    is_possible: bool = True
    source: str


TABLE: tuple[Ddl, ...] = (
    Ddl(
        engine="duckdb",
        change="widen_column",
        obstacles=frozenset({"PRIMARY KEY", "UNIQUE", "CHECK", "FOREIGN KEY", "index"}),
        source="Refused by DuckDB 2.0.0, tried by hand (November 2026): the constraints when they are on the column, an index "
        "when it is anywhere on the table.",
    ),
    Ddl(
        engine="duckdb",
        change="redefine_view_same_columns",
        source="CREATE OR REPLACE VIEW; duckdb.org, SQL reference, November 2026.",
    ),
    Ddl(
        engine="duckdb",
        change="redefine_view_other_columns",
        source="A view is kept as text and bound when it is read: nothing depends on its columns. Tried by hand on 2.0.0.",
    ),
    Ddl(
        engine="duckdb",
        change="restore_unbound_view",
        obstacles=frozenset({"index"}),
        source="CREATE VIEW must bind, so an empty table stands in for the landing table, which is renamed for that moment; "
        "2.0.0 renames no table with an index. Tried by hand (November 2026).",
    ),
    Ddl(
        engine="postgres",
        change="widen_column",
        obstacles=frozenset(
            {
                "primary key",
                "unique constraint",
                "exclusion constraint",
                "check constraint",
                "foreign key",
                "index",
                "view",
                "trigger",
                "policy",
                "generated column",
                "partition key",
                "partitions",
                "statistics",
            }
        ),
        source="Refused by PostgreSQL 15: used by a view or rule, in a trigger, policy, generated column or partition key "
        "(ALTER TABLE, reference; ATPrepAlterColumnType). Keys, indexes and constraints would be rebuilt under a lock on "
        "the whole table, and the schema change table asks for a person there.",
    ),
    Ddl(
        engine="postgres",
        change="redefine_view_same_columns",
        source="CREATE OR REPLACE VIEW keeps owner, rights and dependents, and must give the same columns in the same order "
        "with the same types (more may follow at the end). PostgreSQL 15, CREATE VIEW, reference.",
    ),
    Ddl(
        engine="postgres",
        change="redefine_view_other_columns",
        obstacles=frozenset({"view", "function", "rule"}),
        source="Only DROP VIEW and CREATE VIEW; the drop is refused while anything depends on the view. PostgreSQL 15.",
    ),
    Ddl(
        engine="postgres",
        change="restore_unbound_view",
        is_possible=False,
        source="A view is bound to its tables and columns when it is made and cannot stand unbound. PostgreSQL 15.",
    ),
)


def ddl(engine: str, change: Change) -> Ddl:
    """The row for one change on one engine."""
    return next(row for row in TABLE if row.engine == engine and row.change == change)
