"""What foreign words may do to a probe: be read or be left out, and nothing else."""

from __future__ import annotations

import socket
import threading
import time

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mendline.probing import retry_after
from mendline.probing.answers import judge, note_head, origin, rate_limit, shown
from mendline.probing.connection import Address
from mendline.probing.deadline import Deadline, Facts, Stopped

HEADER = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=60),
    st.from_regex(r"[0-9A-Za-z ,:;=+\"-]{1,40}", fullmatch=True),
    st.from_regex(
        r"(Mon|Fri), [0-9]{1,3} (Jan|Foo) [0-9]{1,6} [0-9]{1,3}:[0-9]{2}:[0-9]{2} (GMT|[+-][0-9]{4})", fullmatch=True
    ),
)


@settings(max_examples=50, deadline=None)
@given(value=HEADER)
def test_a_wait_is_a_finite_number_of_seconds_or_none_whatever_is_sent(value: str) -> None:
    wait = retry_after(value)
    assert wait is None or 0 <= wait < 10**12


@settings(max_examples=50, deadline=None)
@given(one=HEADER, three=HEADER)
def test_a_rate_limit_is_small_numbers_or_none_whatever_is_sent(one: str, three: str) -> None:
    limit = rate_limit({"ratelimit": one, "ratelimit-remaining": three, "ratelimit-reset": three})
    assert limit is None or all(0 <= value < 10**9 for value in limit.values())


def test_a_rate_limit_of_several_policies_is_read_and_another_vendors_is_not() -> None:
    assert rate_limit({"ratelimit": '"burst";r=3;t=1'}) == {"remaining": 3, "reset_seconds": 1}
    assert rate_limit({"ratelimit": '"day"; r=50'}) == {"remaining": 50}
    assert rate_limit({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1790000000"}) is None


@settings(max_examples=50, deadline=None)
@given(location=st.one_of(HEADER, st.text(max_size=80), st.just("//evil.example/\u202e")))
def test_where_a_redirect_leads_is_scheme_and_host_whatever_is_sent(location: str) -> None:
    facts: Facts = {"url": "https://api.example"}
    note_head(302, {"location": location}, facts)
    with pytest.raises(Stopped) as stopped:
        judge({"location": location}, facts, None)
    assert stopped.value.found.isprintable()
    where = facts.get("redirect_to", "https://api.example")
    assert where.startswith(("https://", "http://"))
    assert "/" not in where.partition("://")[2]
    assert len(where) <= 100


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=400))
def test_what_is_shown_is_one_short_printable_line(text: str) -> None:
    line = shown(text)
    assert line.isprintable()
    assert len(line) <= 100


def test_an_origin_is_scheme_host_and_port_alone() -> None:
    assert (
        origin(httpx.URL("https://user:pass@api.example:8443/secret?key=secret#secret")) == "https://api.example:8443"
    )
    assert origin(httpx.URL("http://[::1]:81/x")) == "http://[::1]:81"
    assert origin(httpx.URL("https://bücher.example/")) == "https://xn--bcher-kva.example"
    assert str(Address(family=socket.AF_INET6, target=("::1", 81, 0, 0))) == "[::1]:81"


def test_what_outlasts_the_deadline_is_left_alone() -> None:
    over = threading.Event()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        Deadline.after(0.05).call(lambda: over.wait(30))
    over.set()
    assert time.monotonic() - started < 10


def test_a_deadline_hands_on_what_the_call_gives_or_raises() -> None:
    def fail() -> None:
        raise KeyError("x")

    assert Deadline.after(10).call(lambda: 7) == 7
    with pytest.raises(KeyError):
        Deadline.after(10).call(fail)


def test_no_time_is_left_after_the_deadline() -> None:
    with pytest.raises(TimeoutError):
        Deadline.after(-1).left_s()
