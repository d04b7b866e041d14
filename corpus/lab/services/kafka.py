"""A Kafka broker on loopback: librdkafka's built-in one, in a process of its own, with messages in its topics.

The system's interpreter must have confluent-kafka. The program finds the broker by `KAFKA_BOOTSTRAP`.
"""

from __future__ import annotations

import base64
import json
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.lab.bench import Bench

HOLD = """
import base64, json, sys
from confluent_kafka import Producer
producer = Producer({"bootstrap.servers": "", "test.mock.num.brokers": 1, "log_level": 0})
broker = next(iter(producer.list_topics(timeout=10).brokers.values()))
for topic, messages in json.loads(sys.stdin.readline()).items():
    producer.list_topics(topic, timeout=10)
    for number, message in enumerate(messages):
        producer.produce(topic, base64.b64decode(message), key=str(number), partition=number % 2)
producer.flush(20)
print(f"{broker.host}:{broker.port}", flush=True)
sys.stdin.read()
"""

_running: dict[Path, Broker] = {}


@dataclass(frozen=True, kw_only=True)
class Broker:
    process: subprocess.Popen[str]
    address: str

    def signal(self, number: int) -> None:
        """Send the broker a signal: KILL ends it, STOP lets it be silent."""
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()


def start(bench: Bench, topics: Mapping[str, Sequence[bytes]]) -> Broker:
    """Start a broker for the length of one run, with these messages in two partitions of each topic."""
    process = subprocess.Popen(
        [str(bench.python), "-c", HOLD],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    bench.on_exit(process.wait)
    bench.on_exit(process.kill)
    assert process.stdin is not None
    assert process.stdout is not None
    encoded = {topic: [base64.b64encode(each).decode() for each in messages] for topic, messages in topics.items()}
    process.stdin.write(json.dumps(encoded) + "\n")
    process.stdin.flush()
    broker = Broker(process=process, address=process.stdout.readline().strip())
    if not broker.address:
        raise RuntimeError("the broker did not start")
    _running[bench.directory] = broker
    bench.env["KAFKA_BOOTSTRAP"] = broker.address
    return broker


def running(bench: Bench) -> Broker:
    """Give the broker that was started for this run."""
    return _running[bench.directory]
