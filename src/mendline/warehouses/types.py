"""Types across engines: an engine's spelling to our logical type and back, and which changes lose nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

from sqlglot import exp
from sqlglot.errors import ParseError, TokenError

from mendline.warehouses.base import Column, TableSchema

LOGICAL: dict[str, str] = {
    "BOOLEAN": "boolean",
    "TINYINT": "integer",
    "SMALLINT": "integer",
    "MEDIUMINT": "integer",
    "INT": "integer",
    "UTINYINT": "integer",
    "USMALLINT": "integer",
    "UINT": "bigint",
    "BIGINT": "bigint",
    "UBIGINT": "decimal(20,0)",
    "INT128": "decimal(38,0)",
    "UINT128": "decimal(38,0)",
    "FLOAT": "double",
    "DOUBLE": "double",
    "CHAR": "string",
    "NCHAR": "string",
    "VARCHAR": "string",
    "NVARCHAR": "string",
    "TEXT": "string",
    "ENUM": "string",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
    "TIMESTAMPNTZ": "timestamp",
    "TIMESTAMP_S": "timestamp",
    "TIMESTAMP_MS": "timestamp",
    "TIMESTAMP_NS": "timestamp",
    "DATETIME": "timestamp",
    "TIMESTAMPTZ": "timestamptz",
    "TIMESTAMPLTZ": "timestamptz",
    "TIME": "time",
    "TIMETZ": "time",
    "BINARY": "binary",
    "VARBINARY": "binary",
    "JSON": "json",
    "JSONB": "json",
    "UUID": "uuid",
    "STRUCT": "struct",
    "LIST": "array",
    "ARRAY": "array",
    "MAP": "map",
}

COLUMN_TYPES: dict[str, str] = {
    "boolean": "BOOLEAN",
    "integer": "INT",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "string": "TEXT",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
    "time": "TIME",
    "binary": "VARBINARY",
    "json": "JSON",
    "uuid": "UUID",
}

# Widenings between types of different names; those within one kind go by width (WIDTHS), those of decimals by digits.
# Integer to decimal or double is left out on purpose: fractions are cut when values are written back to an integer.
# Source: Delta Lake, "Type widening" (supported changes and their exceptions), and Apache Iceberg spec v2, "Schema
# Evolution" (int to long, float to double, decimal(P, S) to decimal(P2, S)), both read in November 2026.
WIDENINGS: frozenset[tuple[str, str]] = frozenset({("date", "timestamp")})

# Families within which values mean the same thing in another spelling: the ground on which a renamed column may be sought.
FAMILIES: dict[str, str] = {
    "integer": "number",
    "bigint": "number",
    "double": "number",
    "decimal": "number",
    "date": "time",
    "timestamp": "time",
    "timestamptz": "time",
    "uuid": "string",
}

# The bits of each integer and float type; a wider one of the same kind holds every value of a narrower.
WIDTHS: dict[str, dict[str, int]] = {
    "signed": {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64, "INT128": 128},
    "unsigned": {"UTINYINT": 8, "USMALLINT": 16, "UINT": 32, "UBIGINT": 64, "UINT128": 128},
    "float": {"FLOAT": 32, "DOUBLE": 64},
}
# What DECIMAL without digits means. PostgreSQL's has no limit; the most that can be declared stands for it.
DECIMAL_DEFAULT: dict[str, tuple[int, int]] = {"duckdb": (18, 3), "postgres": (1000, 500)}
# Text types by whether they may have a length; CHAR is left out, since it pads what it holds.
TEXTS = ("TEXT", "VARCHAR")
DECIMAL = re.compile(r"^decimal\((\d+),\s*(-?\d+)\)$")


@cache
def _parsed(spelling: str, dialect: str) -> exp.DataType | None:
    try:
        return exp.DataType.build(spelling, dialect=dialect)
    except (ParseError, TokenError, ValueError):
        return None


def _kind(parsed: exp.DataType) -> str:
    """The name of the type, without its arguments; "" for a type of the user's own."""
    return str(getattr(parsed.this, "name", ""))


def logical_type(spelling: str, dialect: str) -> str:
    """Give our name for an engine's type; "other" for one that we do not know."""
    parsed = _parsed(spelling, dialect)
    if parsed is None:
        return "other"
    if _kind(parsed) in ("DECIMAL", "BIGDECIMAL"):
        digits = [int(part.name) for part in parsed.expressions]
        precision, scale = (*digits, 0)[:2] if digits else DECIMAL_DEFAULT.get(dialect, (38, 0))
        return f"decimal({precision},{scale})"
    return LOGICAL.get(_kind(parsed), "other")


def column_type(logical: str, dialect: str) -> str:
    """Spell a logical type for an engine; what is not a logical type is taken as the engine's own spelling."""
    if DECIMAL.match(logical):
        return exp.DataType.build(logical).sql(dialect=dialect)
    known = COLUMN_TYPES.get(logical)
    return exp.DataType.build(known).sql(dialect=dialect) if known else logical


def same_type(one: str, other: str, dialect: str) -> bool:
    """Whether two spellings name one type (`INT` and `INTEGER`)."""
    if one.upper() == other.upper():
        return True
    first, second = _parsed(one, dialect), _parsed(other, dialect)
    return first is not None and first == second


def family(logical: str) -> str:
    """The family of a logical type: number, time, string, or the type itself when it stands alone."""
    return FAMILIES.get(logical.split("(", maxsplit=1)[0], logical)


def is_widening(old: str, new: str, dialect: str) -> bool:
    """Whether every value of type `old` is unchanged in `new`, and `new` holds more (engine spellings).

    Decimals widen when neither the digits before nor those after the point shrink, and the scale stays: a scale that
    grows is accepted by some engines and unreadable in others. Source: Apache Iceberg spec, "Schema Evolution".
    """
    before, after = _parsed(old, dialect), _parsed(new, dialect)
    if before is None or after is None or same_type(old, new, dialect):
        return False
    if (logical_type(old, dialect), logical_type(new, dialect)) in WIDENINGS:
        return True
    was, now = (DECIMAL.match(logical_type(spelling, dialect)) for spelling in (old, new))
    if was and now and _kind(before) == _kind(after):
        return was[2] == now[2] and int(now[1]) > int(was[1])
    if _kind(before) in TEXTS and _kind(after) in TEXTS:
        return _length(before) < _length(after)
    return _holds_more(_kind(before), _kind(after))


def _length(parsed: exp.DataType) -> float:
    return float(parsed.expressions[0].name) if parsed.expressions else float("inf")


def _holds_more(before: str, after: str) -> bool:
    for widths in WIDTHS.values():
        if before in widths and after in widths:
            return widths[after] > widths[before]
    bits, room = WIDTHS["unsigned"].get(before), WIDTHS["signed"].get(after)
    return bits is not None and room is not None and room > bits


def is_narrowing(old: str, new: str, dialect: str) -> bool:
    """Whether `new` holds less than `old` and both are of one kind (the reverse of a widening)."""
    return is_widening(new, old, dialect)


def leaves(schema: TableSchema, dialect: str) -> TableSchema:
    """Flatten nested columns to their leaves (`delivery.address.city`), in order; arrays and maps are leaves themselves.

    A name that itself holds a dot stays as it is and is then no path; nullability is that of the outermost column.
    """
    flat: list[Column] = []
    for column in schema.columns:
        parts = _walk(column.name, column.type, dialect)
        if parts == [(column.name, column.type)]:  # what its adapter says of it stands
            flat.append(replace(column, position=len(flat) + 1))
            continue
        for path, spelling in parts:
            flat.append(
                Column(
                    name=path,
                    type=spelling,
                    logical_type=logical_type(spelling, dialect),
                    is_nullable=column.is_nullable,
                    position=len(flat) + 1,
                )
            )
    return TableSchema(table=schema.table, columns=tuple(flat))


def fields(spelling: str, dialect: str) -> tuple[tuple[str, str], ...]:
    """The fields of a struct type: (name, type) in order; empty for any other type."""
    parsed = _parsed(spelling, dialect)
    if parsed is None or _kind(parsed) != "STRUCT":
        return ()
    return tuple(
        (part.name, part.args["kind"].sql(dialect=dialect))
        for part in parsed.expressions
        if isinstance(part, exp.ColumnDef)
    )


def _walk(path: str, spelling: str, dialect: str) -> list[tuple[str, str]]:
    inner = fields(spelling, dialect)
    if not inner:
        return [(path, spelling)]
    return [leaf for name, kind in inner for leaf in _walk(f"{path}.{name}", kind, dialect)]
