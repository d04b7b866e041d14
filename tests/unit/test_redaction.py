"""Every planted secret is gone, and what a diagnosis needs is as it was."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mendline.errors import ConfigError
from mendline.redaction import Redactor

REDACTOR = Redactor()

# Made-up secrets, put together at run time so that no scanner takes this file for a leak.
AWS = "AKIA" + "IOSFODNN7" + "EXAMPLE"
GITHUB = "ghp_" + "a1B2c3D4" * 5
JWT = "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJ" + "zdWIiOiIxMjM0NTY3ODkwIn0" + ".dBjftJeZ4CVP"
STRIPE = "sk_" + "live_" + "4eC39HqLyjWDarjtT1zdp7dc"
GOOGLE = "AIza" + "SyA1234567890abcdefghijklmnopqrstuv"
SLACK = "xoxb-" + "123456789012-abcdefGHIJKL"

PLANTED = [
    ("Authorization: Bearer abc123DEF456ghi789", "abc123DEF456ghi789"),
    ("{'Authorization': 'Basic dXNlcjpwYXNzd29yZA=='}", "dXNlcjpwYXNzd29yZA=="),
    ("curl -H 'Authorization: token 9f8e7d6c5b4a'", "9f8e7d6c5b4a"),
    ("password=hunter2x", "hunter2x"),
    ("DB_PASSWORD: 'p@ss w0rd'", "p@ss w0rd"),
    ('{"client_secret": "abcdef123"}', "abcdef123"),
    ("could not connect to postgresql://loader:s3cr3t@db.example.com:5432/main", "s3cr3t"),
    ("redis://:Top/Secret@cache:6379/0", "Top/Secret"),
    ("mysql://u:pa:ss@w@host/x", "pa:ss@w"),
    (f"key {AWS} is not active", AWS),
    (f"aws_secret_access_key = {'wJalrXUtnFEMI/K7MDENG' + '/bPxRfiCYEXAMPLEKEY'}", "wJalrXUtnFEMI"),
    (f"token {GITHUB} rejected", GITHUB),
    (f"token {JWT} expired", "zdWIiOiIxMjM0NTY3ODkwIn0"),
    (f"charge failed for {STRIPE}", STRIPE),
    (f"https://maps.example.com/geo?key={GOOGLE}", GOOGLE),
    (f"posting with {SLACK}", SLACK),
    ("GET https://x.example.com/a?page=2&access_token=abcd-1234&n=5 failed", "abcd-1234"),
    ("https://acct.blob.core.windows.net/c/f.csv?sv=2024&sig=ZZZ%3DYYY", "ZZZ%3DYYY"),
    ("AccountName=x;AccountKey=abcd1234abcd1234==;EndpointSuffix=y", "abcd1234abcd1234"),
    ("CREATE USER loader IDENTIFIED BY 'geheim'", "geheim"),
    ("Set-Cookie: session=abcdef123456; Path=/", "abcdef123456"),
    ("customer bob.smith+shop@mail.example.co.uk not found", "bob.smith"),
    ("card 4111 1111 1111 1111 declined", "4111 1111"),
    ("card 5500005555555559 declined", "5500005555555559"),
    ("call +49 30 901820 or +1-415-555-2671", "901820"),
    ("call (415) 555-2671", "555-2671"),
]

KEPT = [
    "2026-11-22 10:00:00,123 +0000 ERROR [load] SQLSTATE 42703: column \"email\" does not exist",
    "2026-11-22T10:11:12.123456+00:00 run 3f2b1c9e-1f2e-4c3d-9a8b-0c1d2e3f4a5b attempt 2",
    "null value in column \"phone_number\" of relation \"customers\" violates not-null constraint",
    "KeyError: 'api_key'",
    "Duplicate key \"order_id: 1234567890123456\" violates primary key constraint",
    "order 4000000000000000 and batch 20261122100000 of 1300005 rows",
    "the access token has expired; token: expired",
    "ORA-00904: \"PASSWORD\": invalid identifier",
    "Access denied for user 'loader'@'10.0.0.7' (using password: YES)",
    "primary key: order_id, partition key=day",
    "Key (order_id)=(4111111111111111) already exists",
    "invoice no 4111111111111111, run id: 5500005555555559",
    "0.123456789012345 -12345.678 1e-10 10.0.0.17:5432 0x7f8a9b0c1d2e",
    "  File \"/srv/app/token_store.py\", line 415, in refresh_token",
    "Binder Error: Referenced column \"secret_santa\" not found in FROM clause!",
    "HTTP/1.1 401 Unauthorized for url 'https://api.example.com/v2/items?page=3'",
    "amount DECIMAL(12,2) password VARCHAR",
]  # fmt: skip


@pytest.mark.parametrize(("line", "secret"), PLANTED)
def test_a_planted_secret_is_replaced_by_a_typed_marker(line: str, secret: str):
    redacted = REDACTOR.redact(line)
    assert secret not in redacted
    assert "[secret:" in redacted


@pytest.mark.parametrize("line", KEPT)
def test_what_a_diagnosis_needs_stays(line: str):
    assert REDACTOR.redact(line) == line


@pytest.mark.parametrize(("line", "_"), PLANTED)
def test_redacting_twice_is_redacting_once(line: str, _: str):
    once = REDACTOR.redact(line)
    assert REDACTOR.redact(once) == once


def test_a_private_key_keeps_its_line_count_and_nothing_else():
    key = "-----BEGIN RSA " + "PRIVATE KEY-----"
    end = "-----END RSA " + "PRIVATE KEY-----"
    lines = list(REDACTOR.redact_lines(["before", f"key={key}", "MIIEow", "abc", f"{end} after", "behind"]))
    assert len(lines) == 6
    assert (lines[0], lines[4], lines[5]) == ("before", "[secret:private_key] after", "behind")
    assert not any(part in line for line in lines for part in ("MIIEow", "abc", "BEGIN"))
    assert "MII" not in REDACTOR.redact(f"{key}MIIabc{end} x")


def test_the_markers_leave_the_words_around_a_secret():
    assert REDACTOR.redact("postgresql://bob:pw1@db:5432/x") == "postgresql://bob:[secret:dsn_password]@db:5432/x"
    assert REDACTOR.redact("?token=ab12&page=2") == "?token=[secret:query_secret]&page=2"


def test_a_pattern_of_the_user_is_redacted_too():
    custom = Redactor((r"EMP-\d+", r"badge (?P<secret>\w+)"))
    assert custom.redact("EMP-42 badge x7 left") == "[secret:custom] badge [secret:custom] left"


def test_a_broken_pattern_is_named():
    with pytest.raises(ConfigError, match=r"`\(`"):
        Redactor(("(",))


@given(st.text(max_size=200))
def test_the_count_of_lines_stays_and_a_second_pass_changes_nothing(text: str):
    once = REDACTOR.redact(text)
    assert once.count("\n") == text.count("\n")
    assert REDACTOR.redact(once) == once


@pytest.mark.parametrize(
    "unit", ["a", "1 ", "password=", "://", "a.", "a-", "+1 ", "eyJ", "bearer ", "a_", "key:", "x@", "[", "4111"]
)
def test_no_line_takes_long(unit: str):
    line = unit * (50_000 // len(unit))
    started = time.process_time()
    REDACTOR.redact(line)
    assert time.process_time() - started < 2
