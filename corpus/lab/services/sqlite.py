"""SQLite files in the working directory: the store that many stages load, or a part of their world."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from corpus.lab.bench import Bench
from corpus.lab.case import Prepare


def execute(bench: Bench, name: str, statements: str) -> None:
    """Run statements in a store; the file is made when it is not there."""
    with closing(sqlite3.connect(bench.path(name))) as store, store:
        store.executescript(statements)


def script(name: str, statements: str) -> Prepare:
    """Change a store, or break it, by statements."""
    return lambda bench: execute(bench, name, statements)
