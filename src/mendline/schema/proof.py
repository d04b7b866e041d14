"""Independent checks of an accommodated view: counted on the view and the landing table, not read off the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mendline.errors import Rejected
from mendline.incident import Check
from mendline.schema.paths import leaf_sql
from mendline.schema.view import plain_outputs, read_view
from mendline.warehouses.base import Session, Warehouse
from mendline.warehouses.names import relation


def prove(
    session: Session, warehouse: Warehouse, parameters: Mapping[str, Any], effects: Mapping[str, Any]
) -> tuple[Check, ...]:
    """Check what `apply_schema_migration` left: the view's columns, rows and values, the targets' types. Only reads.

    `parameters` and `effects` are those of its plan and receipt.
    """
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
        *_row_checks(session, warehouse, parameters, effects),
        *_target_checks(session, parameters),
    )


def _row_checks(
    session: Session, warehouse: Warehouse, parameters: Mapping[str, Any], effects: Mapping[str, Any]
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
    checks.extend(_value_checks(session, warehouse, parameters, view))
    return checks


def _value_checks(session: Session, warehouse: Warehouse, parameters: Mapping[str, Any], view: str) -> list[Check]:
    """A restored column must have a value wherever its source has one: a column that exists and reads NULL is no repair."""
    schema = session.schema(parameters["landing"])
    restored = {m["column"].lower(): m for m in parameters["mappings"] if m["kind"] in ("alias", "cast")}
    named = plain_outputs(parameters["base_sql"], warehouse)
    pairs = {output: tuple(part.lower() for part in parts) for output, parts in named}
    if not pairs:  # a star: outputs are the columns themselves
        pairs = {m["column"]: (m["column"].lower(),) for m in parameters["mappings"]}
    checks: list[Check] = []
    for output, parts in pairs.items():
        mapping = next(
            (m for path, m in restored.items() if tuple(path.split(".")) == parts[-path.count(".") - 1 :]), None
        )
        sql = leaf_sql(warehouse, schema, mapping["source"]) if mapping and schema else None
        if mapping is None or sql is None:
            continue
        landing = relation(warehouse, parameters["landing"])
        given = session.rows(f"SELECT count({warehouse.quote(output)}) FROM {view}")[0][0]
        own = leaf_sql(warehouse, schema, mapping["column"]) if schema else None
        filled = f"{sql} IS NOT NULL OR {own} IS NOT NULL" if own else f"{sql} IS NOT NULL"
        there = session.rows(f"SELECT count(*) FILTER (WHERE {filled}) FROM {landing}")[0][0]
        checks.append(
            Check(
                name=f"`{output}` has the values of `{mapping['source']}`",
                passed=given >= there,
                detail=f"{given} values of {there}",
            )
        )
    return checks


def _target_checks(session: Session, parameters: Mapping[str, Any]) -> list[Check]:
    checks = []
    for one in parameters["widen"]:
        schema = session.schema(one["target"])
        column = schema.column(one["column"]) if schema else None
        is_wide = column is not None and column.type == one["wider"]
        checks.append(Check(name=f"`{one['target']}.{one['column']}` is {one['wider']}", passed=is_wide))
    return checks
