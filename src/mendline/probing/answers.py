"""What the head of an HTTP answer says of a source: its status, where it points, how long it asks to wait."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from mendline.probing.deadline import Facts, Stopped

PERMANENT = frozenset({400, 401, 403, 404, 405, 410, 422})  # RFC 9110 section 15.5: the request itself must change
MOVED = frozenset({301, 308})
CREDENTIALS = frozenset({401, 403})
RATE_LIMIT = re.compile(r"[;,]\s*([rt])\s*=\s*(\d{1,9})\b")


def retry_after(value: str | None) -> float | None:
    """Read a Retry-After header: seconds from now; None when absent or unreadable. Source: RFC 9110 section 10.2.3."""
    if not value:
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def rate_limit(headers: Mapping[str, str]) -> dict[str, int] | None:
    """What is left of an allowance and when it is renewed: `remaining`, `reset_seconds`; None where nothing is said.

    Source: draft-ietf-httpapi-ratelimit-headers, the structured field and its older three. `X-RateLimit-*` is not read:
    it is seconds at one vendor and a moment at the next.
    """
    found = dict(RATE_LIMIT.findall(headers.get("ratelimit", "")))
    given = {
        "remaining": found.get("r") or headers.get("ratelimit-remaining", ""),
        "reset_seconds": found.get("t") or headers.get("ratelimit-reset", ""),
    }
    return {key: int(value) for key, value in given.items() if re.fullmatch(r"[0-9]{1,9}", value)} or None


def note_head(status: int, headers: Mapping[str, str], facts: Facts) -> None:
    """Put status, content_type, retry_after_seconds and rate_limit into `facts`; the wait only where something is amiss."""
    facts["status"] = status
    facts["content_type"] = shown(headers.get("content-type", ""))
    limit = rate_limit(headers)
    if limit:
        facts["rate_limit"] = limit
    wait = retry_after(headers.get("retry-after")) if status >= HTTPStatus.MULTIPLE_CHOICES else None
    if wait is None and status == HTTPStatus.TOO_MANY_REQUESTS and limit and limit.get("remaining", 0) == 0:
        wait = float(limit["reset_seconds"]) if "reset_seconds" in limit else None
    facts["retry_after_seconds"] = wait


def judge(headers: Mapping[str, str], facts: Facts, expected_type: str | None) -> None:
    """Raise `Stopped` unless the head is that of a source that is well and itself."""
    status, wait = facts["status"], facts["retry_after_seconds"]
    asks = f"; it asks to wait {wait:.0f} s" if wait is not None else ""
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise _redirected(status, headers, facts)
    if status in PERMANENT and wait is None:
        raise _refused(status)
    if status >= HTTPStatus.BAD_REQUEST:
        advice = "it asks for patience" if asks else "it may pass"
        raise Stopped("http", f"HTTP {status}{asks}", advice)
    if expected_type and expected_type not in facts["content_type"]:
        found = f"`{facts['content_type']}`" if facts["content_type"] else "none"
        message = f"HTTP {status} but content type {found}, expected `{expected_type}`"
        raise Stopped("http", message, "something else answers in its place (a login, a maintenance page); it may pass")


def _refused(status: int) -> Stopped:
    if status in CREDENTIALS:
        advice = "no retry heals it: look at the credentials in `sources`, and whether the stage uses the same"
        return Stopped("http", f"HTTP {status}", advice, needed="credentials that the source accepts")
    advice = "no retry heals it: the same request will get the same answer"
    return Stopped("http", f"HTTP {status}", advice, needed="an address or a request that is valid")


def _redirected(status: int, headers: Mapping[str, str], facts: Facts) -> Stopped:
    where = _origin_of(headers.get("location", ""), facts.get("url", ""))
    if where:
        facts["redirect_to"] = where
    message = f"HTTP {status}: it redirects to `{where}`" if where else f"HTTP {status}"
    needed = "the address that the source has moved to" if status in MOVED else ""
    return Stopped(
        "http", message, "not followed: only what `sources` names is asked; name the final address", needed=needed
    )


def _origin_of(location: str, base: str) -> str:
    """Scheme and host, nothing else of it; "" where it is none."""
    try:
        url = httpx.URL(base).join(location) if location else httpx.URL("")
    except (httpx.InvalidURL, ValueError):
        return ""
    return shown(origin(url)) if url.host and url.scheme in ("http", "https") else ""


def origin(url: httpx.URL) -> str:
    """Scheme, host and port: what may be shown of a URL whose path and query may hold a secret."""
    host = url.raw_host.decode("ascii")
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def shown(text: str, most: int = 100) -> str:
    """Foreign words that may be shown: one short line."""
    line = "".join(char if char.isprintable() else " " for char in text[: 2 * most])
    return " ".join(line.split())[:most]
