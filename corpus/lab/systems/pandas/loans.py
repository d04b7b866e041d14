"""Load the library's loans into the lending database and renew the statistics of the branches."""

import configparser
import json
import logging
import logging.config
import sqlite3
import sys

import pandas as pd

logging.config.fileConfig("loans.ini", disable_existing_loggers=False)
log = logging.getLogger("lending.loans")


def settings():
    parser = configparser.ConfigParser()
    parser.read("loans.ini")
    return parser["loans"]


def read(path, encoding):
    kinds = {"card_no": "int64", "isbn": "string", "branch": "category", "days": "int16"}
    for chunk in pd.read_csv(path, sep=";", dtype=kinds, encoding=encoding, chunksize=400):
        log.debug("chunk from row %d: %s", chunk.index[0], json.dumps(chunk.iloc[0].to_dict(), default=str))
        yield chunk


def load(db, chunks):
    rows = 0
    for chunk in chunks:
        chunk["due_on"] = pd.to_datetime(chunk["lent_on"], dayfirst=True) + pd.to_timedelta(chunk["days"], unit="D")
        written = chunk.to_sql("loan", db, if_exists="append", index=False)
        rows += written
        log.info("appended %d loans (%d so far)", written, rows)
    return rows


def statistics(db):
    frame = pd.read_sql_query("SELECT branch, title, days FROM loan JOIN book USING (isbn)", db)
    table = frame.pivot_table(index="branch", values="days", aggfunc=["count", "mean"])
    table.columns = ["loans", "mean_days"]
    log.info("statistics of %d branches from %d loans", len(table), len(frame))
    return table.astype({"loans": "int64"})


def main():
    given = settings()
    db = sqlite3.connect(given["database"])
    with db:
        rows = load(db, read(given["file"], given.get("encoding", "utf-8")))
        wanted = given.getint("at_least")
        if rows < wanted:
            raise AssertionError(f"{rows} loans in {given['file']}, at least {wanted} on a working day")
        statistics(db).to_sql("branch_statistics", db, if_exists="replace")
    log.info("committed %d loans", rows)


if __name__ == "__main__":
    log.info("lending.loans starts, python %s", sys.version.split()[0])
    try:
        main()
    except Exception as error:
        log.error("Task lending.loans failed: %s", error, exc_info=True)
        raise SystemExit(3) from error
