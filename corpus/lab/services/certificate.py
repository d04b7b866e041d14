"""Certificates for servers on loopback: of a private authority or self-signed, for any name and time."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Prepare


@dataclass(frozen=True, kw_only=True)
class Pair:
    certificate: Path
    key: Path


def self_signed(bench: Bench, name: str, *, folder: str = "tls", days: int = 3650, address: str = "127.0.0.1") -> Pair:
    """Make a certificate that signs itself; `days=0` makes one that has expired."""
    pair = Pair(certificate=bench.path(f"{folder}/server.crt"), key=bench.path(f"{folder}/server.key"))
    request = ("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", str(pair.key), "-subj", f"/CN={name}")
    asked = bench.path(f"{folder}/server.csr")
    bench.run(*request, "-out", str(asked))
    extensions = bench.write(f"{folder}/ext.cnf", f"subjectAltName=DNS:{name},IP:{address}\n")
    sign = ("openssl", "x509", "-req", "-in", str(asked), "-signkey", str(pair.key), "-extfile", str(extensions))
    bench.run(*sign, "-days", str(days), "-out", str(pair.certificate))
    return pair


def context(pair: Pair) -> ssl.SSLContext:
    """Give what a server needs to present the certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pair.certificate, pair.key)
    return made


def untrusted(variable: str, days: int) -> Prepare:
    """Send the program to a server with a certificate of its own making, which stands in for the true one."""

    def inject(bench: Bench) -> None:
        pair, port = self_signed(bench, "localhost", days=days), free_port()
        files = ("-cert", str(pair.certificate), "-key", str(pair.key))
        command = ["openssl", "s_server", "-accept", str(port), *files, "-www"]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        bench.on_exit(server.wait)
        bench.on_exit(server.kill)
        assert server.stdout is not None
        for line in server.stdout:
            if line.startswith(b"ACCEPT"):
                break
        bench.env[variable] = f"https://127.0.0.1:{port}"

    return inject
