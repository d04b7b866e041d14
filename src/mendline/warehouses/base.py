"""What Mendline asks of a warehouse: sessions, the catalogue, and a way to print canonical SQL for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column (or, when flattened, one leaf of a nested column).

    `name` is as the engine gives it (a dotted path for a leaf). `type` is the engine's own spelling. `logical_type` is one
    of: "boolean", "integer", "bigint", "decimal(p,s)", "double", "string", "date", "timestamp", "timestamptz", "time",
    "binary", "json", "uuid", "struct", "array", "map", "other". `position` is 1-based.
    """

    name: str
    type: str
    logical_type: str
    is_nullable: bool
    position: int


@dataclass(frozen=True, kw_only=True)
class TableSchema:
    """The columns of one table or view, in catalogue order. `table` is "schema.name"."""

    table: str
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column | None:
        """The column of exactly that name; None when there is none."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(column.name for column in self.columns)


class Session(Protocol):
    """One connection inside one transaction (a write session) or outside any (a read session)."""

    def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and give its rows."""
        ...

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> int:
        """Run one statement; the number of rows it changed, -1 when the engine does not say."""
        ...

    def schema(self, table: str) -> TableSchema | None:
        """The schema of a table or view; None when there is none. A view that no longer binds raises `Rejected`."""
        ...

    def view_sql(self, view: str) -> str | None:
        """The SELECT that defines a view; None when there is no such view."""
        ...


class Warehouse(Protocol):
    """One warehouse. Sessions are short; nothing is held between them."""

    name: str
    dialect: str  # the sqlglot dialect
    ledger_table: str  # "schema.table" that effects are recorded in, created on first use

    def check(self) -> tuple[str, ...]:
        """Open it; one sentence per thing that Mendline may do here. Raises `ConfigError` or `Unavailable`."""
        ...

    def reading(self) -> AbstractContextManager[Session]:
        """A read-only session. It never makes a pipeline wait or fail. Raises `Unavailable` after a bounded wait."""
        ...

    def writing(self) -> AbstractContextManager[Session]:
        """A session in one transaction: committed when the block ends, rolled back when it raises.

        Raises: `Unavailable` after a bounded wait for the engine's lock, with nothing changed.
        """
        ...

    def quote(self, identifier: str) -> str:
        """One identifier (not a dotted path), quoted for this engine."""
        ...

    def safe_cast(self, expression: str, logical_type: str) -> str:
        """An expression that casts, giving NULL (never an error) for a value that cannot be cast."""
        ...

    def close(self) -> None:
        """Release everything. Twice is once."""
        ...
