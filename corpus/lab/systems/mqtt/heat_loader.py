"""Loads the telemetry of the district heating's substations, which the broker has kept since the last run."""

import datetime as dt
import json
import os
import queue
import sqlite3
import sys
import threading
import time
import traceback
import urllib.request

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

CLIENT_ID = os.environ.get("MQTT_CLIENT_ID", "heat-loader")
TOPIC = "heat/+/telemetry"
QUIET_S = 1.2
SPECIFIC_HEAT = 1.163  # kWh per m3 and kelvin


def emit(level, event, **fields):
    stamp = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    told = " ".join(f"{name}={json.dumps(value, ensure_ascii=False, default=str)}" for name, value in fields.items())
    print(f"ts={stamp} level={level} event={event} {told}".rstrip(), flush=True)


class Inbox:
    """The messages as they come, in the order of the broker; `lost` says why the session ended, if it did."""

    def __init__(self):
        self.messages = queue.Queue()
        self.ready = threading.Event()
        self.lost = None
        self.losses = 0
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=CLIENT_ID, protocol=mqtt.MQTTv5)
        self.client.username_pw_set(os.environ["MQTT_USER"], os.environ["MQTT_PASSWORD"])
        if os.environ.get("MQTT_CA"):
            self.client.tls_set(os.environ["MQTT_CA"])
        self.client.reconnect_delay_set(1, 2)
        self.client.on_connect = self.on_connect
        self.client.on_connect_fail = self.on_connect_fail
        self.client.on_disconnect = self.on_disconnect
        self.client.on_subscribe = self.on_subscribe
        self.client.on_publish = self.on_publish
        self.client.on_message = lambda client, data, message: self.messages.put(message)

    def on_connect(self, client, data, flags, reason, properties):
        emit("info", "connected", reason=str(reason), session_present=flags.session_present)
        if reason.is_failure:
            self.lost = f"broker refused the session: {reason}"
            return
        client.subscribe(TOPIC, qos=1)

    def on_subscribe(self, client, data, mid, reasons, properties):
        emit("info", "subscribed", topic=TOPIC, granted=[str(each) for each in reasons])
        if any(each.is_failure for each in reasons):
            self.lost = f"subscription to {TOPIC} was not granted: {reasons[0]}"
        self.ready.set()

    def on_disconnect(self, client, data, flags, reason, properties):
        self.losses += 1
        emit("warning", "disconnected", reason=str(reason), by_server=flags.is_disconnect_packet_from_server)
        if self.losses >= 4:
            self.lost = f"session lost {self.losses} times, last: {reason}"

    def on_publish(self, client, data, mid, reason, properties):
        if reason.is_failure:
            self.lost = f"publication {mid} was refused: {reason}"

    def on_connect_fail(self, client, data):
        self.losses += 1
        emit("warning", "reconnect_failed", losses=self.losses)
        if self.losses >= 4:
            self.lost = f"session lost {self.losses} times, broker cannot be reached"

    def open(self):
        host, port = os.environ["MQTT_HOST"], int(os.environ["MQTT_PORT"])
        emit("info", "connecting", host=host, port=port, client_id=CLIENT_ID)
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 7 * 86400
        self.client.connect(host, port, keepalive=4, clean_start=False, properties=kept)
        self.client.loop_start()
        until = time.monotonic() + 6
        while not self.ready.wait(0.05) and not self.lost:
            if time.monotonic() > until:
                raise TimeoutError("no answer to the subscription within 6 s")

    def drain(self):
        while True:
            if self.lost:
                raise ConnectionError(self.lost)
            try:
                yield self.messages.get(timeout=QUIET_S)
            except queue.Empty:
                if self.client.is_connected():
                    return


def power(reading):
    spread = reading["supply_c"] - reading["return_c"]
    return round(SPECIFIC_HEAT * reading.get("flow_m3h") * spread, 3)


def to_row(message):
    reading = json.loads(message.payload)
    taken = dt.datetime.fromisoformat(reading["at"])
    return (
        message.topic.split("/")[1],
        taken.isoformat(),
        reading["supply_c"],
        reading["return_c"],
        reading["flow_m3h"] if "flow_m3h" in reading else None,
        power(reading),
    )


def load(store, inbox):
    rows, count = [], 0
    for message in inbox.drain():
        try:
            rows.append(to_row(message))
        except Exception:
            emit(
                "error",
                "reading_failed",
                topic=message.topic,
                mid=message.mid,
                payload=message.payload[:110].decode(errors="backslashreplace"),
            )
            raise
        if len(rows) == 100:
            count += save(store, rows)
            rows = []
    count += save(store, rows)
    return count


def save(store, rows):
    with store:
        store.executemany(
            "INSERT INTO reading (substation, taken_at, supply_c, return_c, flow_m3h, power_kw) VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
    emit("info", "saved", rows=len(rows), last=rows[-1][0] if rows else None)
    return len(rows)


def tariff():
    for attempt in (1, 2, 3):
        try:
            with urllib.request.urlopen(os.environ["TARIFF_URL"] + "/v1/tariff?zone=nord", timeout=2) as answer:
                return json.load(answer)
        except OSError as error:
            emit("warning", "tariff_retry", attempt=attempt, error=str(error))
            if attempt == 3:
                raise


def bill(store, inbox):
    prices = tariff()
    rows = store.execute(
        "SELECT s.owner, sum(r.power_kw) / 4 FROM reading r JOIN substation s ON s.code = r.substation GROUP BY s.owner"
    ).fetchall()
    lines = [{"owner": owner, "kwh": round(kwh, 1), "amount": round(kwh * prices["per_kwh"], 2)} for owner, kwh in rows]
    os.makedirs("bills", exist_ok=True)
    for line in lines:
        with open(f"bills/{line['owner']}.json", "w") as file:
            json.dump(line, file)
    info = inbox.client.publish("heat-report/day", json.dumps({"bills": lines}), qos=1, retain=True)
    info.wait_for_publish(4)
    if inbox.lost or not info.is_published():
        raise RuntimeError(inbox.lost or "the day's report was not acknowledged by the broker")
    emit("info", "billed", owners=len(lines), kwh=round(sum(each["kwh"] for each in lines), 1))


def main():
    store = sqlite3.connect(os.environ.get("HEAT_DB", "heat.db"), timeout=1.5)
    store.execute("PRAGMA foreign_keys = on")
    codes = {code for (code,) in store.execute("SELECT code FROM substation")}
    emit("info", "starting", substations=len(codes), db=os.environ.get("HEAT_DB", "heat.db"))
    inbox = Inbox()
    inbox.open()
    count = load(store, inbox)
    silent = codes - {code for (code,) in store.execute("SELECT DISTINCT substation FROM reading")}
    if len(silent) > len(codes) * 0.1:
        emit("error", "substations_silent", count=len(silent), of=len(codes), some=sorted(silent)[:5], readings=count)
        return 3
    bill(store, inbox)
    inbox.client.disconnect()
    inbox.client.loop_stop()
    return 0


if __name__ == "__main__":
    try:
        status = main()
    except Exception as error:
        emit("critical", "aborted", error=f"{type(error).__name__}: {error}")
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    os._exit(status)
