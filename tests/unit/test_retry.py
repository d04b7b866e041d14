"""Waiting: bounded, jittered, repeatable, and never for what a retry cannot heal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from mendline.config import Retry
from mendline.probing import retry_after
from mendline.tools.retry_with_backoff import backoff


@given(
    base=st.floats(0.1, 100), ceiling=st.floats(0.1, 1000), attempt=st.integers(1, 12), incident=st.text(max_size=20)
)
def test_a_wait_is_within_its_bounds_and_the_same_when_asked_again(
    base: float, ceiling: float, attempt: int, incident: str
) -> None:
    retry = Retry(base_seconds=base, max_wait_seconds=ceiling)
    wait = backoff(retry, incident, attempt)
    assert 0 < wait <= min(ceiling, base * 2**attempt)
    assert wait == backoff(retry, incident, attempt)


def test_incidents_do_not_wait_in_step() -> None:
    waits = {round(backoff(Retry(), f"incident {number}", 1), 3) for number in range(50)}
    assert len(waits) == 50


def test_retry_after_is_read_in_both_of_its_forms() -> None:
    assert retry_after("120") == 120.0
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < (retry_after(moment) or 0) <= 90
    assert retry_after(None) is None
    assert retry_after("soon") is None
