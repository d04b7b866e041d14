"""The extract of the orders database, through its SQLAlchemy URL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from mendline.demo.stages.context import StageContext
from mendline.demo.stages.landing import land, typed_json, write_lines

# From the narrowest class up: a BigInteger is an Integer too.
LANDING_TYPES: tuple[tuple[type[sa.types.TypeEngine[Any]], str], ...] = (
    (sa.BigInteger, "BIGINT"),
    (sa.Integer, "INTEGER"),
    (sa.Float, "DOUBLE"),
    (sa.Boolean, "BOOLEAN"),
    (sa.DateTime, "TIMESTAMP"),
    (sa.Date, "DATE"),
)
FETCH_ROWS = 20_000
DAY_OF_ORDERS = sa.text("SELECT * FROM orders WHERE ordered_at >= :begin AND ordered_at < :end ORDER BY ordered_at")


def extract_orders(context: StageContext) -> int:
    """Land one business day of orders with the types that the source declares."""
    started = time.monotonic()
    engine = sa.create_engine(_url(context))
    try:
        columns = {column["name"]: landing_type(column["type"]) for column in sa.inspect(engine).get_columns("orders")}
        with context.spool("orders") as spool:
            count = write_lines(spool, _rows(engine, context))
            context.log.info("read %d orders of %s in %.1f s", count, context.day, time.monotonic() - started)
            return land(context, "orders", typed_json(spool, columns))
    finally:
        engine.dispose()


def landing_type(declared: sa.types.TypeEngine[Any]) -> str:
    """The DuckDB type for a declared type; text when the source declares nothing that fits better."""
    for kind, name in LANDING_TYPES:
        if isinstance(declared, kind):
            return name
    if isinstance(declared, sa.Numeric):
        return f"DECIMAL({declared.precision or 18},{declared.scale or 0})"
    return "VARCHAR"


def _rows(engine: sa.Engine, context: StageContext) -> Iterator[dict[str, Any]]:
    # Business days are compared as ISO text: that is how the source stores its times.
    span = {"begin": f"{context.day}T00:00:00", "end": f"{context.day + timedelta(days=1)}T00:00:00"}
    with engine.connect() as connection:
        result = connection.execution_options(yield_per=FETCH_ROWS).execute(DAY_OF_ORDERS, span)
        names = list(result.keys())
        for row in result:
            yield dict(zip(names, row, strict=True))


def _url(context: StageContext) -> sa.URL:
    url = make_url(str(context.settings["orders_url"]))
    if url.get_backend_name() == "sqlite" and url.database:
        return url.set(database=str(context.directory / url.database))
    return url
