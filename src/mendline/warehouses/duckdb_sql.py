"""What DuckDB says in its own way."""

from __future__ import annotations

from collections.abc import Sequence

from mendline.warehouses.base import ELEMENTS, PATH_DEPTH, Column
from mendline.warehouses.types import DECIMAL

HASH_SPACE = 2**64
# JSON text and bytes do not come back from a JSON document as they went in (white space, escapes), their text does.
AS_TEXT = ("JSON", "BLOB")
EXACT = ("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "VARCHAR", "DATE", "TIMESTAMP", "UUID")
STEP = '\\.("[^"]*"|[^.\\["]+)|\\[\\d+\\]'  # one step of a path, as DuckDB writes it
KIND = """CASE type WHEN 'OBJECT' THEN 'object' WHEN 'ARRAY' THEN 'array' WHEN 'VARCHAR' THEN 'string'
WHEN 'BOOLEAN' THEN 'boolean' WHEN 'NULL' THEN 'null' ELSE 'number' END"""
DOUBLE_DIGITS = 15  # so many decimal digits survive a reader of JSON that goes by way of a double


class DuckDBIdiom:
    """DuckDB 2."""

    address = "rowid"
    temporary = "temp"
    is_view_text = True
    fence = ""
    has_structs = True

    def checksum(self, row: str) -> str:
        return f"count(*), coalesce(bit_xor(hash({row})), 0), coalesce(sum(hash({row})), 0)"

    def digest(self, columns: Sequence[Column]) -> str:
        return f"hash({', '.join(_quoted(column.name) for column in columns)})"

    def value_digest(self, sql: str) -> str:
        return f"CAST(coalesce(sum(hash({sql})), 0) AS VARCHAR)"

    def payload(self, columns: Sequence[Column]) -> str:
        parts = [f"{_quoted(column.name)} := {_sent(column)}" for column in columns]
        return f"CAST(to_json(struct_pack({', '.join(parts)})) AS VARCHAR)"

    def unlike(self, columns: Sequence[Column]) -> str:
        """JSON has no number that is none, and a reader of it may round: such a value is read back and compared."""
        doubtful = [column for column in columns if not _is_exact(column)]
        row = _row(doubtful, self.payload(doubtful)) if doubtful else ""
        tests = [f"{_field(row, column)} IS DISTINCT FROM {_quoted(column.name)}" for column in doubtful]
        return f"({' OR '.join(tests) or 'FALSE'})"

    def rows_of(self, columns: Sequence[Column], source: str, *kept: str) -> str:
        row = _row(columns, "payload")
        fields = [f"{_field(row, column)} AS {_quoted(column.name)}" for column in columns]
        return f"SELECT {', '.join([*fields, *kept])} FROM ({source}) AS kept"

    def exactly(self, columns: Sequence[Column]) -> str:
        return ", ".join(_quoted(column.name) for column in columns)

    def alike(self, column: Column) -> str:
        return _quoted(column.name)

    def insert_into(self, table: str, columns: Sequence[str]) -> str:
        return f"INSERT INTO {table} ({', '.join(columns)})"

    def matches(self, text: str, pattern: str) -> str:
        return f"regexp_matches({text}, {_literal(pattern)})"

    def json_text(self, sql: str) -> str:
        return f"({sql} ->> '$')"

    def cast(self, sql: str, source: str, target: str) -> str:
        return f"CAST({sql} AS {target})"

    def value_hash(self, text: str) -> str:
        return f"hash({text})"

    def smallest(self, hashes: str, share: int) -> str:
        return f"list_sort(list(DISTINCT {hashes}) FILTER (WHERE {hashes} <= {HASH_SPACE // share - 1}))"

    def size(self, listed: str) -> str:
        return f"coalesce(len({listed}), 0)"

    def paths_query(self, documents: str, kind: str) -> str:
        walked = f"SELECT t.fullkey, t.type FROM ({documents}) AS d, json_tree(d.document) AS t"
        deep = f"len(regexp_extract_all(fullkey, '{STEP}')) <= {PATH_DEPTH}"
        late = (
            f"len(list_filter(regexp_extract_all(fullkey, '\\[(\\d+)\\]', 1), lambda i: i::INTEGER >= {ELEMENTS})) = 0"
        )
        elements = "regexp_replace(substr(fullkey, 2), '\\[\\d+\\]', '[]', 'g')"
        path = f"""regexp_replace({elements}, '\\."([^"]*)"', '.\\1', 'g')"""
        return f"SELECT {path}, {KIND}, count(*) FROM ({walked}) AS walked WHERE {deep} AND {late} GROUP BY 1, 2"

    def either_source(self, table: str, alias: str, stubs: Sequence[str]) -> str:
        parts = [f"SELECT * FROM {table}", *stubs]
        return f"({' UNION ALL BY NAME '.join(parts)}) AS {alias}"

    def either_column(self, alias: str, column: Column) -> str | None:
        return f"{_quoted(alias)}.{_quoted(column.name)}"

    def failure(self, message: str, sql: str, target: str) -> str:
        return f"error({_literal(message)})"


def _sent(column: Column) -> str:
    """What of a column goes into a JSON document."""
    return f"CAST({_quoted(column.name)} AS VARCHAR)" if column.type in AS_TEXT else _quoted(column.name)


def _row(columns: Sequence[Column], text: str) -> str:
    """A document of columns as a struct."""
    kinds = ((column, "VARCHAR" if column.type in AS_TEXT else column.type) for column in columns)
    row_type = ", ".join(f"{_quoted(column.name)} {kind}" for column, kind in kinds)
    return f"CAST(CAST({text} AS JSON) AS STRUCT({row_type}))"


def _field(row: str, column: Column) -> str:
    return f"CAST(({row}).{_quoted(column.name)} AS {column.type})"


def _is_exact(column: Column) -> bool:
    """Whether every value of the column's type is read back from JSON as it was written."""
    digits = DECIMAL.match(column.logical_type)
    return column.type in EXACT or (digits is not None and int(digits[1]) <= DOUBLE_DIGITS)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
