"""Ways to change what the six sources hold, as their owners would; used by the faults."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb

from mendline.demo.world import World

BELOW = 0.01
ABOVE = 0.06


def share(total: int, fraction: float) -> int:
    """The number of rows that is `fraction` of `total`; at least one."""
    return max(1, int(total * fraction))


def change_orders(world: World, *statements: str) -> None:
    """Run statements in the orders database, in one transaction."""
    with closing(sqlite3.connect(world.orders_db)) as db, db:
        for statement in statements:
            db.execute(statement)


def count_orders(world: World, day: date) -> int:
    """The number of orders of one business day."""
    with closing(sqlite3.connect(world.orders_db)) as db:
        (count,) = db.execute("SELECT count(*) FROM orders WHERE substr(ordered_at, 1, 10) = ?", [str(day)]).fetchone()
    return int(count)


def retype_orders_column(world: World, column: str, new_type: str, expression: str) -> None:
    """Rebuild the orders table with another type for one column, as SQLite owners have to."""
    with closing(sqlite3.connect(world.orders_db)) as db, db:
        columns = db.execute("PRAGMA table_info(orders)").fetchall()
        declared = ", ".join(f'"{name}" {new_type if name == column else kind}' for _, name, kind, *_ in columns)
        selected = ", ".join(expression if name == column else f'"{name}"' for _, name, *_ in columns)
        db.execute(f"CREATE TABLE orders_new ({declared})")
        db.execute(f"INSERT INTO orders_new SELECT {selected} FROM orders")
        db.execute("DROP TABLE orders")
        db.execute("ALTER TABLE orders_new RENAME TO orders")


def add_orders(world: World, day: date, count: int, changes: Mapping[str, str]) -> tuple[str, ...]:
    """Add copies of the day's first `count` orders under new order ids, with SQL expressions in place of some columns.

    Gives the new order ids as text. Payments and shipments know nothing of these orders.
    """
    with closing(sqlite3.connect(world.orders_db)) as db, db:
        names = [name for _, name, *_ in db.execute("PRAGMA table_info(orders)").fetchall()]
        (last,) = db.execute("SELECT max(order_id) FROM orders").fetchone()
        fresh = {"order_id": f"{last} + row_number() OVER (ORDER BY order_id)", **changes}
        selected = ", ".join(fresh.get(name, f'"{name}"') for name in names)
        db.execute(
            f"INSERT INTO orders SELECT {selected} FROM orders WHERE substr(ordered_at, 1, 10) = ? ORDER BY order_id LIMIT ?",
            [str(day), count],
        )
        added = db.execute("SELECT order_id FROM orders WHERE order_id > ? ORDER BY 1", [last]).fetchall()
    return tuple(str(order_id) for (order_id,) in added)


def rewrite_parquet(path: Path, query: str) -> None:
    """Replace a Parquet file by the result of `query` over it; the query calls the old rows `old`."""
    fresh = path.with_name(f".{path.name}.{uuid4().hex}")
    with duckdb.connect(":memory:", config={"threads": 1}) as db:
        db.execute(f"CREATE VIEW old AS FROM read_parquet('{path}')")
        db.execute(f"COPY ({query}) TO '{fresh}' (FORMAT parquet)")
    fresh.replace(path)


def parquet_rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """The result of `query` over a Parquet file, whose rows it calls `old`."""
    with duckdb.connect(":memory:", config={"threads": 1}) as db:
        db.execute(f"CREATE VIEW old AS FROM read_parquet('{path}')")
        return db.execute(query).fetchall()


def read_events(world: World, day: date, count: int) -> list[dict[str, Any]]:
    """The first `count` web events of the day's first part."""
    with gzip.open(world.events_file(day), "rt", encoding="utf-8") as lines:
        return [json.loads(line) for _, line in zip(range(count), lines, strict=False)]


def count_events(world: World, day: date) -> int:
    """The number of web events in the day's first part."""
    with gzip.open(world.events_file(day), "rb") as lines:
        return sum(1 for _ in lines)


def add_events(world: World, day: date, events: Sequence[Mapping[str, Any]]) -> None:
    """Drop one more part file of web events beside the day's first."""
    path = world.events_file(day).with_name("part-0099.jsonl.gz")
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(event) + "\n" for event in events)


def change_payments(
    world: World, day: date, change: Callable[[list[bytes], list[bytes]], tuple[list[bytes], int]]
) -> None:
    """Rewrite the partner's file: `change` gets header fields and data lines, and gives all lines and the trailer's count."""
    path = world.payments_file(day)
    header, *lines, _trailer = path.read_bytes().splitlines()
    changed, counted = change(header.split(b";"), lines)
    fresh = path.with_name(f".{path.name}.{uuid4().hex}")
    fresh.write_bytes(b"\n".join([*changed, b"TRAILER;%d" % counted]) + b"\n")
    fresh.replace(path)


def payment_lines(world: World, day: date) -> list[bytes]:
    """The data lines of the day's payments file."""
    return world.payments_file(day).read_bytes().splitlines()[1:-1]
