"""A job that loads a day's parcels into a table, in batches that it holds in memory, and bills them.

The world tells the day (file `day`), whether the loader appends, and how it ends after half of the rows: `load.half` for want
of an answer, `load.die` with its process. A batch takes a megabyte of memory per unit of `batch_size`; `memory` has the megabytes that there are.
"""

import logging
import os
import resource
from pathlib import Path

import dagster as dg
import duckdb

WORLD = Path(os.environ["WORLD"])
MEGABYTE = 1_000_000


class ServerError(Exception):
    """What an HTTP client raises."""


def hold(batch_size: int, limit: int) -> None:
    """Take the memory of one batch, where there are `limit` megabytes beside what the process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + limit * MEGABYTE, hard))
    try:
        bytearray(batch_size * MEGABYTE)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def write(first: int, count: int, *, begins: bool) -> None:
    with duckdb.connect(str(WORLD / "depot.duckdb")) as connection:
        if begins and not (WORLD / "load.appends").exists():
            connection.execute("DELETE FROM raw.parcels")
        connection.execute(f"INSERT INTO raw.parcels SELECT {first} + range, 'Bern' FROM range({count})")


@dg.op(config_schema={"batch_size": dg.Field(int, default_value=10)})
def load(context: dg.OpExecutionContext) -> None:
    with (WORLD / "calls").open("a") as calls:
        calls.write("load\n")
    logging.getLogger("project").debug("load in detail")
    if (WORLD / "memory").exists():
        hold(context.op_config["batch_size"], int((WORLD / "memory").read_text()))
    first = 1000 * int((WORLD / "day").read_text())
    write(first, 50, begins=True)
    if (WORLD / "load.die").exists():
        os._exit(9)
    if (WORLD / "load.half").exists():
        raise ServerError(
            "Server error '503 Service Unavailable' for url 'https://depot.example.com/v1/parcels?page=2'"
        )
    write(first + 50, 50, begins=False)


@dg.op(ins={"after": dg.In(dg.Nothing)})
def bill(context: dg.OpExecutionContext) -> None:
    context.log.info("bill begins")


@dg.job(executor_def=dg.in_process_executor)
def depot() -> None:
    bill(after=load())
