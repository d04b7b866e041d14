"""TLS: the handshake, and what is wrong with a certificate in words."""

from __future__ import annotations

import math
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from mendline.probing.deadline import Deadline, Facts, Stopped, elapsed_ms

# Source: openssl/x509_vfy.h, X509_V_ERR_* and X509_V_FLAG_NO_CHECK_TIME; the ssl module has no names for them.
NOT_YET_VALID, EXPIRED, WRONG_HOST, WRONG_ADDRESS = 9, 10, 62, 64
UNKNOWN_ISSUER = {2, 18, 19, 20, 21}
NO_CHECK_TIME = 0x200000
RENEWED = "a certificate that is valid"
REASONS = {
    "WRONG_VERSION_NUMBER": "what answers there does not speak TLS",
    "HTTP_REQUEST": "what answers there does not speak TLS",
    "UNSUPPORTED_PROTOCOL": "it speaks only versions of TLS that are not accepted any more",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks no version of TLS that is accepted here",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refuses every cipher that is offered, or wants a client certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a client certificate",
    "TLSV1_UNRECOGNIZED_NAME": "it does not know this host name",
}


@dataclass(frozen=True, kw_only=True)
class Handshake:
    """A TLS handshake with `host`; `dial` gives a connection to where it is made, and is called again for a second look."""

    host: str
    dial: Callable[[], socket.socket]
    deadline: Deadline
    facts: Facts = field(repr=False)
    ca_file: Path | None = None
    protocols: tuple[str, ...] = ()  # offered by name (ALPN), such as http/1.1

    def secured(self) -> ssl.SSLSocket:
        """Make it. Puts tls_ms, tls_version, certificate_expires_at and certificate_days_left into `facts`; the caller closes.

        Raises: `Stopped` at the layer where it ends.
        """
        self._require_name()
        context = self._context()
        connection, started_s = self.dial(), time.monotonic()
        try:
            secured = self._shaken(connection, context)
        except ssl.SSLCertVerificationError as error:
            raise self._distrusted(error) from error
        except OSError as error:
            raise stopped_in_tls(error, self.deadline) from error
        finally:
            connection.close()  # a TLS socket has taken its descriptor over
            self.facts["tls_ms"] = elapsed_ms(started_s)
        self.facts["tls_version"] = secured.version()
        self._note_expiry(secured.getpeercert() or {})
        return secured

    def _require_name(self) -> None:
        """Behind a proxy nobody has looked the name up before, and `ssl` would leave a connection open over it."""
        try:
            self.host.encode("idna")
        except UnicodeError as error:
            message = f"TLS: `{self.host}` is no valid host name"
            raise Stopped("tls", message, "correct it in `sources`", needed="a valid host name") from error

    def _shaken(self, connection: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        connection.settimeout(self.deadline.left_s())
        return context.wrap_socket(connection, server_hostname=self.host)

    def _context(self) -> ssl.SSLContext:
        context = httpx.create_ssl_context()  # the authorities that most Python clients trust, and this machine's own
        context.load_default_certs()
        if self.protocols:
            context.set_alpn_protocols(self.protocols)
        try:
            if self.ca_file:
                context.load_verify_locations(cafile=self.ca_file)
        except OSError as error:
            message = f"TLS: `ca_file` `{self.ca_file}` cannot be read as certificates (PEM)"
            raise Stopped("tls", message, "correct it in `sources`", was_asked=False) from error
        return context

    def _note_expiry(self, certificate: Mapping[str, Any]) -> None:
        if "notAfter" in certificate:
            expires_at = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
            self.facts["certificate_expires_at"] = expires_at.isoformat()
            self.facts["certificate_days_left"] = math.floor((expires_at - datetime.now(UTC)).total_seconds() / 86_400)

    def _distrusted(self, error: ssl.SSLCertVerificationError) -> Stopped:
        """Say what is wrong with the certificate; sent was nothing."""
        if error.verify_code == EXPIRED:
            return self._expired()
        if error.verify_code == NOT_YET_VALID:
            begins = self._second_look(NO_CHECK_TIME).get("notBefore", "later")
            message = f"TLS: the certificate of `{self.host}` is not valid before {begins}"
            return Stopped("tls", message, "or the clock of this machine is wrong", needed=RENEWED)
        if error.verify_code in (WRONG_HOST, WRONG_ADDRESS):
            return self._of_another()
        if error.verify_code in UNKNOWN_ISSUER:
            message = f"TLS: nobody who is trusted here has issued the certificate of `{self.host}`"
            advice = "if its issuer is your own, name it in `ca_file`; else somebody stands between"
            return Stopped(
                "tls", f"{message} ({error.verify_message})", advice, needed="a certificate of a trusted issuer"
            )
        message = f"TLS: the certificate of `{self.host}` is not accepted ({error.verify_message})"
        return Stopped("tls", message, "no retry heals it", needed=RENEWED)

    def _expired(self) -> Stopped:
        self._note_expiry(self._second_look(NO_CHECK_TIME))
        advice = "no retry heals it: the source's owner must renew it"
        if self.facts.get("certificate_days_left", 0) >= 0:
            whose = "certificate" if "certificate_expires_at" not in self.facts else "certificate of an issuer"
            return Stopped("tls", f"TLS: a {whose} of `{self.host}` has expired", advice, needed=RENEWED)
        at, days = self.facts["certificate_expires_at"], -self.facts["certificate_days_left"]
        message = f"TLS: the certificate of `{self.host}` expired at {at}, {days} day{'s' * (days > 1)} ago"
        return Stopped("tls", message, advice, needed=RENEWED)

    def _of_another(self) -> Stopped:
        certificate = self._second_look(0, is_of_any_host=True)
        names = [str(name) for _, name in certificate.get("subjectAltName", ())][:3]
        whose = ", ".join(f"`{name}`" for name in names) or "another host"
        message = f"TLS: the certificate that `{self.host}` shows is that of {whose}"
        advice = "the address leads to another server, or its owner has installed the wrong certificate"
        return Stopped("tls", message, advice, needed="a certificate of this host")

    def _second_look(self, flags: int, *, is_of_any_host: bool = False) -> Mapping[str, Any]:
        """What the certificate says where one complaint is passed over; nothing is sent through it. Empty when it cannot be had."""
        context = self._context()
        context.verify_flags |= flags
        context.check_hostname = context.check_hostname and not is_of_any_host
        facts = dict(self.facts)
        try:
            with self.dial() as connection, self._shaken(connection, context) as secured:
                return secured.getpeercert() or {}
        except (OSError, Stopped):
            return {}
        finally:
            self.facts.update(facts)


def stopped_in_tls(error: OSError, deadline: Deadline) -> Stopped:
    """What ended a handshake, other than the certificate."""
    if isinstance(error, TimeoutError):
        message = f"TLS: the handshake was not finished within {deadline.seconds:g} s"
        return Stopped("tls", message, "it is overloaded, or what answers there does not speak TLS; it may pass")
    reason = getattr(error, "reason", None)
    if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError) or not reason:
        return Stopped("tls", "TLS: it closed the connection during the handshake", "it may pass")
    advice = "look at what listens on this port, and at its settings for TLS"
    needed = "a server that speaks TLS as expected" if reason in REASONS else ""
    return Stopped("tls", f"TLS: {REASONS.get(reason, 'the handshake failed')} ({reason})", advice, needed=needed)
