"""Load the loans that one branch reported."""

import csv
import logging
import sys
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from warehouse import check_schema, engine, loan, reader

log = logging.getLogger("loans")
NAMES = [column.name for column in loan.columns]


def report_of(branch: str) -> list[dict[str, str]]:
    path = Path("reports") / f"{branch}.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    log.info("%s: %d loans reported", path, len(rows))
    return rows


def store(connection: sa.Connection, rows: list[dict[str, str]]) -> None:
    for number, row in enumerate(rows, start=1):
        values = {name: row.get(name) or None for name in NAMES}
        log.debug("loan %d of %d: %s", number, len(rows), values)
        statement = insert(loan).values(**values)
        connection.execute(
            statement.on_conflict_do_update(index_elements=["loan_id"], set_={"due_on": statement.excluded.due_on})
        )
    readers = sa.select(sa.func.count()).select_from(loan.join(reader, loan.c.reader_no == reader.c.reader_no))
    log.info("%d loans have a known reader", connection.scalar(readers))


def main(branch: str) -> None:
    rows = report_of(branch)
    with engine().begin() as connection:
        check_schema(connection)
        store(connection, rows)
    log.info("branch %s is complete", branch)


if __name__ == "__main__":
    main(sys.argv[1])
