"""A planted set: every kind of secret in every way that logs carry one. All are gone; what surrounds them is not."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable, Mapping

import pytest

from mendline.redaction import Redactor

REDACTOR = Redactor()
LETTERS = string.ascii_letters + string.digits
HEX = "0123456789abcdef"


def some(alphabet: str, count: int, random_: random.Random) -> str:
    return "".join(random_.choice(alphabet) for _ in range(count))


def url_safe(count: int, random_: random.Random) -> str:
    return some(LETTERS + "-_", count - 2, random_) + some(string.digits, 2, random_)


def luhn(prefix: str, length: int, random_: random.Random) -> str:
    body = prefix + some(string.digits, length - len(prefix) - 1, random_)
    doubled = [int(d) * 2 - 9 * (int(d) > 4) if place % 2 == 0 else int(d) for place, d in enumerate(reversed(body))]
    return body + str(-sum(doubled) % 10)


def jwt(random_: random.Random) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
    return f"{head}.eyJ{some(LETTERS, 60, random_)}.{url_safe(43, random_)}"


def password(random_: random.Random) -> str:
    return "Zq" + some(LETTERS + "!$%*+.", 10, random_) + "9"


# What shows itself by its own form, wherever it stands.
BY_FORM: Mapping[str, Callable[[random.Random], str]] = {
    "aws key id": lambda r: "AKIA" + some(string.ascii_uppercase + string.digits, 16, r),
    "aws session key id": lambda r: "ASIA" + some(string.ascii_uppercase + string.digits, 16, r),
    "github": lambda r: "ghp_" + some(LETTERS, 36, r),
    "github app": lambda r: "ghs_" + some(LETTERS, 36, r),
    "github fine-grained": lambda r: "github_pat_" + some(LETTERS, 22, r) + "_" + some(LETTERS, 59, r),
    "gitlab": lambda r: "glpat-" + url_safe(20, r),
    "slack bot": lambda r: f"xoxb-{some(string.digits, 12, r)}-{some(LETTERS, 24, r)}",
    "stripe": lambda r: "sk_" + "live_" + some(LETTERS, 24, r) + "1",
    "stripe restricted": lambda r: "rk_" + "test_" + some(LETTERS, 24, r) + "1",
    "openai": lambda r: "sk-proj-" + url_safe(48, r),
    "anthropic": lambda r: "sk-ant-api03-" + url_safe(60, r),
    "google api": lambda r: "AIza" + some(LETTERS + "-_", 35, r),
    "google oauth": lambda r: "ya29." + url_safe(60, r),
    "databricks": lambda r: "dapi" + some(HEX, 32, r),
    "sendgrid": lambda r: f"SG.{url_safe(22, r)}.{url_safe(43, r)}",
    "npm": lambda r: "npm_" + some(LETTERS, 36, r),
    "pypi": lambda r: "pypi-" + url_safe(80, r),
    "huggingface": lambda r: "hf_" + some(LETTERS, 34, r),
    "digitalocean": lambda r: "dop_v1_" + some(HEX, 64, r),
    "jwt": jwt,
    "email": lambda r: f"{some(string.ascii_lowercase, 6, r)}.{some(string.ascii_lowercase, 7, r)}@mail.example.org",
    "visa": lambda r: luhn("4", 16, r),
    "amex": lambda r: luhn("37", 15, r),
    "card in groups": lambda r: "{}{}{}{} {}{}{}{} {}{}{}{} {}{}{}{}".format(*luhn("52", 16, r)),
    "phone": lambda r: f"+49 30 {some('123456789', 8, r)}",
}
# What only its name or its place tells.
BY_NAME: Mapping[str, Callable[[random.Random], str]] = {
    "password": password,
    "DB_PASSWORD": password,
    "PGPASSWORD": password,
    "api_key": lambda r: some(HEX, 32, r),
    "apiKey": lambda r: some(LETTERS, 24, r),
    "client_secret": lambda r: url_safe(40, r),
    "access_token": lambda r: url_safe(40, r),
    "refresh_token": lambda r: url_safe(40, r),
    "aws_secret_access_key": lambda r: some(LETTERS + "/+", 40, r),
    "AccountKey": lambda r: some(LETTERS + "/+", 86, r) + "==",
    "private_key": lambda r: some(LETTERS, 64, r),
    "SNOWFLAKE_PASSWORD": password,
}
# How a log carries a text; `{}` stands for it.
CARRIERS = (
    "{}",
    "2026-11-22 03:14:15,926 ERROR [loader] request with {} was refused",
    "requests.exceptions.HTTPError: 401 Client Error: {}",
    '{{"level": "error", "msg": "upload failed", "detail": "{}"}}',
    "ValueError: could not use '{}' for source 7",
    "    raise Refused(f\"{}\")",
    "args=['--key', '{}', '--verbose']",
    "psycopg.OperationalError: FATAL: {} (SQLSTATE 28P01)",
)  # fmt: skip
NAMED = (
    "{name}={value}",
    "{name}: {value}",
    "export {name}='{value}'",
    '{{"{name}": "{value}", "retries": 3}}',
    "{{'{name}': '{value}', 'retries': 3}}",
    'connect(host="db", {name}="{value}", port=5432)',
    "{name} = {value}",
    '{name} => "{value}"',
    "<{name}>{value}</{name}>",
    "--{name}={value} --verbose",
    "--{name} {value} --verbose",
)
PLACES: Mapping[str, str] = {
    "dsn": "OperationalError: could not connect to postgresql+psycopg://loader:{}@db.example.com:5432/main",
    "dsn of a broker": "amqp://svc:{}@mq:5672/orders refused",
    "url": "GET https://api.example.com/v1/items?page=3&api_key={}&limit=5 failed with 503",
    "presigned": "https://b.s3.amazonaws.com/k?X-Amz-Expires=600&X-Amz-Signature={}&X-Amz-Date=20261122",
    "bearer": "> Authorization: Bearer {}",
    "header dict": "headers={{'Accept': '*/*', 'X-Api-Key': '{}'}}",
    "cookie": "Cookie: session={}",
    "sql": "CREATE ROLE loader LOGIN PASSWORD '{}'",
    "odbc": "DRIVER={{ODBC}};SERVER=db;UID=loader;PWD={};Encrypt=yes",
    "jdbc": "jdbc:postgresql://db:5432/main?user=loader&password={}",
    "mysql option": "mysql -h db -u loader -p{} main",
    "curl user": "curl -sS -u loader:{} https://api.example.com/v1",
}


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("kind", BY_FORM)
def test_a_secret_with_a_form_of_its_own_is_gone(kind: str, carrier: str) -> None:
    random_ = random.Random(f"{kind}{carrier}")
    for _ in range(5):
        secret = BY_FORM[kind](random_)
        assert secret not in REDACTOR.redact(carrier.format(secret))


@pytest.mark.parametrize("carrier", NAMED)
@pytest.mark.parametrize("name", BY_NAME)
def test_a_secret_that_its_name_tells_is_gone(name: str, carrier: str) -> None:
    random_ = random.Random(f"{name}{carrier}")
    for _ in range(5):
        secret = BY_NAME[name](random_)
        assert secret not in REDACTOR.redact(carrier.format(name=name, value=secret))


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_that_its_place_tells_is_gone(place: str) -> None:
    random_ = random.Random(place)
    for _ in range(20):
        secret = some(LETTERS, 12, random_) + "7x"
        assert secret not in REDACTOR.redact(PLACES[place].format(secret))


def test_what_stands_around_a_secret_stays_to_the_letter() -> None:
    for carrier in CARRIERS[1:]:
        before, after = carrier.format("\0").split("\0")
        redacted = REDACTOR.redact(carrier.format("AKIA" + "IOSFODNN7EXAMPLE"))
        assert redacted.startswith(before)
        assert redacted.endswith(after)
