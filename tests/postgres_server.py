"""A real PostgreSQL for the tests: Debian's binaries, an ordinary user, a free port of this machine, its own directory."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import psycopg

from mendline.testing.waiting import wait_until

INSTALLED = Path("/usr/lib/postgresql")
ROLE = "mendline"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",  # what is committed outlives the server's end, not the machine's
    "full_page_writes": "off",
    "max_connections": "200",
    "log_timezone": "UTC",
    "timezone": "Asia/Tokyo",  # whoever forgets to say UTC is to notice
}


class PostgresServer:
    """One server, started when it is made. It ends with this process at the latest, however that ends."""

    def __init__(self) -> None:
        """Raises: `RuntimeError` when Debian's package is not installed."""
        self._binaries = newest_binaries()
        self.directory = Path(tempfile.mkdtemp(prefix="mendline-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        if not os.getuid():
            os.chown(self.directory, *_ordinary_user())
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start it, on the port that it always had; return when it answers."""
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = ["postgres", "-D", "data", "-p", str(self.port), "-k", str(self.directory), *options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._as_ordinary_user(command), stdout=log, stderr=log, cwd=self.directory
            )
        wait_until(self._answers, 30, f"PostgreSQL's first answer (see {self._log})")

    def stop(self) -> None:
        """Stop it at once, as a crash would: every connection breaks, nothing is flushed. Twice is once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def url(self, database: str) -> str:
        """The URL of a database, as SQLAlchemy and psycopg read it."""
        return f"postgresql://{ROLE}@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """A fresh, empty database; its URL."""
        name = f"test_{uuid4().hex[:12]}"
        self._administer(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database and whatever begins with its name, with everybody who is connected to them."""
        with psycopg.connect(self.url("postgres")) as connection:
            names = connection.execute("SELECT datname FROM pg_database").fetchall()
        for (name,) in names:
            if name.startswith(url.rpartition("/")[2]):
                self._administer(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def close(self) -> None:
        """Stop it and remove its directory."""
        self.stop()
        shutil.rmtree(self.directory)

    @property
    def _log(self) -> Path:
        return self.directory / "server.log"

    def _initialise(self) -> None:
        command = ["initdb", "-D", "data", "-U", ROLE, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        done = subprocess.run(self._as_ordinary_user(command), cwd=self.directory, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr.decode(errors='replace')}")

    def _as_ordinary_user(self, command: Sequence[str]) -> list[str]:
        # PostgreSQL refuses to run as root. The kernel sends it SIGQUIT when the thread that started it ends.
        switch = ["setpriv", "--pdeathsig", "QUIT"]
        if not os.getuid():
            user, group = _ordinary_user()
            switch += ["--reuid", str(user), "--regid", str(group), "--clear-groups"]
        return [*switch, str(self._binaries / command[0]), *command[1:]]

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended at its start: {self._log.read_text(errors='replace')}")
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


def newest_binaries() -> Path:
    """The directory of the newest server that Debian has installed here."""
    found = [path.parent for path in INSTALLED.glob("*/bin/postgres")]
    if not found:
        raise RuntimeError(
            f"there is no PostgreSQL server in {INSTALLED}: `apt-get install postgresql`, then test again"
        )
    return max(found, key=lambda path: int(path.parent.name))


def _ordinary_user() -> tuple[int, int]:
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return user.pw_uid, user.pw_gid
    raise RuntimeError("this machine has neither a user `postgres` nor a user `nobody` to run PostgreSQL as")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
