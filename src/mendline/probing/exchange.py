"""One HTTP/1.1 request over a connection that somebody else opened, bounded in time and bytes; nothing of it is logged."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import h11

from mendline.probing.deadline import Deadline

MOST_HEAD_BYTES = 65_536
MOST_PROMISES = 8  # 1xx answers before the real one
Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The head of an answer, and of a successful one the body up to the limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class Exchange:
    """The bytes to and fro on one connection. It does not own the connection; `first_ms` is None before the first byte."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self._parser = h11.Connection(our_role=h11.CLIENT, max_incomplete_event_size=MOST_HEAD_BYTES)
        self._started_s = time.monotonic()
        self.first_ms: int | None = None

    def send(self, method: str, target: bytes, headers: Headers) -> None:
        """Send a request without a body. Raises: `h11.LocalProtocolError` for what HTTP does not allow."""
        head = self._parser.send(h11.Request(method=method, target=target, headers=list(headers))) or b""
        end = self._parser.send(h11.EndOfMessage()) or b""
        try:
            self._connection.settimeout(self._deadline.left_s())
            self._connection.sendall(head + end)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass  # it may have answered before it hung up

    def answer(self, most_bytes: int) -> Answer:
        """Receive the answer. Raises: `h11.RemoteProtocolError`; `OSError`, of which `TimeoutError` at the deadline."""
        events = self._events()
        head = next(event for event in events if isinstance(event, h11.Response))
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        body = b""
        if 200 <= head.status_code < 300 and most_bytes:
            for event in events:
                body += bytes(event.data) if isinstance(event, h11.Data) else b""
                if len(body) >= most_bytes or not isinstance(event, h11.Data):
                    break
        return Answer(status=head.status_code, headers=headers, body=body[:most_bytes])

    def _events(self) -> Iterator[h11.Event]:
        promise_count = 0
        while True:
            event = self._parser.next_event()
            if event is h11.NEED_DATA:
                self._parser.receive_data(self._received())
            elif not isinstance(event, h11.Event) or isinstance(event, h11.ConnectionClosed):
                raise h11.RemoteProtocolError("the connection ended before the answer")
            else:
                promise_count += isinstance(event, h11.InformationalResponse)
                if promise_count > MOST_PROMISES:
                    raise h11.RemoteProtocolError("it promises an answer without end")
                yield event

    def _received(self) -> bytes:
        self._connection.settimeout(self._deadline.left_s())
        received = self._connection.recv(16_384)
        if received and self.first_ms is None:
            self.first_ms = round((time.monotonic() - self._started_s) * 1000)
        return received
