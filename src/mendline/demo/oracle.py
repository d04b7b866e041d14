"""The judge: compares a world's warehouse with the one that a healthy run of the same days would have left.

It reads DuckDB files only, never Mendline's own record, so that the demo's figures do not rest on the workflow's opinion of itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import duckdb

MARTS = ("staging", "core", "mart")
EVERYTHING = ("landing", "staging", "core", "mart")
QUARANTINE_SUFFIX = "__quarantine"
SHOWN_DIFFERENCES = 5

CATALOGUE = """
SELECT schema_name || '.' || table_name,
       list(struct_pack(name := column_name, type := data_type) ORDER BY column_index)
FROM duckdb_columns() WHERE database_name = ? AND list_contains(?, schema_name)
  AND (schema_name, table_name) IN (SELECT (schema_name, table_name) FROM duckdb_tables() WHERE database_name = ?)
GROUP BY ALL ORDER BY 1
"""
VIEWS = "SELECT schema_name || '.' || view_name, sql FROM duckdb_views() WHERE database_name = ? AND NOT internal"


class EndState(StrEnum):
    """What the warehouse must look like when every incident of a fault has ended."""

    HEALTHY = "healthy"  # identical to a healthy run of the same days
    MINUS_BAD_ROWS = "minus_bad_rows"  # the same without the injected rows, which all stand in quarantine
    UNTOUCHED = "untouched"  # exactly what the failed run itself left behind


@dataclass(frozen=True, kw_only=True)
class BadRows:
    """The rows that a fault has put into one landing table, by the text of one column, with repetitions."""

    table: str
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the warehouse is in its declared end state; `differences` says where it is not, empty when right."""

    differences: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        """True when no difference was found."""
        return not self.differences


Catalogue = dict[str, list[dict[str, str]]]


def judge(warehouse: Path, reference: Path, *, end_state: EndState, bad_rows: Sequence[BadRows] = ()) -> Verdict:
    """Compare two closed warehouse files, table by table, to the row and both ways.

    Marts and staging count always; an untouched warehouse also has the landing tables, the views and the quarantine of the
    reference. No process may hold either file open for writing.
    """
    with _both(warehouse, reference) as connection:
        untouched = end_state is EndState.UNTOUCHED
        differences = list(_table_differences(connection, EVERYTHING if untouched else MARTS))
        if untouched:
            differences += _view_differences(connection)
        expected = bad_rows if end_state is EndState.MINUS_BAD_ROWS else ()
        differences += _quarantine_differences(connection, expected)
    return Verdict(differences=tuple(differences))


@contextmanager
def _both(warehouse: Path, reference: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        for name, path in (("found", warehouse), ("expected", reference)):
            connection.execute(f"ATTACH '{str(path).replace(chr(39), chr(39) * 2)}' AS {name} (READ_ONLY)")
        yield connection


def _catalogue(connection: duckdb.DuckDBPyConnection, database: str, schemas: Sequence[str]) -> Catalogue:
    tables = dict(connection.execute(CATALOGUE, [database, list(schemas), database]).fetchall())
    return {name: columns for name, columns in tables.items() if not name.endswith(QUARANTINE_SUFFIX)}


def _table_differences(connection: duckdb.DuckDBPyConnection, schemas: Sequence[str]) -> Iterator[str]:
    found, expected = (_catalogue(connection, database, schemas) for database in ("found", "expected"))
    for table in sorted(found.keys() | expected.keys()):
        if table not in found or table not in expected:
            yield f"`{table}` is {'missing' if table in expected else 'not expected'}"
        elif found[table] != expected[table]:
            yield f"`{table}` has the columns {_shape(found[table])}, expected {_shape(expected[table])}"
        else:
            yield from _row_differences(connection, table)


def _shape(columns: list[dict[str, str]]) -> str:
    return ", ".join(f"{column['name']} {column['type']}" for column in columns)


def _row_differences(connection: duckdb.DuckDBPyConnection, table: str) -> Iterator[str]:
    for kind, first, second in (("surplus", "found", "expected"), ("missing", "expected", "found")):
        query = f"FROM {first}.{table} EXCEPT ALL FROM {second}.{table}"
        count, example = connection.execute(f"SELECT count(*), any_value(rows) FROM ({query}) AS rows").fetchone() or (
            0,
            None,
        )
        if count:
            yield f"`{table}` has {count} {kind} rows, e.g. {example}"


def _view_differences(connection: duckdb.DuckDBPyConnection) -> list[str]:
    found, expected = (dict(connection.execute(VIEWS, [database]).fetchall()) for database in ("found", "expected"))
    return [
        f"view `{name}` was changed"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]


def _quarantine_differences(connection: duckdb.DuckDBPyConnection, expected: Sequence[BadRows]) -> Iterator[str]:
    """Conservation: every injected row stands in quarantine, once for each time it was injected, and no other row does."""
    by_table = {f"{rows.table}{QUARANTINE_SUFFIX}": rows for rows in expected}
    present = {
        f"{schema}.{table}"
        for schema, table in connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'found' AND suffix(table_name, ?)",
            [QUARANTINE_SUFFIX],
        ).fetchall()
    }
    for table in sorted(present | by_table.keys()):
        wanted = Counter(by_table[table].values) if table in by_table else Counter()
        held = _held(connection, table, by_table[table].key) if table in present and table in by_table else Counter()
        if table in present and table not in by_table:
            (count,) = connection.execute(f"SELECT count(*) FROM found.{table}").fetchone() or (0,)
            if count:
                yield f"`{table}` holds {count} rows that were not injected"
        elif held != wanted:
            yield (
                f"`{table}` holds {held.total()} rows, {wanted.total()} were injected; "
                f"missing {_some(wanted - held)}, surplus {_some(held - wanted)}"
            )
    yield from _unexplained(connection, sorted(present))


def _held(connection: duckdb.DuckDBPyConnection, table: str, key: str) -> Counter[str]:
    rows = connection.execute(
        f"SELECT payload::JSON ->> ?, count(*) FROM found.{table} GROUP BY 1", [f"$.{key}"]
    ).fetchall()
    return Counter({str(value): count for value, count in rows})


def _unexplained(connection: duckdb.DuckDBPyConnection, tables: Sequence[str]) -> Iterator[str]:
    for table in tables:
        (count,) = connection.execute(
            f"SELECT count(*) FROM found.{table} WHERE coalesce(reason, '') = '' OR coalesce(incident_id, '') = ''"
        ).fetchone() or (0,)
        if count:
            yield f"`{table}` holds {count} rows without an incident or a reason"


def _some(values: Counter[str]) -> str:
    shown = ", ".join(sorted(values)[:SHOWN_DIFFERENCES])
    return shown + (" ..." if len(values) > SHOWN_DIFFERENCES else "") if values else "none"
