"""DNS and TCP: the name is resolved once, and a connection goes to what was resolved and nowhere else."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from mendline.probing.deadline import Deadline, Facts, Stopped, elapsed_ms

MOST_ADDRESSES = 8
NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
NO_ROUTE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


@dataclass(frozen=True, kw_only=True)
class Address:
    """One address that a name resolved to, as `socket.connect` takes it."""

    family: int
    target: tuple[Any, ...]

    @property
    def ip(self) -> str:
        return str(self.target[0])

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.target[1]}" if ":" in self.ip else f"{self.ip}:{self.target[1]}"


def dial(host: str, port: int, deadline: Deadline, facts: Facts) -> socket.socket:
    """Resolve and connect. Puts host, port, addresses, address, dns_ms and tcp_ms into `facts`; the caller closes."""
    facts |= {"host": host, "port": port}
    return connect(resolve(host, port, deadline, facts), deadline, facts)


def resolve(host: str, port: int, deadline: Deadline, facts: Facts) -> tuple[Address, ...]:
    """The addresses of a name, in the resolver's order. Raises: `Stopped` when there is none, or none that can be a source's."""
    started_s = time.monotonic()
    try:
        found = deadline.call(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except TimeoutError as error:
        message = f"DNS: no name server answered for `{host}` within {deadline.seconds:g} s"
        raise Stopped("dns", message, "look at the resolver of this machine; it may pass") from error
    except (OSError, UnicodeError) as error:
        raise _unresolved(host, error) from error
    finally:
        facts["dns_ms"] = elapsed_ms(started_s)
    addresses = tuple(dict.fromkeys(Address(family=family, target=target) for family, *_, target in found))
    facts["addresses"] = [address.ip for address in addresses[:MOST_ADDRESSES]]
    return _sensible(host, addresses)[:MOST_ADDRESSES]


def _unresolved(host: str, error: OSError | UnicodeError) -> Stopped:
    if isinstance(error, UnicodeError) or error.errno in NO_SUCH_NAME:
        why = "is no valid host name" if isinstance(error, UnicodeError) else "does not resolve: there is no such name"
        advice = "no retry heals it: correct the name in `sources`, or its DNS record"
        return Stopped("dns", f"DNS: `{host}` {why}", advice, needed="a host name that resolves")
    message = f"DNS: `{host}` does not resolve now: the name servers could not tell"
    return Stopped("dns", message, "look at the resolver of this machine; it may pass")


def _sensible(host: str, addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """Without addresses that no name of a source has: a sinkhole's 0.0.0.0, a machine's own link (where clouds keep secrets)."""
    good = tuple(address for address in addresses if address.ip == host or not _is_of_no_source(address.ip))
    if addresses and not good:
        message = f"DNS: `{host}` resolves to {addresses[0].ip}, which is no source's address"
        advice = "a name server blocks or falsifies it; nothing was sent there"
        raise Stopped("dns", message, advice, needed="a name server that tells the source's address")
    return good


def _is_of_no_source(ip: str) -> bool:
    address = ip_address(ip)
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_unspecified or mapped.is_link_local or mapped.is_multicast)


def connect(addresses: Sequence[Address], deadline: Deadline, facts: Facts) -> socket.socket:
    """A connection to the first address that takes one; each has an even share of the time that is left."""
    started_s, complaints = time.monotonic(), []
    for position, address in enumerate(addresses):
        try:
            connection = _connected(address, deadline.left_s() / (len(addresses) - position))
        except OSError as error:
            complaints.append(f"{address} {_complaint(error)}")
        else:
            facts |= {"address": address.ip, "tcp_ms": elapsed_ms(started_s)}
            return connection
    facts["tcp_ms"] = elapsed_ms(started_s)
    advice = "nothing listens there, a firewall stands between, or it is overloaded; it may pass"
    raise Stopped("tcp", f"TCP: {'; '.join(complaints)}", advice)


def _connected(address: Address, seconds: float) -> socket.socket:
    connection = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect(address.target)
    except BaseException:
        connection.close()
        raise
    return connection


def _complaint(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "refused the connection"
    if error.errno in NO_ROUTE:
        return "cannot be reached from here (no route)"
    return f"failed ({errno.errorcode.get(error.errno or 0, 'unknown error')})"
