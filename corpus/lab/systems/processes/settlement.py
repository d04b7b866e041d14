"""Faults of the script that prices meter intervals with tariffs from a web service."""

from __future__ import annotations

import json
import resource

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program
from corpus.lab.faults import limited, unset
from corpus.lab.services.web import Reply, answers, page, serve

CODES = ("DAY-1", "NIGHT-1", "WIND-7", "SUN-3", "GRID-2", "FLAT-9")


def _items(start: int, field: str = "cents_per_kwh") -> list[dict[str, object]]:
    return [
        {"code": code, field: 24.5 + n, "valid_until": "2026-12-31"} for n, code in enumerate(CODES[start : start + 2])
    ]


def _page(number: int, items: list[dict[str, object]]) -> Reply:
    return Reply(body={"items": items, "next": number + 1 if number < 3 else None})


def _intervals() -> list[dict[str, object]]:
    return [
        {
            "meter": f"M{meter:03d}",
            "at": f"2026-02-08T{n // 4:02d}:{n % 4 * 15:02d}",
            "kwh": round(0.2 + (n * meter % 17) / 9, 3),
            "tariff": CODES[n % 6],
        }
        for meter in range(1, 41)
        for n in range(96)
    ]


def world(bench: Bench) -> None:
    web = serve(bench, {f"/v2/tariffs?page={n}": [_page(n, _items(2 * n - 2))] for n in (1, 2, 3)})
    bench.env |= {"TARIFF_URL": web.url, "TARIFF_TOKEN": "tk_live_9f27c1a0b6", "DAY": "2026-02-08"}
    bench.write("intervals.json", json.dumps(_intervals()))
    bench.write("meters.json", json.dumps([{"meter": f"M{n:03d}", "intervals": 96} for n in range(1, 41)]))


SETTLE = Program(name="settlement", command=("/usr/bin/python3", "tariffs.py"), files=("tariffs.py",), world=world)
CRON = Program(
    name="settlement_cron",
    command=("bash", "cron.sh", "settlement", "/usr/bin/python3", "tariffs.py"),
    files=("cron.sh", "tariffs.py"),
    world=world,
)


def reply(number: int, *replies: Reply) -> Prepare:
    return answers(f"/v2/tariffs?page={number}", *replies)


def _edit(bench: Bench, change: dict[str, object], where: int = 1741) -> None:
    lines = _intervals()
    lines[where] |= change
    bench.write("intervals.json", json.dumps(lines))


def _few(bench: Bench) -> None:
    bench.write("intervals.json", json.dumps([line for line in _intervals() if line["meter"] not in ("M017", "M018")]))


def _unknown_tariff(bench: Bench) -> None:
    bench.replace("tariffs.py", 'prices[line["tariff"]]', 'prices[line["meter"]]')


def _cpu(bench: Bench) -> None:
    bench.write("intervals.json", json.dumps(_intervals() * 150))
    bench.write("meters.json", json.dumps([{"meter": f"M{n:03d}", "intervals": 96 * 150} for n in range(1, 41)]))
    bench.command = ("prlimit", "--cpu=1:9", *bench.command)


THROTTLE = Reply(429, {"error": "rate_limited", "retry_in": 1}, {"Retry-After": "1"})
SORRY = "<!doctype html>\n<title>Supplier portal</title>\n<h1>We will be back at 06:00</h1>\n<p>The portal is being maintained.</p>\n"

CASES = (
    Case(
        name="settlement_price_field",
        family="renamed",
        cause="the service calls cents_per_kwh price_ct now",
        program=SETTLE,
        inject=reply(2, THROTTLE, THROTTLE, _page(2, _items(2, "price_ct"))),
        trap="a throttling that was overcome stands right before the error",
    ),
    Case(
        name="settlement_price_text",
        family="retyped",
        cause="the service sends prices as text with a currency",
        program=CRON,
        inject=reply(1, _page(1, [{"code": "DAY-1", "cents_per_kwh": "24,50 ct", "valid_until": "2026-12-31"}])),
        trap="looks like a bug: a division of a text",
    ),
    Case(
        name="settlement_interval_without_kwh",
        family="null",
        cause="one interval has no energy",
        program=SETTLE,
        inject=lambda bench: _edit(bench, {"kwh": None}),
        trap="looks like a bug: None is multiplied",
    ),
    Case(
        name="settlement_two_meters_absent",
        family="volume",
        cause="the delivery lacks two meters",
        program=CRON,
        inject=_few,
    ),
    Case(
        name="settlement_portal_page",
        family="protocol",
        subtype="outage_page",
        cause="the portal serves its maintenance page with status 200",
        program=SETTLE,
        inject=reply(3, Reply(200, SORRY, {"Content-Type": "text/html; charset=utf-8"})),
        trap="surfaces as a JSON that does not parse",
    ),
    Case(
        name="settlement_backend_away",
        family="outage",
        cause="the service's backend is down",
        program=CRON,
        inject=reply(2, page(502)),
    ),
    Case(
        name="settlement_token_revoked",
        family="credentials",
        cause="the supplier revoked the token",
        program=SETTLE,
        inject=reply(1, Reply(401, {"error": "invalid_token", "error_description": "token revoked 2026-02-07T22:00Z"})),
    ),
    Case(
        name="settlement_no_answer",
        family="slow",
        cause="the service accepts and never answers",
        program=CRON,
        inject=reply(2, Reply(ending="hang")),
    ),
    Case(
        name="settlement_endpoint_retired",
        family="endpoint",
        cause="version 2 of the service was switched off",
        program=SETTLE,
        inject=reply(
            1, Reply(410, {"type": "about:blank", "title": "Gone", "detail": "v2 was retired, see /v3/price-lists"})
        ),
    ),
    Case(
        name="settlement_reset_midway",
        family="reset",
        cause="the service resets every connection for page 3",
        program=SETTLE,
        inject=reply(3, Reply(ending="reset")),
    ),
    Case(
        name="settlement_file_limit",
        family="disk",
        subtype="file_too_large",
        cause="the job may write no file above 60 kB",
        program=SETTLE,
        inject=limited(resource.RLIMIT_FSIZE, 60_000),
    ),
    Case(
        name="settlement_cpu_limit",
        family="time_limit",
        subtype="cpu_limit",
        cause="the job may use one second of CPU",
        program=CRON,
        inject=_cpu,
        trap="the shell's word of the signal is all that is left",
    ),
    Case(
        name="settlement_wrong_key",
        family="code_bug",
        cause="a change looks prices up by the meter instead of the tariff",
        program=SETTLE,
        inject=_unknown_tariff,
        trap="a KeyError with a value of the data",
    ),
    Case(
        name="settlement_token_not_set",
        family="configuration",
        cause="the deployment does not set TARIFF_TOKEN",
        program=CRON,
        inject=unset("TARIFF_TOKEN"),
        trap="a KeyError, and a word of credentials",
    ),
)
