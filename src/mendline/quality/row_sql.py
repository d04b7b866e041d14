"""The few sentences about rows that every engine says in its own way: a row's address, its checksum, its JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mendline.errors import NotSupported
from mendline.warehouses.base import Column, TableSchema, Warehouse


@dataclass(frozen=True, kw_only=True)
class RowSql:
    """One engine's way.

    `address` is a pseudo column that tells exact copies apart while nothing writes. `digest` takes a row alias and gives a
    value that is equal for equal rows, `checksum` aggregates of it that do not depend on the order of rows. `payload`
    takes the table's columns and gives a row's JSON text; `columns_of` takes them with the name of the text column and
    gives the typed columns back.
    """

    address: str
    digest: Callable[[str], str]
    checksum: Callable[[str], str]
    payload: Callable[[Sequence[Column]], str]
    columns_of: Callable[[Sequence[Column], str], str]


def row_sql(warehouse: Warehouse) -> RowSql:
    """The warehouse's own way. Raises: `NotSupported` for an engine whose rows cannot be kept and put back."""
    found = ENGINES.get(warehouse.dialect)
    if found is None:
        raise NotSupported(
            f"warehouse `{warehouse.name}`: rows of a {warehouse.dialect} table cannot be set aside yet",
            system=warehouse.name,
            operation="set rows aside",
        )
    return found


def check_addressable(warehouse: Warehouse, schema: TableSchema) -> None:
    """Raises: `NotSupported` when a column of the table hides the row's address."""
    address = row_sql(warehouse).address
    if any(name.lower() == address for name in schema.names):
        raise NotSupported(
            f"`{schema.table}` has a column named `{address}`, so its rows cannot be told apart; rename the column",
            system=warehouse.name,
            operation="set rows aside",
        )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# JSON text and bytes do not come back from a JSON document as they went in (white space, escapes), their text does.
_DUCKDB_AS_TEXT = ("JSON", "BLOB")


def _duckdb_payload(columns: Sequence[Column]) -> str:
    parts = [
        f"{_quoted(column.name)} := "
        + (f"CAST({_quoted(column.name)} AS VARCHAR)" if column.type in _DUCKDB_AS_TEXT else _quoted(column.name))
        for column in columns
    ]
    return f"CAST(to_json(struct_pack({', '.join(parts)})) AS VARCHAR)"


def _duckdb_columns(columns: Sequence[Column], text: str) -> str:
    row_type = ", ".join(
        f"{_quoted(column.name)} {'VARCHAR' if column.type in _DUCKDB_AS_TEXT else column.type}" for column in columns
    )
    row = f"CAST(CAST({text} AS JSON) AS STRUCT({row_type}))"
    return ", ".join(
        f"CAST(({row}).{_quoted(column.name)} AS {column.type}) AS {_quoted(column.name)}" for column in columns
    )


ENGINES = {
    "duckdb": RowSql(
        address="rowid",
        digest=lambda row: f"hash({row})",
        checksum=lambda row: f"count(*), coalesce(bit_xor(hash({row})), 0), coalesce(sum(hash({row})), 0)",
        payload=_duckdb_payload,
        columns_of=_duckdb_columns,
    ),
}
