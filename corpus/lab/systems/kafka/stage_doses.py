"""Stage the ward's doses: Avro messages from the pharmacy, a table of doses, a summary to its own topic."""

import io
import json
import logging
import os
import sqlite3
from pathlib import Path

import fastavro
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

logging.basicConfig(level=logging.INFO, format="[%(asctime)s] %(levelname)s in %(module)s.%(funcName)s: %(message)s")
log = logging.getLogger(__name__)
BOOTSTRAP = os.environ["KAFKA_BOOTSTRAP"]
SCHEMA = fastavro.parse_schema(json.loads(Path("doses.avsc").read_text(encoding="utf-8")))


def take(topic: str) -> list[bytes]:
    consumer = Consumer(
        {"bootstrap.servers": BOOTSTRAP, "group.id": "stage", "enable.partition.eof": True, "fetch.wait.max.ms": 100},
    )
    partitions = consumer.list_topics(topic, timeout=4).topics[topic].partitions
    consumer.assign([TopicPartition(topic, each, 0) for each in partitions])
    left, values = len(partitions), []
    while left:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error() is None:
            values.append(message.value())
        elif message.error().code() == KafkaError._PARTITION_EOF:
            left -= 1
        else:
            raise KafkaException(message.error())
    consumer.close()
    log.info("%s: %d messages", topic, len(values))
    return values


def decode(values: list[bytes]) -> list[dict[str, object]]:
    """Read each message by its writer's schema, into ours."""
    doses = []
    for number, value in enumerate(values):
        for dose in fastavro.reader(io.BytesIO(value), reader_schema=SCHEMA):
            doses.append(dose)
        if number % 25 == 0:
            log.info("message %d: %d bytes, %d doses so far", number, len(value), len(doses))
    return doses


def stage(doses: list[dict[str, object]]) -> list[tuple[str, int, int]]:
    store = sqlite3.connect("ward.db", timeout=1)
    with store:
        store.executemany(
            "INSERT INTO dose VALUES (:dose_id, :patient, :substance, :milligrams, :given_at)",
            [dose | {"given_at": dose["given_at"].isoformat()} for dose in doses],
        )
        over = store.execute("SELECT patient FROM dose GROUP BY patient HAVING sum(milligrams) > 90000").fetchall()
    log.info("%d doses staged, %d patients over the day's limit", len(doses), len(over))
    return store.execute("SELECT substance, count(*), sum(milligrams) FROM dose GROUP BY substance").fetchall()


def delivered(error: KafkaError | None, message: object) -> None:
    if error is not None:
        raise KafkaException(error)


def publish(summary: list[tuple[str, int, int]], doses: list[dict[str, object]]) -> None:
    settings = {
        "bootstrap.servers": BOOTSTRAP,
        "message.timeout.ms": 2500,
        "queue.buffering.max.messages": 5000,
        "linger.ms": 500,
    }
    producer = Producer(settings)
    for substance, count, milligrams in summary:
        patients = [dose["patient"] for dose in doses if dose["substance"] == substance]
        report = {"substance": substance, "doses": count, "mean": milligrams / count, "patients": patients}
        producer.produce("ward.summary", json.dumps(report).encode(), key=substance, callback=delivered)
    left = producer.flush(10)
    log.info("published %d summaries, %d left", len(summary), left)


def main() -> None:
    doses = decode(take("ward.doses"))
    publish(stage(doses), doses)


if __name__ == "__main__":
    main()
