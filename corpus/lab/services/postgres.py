"""A PostgreSQL 15 server of its own for one run, on a free port of loopback, run as the ordinary user `postgres`.

    server = postgres.start(bench, messages="de_DE", schema="CREATE TABLE ...")

The program finds it by the variables of libpq (`PGHOST`, `PGPORT`, ...) and `DATABASE_URL`; it logs in by password as the
role `etl`, which owns the database `warehouse`. The preparation works through `server.execute`, as superuser or another role.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from corpus.lab.bench import Bench, free_port

BINARIES = Path("/usr/lib/postgresql/15/bin")
HOME = Path("/var/lib/postgresql")
TEMPLATE = HOME / "lab-15"
ACCOUNT = "postgres"
PASSWORD = "etl-2f81"  # of a server that lives for seconds
ACCESS = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "autovacuum": "off",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "superuser_reserved_connections": "2",
    "timezone": "UTC",
}


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server; `directory` holds its data and its socket."""

    directory: Path
    port: int
    database: str
    user: str
    password: str

    @property
    def url(self) -> str:
        return f"postgresql://{self.user}:{self.password}@127.0.0.1:{self.port}/{self.database}"

    @property
    def variables(self) -> dict[str, str]:
        """The environment by which libpq finds the server."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.database,
        }

    def execute(self, script: str, *, user: str = ACCOUNT, database: str = "") -> str:
        """Run statements over the socket, each in its own transaction, and give psql's plain output."""
        where = ["-h", str(self.directory), "-p", str(self.port), "-U", user, "-d", database or self.database]
        command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *where]
        done = subprocess.run(command, input=script, text=True, capture_output=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"psql failed: {done.stderr[-2000:]}")
        return done.stdout.strip()

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server: `smart`, `fast` or `immediate`; nothing happens when it has stopped already."""
        with suppress(subprocess.CalledProcessError):
            _run("pg_ctl", "-D", str(self.directory), "-m", mode, "-t", "20", "-w", "stop")

    def restart(self) -> None:
        """Start again on the same port what was stopped."""
        log = self.directory / "server.log"
        _run("pg_ctl", "-D", str(self.directory), "-l", str(log), "-t", "30", "-w", "start")


def start(
    bench: Bench,
    *,
    messages: str = "C",
    max_connections: int = 20,
    settings: Mapping[str, str] | None = None,
    schema: str = "",
    database: str = "warehouse",
    user: str = "etl",
) -> Server:
    """Start a server for the length of one run and point the program at it.

    `messages` is the server's language (`de_DE`; PostgreSQL 15 brings de, es, fr, it, ja, ko, ru, sv, uk, zh_CN). `schema`
    is run as `user`. `settings` are further lines of postgresql.conf.
    """
    directory = _new_directory()
    bench.on_exit(lambda: shutil.rmtree(directory, ignore_errors=True))
    language = messages if messages == "C" else f"{messages}.UTF-8"
    own = {"port": str(free_port()), "max_connections": str(max_connections), "lc_messages": language}
    _configure(directory, {**SETTINGS, **own, **(settings or {})})
    server = Server(directory=directory, port=int(own["port"]), database=database, user=user, password=PASSWORD)
    bench.on_exit(server.stop)
    server.restart()
    server.execute(
        f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}';\nCREATE DATABASE {database} OWNER {user}", database="postgres"
    )
    if schema:
        server.execute(schema, user=user)
    bench.env.update(server.variables, DATABASE_URL=server.url)
    return server


def _new_directory() -> Path:
    if not TEMPLATE.exists():
        _make_template()
    directory = Path(tempfile.mkdtemp(prefix="15-", dir=HOME))
    subprocess.run(["cp", "-a", f"{TEMPLATE}/.", str(directory)], check=True)
    return directory


def _make_template() -> None:
    made = Path(tempfile.mkdtemp(prefix="15-", dir=HOME))
    shutil.chown(made, ACCOUNT, ACCOUNT)
    options = ("--locale=C.UTF-8", "--encoding=UTF8", "--auth=trust", "--no-sync", "--wal-segsize=1")
    _run("initdb", "-D", str(made), "-U", ACCOUNT, *options)
    try:
        made.rename(TEMPLATE)
    except OSError:  # another lab was first
        shutil.rmtree(made, ignore_errors=True)


def _configure(directory: Path, settings: Mapping[str, str]) -> None:
    lines = [f"{name} = '{value}'" for name, value in settings.items()]
    with (directory / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write("\n".join([*lines, f"unix_socket_directories = '{directory}'"]) + "\n")
    (directory / "pg_hba.conf").write_text(ACCESS, encoding="utf-8")


def _run(name: str, *arguments: str) -> None:
    subprocess.run(
        [str(BINARIES / name), *arguments],
        user=ACCOUNT,
        group=ACCOUNT,
        extra_groups=[],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=120,
        check=True,
    )
