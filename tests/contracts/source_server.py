"""Scripted servers on loopback, well-behaved and hostile, with TLS or without; certificates of an authority made for the test."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

CONFIGURATION = """
[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
[req]
distinguished_name = none
[none]
"""
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """A certificate authority of its own directory; what it issues is trusted by who trusts `file`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "ca.pem"
        (directory / "own.cnf").write_text(CONFIGURATION)
        (directory / "index.txt").write_text("")
        (directory / "serial").write_text("01")
        extension = "basicConstraints=critical,CA:TRUE"
        own = ("-x509", "-days", "3650", "-subj", "/CN=Test Authority", "-addext", extension)
        self._openssl("req", "-config", "own.cnf", *NEW_KEY, *own, "-keyout", "ca.key", "-out", "ca.pem")

    def issue(self, name: str, alternatives: str, begins: str, ends: str) -> ssl.SSLContext:
        """A server's context with a certificate; both times are YYYYMMDDHHMMSSZ."""
        asked = ("-subj", f"/CN={name}", "-addext", f"subjectAltName={alternatives}")
        self._openssl("req", "-config", "own.cnf", *NEW_KEY, *asked, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        times = ("-startdate", begins, "-enddate", ends)
        self._openssl(
            "ca", "-config", "own.cnf", "-batch", "-notext", "-in", f"{name}.csr", *times, "-out", f"{name}.pem"
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        return context

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(("openssl", *arguments), cwd=self.directory, check=True, capture_output=True, timeout=60)


@dataclass
class Server:
    """One that listens on a port of 127.0.0.1, and every byte that it was sent."""

    port: int
    over: threading.Event = field(default_factory=threading.Event)
    connection_count: int = 0
    received: list[bytes] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def heard(self) -> str:
        return b"".join(self.received).decode("latin-1")


Script = Callable[[socket.socket, Server], None]


@contextmanager
def serving(script: Script, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run `script` for every connection, behind a TLS handshake where a context is given; hang up afterwards."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.02)
        server = Server(port=listener.getsockname()[1])
        threads: list[threading.Thread] = []

        def serve(connection: socket.socket) -> None:
            connection.settimeout(5)
            with connection, suppress(OSError):
                if context is None:
                    script(connection, server)
                else:
                    with context.wrap_socket(connection, server_side=True) as secured:
                        script(secured, server)

        def accept() -> None:
            while not server.over.is_set():
                with suppress(TimeoutError):
                    connection, _ = listener.accept()
                    server.connection_count += 1
                    threads.append(threading.Thread(target=serve, args=(connection,)))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield server
        finally:
            server.over.set()
            for thread in (accepting, *threads):
                thread.join(10)


def read_head(connection: socket.socket, server: Server) -> bytes:
    """Receive until the end of a request's head."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(65_536)
        if not part:
            break
        head += part
    server.received.append(head)
    return head


def saying(answer: bytes) -> Script:
    """Read the request's head, then say this, whatever it is."""

    def script(connection: socket.socket, server: Server) -> None:
        read_head(connection, server)
        connection.sendall(answer)

    return script


def answering(
    status: int = 200, headers: Mapping[str, str] | None = None, body: bytes = b"{}", kind: str = "application/json"
) -> Script:
    """Answer as a server should."""
    lines = {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return saying(f"HTTP/1.1 {status} Some Words\r\n{head}\r\n".encode("latin-1") + body)


def hanging(connection: socket.socket, server: Server) -> None:
    """Take the connection and say nothing until the test is over."""
    server.over.wait(30)


def dripping(begin: bytes, drop: bytes) -> Script:
    """Begin an answer, then go on drop by drop until the other side gives up."""

    def script(connection: socket.socket, server: Server) -> None:
        read_head(connection, server)
        connection.sendall(begin)
        while not server.over.wait(0.05):
            connection.sendall(drop)

    return script


def flooding(begin: bytes, wave: bytes) -> Script:
    """Begin an answer, then go on as fast as the wire takes it until the other side gives up."""

    def script(connection: socket.socket, server: Server) -> None:
        read_head(connection, server)
        connection.sendall(begin)
        while not server.over.is_set():
            connection.sendall(wave)

    return script


def passing_through(connection: socket.socket, server: Server) -> None:
    """Be a proxy for one CONNECT to a port of this machine, keeping what passes in `received`."""
    goal = read_head(connection, server).split(b" ")[1].decode()
    with socket.create_connection(("127.0.0.1", int(goal.rpartition(":")[2]))) as onward:
        connection.sendall(b"HTTP/1.1 200 Connection Established\r\n\r\n")
        back = threading.Thread(target=_copy, args=(onward, connection, []))
        back.start()
        _copy(connection, onward, server.received)
        back.join(10)


def _copy(one: socket.socket, other: socket.socket, kept: list[bytes]) -> None:
    with suppress(OSError):
        while part := one.recv(65_536):
            kept.append(part)
            other.sendall(part)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)
