"""Price yesterday's meter intervals with the supplier's tariffs and write the settlement file."""

import csv
import json
import logging
import os
import sys
import time
import urllib.error
import urllib.request

logging.basicConfig(
    level=logging.DEBUG,
    format="%(asctime)s.%(msecs)03d|%(levelname)s|%(name)s|%(message)s",
    datefmt="%Y-%m-%dT%H:%M:%S",
)
log = logging.getLogger("settlement")

BASE = os.environ["TARIFF_URL"]
TOKEN = os.environ["TARIFF_TOKEN"]
TRIES = int(os.environ.get("TARIFF_TRIES", "4"))
TIMEOUT_S = float(os.environ.get("TARIFF_TIMEOUT", "1.5"))


def fetch(path):
    request = urllib.request.Request(
        BASE + path, headers={"Authorization": f"Bearer {TOKEN}", "Accept": "application/json"}
    )
    for attempt in range(1, TRIES + 1):
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                body = answer.read()
                log.debug("GET %s -> %d %s, %d bytes", path, answer.status, answer.headers["Content-Type"], len(body))
                return json.loads(body)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            log.warning("GET %s -> %d (attempt %d/%d) %s", path, error.code, attempt, TRIES, text.strip()[:200])
            if attempt == TRIES or error.code in (400, 401, 403, 404, 410):
                raise
        except OSError as error:
            log.warning("GET %s: %s (attempt %d/%d)", path, error, attempt, TRIES)
            if attempt == TRIES:
                raise
        time.sleep(0.05 * 2**attempt)


def tariffs():
    found = {}
    page = 1
    while page:
        answer = fetch(f"/v2/tariffs?page={page}")
        log.debug("page %d: %d tariffs, first %s", page, len(answer["items"]), answer["items"][0])
        for tariff in answer["items"]:
            found[tariff["code"]] = tariff["cents_per_kwh"] / 100
        page = answer["next"]
    log.info("%d tariffs", len(found))
    return found


def intervals(path):
    with open(path, newline="", encoding="utf-8") as file:
        lines = json.load(file)
    log.info("%d intervals of %d meters", len(lines), len({line["meter"] for line in lines}))
    return lines


def settle(lines, prices):
    for number, line in enumerate(lines, 1):
        amount = line["kwh"] * prices[line["tariff"]]
        if number % 240 == 0:
            log.debug("interval %d: meter %s %s kWh -> %.4f EUR", number, line["meter"], line["kwh"], amount)
        yield line["meter"], line["at"], line["kwh"], round(amount, 4)


def write(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=";")
        count = 0
        for row in rows:
            writer.writerow(row)
            count += 1
    log.info("%s: %d rows", path, count)
    return count


def main():
    log.info("settlement for %s, tariffs from %s", os.environ.get("DAY", "2026-02-08"), BASE)
    lines = intervals("intervals.json")
    prices = tariffs()
    count = write("settlement.csv", settle(lines, prices))
    meters = json.load(open("meters.json", encoding="utf-8"))
    expected = sum(meter["intervals"] for meter in meters)
    log.info("check: %d rows written, the meter register announces %d", count, expected)
    if count != expected:
        log.error("settlement.csv is not released")
        sys.exit(3)


if __name__ == "__main__":
    try:
        main()
    except Exception:
        log.exception("settlement aborted")
        raise SystemExit(1) from None
