"""Move the night's parcel scans from the landing bucket to the curated one, a file per depot."""

import csv
import io
import json
import logging
import os
import sys

import boto3
from botocore.config import Config

logging.basicConfig(
    level=os.environ.get("LOG_LEVEL", "INFO"), format="%(asctime)s [%(levelname)s]\t%(name)s\t%(message)s"
)
log = logging.getLogger("parcels")
logging.getLogger("botocore.hooks").setLevel(logging.INFO)
logging.getLogger("botocore.parsers").setLevel(logging.INFO)

CONFIG = Config(
    retries={"max_attempts": 3, "mode": "standard"},
    connect_timeout=1,
    read_timeout=1,
    s3={"addressing_style": "path"},
)
LANDING = os.environ.get("LANDING", "parcels-landing")
CURATED = "parcels-curated"


def keys(s3, prefix):
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=LANDING, Prefix=prefix):
        for entry in page.get("Contents", []):
            yield entry["Key"], entry["Size"]


def scans(s3, key):
    body = s3.get_object(Bucket=LANDING, Key=key)["Body"].read()
    log.info("s3://%s/%s: %d bytes", LANDING, key, len(body))
    rows = list(csv.DictReader(io.StringIO(body.decode("utf-8"))))
    log.info("%s: %d scans, header %s", key, len(rows), list(rows[0]) if rows else None)
    return rows


def by_depot(rows, depots):
    for row in rows:
        grams = int(row["grams"])
        if grams <= 0:
            raise ValueError(f"parcel {row['parcel_no']} weighs {grams} g")
        one = {"parcel_no": row["parcel_no"], "scanned_at": row["scanned_at"], "grams": grams}
        depots.setdefault(row["depot"], {})
        if row["parcel_no"] in depots[row["depot"]]:
            raise KeyError(f"parcel {row['parcel_no']} was scanned before in {row['depot']}")
        depots[row["depot"]][row["parcel_no"]] = one


def main():
    s3 = boto3.client("s3", config=CONFIG)
    prefix = sys.argv[1]
    depots, files, least = {}, 0, int(os.environ.get("LEAST_FILES", "6"))
    for key, size in keys(s3, prefix):
        log.debug("%s has %d bytes", key, size)
        by_depot(scans(s3, key), depots)
        files += 1
    if files < least:
        log.error(
            "found %d files under s3://%s/%s, at least %d are delivered every night", files, LANDING, prefix, least
        )
        sys.exit(5)
    for depot, parcels in sorted(depots.items()):
        body = "\n".join(json.dumps(parcel) for parcel in parcels.values())
        s3.put_object(Bucket=CURATED, Key=f"{prefix}{depot}.jsonl", Body=body.encode())
        log.info("wrote s3://%s/%s%s.jsonl with %d parcels", CURATED, prefix, depot, len(parcels))
    log.info("done")


if __name__ == "__main__":
    main()
