#!/usr/bin/env python3
"""Publish what the tankers weighed in at the dairy: one message per farm and collection."""

import csv
import glob
import json
import os
from datetime import datetime

import pika


def say(level, text):
    print(f"[send {os.getpid()}] {level} {text}", flush=True)


def collections():
    files = sorted(glob.glob("weighbridge/tanker_*.csv"))
    if not files:
        raise SystemExit("[send] no tanker files in weighbridge/, nothing was delivered?")
    open_files = [open(name, encoding="utf-8", newline="") for name in files]
    for name, file in zip(files, open_files, strict=True):
        count = 0
        for number, row in enumerate(csv.reader(file, delimiter=";"), 1):
            if number == 1:
                continue
            try:
                ticket, farm, litres, fat, collected, driver = row
                yield {
                    "ticket": int(ticket),
                    "farm": farm,
                    "litres": float(litres),
                    "fat": float(fat) if fat else None,
                    "collected": datetime.strptime(collected, "%d.%m.%Y %H:%M").isoformat(),
                    "driver": driver,
                }
            except ValueError:
                say("ERROR", f"{name} line {number}: {row}")
                raise
            count += 1
        say("INFO", f"{name}: {count} collections")


def main():
    say("INFO", f"broker {os.environ['AMQP_URL']}")
    parameters = pika.URLParameters(os.environ["AMQP_URL"])
    parameters.blocked_connection_timeout = 3
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.exchange_declare("milk", "topic", durable=True)
    channel.queue_declare("milk.settle", durable=True)
    channel.queue_bind("milk.settle", "milk", "collection.#")
    channel.confirm_delivery()
    sent = 0
    for each in collections():
        try:
            channel.basic_publish(
                "milk",
                f"collection.{each['farm'].lower()}",
                json.dumps(each).encode(),
                pika.BasicProperties(content_type="application/json", delivery_mode=2),
                mandatory=True,
            )
        except pika.exceptions.NackError:
            depth = channel.queue_declare("milk.settle", passive=True).method.message_count
            say(
                "ERROR", f"broker took {sent} and refuses ticket {each['ticket']}, {depth} messages wait in milk.settle"
            )
            raise
        sent += 1
    channel.basic_publish("milk", "collection.end", b'{"end": true, "sent": %d}' % sent)
    say("INFO", f"{sent} collections published")
    connection.close()


main()
