"""How long Mendline's data work takes, as a multiple of the plainest statement that touches the same rows.

    PYTHONPATH=.:tests .venv/bin/python -m benchmarks.data_work [--engine postgres] [--rows 1000000] [--rounds 3]

A loaded machine slows both sides of a ratio: they are measured in turn, round by round, and the medians are compared.
PostgreSQL is a server of its own, started for the measurement; DuckDB is a file in a temporary directory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from mendline.config import Config, Dataset, load_config
from mendline.quality.examine import examine
from mendline.quality.quarantine import restore, set_aside
from mendline.quality.release import Conditions, Decision, put_in
from mendline.snapshots import take_snapshot
from mendline.testing.values import NOON
from mendline.warehouses.base import Session, Warehouse
from mendline.warehouses.duckdb import DuckDB
from mendline.warehouses.postgres import Postgres
from postgres_server import PostgresServer

TABLE = "raw.orders"
SERIES = {"postgres": "generate_series(1, {rows})", "duckdb": "range(1, {rows} + 1)"}
DOCUMENT = {
    "postgres": "jsonb_build_object('city', 'city ' || n % 400, 'floor', n % 9)",
    "duckdb": "CAST({'city': 'city ' || n % 400, 'floor': n % 9} AS JSON)",
}
CREATE = """
CREATE TABLE raw.orders AS
SELECT CAST(n AS BIGINT) AS order_id, CAST(CAST(n AS BIGINT) * 7919 % 50000 AS INTEGER) AS customer_id, 'SKU-' || n % 3000 AS sku,
       CAST(n % 100000 / 100.0 AS DECIMAL(12,2)) AS amount, CAST(n AS DOUBLE PRECISION) / 7 AS weight,
       TIMESTAMP '2026-01-01 00:00:00' + n * INTERVAL '1 second' AS ordered_at,
       CAST(TIMESTAMP '2026-01-01 00:00:00' + n % 365 * INTERVAL '1 day' AS DATE) AS day,
       CASE n % 4 WHEN 0 THEN 'new' WHEN 1 THEN 'paid' WHEN 2 THEN 'sent' ELSE 'back' END AS state,
       n % 3 = 0 AS is_paid, CASE WHEN n % 2 = 0 THEN 'customer ' || n % 50000 || ' rang' END AS note{document}
FROM {series} AS numbers(n)"""
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: orders
version: 1.0.0
status: active
schema:
- name: orders
  properties:
  - {name: order_id, logicalType: integer, primaryKey: true, required: true}
  - {name: amount, logicalType: number, physicalType: "DECIMAL(12,2)", required: true, logicalTypeOptions: {minimum: 0}}
  - {name: sku, logicalType: string, required: true, logicalTypeOptions: {pattern: '^SKU-[0-9]+$'}}
  - {name: state, logicalType: string, quality: [{metric: invalidValues, arguments: {validValues: [new, paid, sent, back]}, mustBe: 0}]}
"""
CONFIG = """
engines: {engine: {kind: dagster, dagster_home: home, code: {module: somewhere}}}
pipelines: {shop: {engine: engine}}
warehouses: {main: {kind: duckdb, path: unused.duckdb}}
datasets: {orders: {pipeline: shop, warehouse: main, landing: raw.orders, contract: orders.yaml}}
"""
SCAN = """
SELECT count(*), min(order_id), max(order_id), sum(order_id), min(customer_id), max(customer_id), sum(customer_id), min(sku), max(sku),
       min(amount), max(amount), sum(amount), min(weight), max(weight), sum(weight), min(ordered_at), max(ordered_at), min(day),
       max(day), min(state), max(state), min(note), max(note) FROM raw.orders"""
HALF = "order_id % 2 = 0"
FEW = "order_id % 1000 = 0"


Work = Callable[[Session], None]


class RolledBack(Exception):
    """Ends a measured transaction without a trace."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """`work` is measured against `plain`, another task's name ("" for the yardstick itself)."""

    name: str
    plain: str
    work: Callable[[], None]


def tasks(warehouse: Warehouse, config: Config) -> Iterator[Task]:
    """What is measured, each yardstick before what is held against it."""
    dataset = config.datasets["orders"]
    yield Task(name="scan", plain="", work=partial(_read, warehouse, SCAN))
    yield Task(name="snapshot", plain="scan", work=partial(_snapshot, warehouse, dataset))
    yield Task(name="checks", plain="scan", work=partial(_examine, warehouse, config))
    aside = _set_aside(warehouse, HALF)
    for label, where in (("0.1 %", FEW), ("50 %", HALF)):
        yield Task(name=f"CTAS + DELETE {label}", plain="", work=partial(_undone, warehouse, _plain_move(where)))
        move = _set_aside(warehouse, where)
        yield Task(name=f"quarantine {label}", plain=f"CTAS + DELETE {label}", work=partial(_undone, warehouse, move))
    yield Task(name="INSERT back 50 %", plain="", work=partial(_after, warehouse, _plain_move(HALF), _plain_back))
    yield Task(name="undo 50 %", plain="INSERT back 50 %", work=partial(_after, warehouse, aside, _restore(warehouse)))
    yield Task(
        name="release 50 %", plain="INSERT back 50 %", work=partial(_after, warehouse, aside, _release(warehouse))
    )


_measured: list[float] = []  # where a task prepares something first, the time of the part that counts


def _read(warehouse: Warehouse, sql: str) -> None:
    with warehouse.reading() as session:
        session.rows(sql)


def _snapshot(warehouse: Warehouse, dataset: Dataset) -> None:
    take_snapshot(dataset, "run", warehouse)


def _examine(warehouse: Warehouse, config: Config) -> None:
    with warehouse.reading() as session:
        found = examine(config.datasets["orders"], config, warehouse, session)
    if found.measurement.failing_count:
        raise AssertionError(found.measurement)


def _undone(warehouse: Warehouse, work: Work) -> None:
    try:
        with warehouse.writing() as session:
            work(session)
            raise RolledBack
    except RolledBack:
        pass


def _after(warehouse: Warehouse, before: Work, work: Work) -> None:
    """Measure only `work`, which takes back what `before` did."""

    def both(session: Session) -> None:
        before(session)
        begun = time.perf_counter()
        work(session)
        _measured.append(time.perf_counter() - begun)

    _undone(warehouse, both)


def _plain_move(where: str) -> Work:
    def move(session: Session) -> None:
        session.execute(f"CREATE TABLE raw.orders_aside AS SELECT * FROM raw.orders WHERE {where}")
        session.execute(f"DELETE FROM raw.orders WHERE {where}")

    return move


def _plain_back(session: Session) -> None:
    session.execute("INSERT INTO raw.orders SELECT * FROM raw.orders_aside")
    session.execute("DELETE FROM raw.orders_aside")


def _set_aside(warehouse: Warehouse, where: str) -> Work:
    def aside(session: Session) -> None:
        set_aside(
            session, warehouse, TABLE, where, incident_id="1", batch_id="b", check_names=("c",), reason="r", at=NOON
        )

    return aside


def _restore(warehouse: Warehouse) -> Work:
    return lambda session: _nothing(restore(session, warehouse, TABLE, incident_id="1", at=NOON))


def _release(warehouse: Warehouse) -> Work:
    conditions, decision = Conditions(checks=()), Decision(by="ann", at=NOON)
    return lambda session: _nothing(put_in(session, warehouse, TABLE, "1", decision=decision, conditions=conditions))


def _nothing(_: object) -> None:
    """The answer is not what is measured."""


def measure(found: list[Task], rounds: int) -> dict[str, float]:
    """The median of each task's seconds."""
    seconds: dict[str, list[float]] = {task.name: [] for task in found}
    for _ in range(rounds):
        for task in found:
            _measured.clear()
            begun = time.perf_counter()
            task.work()
            seconds[task.name].append(_measured[-1] if _measured else time.perf_counter() - begun)
    return {name: median(taken) for name, taken in seconds.items()}


@contextmanager
def a_warehouse(engine: str, directory: Path) -> Iterator[Warehouse]:
    """An empty warehouse of that engine."""
    if engine == "duckdb":
        path = directory / "bench.duckdb"
        yield DuckDB("main", path)
        return
    server = PostgresServer()
    try:
        yield Postgres("main", server.create_database())
    finally:
        server.close()


def main() -> None:
    """Measure one engine and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=sorted(SERIES), default="postgres")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="a part of the names to measure, with their yardsticks")
    parser.add_argument("--json", action="store_true", help="a JSON column too")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, a_warehouse(wanted.engine, Path(name)) as warehouse:
        (Path(name) / "mendline.yaml").write_text(CONFIG, encoding="utf-8")
        (Path(name) / "orders.yaml").write_text(CONTRACT, encoding="utf-8")
        document = f", {DOCUMENT[wanted.engine]} AS place" if wanted.json else ""
        with warehouse.writing() as session:
            session.execute("CREATE SCHEMA raw")
            session.execute(CREATE.format(series=SERIES[wanted.engine].format(rows=wanted.rows), document=document))
        found = list(tasks(warehouse, load_config(Path(name) / "mendline.yaml")))
        needed = {task.plain for task in found if wanted.only in task.name}
        found = [task for task in found if wanted.only in task.name or task.name in needed]
        taken = measure(found, wanted.rounds)
        warehouse.close()
    print(f"{wanted.engine}, {wanted.rows:,} rows, median of {wanted.rounds}")  # noqa: T201 - what it is for
    for task in found:
        ratio = f"{taken[task.name] / taken[task.plain]:5.1f} x {task.plain}" if task.plain else ""
        print(f"  {task.name:24s}{taken[task.name]:8.2f} s  {ratio}")  # noqa: T201


if __name__ == "__main__":
    main()
