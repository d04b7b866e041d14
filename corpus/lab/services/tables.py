"""Tables behind a fake warehouse: SQLite runs the statements, and says in values what the warehouse says in its own words."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Trouble(Exception):
    """Why a statement fails: `kind` is `table`, `column`, `null`, `syntax`, `columns` or `other`; `name` what it is about."""

    kind: str
    name: str
    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class Answered:
    names: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    affected: int


_TROUBLES = (
    ("table", r"no such table: (\S+)"),
    ("column", r"no such column: (\S+)|has no column named (\S+)"),
    ("null", r"NOT NULL constraint failed: (\S+)"),
    ("columns", r"(table \S+ has \d+ columns but \d+ values were supplied)"),
    ("syntax", r'near "(.+)": syntax error'),
)


@dataclass
class Store:
    """Tables in schemas (`schema.table`), in memory."""

    schemas: tuple[str, ...]
    link: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        self.link = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        for schema in self.schemas:
            self.link.execute(f"ATTACH ':memory:' AS {schema}")

    def script(self, statements: str) -> None:
        self.link.executescript(statements)

    def columns(self, table: str) -> list[tuple[str, str, bool]]:
        """Give name, declared type and whether a value is required, of every column; raises `Trouble` without the table."""
        schema, name = table.split(".")
        found = self.link.execute(f"PRAGMA {schema}.table_info('{name}')").fetchall()
        if not found:
            raise Trouble("table", table)
        return [(each[1], each[2].upper(), bool(each[3])) for each in found]

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self.link.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)

    def run(self, sql: str, values: Sequence[Any] = ()) -> Answered:
        try:
            cursor = self.link.execute(sql, values)
            rows = cursor.fetchall()
        except sqlite3.Error as error:
            raise _told(str(error), sql) from error
        names = tuple(each[0] for each in cursor.description or ())
        return Answered(names, tuple(_type(rows, at) for at in range(len(names))), rows, cursor.rowcount)


def _type(rows: Sequence[Sequence[Any]], at: int) -> str:
    kinds = {type(row[at]) for row in rows} - {type(None)}
    if kinds and kinds <= {int}:
        return "INTEGER"
    return "FLOAT" if kinds and kinds <= {int, float} else "STRING"


def _told(message: str, sql: str) -> Trouble:
    for kind, pattern in _TROUBLES:
        if found := re.search(pattern, message):
            name = next(each for each in found.groups() if each)
            return Trouble(kind, name, *_place(kind, name, sql))
    return Trouble("other", message)


def _place(kind: str, name: str, sql: str) -> tuple[int, int]:
    """Give line and column of the word: where it stands first, but of a mistake in the grammar where it stands last."""
    found = [each.start() for each in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", sql, re.IGNORECASE)]
    at = (found[-1] if kind == "syntax" else found[0]) if found else 0
    before = sql[:at]
    return before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1
