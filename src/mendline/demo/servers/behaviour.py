"""How a demo API server may be made to misbehave, on the wire and for every client alike."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request; `number` counts the server's requests from 1, `headers` has lower-case names."""

    number: int
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What goes back: after `delay_s` seconds; `reset_after` bytes of the body the connection is reset (None: never)."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    reset_after: int | None = None


Behaviour = Callable[[Request, Callable[[], Reply]], Reply]
"""Gets the request and a call that makes the healthy reply; may answer without making that call."""

Applies = Callable[[Request], bool]


def healthy(_request: Request, answer: Callable[[], Reply]) -> Reply:
    """Answer as the server should."""
    return answer()


def every_request(_request: Request) -> bool:
    """Apply to whatever comes."""
    return True


def for_the_first(count: int | None, misbehave: Behaviour, applies: Applies = every_request) -> Behaviour:
    """Misbehave for the first `count` requests that `applies` selects (None: for all of them), then be healthy."""
    lock = threading.Lock()
    seen = 0

    def behave(request: Request, answer: Callable[[], Reply]) -> Reply:
        nonlocal seen
        if not applies(request):
            return answer()
        with lock:
            seen += 1
            over = count is not None and seen > count
        return answer() if over else misbehave(request, answer)

    return behave


def answering(reply: Reply) -> Behaviour:
    """Give this reply whatever was asked: 503, 429 with Retry-After, 401, 404, an HTML page with status 200."""
    return lambda _request, _answer: reply


def slow(delay_s: float) -> Behaviour:
    """Give the healthy reply, `delay_s` seconds late."""

    def behave(_request: Request, answer: Callable[[], Reply]) -> Reply:
        reply = answer()
        return Reply(
            status=reply.status,
            body=reply.body,
            content_type=reply.content_type,
            headers=reply.headers,
            delay_s=delay_s,
        )

    return behave


def reset_mid_body(after: int = 40) -> Behaviour:
    """Send the first `after` bytes of the healthy body, then reset the connection."""

    def behave(_request: Request, answer: Callable[[], Reply]) -> Reply:
        reply = answer()
        return Reply(
            status=reply.status,
            body=reply.body,
            content_type=reply.content_type,
            headers=reply.headers,
            reset_after=after,
        )

    return behave


def calling(effect: Callable[[Request], None]) -> Behaviour:
    """Call `effect` before the healthy answer."""

    def behave(request: Request, answer: Callable[[], Reply]) -> Reply:
        effect(request)
        return answer()

    return behave
