"""The program of an Iceberg REST catalogue: pyiceberg's own catalogue in SQLite behind HTTP.

Its one argument holds the port, the folder and the file of faults, as JSON. A fault is the first of the list whose method and
start of the path fit: it answers in the place of the catalogue (`times` of them), or lets another writer be faster (`race`).
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.table import CommitTableRequest

GIVEN: dict[str, Any] = json.loads(sys.argv[1])
FAULTS = Path(GIVEN["faults"])
CATALOG = SqlCatalog(
    "backing", uri=f"sqlite:///{GIVEN['folder']}/backing.db", warehouse=f"file://{GIVEN['folder']}/warehouse"
)
STATUS = {NoSuchTableError: 404, CommitFailedException: 409}


def due(method: str, path: str) -> dict[str, Any] | None:
    """Take one fault that fits this request."""
    faults = json.loads(FAULTS.read_text()) if FAULTS.exists() else []
    for fault in faults:
        if fault["times"] and fault["method"] == method and path.startswith(fault["path"]):
            fault["times"] -= 1
            FAULTS.write_text(json.dumps(faults))
            return dict(fault)
    return None


def loaded(identifier: tuple[str, ...]) -> dict[str, Any]:
    table = CATALOG.load_table(identifier)
    return {
        "metadata-location": table.metadata_location,
        "metadata": json.loads(table.metadata.model_dump_json()),
        "config": {},
    }


def committed(identifier: tuple[str, ...], body: bytes, *, races: bool) -> dict[str, Any]:
    table = CATALOG.load_table(identifier)
    if races:
        table.append(table.scan(limit=1).to_arrow())
    asked = CommitTableRequest.model_validate_json(body)
    done = CATALOG.commit_table(table, asked.requirements, asked.updates)
    return {"metadata-location": done.metadata_location, "metadata": json.loads(done.metadata.model_dump_json())}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        fault = due(self.command, path)
        if fault and not fault.get("race"):
            self.send(fault["status"], fault["body"].encode(), fault["headers"])
            return
        try:
            status, reply = 200, self.reply(path, body, races=bool(fault))
        except (NoSuchTableError, CommitFailedException) as problem:
            status = STATUS[type(problem)]
            reply = {"error": {"message": str(problem), "type": type(problem).__name__, "code": status}}
        self.send(status, json.dumps(reply).encode(), {"Content-Type": "application/json"})

    do_GET = do_POST = do_HEAD = answer  # noqa: N815

    def reply(self, path: str, body: bytes, *, races: bool) -> dict[str, Any]:
        if path == "/v1/config":
            return {"defaults": {}, "overrides": {}}
        _, _, _, namespace, _, *rest = path.split("/")
        if not rest:
            tables = [{"namespace": list(each[:-1]), "name": each[-1]} for each in CATALOG.list_tables(namespace)]
            return {"identifiers": tables}
        identifier = (namespace, rest[0])
        return committed(identifier, body, races=races) if self.command == "POST" else loaded(identifier)

    def send(self, status: int, payload: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        """The server's own log is not the pipeline's."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", GIVEN["port"]), Handler).serve_forever()
