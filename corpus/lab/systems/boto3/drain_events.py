"""Drain the queue of charging sessions into the sessions table; what cannot be read stays in the queue."""

import json
import logging
import os
from datetime import datetime
from decimal import Decimal

import boto3
from botocore.config import Config

logging.basicConfig(
    level=logging.INFO, format='{"t": "%(asctime)s", "lvl": "%(levelname)s", "src": "%(name)s", "msg": "%(message)s"}'
)
log = logging.getLogger("charging")
CONFIG = Config(retries={"max_attempts": 2, "mode": "standard"}, connect_timeout=1, read_timeout=2)


def messages(sqs, url):
    while True:
        given = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0).get("Messages", [])
        log.info("received %d messages", len(given))
        if not given:
            return
        yield from given


def session(body):
    event = json.loads(body)
    started, ended = (datetime.fromisoformat(event[name]) for name in ("started_at", "ended_at"))
    minutes = int((ended - started).total_seconds() // 60)
    return {
        "station_id": event["station_id"],
        "session_no": event["session_no"],
        "minutes": minutes,
        "kwh": Decimal(str(event["kwh"])),
        "watt_mean": int(event["kwh"] * 60_000 / minutes),
        "tags": event.get("tags", []),
    }


def main():
    sqs, dynamodb = boto3.client("sqs", config=CONFIG), boto3.resource("dynamodb", config=CONFIG)
    url = sqs.get_queue_url(QueueName="charging-sessions")["QueueUrl"]
    table = dynamodb.Table(os.environ.get("TABLE", "sessions"))
    log.info("table %s: key %s, %s", table.name, [key["AttributeName"] for key in table.key_schema], table.table_status)
    count = 0
    for message in messages(sqs, url):
        item = session(message["Body"])
        table.put_item(
            Item=item,
            ConditionExpression="attribute_not_exists(session_no)",
        )
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        count += 1
    log.info("stored %d sessions", count)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        log.error("stage drain_events failed: %s", type(error).__name__)
        raise
