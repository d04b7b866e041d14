"""Load a night's meter exports from the bucket, roll them up per supply zone, publish the balance."""

import csv
import io
import logging
import os
import sys

from google.cloud import bigquery, storage
from google.oauth2 import service_account

logging.basicConfig(
    level=os.environ.get("LOG_LEVEL", "INFO"),
    format="%(levelname).1s%(asctime)s %(name)s] %(message)s",
    datefmt="%m%d %H:%M:%S",
)
log = logging.getLogger("meters")

PROJECT = "stadtwerk-nord"
BUCKET = "stadtwerk-meter-exports"
RETRY = bigquery.DEFAULT_RETRY.with_delay(initial=0.2, maximum=0.6).with_timeout(2.5)
SCHEMA = [
    bigquery.SchemaField("meter_id", "INTEGER", mode="REQUIRED"),
    bigquery.SchemaField("read_at", "TIMESTAMP", mode="REQUIRED"),
    bigquery.SchemaField("litres", "INTEGER"),
    bigquery.SchemaField("battery_v", "FLOAT"),
    bigquery.SchemaField("firmware", "STRING"),
]
ROLLUP = """
INSERT INTO `stadtwerk-nord.metering.zone_daily` (zone, day, litres, meters)
SELECT m.zone, '{day}' AS day,
       SUM(r.litres) AS litres,
       COUNT(DISTINCT r.meter_id) AS meters
FROM `stadtwerk-nord.metering.readings` AS r
LEFT JOIN `stadtwerk-nord.metering.meters` AS m ON m.meter_id = r.meter_id
GROUP BY m.zone
"""
CHECKS = {
    "meters without readings": """
SELECT COUNT(*) AS n FROM `stadtwerk-nord.metering.meters` AS m
WHERE m.active = 1 AND m.meter_id NOT IN (SELECT meter_id FROM `stadtwerk-nord.metering.readings`)""",
    "readings of unknown meters": """
SELECT COUNT(*) AS n FROM `stadtwerk-nord.metering.readings`
WHERE meter_id NOT IN (SELECT meter_id FROM `stadtwerk-nord.metering.meters`)""",
    "meters read twice": """
SELECT COUNT(*) - COUNT(DISTINCT meter_id || read_at) AS n FROM `stadtwerk-nord.metering.readings`""",
    "negative readings": """
SELECT COUNT(*) AS n FROM `stadtwerk-nord.metering.readings` WHERE litres < 0""",
}
ALLOWED = {"meters without readings": 6}


def clients():
    credentials = service_account.Credentials.from_service_account_file(
        os.environ["GOOGLE_APPLICATION_CREDENTIALS"], scopes=["https://www.googleapis.com/auth/cloud-platform"]
    )
    options = {"api_endpoint": os.environ["GCP_ENDPOINT"]}
    return (
        bigquery.Client(PROJECT, credentials=credentials, client_options=options, location="europe-west3"),
        storage.Client(PROJECT, credentials=credentials, client_options=options),
    )


def query(bq, sql):
    job = bq.query(sql, retry=RETRY, job_retry=RETRY, timeout=2)
    log.info("job %s (%s)", job.job_id, job.statement_type or "query")
    return job.result(retry=RETRY, timeout=10)


def load(bq, blob):
    head = blob.download_as_bytes(start=0, end=120, timeout=2, retry=RETRY).split(b"\n")[0].decode()
    log.info("gs://%s/%s (%d bytes): %s", BUCKET, blob.name, blob.size, head)
    config = bigquery.LoadJobConfig(
        schema=SCHEMA, source_format="CSV", skip_leading_rows=1, write_disposition="WRITE_APPEND"
    )
    job = bq.load_table_from_uri(
        f"gs://{BUCKET}/{blob.name}", f"{PROJECT}.metering.readings", job_config=config, retry=RETRY, timeout=2
    )
    try:
        job.result(retry=RETRY, timeout=10)
    except Exception:
        for error in job.errors or []:
            log.error("%s: %s", job.job_id, error)
        raise
    log.info("%s: %s rows", job.job_id, job.output_rows)
    return job.output_rows


def publish(bq, gcs, day):
    rows = query(
        bq, f"SELECT zone, litres, meters FROM `{PROJECT}.metering.zone_daily` WHERE day = '{day}' ORDER BY zone"
    )
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["zone", "litres", "meters", "litres_per_meter"])
    for row in rows:
        writer.writerow([row.zone, row.litres, row.meters, round(row.litres / row.meters, 1)])
    target = gcs.bucket("stadtwerk-balance").blob(f"{day}/balance.csv")
    target.upload_from_string(out.getvalue(), content_type="text/csv", timeout=2, retry=RETRY, checksum=None)
    log.info("published %s", target.path)


def main(day):
    bq, gcs = clients()
    blobs = list(gcs.list_blobs(BUCKET, prefix=f"{day}/", timeout=2, retry=RETRY))
    log.info("%d exports of %s", len(blobs), day)
    rows = sum(load(bq, blob) for blob in blobs)
    if rows < int(os.environ.get("LEAST_READINGS", "700")):
        sys.exit(f"only {rows} readings of {day}")
    for what, sql in CHECKS.items():
        n = next(iter(query(bq, sql))).n
        log.info("check: %s = %d", what, n)
        if n > ALLOWED.get(what, 0):
            raise SystemExit(f"F meters] check failed: {n} {what}")
    changed = query(bq, ROLLUP.format(day=day)).num_dml_affected_rows
    log.info("zone_daily: %s rows", changed)
    publish(bq, gcs, day)


if __name__ == "__main__":
    main(sys.argv[1])
