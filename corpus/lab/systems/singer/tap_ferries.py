"""Singer tap: sailings and piers of the ferry operator's API."""

import json
import sys
from pathlib import Path

import backoff
import requests
import singer
from singer import metrics, utils

LOGGER = singer.get_logger()
SESSION = requests.Session()


class Retriable(Exception):
    """The operator asks for a later attempt."""


def log_backoff(details):
    _, error, _ = sys.exc_info()
    LOGGER.info("Backing off %0.1f seconds after %d tries: %s", details["wait"], details["tries"], error)


@backoff.on_exception(
    backoff.constant,
    (Retriable, requests.ConnectionError),
    max_tries=4,
    interval=0.1,
    jitter=None,
    on_backoff=log_backoff,
)
def request(config, path, params):
    headers = {"X-Operator-Key": config["api_key"], "User-Agent": config.get("user_agent", "tap-ferries")}
    with metrics.http_request_timer(path) as timer:
        response = SESSION.get(config["base_url"] + path, params=params, headers=headers, timeout=1.5)
        timer.tags[metrics.Tag.http_status_code] = response.status_code
    if response.status_code == 429 or response.status_code >= 500:
        raise Retriable(f"{response.status_code} {response.reason} for {path}: {response.text[:120]}")
    response.raise_for_status()
    LOGGER.debug("%s %s: %d bytes of %s", path, params, len(response.content), response.headers.get("Content-Type"))
    return response.json()


def load_schema(stream):
    return json.loads(Path("schemas", f"{stream}.json").read_text())


def sync_piers(config, state):
    schema = load_schema("piers")
    singer.write_schema("piers", schema, ["pier"])
    with metrics.record_counter("piers") as counter:
        for row in request(config, "/piers", {}):
            singer.write_record("piers", row)
            counter.increment()
    return state


def sync_sailings(config, state):
    schema = load_schema("sailings")
    singer.write_schema("sailings", schema, ["sailing_id"], bookmark_properties=["departs"])
    start = utils.strptime_to_utc(singer.get_bookmark(state, "sailings", "departs", config["start_date"]))
    page, newest = 1, start
    with metrics.record_counter("sailings") as counter:
        while page:
            answer = request(config, "/sailings", {"page": page, "since": utils.strftime(start)})
            for row in answer["items"]:
                departs = utils.strptime_to_utc(row["departs"])
                newest = max(newest, departs)
                row["load"] = round(row["vehicles"] / row["capacity"], 3)
                singer.write_record("sailings", row)
                counter.increment()
            state = singer.write_bookmark(state, "sailings", "departs", utils.strftime(newest))
            singer.write_state(state)
            page = answer["next_page"]
    return state


@utils.handle_top_exception(LOGGER)
def main():
    args = utils.parse_args(["base_url", "api_key", "start_date"])
    LOGGER.info("Starting sync, operator %s", args.config.get("operator"))
    state = sync_piers(args.config, args.state)
    sync_sailings(args.config, state)
    LOGGER.info("Sync completed")


if __name__ == "__main__":
    main()
