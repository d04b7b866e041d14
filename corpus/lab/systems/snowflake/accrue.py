"""Accrue miles: stage the flown segments of the day, copy them in, credit the members, prove the balance."""

import glob
import logging
import os
import sys
from urllib.parse import urlsplit

import snowflake.connector

logging.basicConfig(
    stream=sys.stderr,
    level=os.environ.get("ACCRUE_LOG", "INFO"),
    format="%(asctime)s|%(levelname)-7s|%(name)s|%(message)s",
)
logging.getLogger("snowflake.connector.connection").setLevel(logging.WARNING)
log = logging.getLogger("accrue")

COPY = """COPY INTO LANDING.SEGMENTS FROM @segments
FILE_FORMAT = (TYPE = CSV SKIP_HEADER = 1 FIELD_OPTIONALLY_ENCLOSED_BY = '"') ON_ERROR = ABORT_STATEMENT"""
CREDIT = """INSERT INTO CORE.ACCRUALS (MEMBER_NO, FLOWN_ON, MILES, TIER)
SELECT S.MEMBER_NO, S.FLOWN_ON,
       SUM(S.MILES * T.FACTOR), M.TIER
FROM LANDING.SEGMENTS AS S
JOIN CORE.MEMBERS AS M ON M.MEMBER_NO = S.MEMBER_NO
JOIN CORE.TIERS AS T ON T.TIER = M.TIER
GROUP BY S.MEMBER_NO, S.FLOWN_ON, M.TIER"""
CHECKS = (
    (
        "segments of unknown members",
        "SELECT COUNT(*) FROM LANDING.SEGMENTS WHERE MEMBER_NO NOT IN (SELECT MEMBER_NO FROM CORE.MEMBERS)",
    ),
    ("segments flown twice", "SELECT COUNT(*) - COUNT(DISTINCT TICKET) FROM LANDING.SEGMENTS"),
    ("segments with odd miles", "SELECT COUNT(*) FROM LANDING.SEGMENTS WHERE MILES NOT BETWEEN 50 AND 11000"),
)


def connect():
    where = urlsplit(os.environ["SNOWFLAKE_URL"])
    return snowflake.connector.connect(
        account="skyline",
        user="ETL_ACCRUAL",
        password=os.environ["SNOWFLAKE_PASSWORD"],
        protocol=where.scheme,
        host=where.hostname,
        port=where.port,
        database="LOYALTY",
        schema="CORE",
        warehouse=os.environ.get("SNOWFLAKE_WAREHOUSE"),
        role="ACCRUAL_ETL",
        login_timeout=4,
        network_timeout=4,
        socket_timeout=2,
    )


def main(day):
    for path in sorted(glob.glob(f"outbound/{day}/*.csv")):
        with open(path, encoding="utf-8", errors="replace") as file:
            log.info("%s: %s", path, file.readline().strip())
    with connect() as link, link.cursor() as cursor:
        log.info("session of %s on %s", link.role, link.warehouse)
        for row in cursor.execute(f"PUT file://{os.getcwd()}/outbound/{day}/*.csv @segments").fetchall():
            log.info("staged %s as %s: %s", row[0], row[1], row[6])
        loaded = cursor.execute(COPY).fetchall()
        rows = sum(row[3] for row in loaded)
        log.info("copied %d rows of %d files [%s]", rows, len(loaded), cursor.sfqid)
        if rows < int(os.environ.get("LEAST_SEGMENTS", "500")):
            log.error("%d segments for %s, this is no full day", rows, day)
            return 4
        for what, sql in CHECKS:
            (found,) = cursor.execute(sql).fetchone()
            if found:
                log.error("%d %s", found, what)
                return 5
        cursor.execute("BEGIN")
        cursor.execute(CREDIT)
        log.info("credited %s rows [%s]", cursor.rowcount, cursor.sfqid)
        cursor.execute("COMMIT")
        total = cursor.execute("SELECT SUM(MILES) FROM CORE.ACCRUALS").fetchone()
        log.info("balance: %.0f miles", total[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
