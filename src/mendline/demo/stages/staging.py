"""Staging: from the contract views into typed, constrained tables, one business day at a time."""

from __future__ import annotations

import duckdb

from mendline.demo.stages import sql
from mendline.demo.stages.context import StageContext

UNKNOWN_SKUS = """
SELECT count(*), min(sku) FROM contract.orders AS o
WHERE sku IS NOT NULL AND NOT EXISTS (FROM contract.products AS p WHERE p.sku = o.sku)"""
UNKNOWN_ORDERS = """
SELECT count(*), min(order_id) FROM contract.{view} AS t
WHERE order_id IS NOT NULL AND NOT EXISTS (FROM contract.orders AS o WHERE o.order_id = t.order_id)"""
BUYERS_WITHOUT_ORDER = """
SELECT count(*) FROM staging.web_events WHERE business_date = ? AND has_order = false"""
BROKEN_LINES = """
SELECT count(*), min(_line_number), any_value(_field_count ORDER BY _line_number)
FROM contract.payments WHERE _field_count <> 7"""
GARBLED_LINES = r"""
SELECT count(*), min(_line_number) FROM contract.payments
WHERE regexp_matches(payer_reference, '\\x[0-9a-f]{2}')"""


def stage_orders(context: StageContext) -> int:
    """Load the day's order lines; every line's product must be in the catalogue."""
    with context.warehouse() as db:
        sql.require_batches(db, context.day, "orders", "products")
        count, example = _row(db, UNKNOWN_SKUS)
        if count:
            raise ValueError(f"{count} order lines refer to products that are not in the catalogue, e.g. {example!r}")
        return _load(context, db, "stage_orders")


def stage_web_events(context: StageContext) -> int:
    """Load the day's web events; purchases say whether the customer really has an order."""
    with context.warehouse() as db:
        sql.require_batches(db, context.day, "web_events", "orders")
        loaded = _load(context, db, "stage_web_events")
        (lost,) = db.execute(BUYERS_WITHOUT_ORDER, [context.day]).fetchone() or (0,)
        context.log.info("%d purchase events by customers without an order", lost)
        return loaded


def stage_payments(context: StageContext) -> int:
    """Load the partner's payments once the file proves complete and well-formed and every order exists."""
    with context.warehouse() as db:
        sql.require_batches(db, context.day, "payments", "orders")
        _check_file(db)
        _check_orders(db, "payments")
        return _load(context, db, "stage_payments")


def stage_shipments(context: StageContext) -> int:
    """Load the day's shipments; every shipment's order must exist."""
    with context.warehouse() as db:
        sql.require_batches(db, context.day, "shipments", "orders")
        _check_orders(db, "shipments")
        return _load(context, db, "stage_shipments")


def _check_file(db: duckdb.DuckDBPyConnection) -> None:
    name, expected, found = _row(db, "SELECT file_name, expected_count, line_count FROM landing.payments_trailer")
    if expected != found:
        raise ValueError(f"{name}: the trailer announces {expected} payments but the file has {found} data lines")
    count, line, fields = _row(db, BROKEN_LINES)
    if count:
        raise ValueError(f"{name}: {count} lines do not have 7 fields, the first is line {line} with {fields}")
    count, line = _row(db, GARBLED_LINES)
    if count:
        raise ValueError(f"{name}: {count} lines are not valid UTF-8 in payer_reference, the first is line {line}")


def _check_orders(db: duckdb.DuckDBPyConnection, view: str) -> None:
    count, example = _row(db, UNKNOWN_ORDERS.format(view=view))
    if count:
        raise ValueError(f"{count} {view} refer to orders that do not exist, e.g. order_id {example}")


def _load(context: StageContext, db: duckdb.DuckDBPyConnection, name: str) -> int:
    loaded = sql.run_file(db, name, context.day)
    context.log.info("%s: loaded %d rows for %s", name, loaded, context.day)
    return loaded


def _row(db: duckdb.DuckDBPyConnection, query: str) -> tuple[object, ...]:
    row = db.execute(query).fetchone()
    assert row is not None
    return tuple(row)
