"""HTTP over a connection that was opened here: one GET, no redirect, no proxy but a configured one, no endless answer."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import h11
import httpx

from mendline import __version__
from mendline.probing.answers import origin
from mendline.probing.certificates import Handshake, stopped_in_tls
from mendline.probing.connection import dial
from mendline.probing.deadline import Deadline, Facts, Stopped
from mendline.probing.exchange import Answer, Exchange, Headers

PORTS = {"http": 80, "https": 443}
OWN_HEADERS = {
    "User-Agent": f"mendline/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


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
            exchange = Exchange(connection, self.deadline)
            try:
                exchange.send("GET", self._target, self._all_headers())
                return exchange.answer(most_bytes)
            except (OSError, h11.ProtocolError) as error:
                raise _broken_off(error, exchange, self.deadline, facts) from error
            finally:
                if exchange.first_ms is not None:
                    facts["http_ms"] = exchange.first_ms

    @property
    def _target(self) -> bytes:
        if not self._is_forwarded:
            return self.url.raw_path
        return b"%b://%b%b" % (self.url.raw_scheme, self.url.netloc, self.url.raw_path)

    def _all_headers(self) -> Headers:
        headers = httpx.Headers(OWN_HEADERS)
        headers.update(self.headers)
        own = httpx.Request("GET", self.url, headers=headers).headers.raw
        return [*own, *_proxy_authorization(self.proxy)] if self.proxy and self._is_forwarded else own

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
            exchange = Exchange(connection, self.deadline)
            exchange.send("CONNECT", goal.encode(), headers)
            status = exchange.answer(0).status
        except (OSError, h11.ProtocolError) as error:
            raise Stopped("proxy", f"proxy `{origin(proxy)}` does not answer as a proxy", "it may pass") from error
        finally:
            if not 200 <= status < 300:
                connection.close()
        if not 200 <= status < 300:
            needed = "credentials that the proxy accepts" if status == httpx.codes.PROXY_AUTHENTICATION_REQUIRED else ""
            message = f"proxy `{origin(proxy)}` answers HTTP {status} instead of connecting to the source"
            raise Stopped("proxy", message, "look at the proxy; nothing is known of the source", needed=needed)


def _proxy_authorization(proxy: httpx.URL) -> Headers:
    return [(b"Proxy-Authorization", basic(proxy.username, proxy.password).encode())] if proxy.username else []


def basic(username: str, password: str) -> str:
    """The value of an Authorization header. Source: RFC 7617 section 2."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode('ascii')}"


def _broken_off(error: Exception, exchange: Exchange, deadline: Deadline, facts: Facts) -> Stopped:
    """What ended an exchange; nothing of what was sent or received is said."""
    if isinstance(error, TimeoutError):
        began = "it did not answer" if exchange.first_ms is None else "its answer had not ended"
        message = f"HTTP: it took the request, and {began} within {deadline.seconds:g} s"
        return Stopped("http", message, "it is overloaded or hangs; it may pass")
    if isinstance(error, h11.LocalProtocolError):
        message = "HTTP: the request cannot be sent: `url` or `headers` hold what HTTP does not allow"
        return Stopped("http", message, "correct them in `sources`", was_asked=False)
    if exchange.first_ms is not None:
        return Stopped("http", "HTTP: what it answers is not HTTP, or breaks off", "look at what listens on this port")
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return stopped_in_tls(error, deadline)
    advice = "it may pass, or it wants a client certificate" if "tls_version" in facts else "it may pass"
    return Stopped("http", "HTTP: it closed the connection without an answer", advice)
