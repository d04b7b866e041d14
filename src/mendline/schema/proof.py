"""Independent checks of an accommodated view: counted on the view and the landing table, not read off the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mendline.errors import Rejected
from mendline.incident import Check
from mendline.schema.paths import leaf_sql
from mendline.schema.values import likeness
from mendline.schema.view import plain_outputs, read_view
from mendline.snapshots import profile_of
from mendline.stores.base import ColumnProfile
from mendline.warehouses.base import Column, Session, TableSchema, Warehouse
from mendline.warehouses.names import relation
from mendline.warehouses.types import family, leaves, same_type


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What is known from before: the last good profile per leaf, and the columns of the key (from the contract)."""

    profiles: Mapping[str, ColumnProfile] = field(default_factory=dict)
    key: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Output:
    """One output of the view that is a plain column of the landing table, and the SQL that it must equal there.

    `sql` is made from the mapping, apart from how the view was made; `leaf` is its name as expected; `is_restored` when
    the view has to do something for it.
    """

    name: str
    leaf: str
    sql: str
    is_restored: bool


def prove(
    session: Session,
    warehouse: Warehouse,
    parameters: Mapping[str, Any],
    effects: Mapping[str, Any],
    memory: Memory,
) -> tuple[Check, ...]:
    """Check what `apply_schema_migration` left: the view's columns, rows and values, the targets' types. Only reads.

    `parameters` and `effects` are those of its plan and receipt. The ladder: the catalogue is as desired; no row is lost;
    the key has the values that it has in the landing table; every plain column has the values of its source, each row
    those of its own, as the columns that nothing was done to; restored columns look as they did when all was well.
    """
    if parameters["view"] is None:
        return (*target_checks(session, warehouse, parameters), _landing_check(session, warehouse, parameters, effects))
    try:
        given = session.outputs(f"SELECT * FROM {relation(warehouse, parameters['view'])}")
    except Rejected as error:
        return (Check(name="the view binds", passed=False, detail=str(error)),)
    expected = tuple((name, kind) for name, kind in parameters["columns"])
    return (
        Check(name="the view binds", passed=True),
        Check(
            name="the view gives the expected columns",
            passed=given == expected,
            detail="" if given == expected else f"{given} where {expected} was expected",
        ),
        *_row_checks(session, warehouse, parameters, effects, memory),
        *target_checks(session, warehouse, parameters),
    )


def _row_checks(
    session: Session,
    warehouse: Warehouse,
    parameters: Mapping[str, Any],
    effects: Mapping[str, Any],
    memory: Memory,
) -> list[Check]:
    """Rows and values, counted apart from the way in which they were made: only for a view of one row per landing row."""
    reading = read_view(parameters["base_sql"], parameters["landing"], warehouse)
    view = relation(warehouse, parameters["view"])
    try:
        count = int(session.rows(f"SELECT count(*) FROM (SELECT * FROM {view}) AS given")[0][0])
        each = ", ".join(f"count({warehouse.quote(name)})" for name, _ in parameters["columns"])
        session.rows(f"SELECT {each} FROM {view}")
    except Rejected as error:
        return [Check(name="every value of the view can be read", passed=False, detail=str(error))]
    checks = [Check(name="every value of the view can be read", passed=True)]
    if reading is None or not reading.is_plain:
        return checks
    table = relation(warehouse, parameters["landing"])
    landing = int(session.rows(f"SELECT count(*) FROM {table}")[0][0])
    aside, whole = effects["set_aside_count"], effects["landing_count"]
    checks.append(
        Check(
            name="the view has every row of the landing table",
            passed=count == landing == whole,
            detail=f"{count} rows of {landing}; {whole} after {aside} were set aside",
        )
    )
    schema = session.schema(parameters["landing"])
    found = _outputs(warehouse, parameters, schema) if schema else ()
    if found and count:
        checks.extend(_value_checks(session, warehouse, found, view, table))
        checks.extend(_key_checks(session, warehouse, found, view, table, memory.key))
        if not parameters["batch"]:  # a table that keeps every day is not like one day
            checks.extend(_history_checks(session, warehouse, parameters, found, memory))
    return checks


def _outputs(warehouse: Warehouse, parameters: Mapping[str, Any], schema: TableSchema) -> tuple[Output, ...]:
    """The view's outputs that are bare references to a column of the landing table."""
    given = {name for name, _ in parameters["columns"]}
    named = {output: parts for output, parts in plain_outputs(parameters["base_sql"], warehouse) if output in given}
    if not named:  # a star: outputs are the columns themselves
        named = {m["column"]: (m["column"],) for m in parameters["mappings"] if m["column"] in given}
    return tuple(
        one
        for output, parts in named.items()
        if (one := _output(warehouse, parameters, schema, output, parts)) is not None
    )


def _output(
    warehouse: Warehouse, parameters: Mapping[str, Any], schema: TableSchema, name: str, parts: tuple[str, ...]
) -> Output | None:
    lowered = tuple(part.lower() for part in parts)
    for mapping in parameters["mappings"]:
        path = mapping["column"].lower()
        if tuple(path.split(".")) == lowered[-path.count(".") - 1 :]:
            sql = _source_sql(warehouse, schema, mapping)
            is_restored = mapping["kind"] in ("alias", "cast")
            return Output(name=name, leaf=mapping["column"], sql=sql, is_restored=is_restored) if sql else None
    sql = leaf_sql(warehouse, schema, parts[-1])
    return Output(name=name, leaf=parts[-1], sql=sql, is_restored=False) if sql else None


def _source_sql(warehouse: Warehouse, schema: TableSchema, mapping: Mapping[str, str]) -> str | None:
    """What a leaf must be: its own value where the table still has one, else its source's, in the expected type."""
    own = _typed(warehouse, schema, mapping["column"], mapping["type"])
    if mapping["kind"] in ("same", "wide"):
        return leaf_sql(warehouse, schema, mapping["source"])
    source = _typed(warehouse, schema, mapping["source"], mapping["type"]) if mapping["source"] else None
    parts = list(dict.fromkeys(part for part in (own, source) if part))
    return f"COALESCE({', '.join(parts)})" if parts else f"CAST(NULL AS {mapping['type']})"


def _typed(warehouse: Warehouse, schema: TableSchema, path: str, kind: str) -> str | None:
    sql = leaf_sql(warehouse, schema, path)
    flat = leaves(schema, warehouse.dialect)
    column = next((one for one in flat.columns if one.name.lower() == path.lower()), None)
    if sql is None or column is None or same_type(column.type, kind, warehouse.dialect):
        return sql
    return warehouse.safe_cast(sql, kind)


def _value_checks(
    session: Session, warehouse: Warehouse, found: Sequence[Output], view: str, table: str
) -> Iterator[Check]:
    """Every output against its source, column by column, then row by row: values that changed places are found too."""
    idiom, quote = warehouse.idiom, warehouse.quote
    mine = ", ".join(f"CAST({quote(one.name)} AS VARCHAR) AS v{place}" for place, one in enumerate(found))
    theirs = ", ".join(f"CAST({one.sql} AS VARCHAR) AS v{place}" for place, one in enumerate(found))
    figures = ", ".join(
        f"count(v{place}), {idiom.value_digest(f'v{place}')}, min(v{place}), max(v{place})"
        for place in range(len(found))
    )
    sides = [f"(SELECT {mine} FROM {view}) AS t", f"(SELECT {theirs} FROM {table}) AS t"]
    (given,), (wanted,) = (session.rows(f"SELECT {figures} FROM {side}") for side in sides)
    same: list[bool] = []
    for place, one in enumerate(found):
        left, right = given[4 * place : 4 * place + 4], wanted[4 * place : 4 * place + 4]
        same.append(left == right)
        if one.is_restored or left != right:
            yield Check(
                name=f"`{one.name}` has the values of its source",
                passed=left == right,
                detail=f"{left[0]} values of {right[0]}",
            )
    rows = [session.rows(f"SELECT {idiom.checksum('t')} FROM {side}")[0] for side in sides]
    yield Check(
        name="every row has the values of its landing row",
        passed=rows[0] == rows[1],
        detail=f"{len(found)} columns, {sum(not one.is_restored for one in found)} of them untouched",
    )


def _key_checks(
    session: Session, warehouse: Warehouse, found: Sequence[Output], view: str, table: str, key: tuple[str, ...]
) -> Iterator[Check]:
    """The view has as many keys as the landing table: the grain has not changed."""
    by_leaf = {one.leaf.lower(): one for one in found}
    parts = [by_leaf[name.lower()] for name in key if name.lower() in by_leaf]
    if not key or len(parts) != len(key):
        return
    mine = f"SELECT DISTINCT {', '.join(warehouse.quote(one.name) for one in parts)} FROM {view}"
    theirs = f"SELECT DISTINCT {', '.join(one.sql for one in parts)} FROM {table}"
    counts = [int(session.rows(f"SELECT count(*) FROM ({side}) AS keys")[0][0]) for side in (mine, theirs)]
    yield Check(
        name="the view has the keys of the landing table",
        passed=counts[0] == counts[1],
        detail=f"{counts[0]} keys of {counts[1]}",
    )


def _history_checks(
    session: Session,
    warehouse: Warehouse,
    parameters: Mapping[str, Any],
    found: Sequence[Output],
    memory: Memory,
) -> Iterator[Check]:
    """A restored column with another share of NULLs, another range or other values than ever before is none."""
    schema = session.schema(parameters["view"])
    for one in found if schema else ():
        before, column = memory.profiles.get(one.leaf), schema.column(one.name) if schema else None
        if not one.is_restored or before is None or column is None or schema is None:
            continue
        _, (now,) = profile_of(session, warehouse, f"FROM {relation(warehouse, parameters['view'])}", schema, [column])
        alike = likeness(before, replace(now, column=one.leaf), family(column.logical_type), None)
        yield Check(
            name=f"`{one.name}` looks as it did in the last good run",
            passed=not alike.against,
            detail="; ".join(alike.against or alike.said),
        )


def target_checks(session: Session, warehouse: Warehouse, parameters: Mapping[str, Any]) -> list[Check]:
    """Whether the targets' columns are what they were to become."""
    checks = []
    for one in parameters["widen"]:
        column = _column_of(session, warehouse, one)
        is_wide = column is not None and column.type == one["wider"]
        checks.append(Check(name=f"`{one['target']}.{one['column']}` is {one['wider']}", passed=is_wide))
    for one in parameters.get("add", ()):
        column = _column_of(session, warehouse, one)
        is_there = column is not None and column.is_nullable and same_type(column.type, one["type"], warehouse.dialect)
        checks.append(Check(name=f"`{one['target']}.{one['column']}` is there, and may be NULL", passed=is_there))
    for one in parameters.get("relax", ()):
        column = _column_of(session, warehouse, one)
        is_loose = column is not None and column.is_nullable
        checks.append(Check(name=f"`{one['target']}.{one['column']}` may be NULL", passed=is_loose))
    return checks


def _column_of(session: Session, warehouse: Warehouse, one: Mapping[str, Any]) -> Column | None:
    schema = session.schema(one["target"])
    known = (*schema.columns, *leaves(schema, warehouse.dialect).columns) if schema else ()
    return next((column for column in known if column.name.lower() == one["column"].lower()), None)


def _landing_check(
    session: Session, warehouse: Warehouse, parameters: Mapping[str, Any], effects: Mapping[str, Any]
) -> Check:
    count = int(session.rows(f"SELECT count(*) FROM {relation(warehouse, parameters['landing'])}")[0][0])
    whole = effects["landing_count"]
    return Check(name="the landing table has its rows", passed=count == whole, detail=f"{count} rows of {whole}")
