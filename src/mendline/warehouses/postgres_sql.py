"""What PostgreSQL says in its own way."""

from __future__ import annotations

import json
from collections.abc import Sequence

from mendline.warehouses.base import ELEMENTS, PATH_DEPTH, Column
from mendline.warehouses.types import family, logical_type

# Types without an equality of their own, or with one that calls different values equal.
UNEQUAL = ("json", "other", "struct", "array", "map")
DOUBTFUL = ("other", "struct", "array", "map")  # may not read back what they write
PLAIN = (
    "boolean",
    "integer",
    "bigint",
    "double",
    "date",
    "timestamp",
    "timestamptz",
    "time",
    "uuid",
)  # no quotes in them
PATHS = """
WITH RECURSIVE walked AS (
  SELECT '' AS path, document AS value, 0 AS depth FROM ({documents}) AS documents
  UNION ALL
  SELECT w.path || inner_ones.step, inner_ones.value, w.depth + 1 FROM walked AS w CROSS JOIN LATERAL (
    SELECT '.' || f.key AS step, f.value
    FROM {j}_each(CASE WHEN {j}_typeof(w.value) = 'object' THEN w.value ELSE '{{}}' END) AS f
    UNION ALL
    SELECT '[]', e.value FROM (
      SELECT value FROM {j}_array_elements(CASE WHEN {j}_typeof(w.value) = 'array' THEN w.value ELSE '[]' END) LIMIT {most}
    ) AS e) AS inner_ones
  WHERE w.depth < {depth}
)
SELECT path, {j}_typeof(value), count(*) FROM walked GROUP BY 1, 2"""
CONCAT = 20  # columns per call, of which a function takes 100 arguments


class PostgresIdiom:
    """PostgreSQL 14 and later: 13, which has no hash of a record, has had no updates since November 2025."""

    address = "ctid"
    temporary = "pg_temp"
    is_view_text = False
    fence = "OFFSET 0"
    has_structs = False

    def checksum(self, row: str) -> str:
        """A sum over 64-bit hashes: unlike bit_xor it does not cancel out pairs. The row's text is made once."""
        return f"count(*), coalesce(sum(hashtextextended(CAST({row} AS text), 0)), 0)"

    def digest(self, columns: Sequence[Column]) -> str:
        """Of the columns whose types have a hash of their own, which is quicker than one of their text."""
        hashed = [_quoted(column.name) for column in columns if _has_hash(column)]
        if hashed:
            return f"hash_record_extended(ROW({', '.join(hashed)}), 0)"
        texts = ", ".join(f"CAST({_quoted(column.name)} AS text)" for column in columns)
        return f"hashtextextended(CAST(ROW({texts}) AS text), 0)"

    def value_digest(self, sql: str) -> str:
        return f"CAST(coalesce(sum(hashtextextended(CAST({sql} AS text), 0)), 0) AS text)"

    def payload(self, columns: Sequence[Column]) -> str:
        """Every value as its text, which PostgreSQL reads back exactly, whatever the type (the session's settings are fixed).

        Written piece by piece: row_to_json looks each type up for each row, and takes three times as long.
        """
        fields = [
            f"{_literal(json.dumps(column.name, ensure_ascii=False) + ':')}, {_json(column)}" for column in columns
        ]
        groups = [", ',', ".join(fields[at : at + CONCAT]) for at in range(0, len(fields), CONCAT)]
        joined = ", ',', ".join(f"concat({group})" for group in groups)
        return f"concat('{{', {joined}, '}}')"

    def unlike(self, columns: Sequence[Column]) -> str:
        """JSON keeps every text; whether a type reads back what it writes is, for some types, the type's own matter."""
        tests = [
            f"CAST(CAST({_text(column)} AS {column.type}) AS text) IS DISTINCT FROM {_text(column)}"
            for column in columns
            if column.logical_type in DOUBTFUL
        ]
        return f"({' OR '.join(tests) or 'FALSE'})"

    def rows_of(self, columns: Sequence[Column], source: str, *kept: str) -> str:
        """Each document is parsed once, into texts; `->>` would do so once per column."""
        texts = ", ".join(f"{_quoted(column.name)} text" for column in columns)
        fields = [
            f"CAST(texts.{_quoted(column.name)} AS {column.type}) AS {_quoted(column.name)}" for column in columns
        ]
        listed = ", ".join([*fields, *(f"kept.{name}" for name in kept)])
        parsed = f"json_to_record(CAST(kept.payload AS json)) AS texts({texts})"
        return f"SELECT {listed} FROM ({source}) AS kept CROSS JOIN LATERAL {parsed}"

    def exactly(self, columns: Sequence[Column]) -> str:
        return ", ".join(f"CAST({_quoted(column.name)} AS text) AS {_quoted(column.name)}" for column in columns)

    def alike(self, column: Column) -> str:
        quoted = _quoted(column.name)
        return f"CAST({quoted} AS text)" if column.logical_type in UNEQUAL else quoted

    def insert_into(self, table: str, columns: Sequence[str]) -> str:
        return f"INSERT INTO {table} ({', '.join(columns)}) OVERRIDING SYSTEM VALUE"

    def matches(self, text: str, pattern: str) -> str:
        return f"({text} ~ {_literal(pattern)})"

    def json_text(self, sql: str) -> str:
        return f"({sql} #>> '{{}}')"

    def cast(self, sql: str, source: str, target: str) -> str:
        """By way of numeric where PostgreSQL reads a text more narrowly than a number, or has no direct cast."""
        was, wanted = (family(logical_type(spelling, "postgres")) for spelling in (source, target))
        is_from_boolean = logical_type(source, "postgres") == "boolean"
        if wanted == "number" and is_from_boolean:
            return f"CAST(CAST({sql} AS integer) AS {target})"
        if wanted == "number" and was == "string":
            return f"CAST(CAST({sql} AS numeric) AS {target})"
        if wanted == "boolean" and was == "number":
            return f"(CAST({sql} AS numeric) <> 0)"
        if wanted == "boolean" and was == "string":
            return f"CAST(btrim({sql}) AS {target})"
        return f"CAST({sql} AS {target})"

    def value_hash(self, text: str) -> str:
        return f"hashtextextended({text}, 0)"

    def smallest(self, hashes: str, share: int) -> str:
        return f"array_agg(DISTINCT {hashes}) FILTER (WHERE {hashes} <= {2**64 // share - 2**63 - 1})"

    def size(self, listed: str) -> str:
        return f"coalesce(cardinality({listed}), 0)"

    def paths_query(self, documents: str, kind: str) -> str:
        """With the functions of the column's own type: a json text may hold what jsonb refuses."""
        return PATHS.format(documents=documents, j=kind, depth=PATH_DEPTH, most=ELEMENTS)

    def either_source(self, table: str, alias: str, stubs: Sequence[str]) -> str:
        return f"{table} AS {alias}"

    def either_column(self, alias: str, column: Column) -> str | None:
        """Out of the row as JSON, which has the columns that the table has when it is read.

        A column that a view names cannot be dropped or retyped under it; one that it finds in the row's JSON can.
        """
        if column.logical_type in UNEQUAL and column.logical_type != "json":
            return None
        value = f"to_jsonb({_quoted(alias)}) {'->' if column.logical_type == 'json' else '->>'} {_literal(column.name)}"
        return f"CAST(({value}) AS {column.type})"

    def failure(self, message: str, sql: str, target: str) -> str:
        """A text that is no boolean. The empty piece of `sql` keeps the planner from evaluating it beforehand."""
        text = f"{_literal(message)} || substr(CAST({sql} AS text), 1, 0)"
        return f"CAST(CAST(CAST({text} AS boolean) AS text) AS {target})"


def _text(column: Column) -> str:
    return f"CAST({_quoted(column.name)} AS text)"


def _json(column: Column) -> str:
    """A column's text as a JSON string, or null; what has neither quotes nor backslashes needs no escaping."""
    is_plain = column.logical_type in PLAIN or column.logical_type.startswith("decimal")
    string = f"""'"' || {_text(column)} || '"'""" if is_plain else f"CAST(to_json({_text(column)}) AS text)"
    return f"coalesce({string}, 'null')"


def _has_hash(column: Column) -> bool:
    return column.logical_type not in UNEQUAL or column.type == "jsonb"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
