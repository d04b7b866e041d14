"""Makes the source systems' data: SQL that is hash arithmetic only, so that a day is the same wherever it is made."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path

import duckdb

# Records a day at scale 1: two million in all.
ORDER_COUNT = 220_000
CUSTOMER_COUNT = 60_000
EVENT_COUNT = 1_300_000
PRODUCT_COUNT = 20_000
SHIPMENT_COUNT = 180_000

CHUNK_ROWS = 20_000

CREATE_ORDERS = """
CREATE TABLE IF NOT EXISTS orders (
    order_id INTEGER NOT NULL, customer_id INTEGER, sku TEXT, quantity INTEGER, unit_price NUMERIC(10, 2), channel TEXT,
    gift_note TEXT, ordered_at TEXT
);
CREATE INDEX IF NOT EXISTS orders_by_time ON orders (ordered_at);
"""


@dataclass(frozen=True, kw_only=True)
class DayOfSources:
    """One business day to make: `number` counts from 1; the paths say where each source keeps it."""

    seed: int
    scale: float
    number: int
    day: date
    orders_db: Path
    customers: Path
    events: Path
    products: Path
    payments: Path
    shipments: Path

    def count(self, at_scale_one: int) -> int:
        """How many records of a kind there are at this scale; never so few that nothing joins."""
        return max(20, round(at_scale_one * self.scale))


def create_warehouse(path: Path, sql: str) -> None:
    """Run the team's migration `sql` in a new warehouse file."""
    with duckdb.connect(str(path)) as db:
        db.execute(sql)


def generate_day(wanted: DayOfSources) -> None:
    """Write one business day into all six sources; an existing day of the file sources is replaced.

    Memory stays flat with the scale: everything streams from SQL into its file.
    """
    for path in (wanted.customers, wanted.events, wanted.products, wanted.payments, wanted.shipments):
        path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(config={"memory_limit": "1GB"}) as db:
        _set_variables(db, wanted)
        db.execute(files("mendline.demo").joinpath("sql", "generate.sql").read_text(encoding="utf-8"))
        _write_orders(db, wanted.orders_db)
        db.execute(f"COPY (FROM customers) TO '{wanted.customers}' (FORMAT parquet)")
        db.execute(f"COPY (FROM products) TO '{wanted.products}' (FORMAT parquet)")
        db.execute(f"COPY (FROM shipments) TO '{wanted.shipments}' (FORMAT parquet)")
        db.execute(f"COPY (FROM web_events) TO '{wanted.events}' (FORMAT json, COMPRESSION gzip)")
        _write_payments(db, wanted.payments)


def _set_variables(db: duckdb.DuckDBPyConnection, wanted: DayOfSources) -> None:
    numbers = {
        "seed": wanted.seed,
        "day_number": wanted.number,
        "order_count": wanted.count(ORDER_COUNT),
        "customer_count": wanted.count(CUSTOMER_COUNT),
        "event_count": wanted.count(EVENT_COUNT),
        "product_count": wanted.count(PRODUCT_COUNT),
        "shipment_count": wanted.count(SHIPMENT_COUNT),
    }
    for name, value in numbers.items():
        db.execute(f"SET VARIABLE {name} = {value}::BIGINT")
    db.execute(f"SET VARIABLE day = DATE '{wanted.day}'")


def _write_orders(db: duckdb.DuckDBPyConnection, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as orders, orders:
        orders.executescript(CREATE_ORDERS)
        cursor = db.execute("SELECT * REPLACE (unit_price::DOUBLE AS unit_price) FROM orders")
        while chunk := cursor.fetchmany(CHUNK_ROWS):
            orders.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?)", chunk)


def _write_payments(db: duckdb.DuckDBPyConnection, path: Path) -> None:
    db.execute(f"COPY (FROM payments) TO '{path}' (FORMAT csv, DELIMITER ';', HEADER, QUOTE '')")
    (count,) = db.execute("SELECT count(*) FROM payments").fetchone() or (0,)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"TRAILER;{count}\n")
