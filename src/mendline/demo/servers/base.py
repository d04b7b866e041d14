"""The part that both API servers share: a real threading HTTP server whose behaviour can be changed while it runs."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import duckdb

from mendline.demo.servers.behaviour import Behaviour, Reply, Request, healthy

Record = dict[str, Any]


def json_reply(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply that carries `body` as JSON."""
    return Reply(status=status, body=json.dumps(body).encode(), headers=headers or {})


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some records in order, and how many there are in all."""

    records: list[Record]
    total_count: int


class ApiServer:
    """An HTTP server on a free loopback port, open inside a `with` block.

    `behaviour` and `change_record` may be set at any time and count from the next request; `behaviour` sees every request,
    token requests and probes too. `requests` are those received so far, oldest first.
    """

    name = "api"

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.settings = settings
        self.behaviour: Behaviour = healthy
        self.change_record: Callable[[Record], Record] | None = None
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._http: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address without a path."""
        assert self._http is not None
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._http = _QuietServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name=self.name, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._http is not None
        assert self._thread is not None
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def answer(self, request: Request) -> Reply:
        """Make the healthy reply to one request."""
        raise NotImplementedError

    def reply(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Count the request, then let the present behaviour answer it."""
        parts = urlsplit(target)
        with self._lock:
            request = Request(
                number=len(self.requests) + 1,
                method=method,
                path=parts.path,
                query=dict(parse_qsl(parts.query)),
                headers={name.lower(): value for name, value in headers.items()},
                body=body,
            )
            self.requests.append(request)
        return self.behaviour(request, lambda: self.answer(request))

    def page(self, file: Path, start: int, size: int) -> Page:
        """Records `start` to `start + size` of a Parquet file, in file order, with `change_record` applied to each."""
        with duckdb.connect(config={"threads": 1}) as db:
            (total,) = db.execute(f"SELECT count(*) FROM read_parquet('{file}')").fetchone() or (0,)
            rows = db.execute(
                f"SELECT to_json(r)::VARCHAR FROM (FROM read_parquet('{file}') LIMIT {size} OFFSET {start}) r"
            ).fetchall()
        records = [json.loads(row[0]) for row in rows]
        if self.change_record is not None:
            records = [self.change_record(record) for record in records]
        return Page(records=records, total_count=int(total))


class _QuietServer(ThreadingHTTPServer):
    """A client that goes away (time-out, killed process) is ordinary here and not worth a traceback."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Forget the connection."""


def _handler(server: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def do_GET(self) -> None:
            self._send(server.reply("GET", self.path, dict(self.headers.items()), b""))

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", "0"))
            self._send(server.reply("POST", self.path, dict(self.headers.items()), self.rfile.read(size)))

        def _send(self, reply: Reply) -> None:
            # A bounded pause on the wire is what a slow server is.
            if reply.delay_s:
                time.sleep(reply.delay_s)
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if reply.reset_after is None:
                self.wfile.write(reply.body)
                return
            self.wfile.write(reply.body[: reply.reset_after])
            self.wfile.flush()
            # Closing with a zero linger time sends RST instead of FIN: the client sees "connection reset by peer".
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Keep silent: the world's servers are not what the demo shows."""

    return Handler
