"""Takes the analysers' results from the queue, books them for the patients of the animal clinic, sends a notice of every panel."""

import json
import logging
import os
import sys
import time
from decimal import Decimal

import pika
import psycopg

log = logging.getLogger("assays")
QUEUE = os.environ.get("ASSAY_QUEUE", "assay.results")
BATCH = int(os.environ.get("BATCH", "60"))
LEAST = int(os.environ.get("LEAST_RESULTS", "200"))

INSERT = """
    INSERT INTO result (sample_id, animal_id, analyte, value, unit, measured_at, verdict)
    VALUES (%(sample)s, %(animal)s, %(analyte)s, %(value)s, %(unit)s, %(measured_at)s, %(verdict)s)
"""


def connect():
    parameters = pika.URLParameters(os.environ["AMQP_URL"])
    parameters.socket_timeout = 3
    parameters.blocked_connection_timeout = float(os.environ.get("BLOCKED_S", "4"))
    parameters.stack_timeout = 5
    for attempt in (1, 2, 3):
        log.info("connecting to broker at %s:%s, attempt %d", parameters.host, parameters.port, attempt)
        try:
            return pika.BlockingConnection(parameters)
        except pika.exceptions.ProbableAuthenticationError:
            raise
        except pika.exceptions.AMQPConnectionError as error:
            log.warning("attempt %d failed: %r", attempt, error)
            last = error
            time.sleep(0.4)
    raise last


def judge(body, ranges):
    low, high = ranges[body["analyte"]]
    if body.get("value") is None:
        return "pending"
    value = Decimal(str(body["value"]))
    return "low" if value < low else "high" if value > high else "normal"


class Recorder:
    def __init__(self, store, channel):
        self.store = store
        self.channel = channel
        self.ranges = {}
        self.batch = []
        self.tag = 0
        self.booked = 0

    def load_ranges(self):
        rows = self.store.execute("SELECT analyte, low, high FROM reference_range")
        self.ranges = {analyte: (low, high) for analyte, low, high in rows}
        log.info("%d reference ranges", len(self.ranges))

    def take(self, method, properties, raw):
        body = json.loads(raw)
        body["verdict"] = judge(body, self.ranges)
        self.batch.append({"unit": None, "value": None, **body})
        self.tag = method.delivery_tag
        if len(self.batch) >= BATCH:
            self.flush()

    def flush(self):
        if not self.batch:
            return
        with self.store.transaction(), self.store.cursor() as cursor:
            cursor.executemany(INSERT, self.batch)
        self.channel.basic_ack(self.tag, multiple=True)
        self.booked += len(self.batch)
        log.info(
            "booked %d results (%d so far), last sample %s", len(self.batch), self.booked, self.batch[-1]["sample"]
        )
        self.batch = []


def notify(channel, store):
    channel.confirm_delivery()
    panels = store.execute(
        "SELECT animal_id, count(*), count(*) FILTER (WHERE verdict <> 'normal') FROM result GROUP BY animal_id ORDER BY 1"
    ).fetchall()
    for animal, tests, striking in panels:
        notice = json.dumps({"animal": animal, "tests": tests, "striking": striking}).encode()
        channel.basic_publish("clinic.notices", f"animal.{animal}", notice, pika.BasicProperties(delivery_mode=2))
    log.info("sent %d notices", len(panels))


def main():
    logging.basicConfig(
        stream=sys.stdout,
        level=os.environ.get("LOG_LEVEL", "INFO"),
        format="%(asctime)s %(levelname)-8s %(name)s | %(message)s",
    )
    if os.environ.get("LOG_LEVEL") != "DEBUG":
        logging.getLogger("pika").setLevel(os.environ.get("PIKA_LEVEL", "WARNING"))
    store = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    connection = connect()
    channel = connection.channel()
    channel.basic_qos(prefetch_count=BATCH * 2)
    recorder = Recorder(store, channel)
    recorder.load_ranges()
    log.info("consuming %s", QUEUE)
    for method, properties, raw in channel.consume(QUEUE, inactivity_timeout=1.0):
        if method is None:
            break
        try:
            recorder.take(method, properties, raw)
        except Exception:
            log.error("message %d of %s could not be taken: %.160r", method.delivery_tag, QUEUE, raw)
            raise
    recorder.flush()
    channel.cancel()
    log.info("queue is empty, %d results booked", recorder.booked)
    if recorder.booked < LEAST:
        log.error("expected at least %d results of tonight's run, got %d", LEAST, recorder.booked)
        sys.exit(4)
    notify(channel, store)
    connection.close()


if __name__ == "__main__":
    try:
        main()
    except Exception:
        log.exception("recording ended early")
        sys.exit(1)
