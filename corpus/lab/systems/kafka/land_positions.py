"""Take the buses' positions from the topic into the store, and count the stops that were served."""

import json
import logging
import os
import sqlite3
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s|%(levelname)s|%(name)s|%(message)s")
log = logging.getLogger("land_positions")
TOPIC = "bus.positions"
SETTINGS = {
    "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"],
    "group.id": "land-positions",
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "socket.connection.setup.timeout.ms": 1500,
    "socket.timeout.ms": 2000,
    "fetch.wait.max.ms": 100,
}


def assign(consumer: Consumer) -> int:
    """Take every partition of the topic from its beginning."""
    partitions = consumer.list_topics(TOPIC, timeout=4).topics[TOPIC].partitions
    consumer.assign([TopicPartition(TOPIC, number, 0) for number in partitions])
    log.info("assigned %s, %d partitions", TOPIC, len(partitions))
    return len(partitions)


def messages(consumer: Consumer) -> list[Message]:
    open_partitions, taken, idle = assign(consumer), [], 0
    while open_partitions:
        message = consumer.poll(0.5)
        if message is None:
            idle += 1
            if idle % 4 == 0:
                log.warning("nothing came for %.1f s", idle * 0.5)
            if idle == 12:
                raise TimeoutError(f"{TOPIC}: {open_partitions} partitions not read to their end")
        elif message.error() is None:
            taken.append(message)
            if len(taken) % 100 == 0:
                log.info("%d messages, partition %d at offset %d", len(taken), message.partition(), message.offset())
        elif message.error().code() == KafkaError._PARTITION_EOF:
            open_partitions -= 1
        else:
            raise KafkaException(message.error())
    return taken


def land(store: sqlite3.Connection, message: Message) -> None:
    position = json.loads(message.value())
    store.execute(
        "INSERT INTO position (vehicle, seen_at, line, lat, lon, delay_s) VALUES (?, ?, ?, ?, ?, ?)",
        (
            position["vehicle"],
            position["seen_at"],
            position.get("line"),
            round(position["lat"], 5),
            round(position["lon"], 5),
            position["delay_s"],
        ),
    )


def main() -> None:
    consumer = Consumer(SETTINGS)
    store = sqlite3.connect("positions.db")
    taken = messages(consumer)
    log.info("took %d messages; fields of the first: %s", len(taken), sorted(json.loads(taken[0].value())))
    with store:
        for message in taken:
            try:
                land(store, message)
            except Exception:
                log.error("partition %d, offset %d: %s", message.partition(), message.offset(), message.value()[:160])
                raise
    late, lines = store.execute("SELECT sum(delay_s > 300), count(DISTINCT line) FROM position").fetchone()
    log.info("%d positions of %d lines, %d late", len(taken), lines, late)
    consumer.commit(
        offsets=[TopicPartition(TOPIC, each.partition(), each.offset() + 1) for each in taken[-1:]], asynchronous=False
    )
    consumer.close()


if __name__ == "__main__":
    main()
