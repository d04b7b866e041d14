"""A service on loopback that is told by requests: method, path, query and body decide the answer, not the path alone."""

from __future__ import annotations

import gzip
import json
import re
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from corpus.lab.bench import Bench
from corpus.lab.case import Prepare
from corpus.lab.services.web import Reply, _Handler


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request, its path without the query and unquoted."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body or b"{}")


Answer = Callable[[Asked], Reply]


@dataclass(kw_only=True)
class Fault:
    """What a service says instead to the requests `of` matches (`METHOD path?query`), after `after` of them, `times` times."""

    of: re.Pattern[str]
    reply: Reply | Answer
    after: int = 0
    times: int = 1_000_000

    def takes(self, asked: Asked) -> bool:
        query = "&".join(f"{name}={value}" for name, value in asked.query.items())
        if not self.of.search(f"{asked.method} {asked.path}?{query}\n{asked.body[:20_000].decode(errors='replace')}"):
            return False
        self.after -= 1
        if self.after >= 0 or self.times <= 0:
            return False
        self.times -= 1
        return True


@dataclass(kw_only=True)
class Rest:
    """A running service; a fault that takes a request goes before the service's own answer."""

    answer: Answer
    url: str = ""
    port: int = 0
    faults: list[Fault] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    released: threading.Event = field(default_factory=threading.Event)

    def reply(self, asked: Asked) -> Reply:
        with self.lock:
            fault = next((each for each in self.faults if each.takes(asked)), None)
            if fault is None:
                return self.answer(asked)
        return fault.reply if isinstance(fault.reply, Reply) else fault.reply(asked)


_running: dict[Path, Rest] = {}


def serve(bench: Bench, answer: Answer, *, tls: ssl.SSLContext | None = None) -> Rest:
    """Start a service for the length of one run; with `tls` it speaks HTTPS."""
    state = Rest(answer=answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_RestHandler,), {"service": state}))
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    state.port = server.server_address[1]
    state.url = f"{'https' if tls else 'http'}://127.0.0.1:{state.port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    bench.on_exit(server.server_close)
    bench.on_exit(server.shutdown)
    bench.on_exit(state.released.set)
    _running[bench.directory] = state
    bench.on_exit(lambda: _running.pop(bench.directory, None))
    return state


def says(of: str, reply: Reply | Answer, *, after: int = 0, times: int = 1_000_000) -> Prepare:
    """Let the run's service answer otherwise to what the expression finds in method, path, query and body."""

    def inject(bench: Bench) -> None:
        fault = Fault(of=re.compile(of, re.DOTALL), reply=reply, after=after, times=times)
        _running[bench.directory].faults.append(fault)

    return inject


class _RestHandler(_Handler):
    service: Rest

    def answer(self) -> None:
        reply = self.service.reply(self._asked())
        if reply.ending == "hang":
            self.service.released.wait()
        elif reply.ending == "reset":
            self._reset()
        else:
            self._send(reply)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = answer  # noqa: N815

    def _asked(self) -> Asked:
        where = urlsplit(self.path)
        body = self._body()
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        query = dict(parse_qsl(where.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Asked(method=self.command, path=unquote(where.path), query=query, headers=headers, body=body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)
