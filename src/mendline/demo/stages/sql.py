"""How stages talk to the warehouse: connect, one transaction, a stage's SQL file, the landing guard."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from importlib.resources import files

import duckdb

LOCK_POLL_SECONDS = 0.05


def connect(path: str, config: Mapping[str, str], timeout_s: float) -> duckdb.DuckDBPyConnection:
    """Open the file for writing; waits up to `timeout_s` seconds while another process holds its lock.

    Raises: `duckdb.IOException` when the lock was not given in time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return duckdb.connect(path, config=dict(config))
        except duckdb.IOException as error:
            if "lock" not in str(error).lower() or time.monotonic() > deadline:
                raise
        time.sleep(LOCK_POLL_SECONDS)


@contextmanager
def transaction(db: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit when the block ends, roll back when it raises."""
    db.begin()
    try:
        yield
    except BaseException:
        _roll_back(db)
        raise
    db.commit()


def run_file(db: duckdb.DuckDBPyConnection, name: str, day: date) -> int:
    """Run `sql/<name>.sql` in one transaction with `$day` bound; the number of rows inserted."""
    text = files("mendline.demo").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    inserted = 0
    with transaction(db):
        for statement in db.extract_statements(text):
            changed = db.execute(statement, {"day": day} if statement.named_parameters else None).fetchone()
            if statement.type == duckdb.StatementType.INSERT and changed:
                inserted += int(changed[0])
    return inserted


def require_batches(db: duckdb.DuckDBPyConnection, day: date, *sources: str) -> None:
    """Make sure that landing tables hold this day: a late re-run must not publish another day's rows as its own."""
    for source in sources:
        row = db.execute("SELECT business_date FROM landing.batches WHERE source = ?", [source]).fetchone()
        if row is None or row[0] != day:
            held = "nothing" if row is None else row[0]
            raise ValueError(f"landing.{source} holds {held}, not {day}: run extract_{source} for that day first")


def _roll_back(db: duckdb.DuckDBPyConnection) -> None:
    # Some errors end the transaction by themselves; what the caller must see is the first error.
    try:
        db.rollback()
    except duckdb.TransactionException:
        return
