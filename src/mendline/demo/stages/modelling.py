"""Dimensions, facts, the payments reconciliation and the published mart, each for one business day."""

from __future__ import annotations

from mendline.demo.stages import sql
from mendline.demo.stages.context import StageContext

DIFFERENCES = "SELECT status, count(*) FROM core.payment_reconciliation WHERE business_date = ? GROUP BY 1 ORDER BY 1"


def dim_customer(context: StageContext) -> int:
    """Snapshot the customers with their first and last order of the day."""
    return _build(context, "dim_customer", "customers", "orders")


def dim_product(context: StageContext) -> int:
    """Snapshot the catalogue."""
    return _build(context, "dim_product", "products")


def fct_sales(context: StageContext) -> int:
    """Join each staged order line with its customer and product."""
    return _build(context, "fct_sales")


def reconcile_payments(context: StageContext) -> int:
    """Compare what was ordered with what was paid, order by order."""
    with context.warehouse() as db:
        built = sql.run_file(db, "reconcile_payments", context.day)
        for status, count in db.execute(DIFFERENCES, [context.day]).fetchall():
            context.log.info("%s: %d orders", status, count)
    return built


def publish_daily_mart(context: StageContext) -> int:
    """Publish the day: the overview of orders, sales, the web funnel and deliveries."""
    return _build(context, "publish_daily_mart")


def _build(context: StageContext, name: str, *sources: str) -> int:
    with context.warehouse() as db:
        sql.require_batches(db, context.day, *sources)
        built = sql.run_file(db, name, context.day)
    context.log.info("%s: built %d rows for %s", name, built, context.day)
    return built
