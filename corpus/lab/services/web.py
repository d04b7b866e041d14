"""A web server on loopback that answers as told, also badly; every reply is a value."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Prepare

Ending = str  # "whole", "cut" (fewer bytes than announced), "reset" (RST instead of a reply), "hang" (no reply at all)


_running: dict[Path, list[Web]] = {}


@dataclass(frozen=True)
class Reply:
    """One answer to one request. `body` is sent as it is; what is no bytes or text goes as JSON."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    ending: Ending = "whole"

    @property
    def payload(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


def page(status: int, server: str = "nginx/1.24.0") -> Reply:
    """The page that a reverse proxy of the widespread kind gives when its backend is away."""
    phrase = HTTPStatus(status).phrase
    lines = (
        "<html>",
        f"<head><title>{status} {phrase}</title></head>",
        "<body>",
        f"<center><h1>{status} {phrase}</h1></center>",
        f"<hr><center>{server}</center>",
        "</body>",
        "</html>",
    )
    body = "".join(line + "\r\n" for line in lines)
    return Reply(status, body, {"Content-Type": "text/html", "Server": server})


@dataclass
class Web:
    """A running server: `routes` maps the start of a path to its replies (the last one repeats); `asked` what came in."""

    url: str
    port: int
    routes: dict[str, list[Reply | Callable[[str], Reply]]]
    asked: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def set(self, path: str, *replies: Reply | Callable[[str], Reply]) -> None:
        """Give a path its replies, in order; a function gets the path with its query."""
        self.routes[path] = list(replies)

    def reply_to(self, path: str) -> Reply:
        self.asked.append(path)
        known = max((start for start in self.routes if path.startswith(start)), key=len, default=None)
        if known is None:
            return Reply(404, {"error": "not found"}, {"Content-Type": "application/json"})
        replies = self.routes[known]
        chosen = replies.pop(0) if len(replies) > 1 else replies[0]
        return chosen(path) if callable(chosen) else chosen


def serve(
    bench: Bench,
    routes: Mapping[str, Sequence[Reply | Callable[[str], Reply]]],
    *,
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> Web:
    """Start a server for the length of one run; with `tls` it speaks HTTPS."""
    state = Web(url="", port=0, routes={path: list(replies) for path, replies in routes.items()})
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"state": state}))
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    state.port = server.server_address[1]
    state.url = f"{'https' if tls else 'http'}://127.0.0.1:{state.port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    bench.on_exit(server.server_close)
    bench.on_exit(server.shutdown)
    bench.on_exit(state.released.set)
    _running.setdefault(bench.directory, []).append(state)
    bench.on_exit(lambda: _running.pop(bench.directory, None))
    return state


def running(bench: Bench, path: str = "") -> Web:
    """Give the run's server that knows this path; the one that was started first when none does."""
    servers = _running[bench.directory]
    return next((each for each in servers if path in each.routes), servers[0])


def answers(path: str, *replies: Reply | Callable[[str], Reply]) -> Prepare:
    """Let the run's server that knows this path give other replies."""
    return lambda bench: running(bench, path).set(path, *replies)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Web

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length:
            self.rfile.read(length)
        reply = self.state.reply_to(self.path)
        if reply.ending == "hang":
            self.state.released.wait()
            return
        if reply.ending == "reset":
            self._reset()
            return
        with suppress(ConnectionError):
            self._send(reply)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = answer  # noqa: N815

    def _send(self, reply: Reply) -> None:
        payload = reply.payload
        self.send_response_only(reply.status)
        given = {name.lower() for name in reply.headers}
        if "content-type" not in given and not isinstance(reply.body, bytes | str):
            self.send_header("Content-Type", "application/json")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if "content-length" not in given and "transfer-encoding" not in given:
            self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload[: len(payload) // 2] if reply.ending == "cut" else payload)
        if reply.ending == "cut":
            self.close_connection = True

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """The server's own log is not the pipeline's."""
