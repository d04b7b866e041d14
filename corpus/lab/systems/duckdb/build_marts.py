"""Run the SQL models of a pipeline in the order of their names, each in a transaction, and log what each one did."""

import logging
import os
import sys
import time
from pathlib import Path

import duckdb

logging.basicConfig(
    level=os.environ.get("LOG_LEVEL", "INFO"),
    stream=sys.stderr,
    format="%(asctime)s.%(msecs)03d %(levelname)-5s %(name)s | %(message)s",
    datefmt="%Y-%m-%dT%H:%M:%S",
)
log = logging.getLogger("build_marts")


def statements(connection, model: Path):
    for statement in connection.extract_statements(model.read_text(encoding="utf-8")):
        log.debug("%s: %s", model.stem, " ".join(statement.query.split()))
        yield statement


def build(connection, model: Path) -> None:
    started = time.monotonic()
    connection.begin()
    try:
        for statement in statements(connection, model):
            answer = connection.execute(statement)
        counted = answer.fetchone()
        connection.commit()
    except duckdb.Error:
        connection.rollback()
        log.error("model %s FAILED after %.2fs", model.stem, time.monotonic() - started)
        raise
    log.info("model %s OK in %.2fs: %s", model.stem, time.monotonic() - started, counted and counted[0])


def main() -> int:
    models = sorted(Path("models").glob("*.sql"))
    log.info("duckdb %s, %d models, store %s", duckdb.__version__, len(models), os.environ["STORE"])
    with duckdb.connect(os.environ["STORE"], config={"autoinstall_known_extensions": False}) as connection:
        for name in ("memory_limit", "max_temp_directory_size", "threads"):
            if name.upper() in os.environ:
                connection.execute(f"SET {name} = '{os.environ[name.upper()]}'")
                log.info("set %s = %s", name, os.environ[name.upper()])
        for model in models:
            build(connection, model)
    log.info("all models built")
    return 0


if __name__ == "__main__":
    sys.exit(main())
