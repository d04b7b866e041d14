"""Faults of the source APIs, on the wire."""

from __future__ import annotations

from collections.abc import Callable

from mendline.demo.faults.base import Fault, Injection, Site
from mendline.demo.oracle import EndState
from mendline.demo.servers.behaviour import (
    Behaviour,
    Reply,
    Request,
    answering,
    for_the_first,
    reset_mid_body,
    slow,
)
from mendline.incident import FailureType

# The pipeline itself asks twice (its engine retries once); a fault that is to need help must outlast that.
REFUSED_REQUESTS = 4
MAINTENANCE = (
    b"<!DOCTYPE html><html><head><title>Maintenance</title></head><body><h1>We'll be back soon</h1></body></html>"
)


def for_data(request: Request) -> bool:
    """Whether records are asked for, not a token."""
    return request.path in ("/v2/customers", "/shipments")


def for_a_while(misbehave: Behaviour) -> Behaviour:
    """Misbehave for longer than the pipeline's own retries last, counted in requests for records."""
    return for_the_first(REFUSED_REQUESTS, misbehave, for_data)


def _crm(make: Callable[[], Behaviour]) -> Callable[[Site], Injection]:
    def inject(site: Site) -> Injection:
        site.servers.crm.behaviour = make()
        return Injection()

    return inject


def _carrier(make: Callable[[], Behaviour]) -> Callable[[Site], Injection]:
    def inject(site: Site) -> Injection:
        site.servers.carrier.behaviour = make()
        return Injection()

    return inject


def _slow(site: Site) -> Injection:
    patience_s = float(site.world.settings()["http"]["timeout_seconds"])
    site.servers.crm.behaviour = for_a_while(slow(patience_s + 0.5))
    return Injection()


def _passing(name: str, summary: str, inject: Callable[[Site], Injection], *failing_stages: str) -> Fault:
    return Fault(
        name=name,
        summary=summary,
        inject=inject,
        expected_type=FailureType.API_FAILURE,
        expected_outcomes=("resolved",),
        end_state=EndState.HEALTHY,
        failing_stages=failing_stages,
    )


def _staying(name: str, summary: str, inject: Callable[[Site], Injection], *failing_stages: str) -> Fault:
    return Fault(
        name=name,
        summary=summary,
        inject=inject,
        expected_type=FailureType.API_FAILURE,
        expected_outcomes=("escalated",),
        end_state=EndState.UNTOUCHED,
        failing_stages=failing_stages,
    )


def _busy() -> Behaviour:
    body = b'{"error": "service unavailable"}'
    return for_a_while(answering(Reply(status=503, body=body)))


def _limited() -> Behaviour:
    body = b'{"error": "rate limit exceeded"}'
    return for_a_while(answering(Reply(status=429, body=body, headers={"Retry-After": "1"})))


def _rejected() -> Behaviour:
    body = b'{"error": "invalid_token", "error_description": "The access token was revoked"}'
    return for_the_first(None, answering(Reply(status=401, body=body)), for_data)


def _gone() -> Behaviour:
    return for_the_first(None, answering(Reply(status=404, body=b'{"message": "no such resource"}')), for_data)


def _maintenance() -> Behaviour:
    return for_a_while(answering(Reply(status=200, body=MAINTENANCE, content_type="text/html; charset=utf-8")))


FAULTS = (
    _passing("api_unavailable", "the CRM answers 503 for a while", _crm(_busy), "extract_customers"),
    _passing("api_rate_limited", "the CRM answers 429 with Retry-After", _crm(_limited), "extract_customers"),
    _passing("api_slow", "the CRM is slower than its clients' time-out for a while", _slow, "extract_customers"),
    _passing(
        "api_connection_reset",
        "the carrier resets connections in the middle of the body for a while",
        _carrier(lambda: for_a_while(reset_mid_body())),
        "extract_shipments",
    ),
    _staying("api_credentials_rejected", "the CRM rejects every token", _crm(_rejected), "extract_customers"),
    _staying("api_endpoint_gone", "the carrier's resource is no longer there", _carrier(_gone), "extract_shipments"),
    _passing(
        "api_maintenance_page",
        "the carrier answers with a maintenance page and status 200 for a while",
        _carrier(_maintenance),
        "extract_shipments",
    ),
)
