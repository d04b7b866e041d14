"""Write the reminders of all branches, with the fees so far."""

import csv
import logging

import sqlalchemy as sa
from warehouse import engine, loan, reader

log = logging.getLogger("reminders")


def main() -> None:
    per_reader = (
        sa.select(
            reader.c.reader_no,
            reader.c.email,
            sa.func.count().label("loans"),
            sa.func.sum(loan.c.fee_cents).label("fee"),
        )
        .join_from(reader, loan, reader.c.reader_no == loan.c.reader_no)
        .group_by(reader.c.reader_no, reader.c.email)
        .order_by(reader.c.reader_no)
    )
    with engine().connect() as connection:
        rows = connection.execute(per_reader).all()
    log.info("%d readers to remind", len(rows))
    with open("outbox/reminders.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([(row.email.lower(), row.loans, f"{row.fee / 100:.2f}") for row in rows])
    log.info("outbox/reminders.csv written")


if __name__ == "__main__":
    main()
