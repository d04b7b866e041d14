"""An OpenSSH server for file transfer on a free port of loopback; its one account is the ordinary user `partner`."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from corpus.lab.bench import Bench, free_port

ACCOUNT = "partner"

_running: dict[Path, Sftp] = {}


@dataclass(frozen=True, kw_only=True)
class Sftp:
    """A running server; `home` is the account's folder, where deliveries lie."""

    port: int
    home: Path
    keys: Path
    process: subprocess.Popen[bytes]

    def put(self, name: str, content: bytes) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        shutil.chown(path, ACCOUNT)
        return path

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def start(bench: Bench, *options: str, port: int = 0) -> Sftp:
    """Start a server that takes the key in `id_ed25519`, and write the client's `known_hosts`."""
    _account()
    root = Path(tempfile.mkdtemp(prefix="sftp-", dir="/srv"))
    bench.on_exit(lambda: shutil.rmtree(root, ignore_errors=True))
    root.chmod(0o755)
    port, home = port or free_port(), root / "home"
    home.mkdir()
    shutil.chown(home, ACCOUNT)
    _key(bench, root / "host_key")
    _key(bench, bench.path("id_ed25519"))
    shutil.copy(bench.path("id_ed25519.pub"), root / "authorized")
    public = (root / "host_key.pub").read_text().split()
    bench.write("known_hosts", f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    server = Sftp(port=port, home=home, keys=root / "authorized", process=_run(root, home, port, options))
    bench.on_exit(server.stop)
    _await(server)
    _running[bench.directory] = server
    return server


def running(bench: Bench) -> Sftp:
    """Give the server that was started last for this run."""
    return _running[bench.directory]


def _account() -> None:
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/bash", "--password", "*", ACCOUNT], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)


def _key(bench: Bench, path: Path) -> None:
    if not path.exists():
        bench.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "etl@warehouse", "-f", str(path))


def _run(root: Path, home: Path, port: int, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    lines = (
        f"ListenAddress 127.0.0.1:{port}",
        f"HostKey {root}/host_key",
        f"AuthorizedKeysFile {root}/authorized",
        f"PidFile {root}/pid",
        "StrictModes no",
        "PasswordAuthentication no",
        "UsePAM no",
        f"Subsystem sftp /usr/lib/openssh/sftp-server -d {home}",
        *options,
    )
    (root / "sshd_config").write_text("\n".join(lines) + "\n")
    command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(root / "sshd_config")]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]})


def _await(server: Sftp) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and server.process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", server.port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("sshd did not start")
