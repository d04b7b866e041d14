"""Alert the crew of the boxes that are too warm, on the topic of their row."""

import os
import sqlite3
import sys

import paho.mqtt.publish as publish

store = sqlite3.connect("yard.db")
plugged = store.execute("SELECT count(*) FROM box WHERE plugged").fetchone()[0]
known = store.execute("SELECT count(*) FROM state JOIN box USING (box) WHERE plugged").fetchone()[0]
print(f"alarms: {known} of {plugged} plugged boxes report")
if known < 0.95 * plugged:
    sys.exit(f"alarms: only {known} of {plugged} plugged boxes have a state, not judging the yard on that")
warm = store.execute(
    "SELECT row_no, box, supply, setpoint FROM state JOIN box USING (box) WHERE supply > setpoint + 3 ORDER BY 1, 2"
).fetchall()
messages = [
    {"topic": f"crew/row/{row}", "payload": f"{box}: {supply:.1f} instead of {setpoint:.1f}", "qos": 1, "retain": True}
    for row, box, supply, setpoint in warm
]
with open("work/alarms.txt", "w") as file:
    file.writelines(f"{each['topic']} {each['payload']}\n" for each in messages)
if messages:
    publish.multiple(
        messages,
        hostname=os.environ["MQTT_HOST"],
        port=int(os.environ["MQTT_PORT"]),
        client_id="yard-alarms",
        auth={"username": os.environ["MQTT_USER"], "password": os.environ["MQTT_PASSWORD"]},
        tls={"ca_certs": os.environ["MQTT_CA"]} if os.environ.get("MQTT_CA") else None,
    )
print(f"alarms: {len(messages)} sent")
