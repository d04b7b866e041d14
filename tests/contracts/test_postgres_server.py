"""The PostgreSQL that the tests stand on keeps what it promises itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from mendline.testing.waiting import wait_until
from postgres_server import PostgresServer

OWNER = """
import sys, time
from postgres_server import PostgresServer
server = PostgresServer()
print(server.url("postgres"), server.directory, flush=True)
time.sleep(60)
"""


def test_each_database_is_fresh_and_keeps_what_is_committed(postgres_server: PostgresServer, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE kept (x int)")
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    other = postgres_server.create_database()
    with psycopg.connect(other) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT count(*) FROM kept")
    postgres_server.drop_database(other)


def test_the_server_ends_with_the_process_that_started_it() -> None:
    """Also when that process is killed: no server is left behind by a test run that was broken off."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, env=environment) as owner:
        assert owner.stdout is not None
        url, directory = owner.stdout.readline().split()
        psycopg.connect(url).close()
        owner.send_signal(signal.SIGKILL)
    wait_until(lambda: not (Path(directory) / "data" / "postmaster.pid").exists(), 10, "the end of the server")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    shutil.rmtree(directory)
