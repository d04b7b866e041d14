"""A PostgreSQL 15 server of its own for one run, on a free port of loopback, run as the ordinary user `postgres`.

    server = postgres.start(bench, messages="de_DE", schema="CREATE TABLE ...")

The program finds it by the variables of libpq (`PGHOST`, `PGPORT`, ...) and `DATABASE_URL`; it logs in by password as the
role `etl`, which owns the database `warehouse`. The preparation works through `server.execute`, as superuser or another role.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Prepare

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

_running: dict[Path, Server] = {}


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

    def socket(self, user: str, database: str = "") -> tuple[str, ...]:
        """Give psql's options for a session over the socket, which asks no password."""
        return "-h", str(self.directory), "-p", str(self.port), "-U", user, "-d", database or self.database

    def execute(self, script: str, *, user: str = ACCOUNT, database: str = "") -> str:
        """Run statements over the socket, each in its own transaction, and give psql's plain output."""
        command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *self.socket(user, database)]
        done = subprocess.run(command, input=script, text=True, capture_output=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"psql failed: {done.stderr[-2000:]}")
        return done.stdout.strip()

    def configure(self, **settings: str) -> None:
        """Change settings of the running server; what needs a restart gets one."""
        self.execute("".join(f"ALTER SYSTEM SET {name} = '{value}';\n" for name, value in settings.items()))
        self.execute("SELECT pg_reload_conf()")
        if self.execute("SELECT count(*) FROM pg_settings WHERE pending_restart") != "0":
            self.stop("fast")
            self.restart()

    def when_waiting(self, bench: Bench, table: str, action: Callable[[], object]) -> None:
        """Hold the table, and act as soon as a session of the program waits for it; the table is free again afterwards."""
        holder = session(bench, *self.socket(ACCOUNT))
        say(holder, f"BEGIN;\nLOCK TABLE {table};")
        ended = threading.Event()
        watch = threading.Thread(target=self._watch, args=(holder, action, ended), daemon=True)
        watch.start()
        bench.on_exit(lambda: watch.join(20))
        bench.on_exit(ended.set)

    def _watch(self, holder: subprocess.Popen[str], action: Callable[[], object], ended: threading.Event) -> None:
        waiting = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{self.user}' AND wait_event_type = 'Lock'"
        while not ended.wait(0.05):
            if self.execute(waiting) != "0":
                action()
                holder.kill()
                return

    def signal(self, name: str) -> None:
        """Send the server's first process a signal (`TERM`: take no sessions and wait for the open ones to end)."""
        pid = (self.directory / "postmaster.pid").read_text(encoding="utf-8").split()[0]
        subprocess.run(["kill", f"-{name}", pid], check=True)

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server: `smart`, `fast` or `immediate`; nothing happens when it has stopped already."""
        with suppress(subprocess.CalledProcessError):
            _run("pg_ctl", "-D", str(self.directory), "-m", mode, "-t", "20", "-w", "stop")

    def restart(self, *, address_space: int = 0) -> None:
        """Start again on the same port what was stopped; `address_space` bytes are the most that each process gets."""
        log = self.directory / "server.log"
        limited = ("prlimit", f"--as={address_space}") if address_space else ()
        _run(*limited, "pg_ctl", "-D", str(self.directory), "-l", str(log), "-t", "30", "-w", "start")


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
    _running[bench.directory] = server
    bench.env.update(server.variables, DATABASE_URL=server.url)
    return server


def session(bench: Bench, *where: str) -> subprocess.Popen[str]:
    """Open a session of psql that lasts until the run ends, or until it is killed."""
    command = ["psql", "-X", "-q", "-A", "-t", *where]
    opened = subprocess.Popen(
        command, text=True, bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    bench.on_exit(opened.wait)
    bench.on_exit(opened.kill)
    say(opened, "")
    return opened


def say(opened: subprocess.Popen[str], script: str) -> None:
    """Send statements to a session and wait until they are done."""
    assert opened.stdin is not None
    assert opened.stdout is not None
    opened.stdin.write(f"{script}\n\\echo done\n")
    opened.stdout.readline()


def running(bench: Bench) -> Server:
    """Give the server that was started for this run."""
    return _running[bench.directory]


def script(statements: str, *, user: str = ACCOUNT) -> Prepare:
    """Change the run's database, or break it, by statements."""
    return lambda bench: running(bench).execute(statements, user=user)


def in_german(bench: Bench) -> None:
    """Let the run's server speak German."""
    running(bench).configure(lc_messages="de_DE.UTF-8")


def sessions_taken(bench: Bench) -> None:
    """Let the role hold all the sessions that the run's server gives."""
    server = running(bench)
    server.configure(max_connections="6")
    for _ in range(4):
        session(bench, *server.socket("etl"))


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


def _run(*command: str) -> None:
    subprocess.run(
        command,
        env={"PATH": f"{BINARIES}:/usr/bin:/bin", "LANG": "C.UTF-8"},
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
