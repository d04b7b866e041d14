"""A MariaDB server of its own for one run, on a free port of loopback, run as the ordinary user `mysql`."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from corpus.lab.bench import Bench, free_port

PASSWORD = "etl-91c4"  # of a server that lives for seconds
SMALL = {
    "innodb_log_file_size": "8M",
    "innodb_buffer_pool_size": "24M",
    "innodb_flush_log_at_trx_commit": "0",
    "performance_schema": "OFF",
    "skip_name_resolve": "ON",
    "local_infile": "ON",
    "max_connections": "30",
}


@dataclass
class Server:
    """A server; `directory` holds its data and its socket, `settings` are its variables at the next start."""

    directory: Path
    port: int
    settings: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def execute(self, script: str, database: str = "") -> str:
        """Run statements as root over the socket and give the plain output."""
        where = [f"--socket={self.directory / 'sock'}", "-uroot", "-N", "-B", "--default-character-set=utf8mb4"]
        command = ["mariadb", "--no-defaults", *where, *([database] if database else [])]
        done = subprocess.run(command, input=script, text=True, capture_output=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"mariadb failed: {done.stderr[-2000:]}")
        return done.stdout.strip()

    def start(self) -> None:
        """Start, and return when the server answers."""
        options = [f"--{name}={value}" for name, value in self.settings.items()]
        places = [f"--datadir={self.directory / 'data'}", f"--socket={self.directory / 'sock'}"]
        listening = [f"--port={self.port}", "--bind-address=127.0.0.1", f"--log-error={self.directory / 'error.log'}"]
        command = ["mariadbd", "--no-defaults", "--user=mysql", *places, *listening, *options]
        self.processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        for _ in range(300):
            with suppress(RuntimeError):
                self.execute("SELECT 1")
                return
            time.sleep(0.1)
        raise RuntimeError((self.directory / "error.log").read_text()[-2000:])

    def stop(self) -> None:
        """Kill the server, as a crash would; nothing happens when it has stopped already."""
        while self.processes:
            process = self.processes.pop()
            process.kill()
            process.wait()

    def restart(self, **settings: str) -> None:
        self.stop()
        self.settings.update(settings)
        self.start()


def start(bench: Bench, *, script: str, settings: Mapping[str, str] | None = None) -> Server:
    """Start a server for the length of one run; `script` runs as root after the account `etl` was made."""
    directory = Path(tempfile.mkdtemp(prefix="mariadb-", dir="/var/lib"))
    bench.on_exit(lambda: shutil.rmtree(directory, ignore_errors=True))
    shutil.chown(directory, "mysql", "mysql")
    install = ["mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={directory / 'data'}"]
    options = ["--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=8M"]
    subprocess.run([*install, *options], check=True, capture_output=True, timeout=60)
    server = Server(directory=directory, port=free_port(), settings={**SMALL, **(settings or {})})
    bench.on_exit(server.stop)
    server.start()
    server.execute(
        f"DELETE FROM mysql.global_priv WHERE User = ''; FLUSH PRIVILEGES; "
        f"CREATE USER etl@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO etl@'%';\n{script}"
    )
    return server
