"""Found the store: its tables."""

from pathlib import Path

from chdb import session

store = session.Session("store")
for statement in Path("tables.sql").read_text().split(";"):
    if statement.strip():
        store.query(statement)
