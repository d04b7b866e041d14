"""How stages talk to the warehouse: connect, one transaction, a stage's SQL file, the landing guard."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from importlib.resources import files

import duckdb

LOCK_POLL_SECONDS = 0.05


_kept: dict[str, duckdb.DuckDBPyConnection] = {}


def connect(path: str, config: Mapping[str, str], timeout_s: float) -> duckdb.DuckDBPyConnection:
    """A connection for writing; waits up to `timeout_s` seconds while another process holds the file's lock.

    Raises: `duckdb.IOException` when the lock was not given in time.
    """
    return _kept[path].cursor() if path in _kept else _opened(path, config, timeout_s)


def keep_open(path: str, config: Mapping[str, str], timeout_s: float) -> None:
    """Hold the file open for all stages of this process: opening it takes longer than most stages of a small day."""
    if path not in _kept:
        _kept[path] = _opened(path, config, timeout_s)


def release() -> None:
    """Close what `keep_open` has opened, so that the file stands complete for whoever comes next."""
    while _kept:
        _kept.popitem()[1].close()


def _opened(path: str, config: Mapping[str, str], timeout_s: float) -> duckdb.DuckDBPyConnection:
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
