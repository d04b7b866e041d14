"""Fetch the carrier's manifests by SFTP and load the containers they list."""

import csv
import gzip
import io
import logging
import os
import sqlite3
from datetime import date

import paramiko

logging.basicConfig(level=logging.INFO, format="%(asctime)s [%(levelname)s] %(name)s: %(message)s")
log = logging.getLogger("manifests")
WIDTH = 5


def connect() -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.load_host_keys("known_hosts")
    host, port = os.environ["CARRIER_HOST"], int(os.environ["CARRIER_PORT"])
    for attempt in (1, 2, 3):
        try:
            client.connect(
                host, port, "partner", key_filename="id_ed25519", timeout=1.5, banner_timeout=1.5, look_for_keys=False
            )
            return client
        except (OSError, paramiko.SSHException) as error:
            log.warning("connection %d of 3 to %s:%d failed: %s", attempt, host, port, error)
            if attempt == 3:
                raise
    raise AssertionError


def fetch(client: paramiko.SSHClient) -> list[tuple[str, bytes]]:
    files = []
    with client.open_sftp() as sftp:
        names = sorted(name for name in sftp.listdir("outbox") if name.startswith("manifest_"))
        log.info("outbox holds %d manifests", len(names))
        if not names:
            raise RuntimeError("no manifest in outbox")
        for name in names:
            size = sftp.stat(f"outbox/{name}").st_size
            with sftp.open(f"outbox/{name}") as remote:
                files.append((name, remote.read()))
            log.info("fetched %s, %d bytes", name, size)
            with open(f"archive/{name}", "wb") as copy:
                copy.write(files[-1][1])
    return files


def containers(name: str, content: bytes) -> list[tuple]:
    text = gzip.decompress(content).decode("utf-8")
    reader = csv.reader(io.StringIO(text), delimiter=";")
    header = next(reader)
    log.info("%s: header %s", name, header)
    rows = []
    for number, row in enumerate(reader, 2):
        if len(row) != WIDTH:
            raise ValueError(f"{name} line {number}: expected {WIDTH} fields, saw {len(row)}: {row}")
        fields = dict(zip(header, row, strict=True))
        rows.append(
            (
                fields["container"],
                fields["vessel"],
                float(fields["tonnes"]),
                date.fromisoformat(fields["eta"]).isoformat(),
                fields.get("seal") or None,
            )
        )
    return rows


def store(name: str, rows: list[tuple]) -> None:
    database = sqlite3.connect("port.db", timeout=0.5)
    database.execute("PRAGMA foreign_keys = ON")
    with database:
        database.executemany("INSERT INTO container VALUES (?, ?, ?, ?, ?)", rows)
    log.info("%s: stored %d containers", name, len(rows))


def main() -> None:
    client = connect()
    log.info("logged in")
    files = fetch(client)
    client.close()
    for name, content in files:
        store(name, containers(name, content))
    log.info("finished %d files", len(files))


if __name__ == "__main__":
    main()
