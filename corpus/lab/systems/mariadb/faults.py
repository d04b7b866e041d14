"""The ways in which the two programs' worlds are broken."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import threading

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Prepare
from corpus.lab.faults import kill_children
from corpus.lab.services import certificate, mariadb
from corpus.lab.systems.mariadb.worlds import servers


def sql(server: str, script: str, *, is_verbose: bool = False, **settings: str) -> Prepare:
    """Change a server's tables; `settings` are the server's own and need its restart."""

    def inject(bench: Bench) -> None:
        if settings:
            servers[server].restart(**settings)
        if script:
            databases = {"branches": "branches", "library": "library", "parcels": "parcels"}
            servers[server].execute(script, databases[server])
        if is_verbose:
            bench.env["LOG_LEVEL"] = "DEBUG"

    return inject


def edit(name: str, old: str, new: str, *, count: int = 1, **settings: str) -> Prepare:
    """Change a file of the working directory, and the servers' settings when there are any."""

    def inject(bench: Bench) -> None:
        bench.replace(name, old, new, count=count)
        if settings:
            servers["parcels" if "parcels" in str(bench.directory) else "library"].restart(**settings)

    return inject


def limit(which: int, most: int, server: str = "branches", script: str = "") -> Prepare:
    def inject(bench: Bench) -> None:
        bench.limits[which] = most
        if script:
            servers[server].execute(script, server)

    return inject


def memory(most: int, script: str) -> Prepare:
    return limit(resource.RLIMIT_AS, most, "branches", script)


def files(most: int) -> Prepare:
    return limit(resource.RLIMIT_NOFILE, most)


def down(server: str) -> Prepare:
    return lambda bench: servers[server].stop()


def crash(server: str, text: str) -> Prepare:
    def inject(bench: Bench) -> None:
        bench.env["LOG_LEVEL"] = "DEBUG"
        bench.when(text, lambda process: servers[server].stop())

    return inject


def freeze(server: str, text: str) -> Prepare:
    """Stop the server from answering, as a saturated disk does, once the log holds a text."""

    def inject(bench: Bench) -> None:
        bench.env["LOG_LEVEL"] = "DEBUG"
        bench.when(text, lambda process: servers[server].processes[0].send_signal(signal.SIGSTOP))

    return inject


def interrupt(text: str, number: int = signal.SIGINT) -> Prepare:
    def inject(bench: Bench) -> None:
        bench.env["LOG_LEVEL"] = "DEBUG"
        bench.kill_when(text, number)

    return inject


def kill_child(text: str) -> Prepare:
    """Kill the stage below its wrapper, as the kernel does."""

    def inject(bench: Bench) -> None:
        bench.when(text, kill_children)

    return inject


def hang_up(bench: Bench) -> None:
    """Put a gateway before the warehouse that takes every connection and drops it."""
    listener = socket.create_server(("127.0.0.1", free_port()))
    bench.env["WAREHOUSE_PORT"] = str(listener.getsockname()[1])
    bench.on_exit(listener.close)

    def serve() -> None:
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()


def tls(days: int) -> Prepare:
    """Give the branch system a certificate of so many days, which the program trusts."""

    def inject(bench: Bench) -> None:
        pair = certificate.self_signed(bench, "localhost", days=days)
        for path in (pair.key, pair.certificate):
            path.chmod(0o644)
        servers["branches"].restart(ssl_cert=str(pair.certificate), ssl_key=str(pair.key), ssl_ca=str(pair.certificate))
        bench.env["DB_CA"] = str(pair.certificate)

    return inject


def plain(bench: Bench) -> None:
    """Let the branch system come back without encryption."""
    pair = certificate.self_signed(bench, "localhost")
    servers["branches"].restart(skip_ssl="ON")
    bench.env["DB_CA"] = str(pair.certificate)


def crowd(bench: Bench) -> None:
    """Let other clients hold every connection of the warehouse."""
    server = servers["library"]
    server.restart(max_connections="10")
    held = [_session(server, "etl") for _ in range(11)]
    for each in held:
        bench.on_exit(each.kill)
    for each in held[:10]:
        _say(each, "SELECT 1;")


def one_session(bench: Bench) -> None:
    """Let another client of the same account hold the one session that it may have."""
    server = servers["library"]
    server.execute("GRANT USAGE ON *.* TO etl@'%' WITH MAX_USER_CONNECTIONS 1")
    session = _session(server, "etl")
    bench.on_exit(session.kill)
    _say(session, "SELECT 1;")


def lock(bench: Bench) -> None:
    """Let a session of the branches' own report hold a row of the target."""
    servers["library"].restart(innodb_lock_wait_timeout="1")
    servers["library"].execute(SEED, "library")
    session = _session(servers["library"], "root")
    bench.on_exit(session.kill)
    _say(session, "BEGIN; SELECT loan_id FROM loan WHERE loan_id = 2 FOR UPDATE;")


SEED = """
INSERT INTO loan SELECT seq, 1, 'P1001', 'Volume', '2026-04-01', NULL FROM seq_1_to_50;
CREATE TABLE shelf AS SELECT seq AS shelf_no, 0 AS taken FROM seq_1_to_5000;
INSERT INTO fee_ledger VALUES (1, 1, 2, 0.40);
"""


def deadlock(bench: Bench) -> None:
    """Let a larger transaction take the program's two tables in the other order."""
    server = servers["library"]
    server.execute(SEED, "library")
    session = _session(server, "root")
    bench.on_exit(session.kill)
    _say(session, "BEGIN; UPDATE shelf SET taken = 1; SELECT loan_id FROM loan WHERE loan_id = 2 FOR UPDATE;")
    over = threading.Event()
    bench.on_exit(over.set)

    def cross() -> None:
        waiting = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
        while not over.wait(0.05):
            if server.execute(waiting) != "0":
                assert session.stdin is not None
                session.stdin.write(b"UPDATE fee_ledger SET amount = 1;\n")
                session.stdin.flush()
                return

    threading.Thread(target=cross, daemon=True).start()


def _session(server: mariadb.Server, user: str) -> subprocess.Popen[bytes]:
    login = [f"-u{user}", *([f"-p{mariadb.PASSWORD}"] if user == "etl" else [])]
    command = ["mariadb", "--no-defaults", f"--socket={server.directory / 'sock'}", *login, "-N", "-B", "-n", "library"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)


def _say(session: subprocess.Popen[bytes], statement: str) -> None:
    """Give a statement and wait for its first row."""
    assert session.stdin is not None and session.stdout is not None
    session.stdin.write(statement.encode() + b"\n")
    session.stdin.flush()
    session.stdout.readline()
