"""HTTP over a connection that was opened here: one GET, no redirect, no proxy but a configured one, no endless answer."""

from __future__ import annotations

import base64
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpcore
import httpx

from mendline import __version__
from mendline.probing.answers import origin
from mendline.probing.certificates import Handshake, stopped_in_tls
from mendline.probing.connection import dial
from mendline.probing.deadline import Deadline, Facts, Stopped, elapsed_ms

PORTS = {"http": 80, "https": 443}
OWN_HEADERS = {
    "User-Agent": f"mendline/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The head of an answer, and of a successful one the body up to the limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Question:
    """One GET: where, with what, over which way, until when."""

    url: httpx.URL = field(repr=False)
    deadline: Deadline
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxy: httpx.URL | None = field(default=None, repr=False)
    ca_file: Path | None = None

    @property
    def port(self) -> int:
        return self.url.port or PORTS[self.url.scheme]

    @property
    def host(self) -> str:
        return self.url.raw_host.decode("ascii")

    def ask(self, facts: Facts, most_bytes: int) -> Answer:
        """Send it. Puts what each layer measured into `facts`, http_ms being the time to the first byte.

        Raises: `Stopped` at the layer where the way ends.
        """
        facts["url"] = origin(self.url)
        with self._reach(facts) as connection:
            started_s = time.monotonic()
            stream = _BoundedStream(connection, self.deadline)
            try:
                return self._exchange(stream, most_bytes)
            except (OSError, httpcore.ProtocolError) as error:
                raise _broken_off(error, stream, self.deadline) from error
            finally:
                facts["http_ms"] = elapsed_ms(started_s) if not stream.first_at_s else stream.first_ms(started_s)

    def _exchange(self, stream: _BoundedStream, most_bytes: int) -> Answer:
        target = str(self.url.copy_with(fragment=None)).encode() if self._is_forwarded else self.url.raw_path
        request = httpx.Request("GET", self.url, headers=self._all_headers())
        headers = request.headers.raw
        if self._is_forwarded and self.proxy:
            headers = [*headers, *_proxy_authorization(self.proxy)]
        answer = _send(stream, self.url, b"GET", target, headers)
        body = b""
        for chunk in answer.iter_stream() if httpx.codes.is_success(answer.status) else ():
            body += chunk
            if len(body) >= most_bytes:
                break
        decoded = {name.decode("ascii").lower(): value.decode("latin-1") for name, value in answer.headers}
        return Answer(status=answer.status, headers=decoded, body=body[:most_bytes])

    def _all_headers(self) -> httpx.Headers:
        headers = httpx.Headers(OWN_HEADERS)
        headers.update(self.headers)
        return headers

    @property
    def _is_forwarded(self) -> bool:
        """Whether a proxy is asked for the resource itself, as it is for plain HTTP."""
        return self.proxy is not None and self.url.scheme == "http"

    def _reach(self, facts: Facts) -> socket.socket:
        if self.url.scheme == "http":
            return self._dial(facts)
        return Handshake(
            host=self.host,
            dial=lambda: self._dial(facts),
            deadline=self.deadline,
            facts=facts,
            ca_file=self.ca_file,
            protocols=("http/1.1",),
        ).secured()

    def _dial(self, facts: Facts) -> socket.socket:
        if self.proxy is None:
            return dial(self.host, self.port, self.deadline, facts)
        facts["proxy"] = origin(self.proxy)
        connection = dial(self.proxy.raw_host.decode("ascii"), self.proxy.port or 80, self.deadline, facts)
        if self.url.scheme == "https":
            self._pass_through(connection, self.proxy)
        return connection

    def _pass_through(self, connection: socket.socket, proxy: httpx.URL) -> None:
        """Have the proxy connect us with the source. Source: RFC 9110 section 9.3.6."""
        goal = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        headers = [(b"Host", goal.encode()), *_proxy_authorization(proxy)]
        status = 0
        try:
            stream = _BoundedStream(connection, self.deadline)
            status = _send(stream, proxy, b"CONNECT", goal.encode(), headers).status
        except (OSError, httpcore.ProtocolError) as error:
            raise Stopped("proxy", f"proxy `{origin(proxy)}` does not answer as a proxy", "it may pass") from error
        finally:
            if not 200 <= status < 300:
                connection.close()
        if not 200 <= status < 300:
            needed = "credentials that the proxy accepts" if status == httpx.codes.PROXY_AUTHENTICATION_REQUIRED else ""
            message = f"proxy `{origin(proxy)}` answers HTTP {status} instead of connecting to the source"
            raise Stopped("proxy", message, "look at the proxy; nothing is known of the source", needed=needed)


def _send(
    stream: _BoundedStream, url: httpx.URL, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]]
) -> httpcore.Response:
    place = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=target)
    connection = httpcore.HTTP11Connection(origin=place.origin, stream=stream)
    return connection.handle_request(httpcore.Request(method, place, headers=headers))


def _proxy_authorization(proxy: httpx.URL) -> list[tuple[bytes, bytes]]:
    return [(b"Proxy-Authorization", basic(proxy.username, proxy.password).encode())] if proxy.username else []


def basic(username: str, password: str) -> str:
    """The value of an Authorization header. Source: RFC 7617 section 2."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode('ascii')}"


class _BoundedStream(httpcore.NetworkStream):
    """A connection whose every read and write ends with the deadline; it does not own the connection."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline
        self.first_at_s = 0.0

    def first_ms(self, started_s: float) -> int:
        return round((self.first_at_s - started_s) * 1000)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._connection.settimeout(self._deadline.left_s())
        received = self._connection.recv(max_bytes)
        self.first_at_s = self.first_at_s or time.monotonic()
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._connection.settimeout(self._deadline.left_s())
        try:
            self._connection.sendall(buffer)
        except OSError as error:
            raise httpcore.WriteError from error  # it may have answered before it hung up

    def close(self) -> None:
        """Leave that to who opened the connection."""


def _broken_off(error: Exception, stream: _BoundedStream, deadline: Deadline) -> Stopped:
    """What ended an exchange; nothing of what was sent or received is said."""
    if isinstance(error, TimeoutError):
        began = "its answer had not ended" if stream.first_at_s else "it did not answer"
        message = f"HTTP: it took the request, and {began} within {deadline.seconds:g} s"
        return Stopped("http", message, "it is overloaded or hangs; it may pass")
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError) and not stream.first_at_s:
        return stopped_in_tls(error, deadline)
    if isinstance(error, httpcore.LocalProtocolError):
        message = "HTTP: the request cannot be sent: `url` or `headers` hold what HTTP does not allow"
        return Stopped("http", message, "correct them in `sources`", was_asked=False)
    if isinstance(error, httpcore.RemoteProtocolError) and "disconnected" not in str(error):
        return Stopped("http", "HTTP: what it answers is not HTTP, or breaks off", "look at what listens on this port")
    return Stopped("http", "HTTP: it closed the connection without a whole answer", "it may pass")
