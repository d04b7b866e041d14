"""Certificates for servers on loopback: of a private authority or self-signed, for any name and time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corpus.lab.bench import Bench


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
