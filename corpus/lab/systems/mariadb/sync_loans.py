"""Bring the day's loans from the branch system into the warehouse and settle the fees."""

import logging
import os
from decimal import Decimal

import pymysql

logging.basicConfig(
    level=os.environ.get("LOG_LEVEL", "INFO"), format="%(asctime)s [%(process)d] %(levelname)-7s %(name)s: %(message)s"
)
log = logging.getLogger("sync_loans")

FEES = """
INSERT INTO fee_ledger (loan_id, branch_id, days_late, amount)
SELECT l.loan_id, l.branch_id, DATEDIFF(l.returned_on, l.due_on), DATEDIFF(l.returned_on, l.due_on) * b.daily_fee
FROM loan l JOIN branch b ON b.branch_id = l.branch_id WHERE l.returned_on > l.due_on
"""


def connect(prefix: str) -> pymysql.Connection:
    host, port = os.environ[f"{prefix}_HOST"], int(os.environ[f"{prefix}_PORT"])
    log.info("connecting to %s at %s:%d", prefix.lower(), host, port)
    return pymysql.connect(
        host=host,
        port=port,
        user="etl",
        password=os.environ[f"{prefix}_PASSWORD"],
        database=os.environ[f"{prefix}_DB"],
        connect_timeout=3,
        read_timeout=4,
        charset="utf8mb4",
        ssl={"ca": os.environ["DB_CA"], "check_hostname": True} if "DB_CA" in os.environ else None,
        cursorclass=pymysql.cursors.DictCursor,
    )


def extract(source: pymysql.Connection) -> list[dict]:
    loans = []
    with source.cursor() as cursor:
        for branch in range(1, 9):
            cursor.execute("SELECT * FROM loans WHERE branch_id = %s ORDER BY loan_id", (branch,))
            rows = cursor.fetchall()
            log.debug("branch %d: %d loans, first %s", branch, len(rows), rows[0] if rows else None)
            loans.extend(rows)
    log.info("extracted %d loans from 8 branches: %s", len(loans), ", ".join(loans[0]))
    return loans


def load(target: pymysql.Connection, loans: list[dict]) -> None:
    rows = [
        (r["loan_id"], r["branch_id"], r.get("patron_no"), r["title"], r["due_on"], r["returned_on"]) for r in loans
    ]
    with target.cursor() as cursor:
        cursor.execute("DELETE FROM fee_ledger")
        cursor.execute("DELETE FROM loan")
        for start in range(0, len(rows), 100):
            batch = rows[start : start + 100]
            cursor.executemany(
                "INSERT INTO loan (loan_id, branch_id, patron_no, title, due_on, returned_on)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                batch,
            )
            log.info("loan: wrote rows %d-%d", start + 1, start + len(batch))


def settle(target: pymysql.Connection) -> Decimal:
    with target.cursor() as cursor:
        late = cursor.execute(FEES)
        log.info("fee_ledger: %d loans were late", late)
        cursor.execute("SELECT SUM(amount) AS total, SUM(amount) / COUNT(DISTINCT branch_id) AS mean FROM fee_ledger")
        sums = cursor.fetchone()
    log.info("fees: total %.2f, %.2f per branch", sums["total"], sums["mean"])
    return sums["total"]


def main() -> None:
    source = connect("BRANCH")
    loans = extract(source)
    target = connect("WAREHOUSE")
    load(target, loans)
    settle(target)
    target.commit()
    log.info("committed")


if __name__ == "__main__":
    main()
