"""Stream the pumping stations' alarms, spooled by the gateways, into network.alarms; keep a copy per station."""

import contextlib
import json
import logging
import os
import pathlib
import sys
import traceback

from google.cloud import bigquery
from google.oauth2 import service_account


class Structured(logging.Formatter):
    def format(self, record):
        entry = {
            "severity": record.levelname,
            "time": self.formatTime(record),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["stack_trace"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(Structured())
logging.basicConfig(level=logging.INFO, handlers=[handler])
log = logging.getLogger("alarms")

TABLE = "stadtwerk-nord.network.alarms"
BATCH = 50
RETRY = bigquery.DEFAULT_RETRY.with_delay(initial=0.2, maximum=0.6).with_timeout(2)


def client():
    credentials = service_account.Credentials.from_service_account_file(
        os.environ["GOOGLE_APPLICATION_CREDENTIALS"], scopes=["https://www.googleapis.com/auth/bigquery"]
    )
    return bigquery.Client(
        "stadtwerk-nord", credentials=credentials, client_options={"api_endpoint": os.environ["GCP_ENDPOINT"]}
    )


def valves(bq):
    rows = bq.query("SELECT valve, station FROM `stadtwerk-nord.network.valves`", retry=RETRY, job_retry=None).result(
        retry=RETRY
    )
    return {row.valve: row.station for row in rows}


def flat(event, known):
    station = known.get(event["valve"]["id"])
    if station is None:
        raise LookupError(f"alarm {event['alarm_id']}: valve {event['valve']['id']!r} is not in network.valves")
    return {
        "alarm_id": event["alarm_id"],
        "raised_at": event["raised_at"],
        "station": station,
        "valve": event["valve"]["id"],
        "pressure_mbar": event["pressure_mbar"],
        "note": event.get("note"),
        **event.get("extra", {}),
    }


def push(bq, rows):
    errors = bq.insert_rows_json(TABLE, rows, row_ids=[row["alarm_id"] for row in rows], retry=RETRY, timeout=2)
    for error in errors[:3]:
        log.warning("row %s refused: %s", error["index"], error["errors"])
    if errors:
        raise RuntimeError(f"{len(errors)} of {len(rows)} rows were not inserted")
    log.info("inserted %d rows", len(rows))


def main():
    bq = client()
    known = valves(bq)
    log.info("%d valves", len(known))
    spool = sorted(pathlib.Path("spool").glob("*.ndjson"))
    with contextlib.ExitStack() as stack:
        sources = [stack.enter_context(path.open(encoding="utf-8")) for path in spool]
        copies = {
            station: stack.enter_context(open(f"copies/{station}.ndjson", "w"))
            for station in sorted(set(known.values()))
        }
        for source in sources:
            events = [json.loads(line) for line in source]
            log.info("%s: %d alarms", source.name, len(events))
            rows = [flat(event, known) for event in events]
            for row in rows:
                copies[row["station"]].write(json.dumps(row) + "\n")
            for at in range(0, len(rows), BATCH):
                push(bq, rows[at : at + BATCH])
    log.info("spool is empty")


try:
    main()
except Exception:
    log.critical("alarms were not pushed", exc_info=True)
    sys.exit(1)
