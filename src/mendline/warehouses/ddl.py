"""What each engine lets Mendline change in place, and what stands in the way: a table of data, with sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Change = Literal[
    "widen_column",
    "add_column",
    "add_leaf",
    "drop_column",
    "drop_not_null",
    "redefine_view_same_columns",
    "redefine_view_other_columns",
    "restore_unbound_view",
]


@dataclass(frozen=True, kw_only=True)
class Ddl:
    """One change on one engine.

    `obstacles` are the kinds of objects on the column or table (or that depend on the view) under which it is not made,
    because the engine refuses it or because a person must look first. `is_possible` False: the engine has no way at all.
    `most_columns` is how many columns a table may have, None where no limit is known.
    """

    engine: str
    change: Change
    obstacles: frozenset[str] = frozenset()
    is_possible: bool = True
    most_columns: int | None = None
    source: str


_EVERYTHING_ON_A_COLUMN = frozenset(
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
)

TABLE: tuple[Ddl, ...] = (
    Ddl(
        engine="duckdb",
        change="widen_column",
        obstacles=frozenset({"PRIMARY KEY", "UNIQUE", "CHECK", "FOREIGN KEY", "index", "reference"}),
        source="Refused by DuckDB 2.0.0, tried by hand (November 2026): the constraints when they are on the column, an index "
        "when it is anywhere on the table, and while another table's foreign key refers to it.",
    ),
    Ddl(
        engine="duckdb",
        change="add_column",
        source="Goes through on tables with keys, indexes, foreign keys in both directions and generated columns; no NOT NULL "
        "without a default. Tried by hand on 2.0.0 (November 2026).",
    ),
    Ddl(
        engine="duckdb",
        change="add_leaf",
        source="ALTER TABLE ... ADD COLUMN of a path into a struct. Tried by hand on 2.0.0 (November 2026).",
    ),
    Ddl(
        engine="duckdb",
        change="drop_column",
        obstacles=frozenset({"PRIMARY KEY", "UNIQUE", "CHECK", "FOREIGN KEY", "index", "reference"}),
        source="Refused by DuckDB 2.0.0 while the table has an index or another table's foreign key refers to it, and for a "
        "column under a constraint. Tried by hand (November 2026).",
    ),
    Ddl(
        engine="duckdb",
        change="drop_not_null",
        obstacles=frozenset({"PRIMARY KEY", "index", "reference"}),
        source="Refused by DuckDB 2.0.0 for a column of the primary key, and while the table has an index or another table's "
        "foreign key refers to it. Tried by hand (November 2026).",
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
        obstacles=_EVERYTHING_ON_A_COLUMN,
        source="Refused by PostgreSQL 15: used by a view or rule, in a trigger, policy, generated column or partition key "
        "(ALTER TABLE, reference; ATPrepAlterColumnType). Keys, indexes and constraints would be rebuilt under a lock on "
        "the whole table, and the schema change table asks for a person there.",
    ),
    Ddl(
        engine="postgres",
        change="add_column",
        most_columns=1600,
        source="A nullable column without a default is an entry in the catalogue: no rewrite, a lock for a moment. A table has at "
        "most 1600 columns, dropped ones included. PostgreSQL 15, ALTER TABLE and appendix K (limits).",
    ),
    Ddl(
        engine="postgres",
        change="add_leaf",
        is_possible=False,
        source="What is nested is a JSON value or a composite type, and no column of the table. PostgreSQL 15.",
    ),
    Ddl(
        engine="postgres",
        change="drop_column",
        obstacles=_EVERYTHING_ON_A_COLUMN,
        source="Would take indexes and constraints of the column along, and is refused where a view depends on it. PostgreSQL "
        "15, ALTER TABLE.",
    ),
    Ddl(
        engine="postgres",
        change="drop_not_null",
        obstacles=frozenset({"primary key", "partition key", "partitions"}),
        source="Refused for a column of the primary key; a partitioned table hands it on to its partitions, which may each have "
        "their own. PostgreSQL 15, ALTER TABLE.",
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
