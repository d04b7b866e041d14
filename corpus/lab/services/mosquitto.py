"""A Mosquitto broker of its own for one run, on a free port of loopback.

The program finds it by `MQTT_HOST` and `MQTT_PORT` and logs in as `etl` with `MQTT_PASSWORD`; the preparation is the user
`lab`. The system's interpreter must have paho-mqtt.
"""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.lab.bench import Bench, free_port
from corpus.lab.services.certificate import Pair

PASSWORD = "etl-71c3"  # of a broker that lives for seconds
Message = tuple[str, bytes]  # topic, payload

TALK = """
import base64, json, sys, time
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
told = json.load(sys.stdin)
def session(name, clean):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
    client.username_pw_set("lab", told["password"])
    ready = []
    client.on_connect = lambda *_: ready.append("connected")
    client.on_subscribe = lambda *_: ready.append("subscribed")
    kept = Properties(PacketTypes.CONNECT)
    kept.SessionExpiryInterval = 0 if clean else 86400
    client.connect("127.0.0.1", told["port"], clean_start=True, properties=kept)
    client.loop_start()
    def wait(what):
        until = time.monotonic() + 10
        while what not in ready:
            if time.monotonic() > until:
                raise SystemExit(f"not {what}")
            time.sleep(0.005)
    wait("connected")
    return client, wait
if told["subscriber"]:
    client, wait = session(told["subscriber"], False)
    client.subscribe(told["topic"], 1)
    wait("subscribed")
    client.disconnect()
    client.loop_stop()
client, _ = session("lab", True)
sent = [client.publish(t, base64.b64decode(p), qos=1, retain=told["retain"]) for t, p in told["messages"]]
for each in sent:
    each.wait_for_publish(10)
client.disconnect()
client.loop_stop()
"""

JOIN = """
import sys, threading
import paho.mqtt.client as mqtt
_, port, password, *names = sys.argv
joined = threading.Semaphore(0)
for name in names:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
    client.username_pw_set("lab", password)
    client.reconnect_delay_set(1, 1)
    client.on_connect = lambda *_: joined.release()
    client.connect("127.0.0.1", int(port), clean_start=False)
    client.loop_start()
for name in names:
    if not joined.acquire(timeout=8):
        raise SystemExit(1)
print("joined", flush=True)
threading.Event().wait()
"""

_running: dict[Path, Broker] = {}


@dataclass(frozen=True, kw_only=True)
class Broker:
    """A running broker; `home` holds its settings and its log."""

    home: Path
    port: int
    process: subprocess.Popen[bytes]

    def publish(self, bench: Bench, messages: Sequence[Message], *, retain: bool = False) -> None:
        self._talk(bench, messages, retain=retain, subscriber="", topic="")

    def keep_for(self, bench: Bench, subscriber: str, topic: str, messages: Sequence[Message]) -> None:
        """Let a client that is away have subscribed, and these messages wait for it."""
        self._talk(bench, messages, retain=False, subscriber=subscriber, topic=topic)

    def join(self, bench: Bench, *names: str) -> None:
        """Let other clients of these names be connected until the run ends; who is thrown out comes back."""
        command = [str(bench.python), "-c", JOIN, str(self.port), PASSWORD, *names]
        others = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        bench.on_exit(others.wait)
        bench.on_exit(others.kill)
        assert others.stdout is not None
        if others.stdout.readline().strip() != b"joined":
            raise RuntimeError("the other clients were not let in")

    def _talk(self, bench: Bench, messages: Sequence[Message], *, retain: bool, subscriber: str, topic: str) -> None:
        told = {
            "port": self.port,
            "password": PASSWORD,
            "retain": retain,
            "subscriber": subscriber,
            "topic": topic,
            "messages": [(name, base64.b64encode(body).decode()) for name, body in messages],
        }
        bench.run(str(bench.python), "-c", TALK, text=json.dumps(told))

    def signal(self, number: int) -> None:
        """Send the broker a signal: KILL ends it, STOP lets it be silent, HUP lets it read its rules again."""
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def take_no_more(self) -> None:
        """Leave the broker no handle for another client."""
        open_now = len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))
        subprocess.run(["prlimit", f"--pid={self.process.pid}", f"--nofile={open_now}"], check=True)

    def allow(self, *rules: str) -> None:
        """Give the user `etl` these rights alone, as lines of an access list."""
        (self.home / "rules").write_text(_rules(rules), encoding="utf-8")
        self.signal(signal.SIGHUP)


def start(bench: Bench, *, settings: Mapping[str, str] | None = None, tls: Pair | None = None) -> Broker:
    """Start a broker for the length of one run; with `tls` it speaks MQTTS. `settings` are lines of mosquitto.conf."""
    home, port = bench.path("mosquitto/mosquitto.log").parent, free_port()
    lines = {
        "listener": f"{port} 127.0.0.1",
        "user": "root",
        "allow_anonymous": "false",
        "password_file": str(home / "passwords"),
        "acl_file": str(home / "rules"),
        "log_dest": f"file {home / 'mosquitto.log'}",
        "max_queued_messages": "20000",
        "max_inflight_messages": "200",
        **(settings or {}),
    }
    if tls:
        lines |= {"certfile": str(tls.certificate), "keyfile": str(tls.key)}
    (home / "mosquitto.conf").write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
    (home / "rules").write_text(_rules(("topic readwrite #",)), encoding="utf-8")
    (home / "passwords").write_text(f"etl:{PASSWORD}\nlab:{PASSWORD}\n")
    (home / "passwords").chmod(0o600)
    subprocess.run(["mosquitto_passwd", "-U", str(home / "passwords")], check=True)
    command = ("mosquitto", "-c", str(home / "mosquitto.conf"))
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    broker = Broker(home=home, port=port, process=server)
    bench.on_exit(lambda: broker.signal(signal.SIGKILL))
    _await(port, server)
    _running[bench.directory] = broker
    bench.env |= {"MQTT_HOST": "localhost" if tls else "127.0.0.1", "MQTT_PORT": str(port), "MQTT_USER": "etl"}
    bench.env["MQTT_PASSWORD"] = PASSWORD
    return broker


def running(bench: Bench) -> Broker:
    """Give the broker that was started for this run."""
    return _running[bench.directory]


def _rules(rules: Sequence[str]) -> str:
    return "\n".join(["user lab", "topic readwrite #", "", "user etl", *rules, ""])


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("mosquitto did not start")
