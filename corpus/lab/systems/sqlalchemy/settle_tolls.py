"""Load the gantries' passages of the day, price them, and draw the statements up."""

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import Engine, MetaData, Table, create_engine, delete, func, insert, select

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-5.5s [%(name)s.%(funcName)s] %(message)s")
logging.getLogger("sqlalchemy.pool").setLevel(os.environ.get("POOL_LOG", "WARNING"))
log = logging.getLogger("tolls")
WORKERS = int(os.environ.get("WORKERS", "2"))


def read_passages() -> list[dict[str, object]]:
    rows = []
    for path in sorted(Path("gantries").glob("*.jsonl")):
        read = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        log.info("%s: %d passages, fields %s", path.name, len(read), "/".join(sorted(read[0])))
        rows += [{"gantry": path.stem} | each for each in read]
    return rows


def load(engine: Engine, passage: Table, rows: list[dict[str, object]]) -> None:
    with engine.begin() as connection:
        connection.execute(delete(passage))
        for start in range(0, len(rows), 100):
            connection.execute(insert(passage), rows[start : start + 100])
            log.info("passages %d to %d", start, start + len(rows[start : start + 100]))


def price(engine: Engine, passage: Table, tariff: Table, gantry: str) -> int:
    with engine.connect() as connection:
        amount = func.sum(passage.c.km * tariff.c.cents_per_km)
        priced = select(amount).join_from(passage, tariff).where(passage.c.gantry == gantry)
        cents = connection.scalar(priced)
        connection.execute(select(func.pg_sleep(0.05)))
        log.info("%s: %d cents", gantry, cents)
        return int(cents)


def draw_up(engine: Engine, passage: Table, tariff: Table, statement: Table) -> int:
    amount = func.sum(passage.c.km * tariff.c.cents_per_km)
    drawn = select(passage.c.plate, func.count(), amount).join_from(passage, tariff).group_by(passage.c.plate)
    with engine.begin() as connection:
        connection.execute(delete(statement))
        return connection.execute(insert(statement).from_select(["plate", "passages", "cents"], drawn)).rowcount


def check_limits(engine: Engine, passage: Table) -> None:
    """Warn of lorries that passed more gantries than a day allows."""
    counted = select(passage.c.plate, func.count().label("n")).group_by(passage.c.plate)
    with engine.connect() as connection:
        over = [each.plate for each in connection.execute(counted) if each.n > 40]
    log.info("%d plates over the limit of 40 passages", len(over))


def main() -> None:
    engine = create_engine(
        os.environ["TOLLS_DSN"], pool_size=WORKERS, max_overflow=0, pool_timeout=1, connect_args={"connect_timeout": 2}
    )
    known = MetaData()
    passage, tariff, statement = (
        Table(name, known, autoload_with=engine) for name in ("passage", "tariff", "statement")
    )
    rows = read_passages()
    load(engine, passage, rows)
    check_limits(engine, passage)
    gantries = sorted({str(row["gantry"]) for row in rows})
    with ThreadPoolExecutor(WORKERS) as threads:
        total = sum(threads.map(lambda gantry: price(engine, passage, tariff, gantry), gantries))
    log.info("%d gantries, %.2f EUR", len(gantries), total / 100)
    log.info("%d statements", draw_up(engine, passage, tariff, statement))


if __name__ == "__main__":
    main()
