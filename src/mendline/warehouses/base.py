"""What Mendline asks of a warehouse: sessions, the catalogue, and a way to print canonical SQL for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from mendline.warehouses.ddl import Change

PATH_DEPTH = 5
ELEMENTS = 20


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

    def outputs(self, sql: str) -> tuple[tuple[str, str], ...]:
        """The columns that a SELECT gives: (name, type in the engine's spelling). Raises `Rejected` when it does not bind."""
        ...

    def lock(self, table: str) -> None:
        """Keep every other writer off a table until this session ends (a bounded wait); readers go on."""
        ...

    def view_statements(self, view: str, sql: str) -> tuple[str, ...]:
        """What must be executed so that the view is defined by `sql`, whoever may read the view keeping that right.

        No effect. Raises: `NotSupported` with the reason when the engine cannot without harm to something else.
        """
        ...

    def address(self, table: str) -> str:
        """An expression over a table's rows that tells exact copies apart while nothing writes. No effect."""
        ...

    def obstacle_to(self, change: Change, table: str, column: str) -> str:
        """What stands in the way of a change of a table's column, as `ddl.TABLE` has it; "" when nothing does. No effect."""
        ...

    def obstacle_to_moving(self, table: str) -> str:
        """Why rows cannot be taken out of a table and put back as they were; "" when they can. No effect."""
        ...

    def obstacle_to_parking(self, table: str) -> str:
        """Why a table cannot be renamed for a moment to bring an unbound view back; "" when it can. No effect."""
        ...


class Idiom(Protocol):
    """What every engine says in its own way. All of it is text: SQL expressions, or parts of statements.

    Expressions that are handed in may be used more than once and have no effect. A type is the engine's own spelling.
    """

    address: str  # a pseudo column that tells exact copies of a row of an ordinary table apart while nothing writes
    temporary: str  # the schema in which temporary tables stand
    is_view_text: (
        bool  # a view is kept as text: it may stand unbound, and follows whatever stands under its tables' names
    )
    fence: str  # the end of a subquery whose expressions are to be evaluated once, not once per mention
    has_structs: bool  # struct types, whose fields are columns of their own

    def checksum(self, row: str) -> str:
        """Aggregates over a row alias (count first) that do not depend on the order of rows."""
        ...

    def digest(self, columns: Sequence[Column]) -> str:
        """A number that is equal for rows with equal columns: to find candidates quickly, not to prove anything."""
        ...

    def value_digest(self, sql: str) -> str:
        """An aggregate that is equal for equal bags of values, whatever their order; 0 for none."""
        ...

    def payload(self, columns: Sequence[Column]) -> str:
        """A row's columns as one JSON text from which `rows_of` brings back each exactly."""
        ...

    def unlike(self, columns: Sequence[Column]) -> str:
        """A condition over a row, never NULL: whether `rows_of` would not bring its columns back exactly.

        Only columns of types are looked at that an engine does not always read back as it writes them.
        """
        ...

    def rows_of(self, columns: Sequence[Column], source: str, *kept: str) -> str:
        """A SELECT that gives the columns, by name, back from the JSON text in column `payload` of `source`, a SELECT.

        With the columns of `source` that are `kept`.
        """
        ...

    def exactly(self, columns: Sequence[Column]) -> str:
        """A select list of the columns in a form in which only equal values are equal."""
        ...

    def alike(self, column: Column) -> str:
        """A column in a form that can be grouped by, for copies of a row."""
        ...

    def insert_into(self, table: str, columns: Sequence[str]) -> str:
        """The beginning of an INSERT that sets every one of these (quoted) columns."""
        ...

    def matches(self, text: str, pattern: str) -> str:
        """Whether a regular expression (plain text, searched for) is found in a text."""
        ...

    def json_text(self, sql: str) -> str:
        """The text of a JSON scalar, without the JSON quotes."""
        ...

    def cast(self, sql: str, source: str, target: str) -> str:
        """A cast that accepts exactly the values of type `source` for which `safe_cast` gives one, and fails on others."""
        ...

    def value_hash(self, text: str) -> str:
        """A 64-bit hash of a text."""
        ...

    def smallest(self, hashes: str, share: int) -> str:
        """An aggregate over `value_hash`es: the distinct ones in the lowest 1/`share` of their range, ascending, as a list."""
        ...

    def size(self, listed: str) -> str:
        """How many entries a list has; 0 for NULL."""
        ...

    def paths_query(self, documents: str, kind: str) -> str:
        """A query of path, kind and count over the JSON documents in column `document` of a SELECT; `kind` is its type.

        One row per path and kind of value (object, array, string, number, boolean, null) down to `PATH_DEPTH`. A path is
        "" for the document, `.key` for a field and `[]` for an element, of which the first `ELEMENTS` of each array count.
        """
        ...

    def either_source(self, table: str, alias: str, stubs: Sequence[str]) -> str:
        """A FROM item that reads a table and still binds when columns of the `stubs` (empty typed SELECTs) come or go."""
        ...

    def either_column(self, alias: str, column: Column) -> str | None:
        """A column of an `either_source`, NULL when the table does not have it; None when the type does not allow that."""
        ...

    def failure(self, message: str, sql: str, target: str) -> str:
        """An expression of type `target` that fails with the message when it is evaluated; `sql` is any column then."""
        ...


class Warehouse(Protocol):
    """One warehouse. Sessions are short; nothing is held between them."""

    name: str
    dialect: str  # the sqlglot dialect
    idiom: Idiom
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
