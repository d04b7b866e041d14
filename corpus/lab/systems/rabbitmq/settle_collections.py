#!/usr/bin/env python3
"""Settle the collections with the farms: fat-corrected litres at the price of the day, into settlement.db."""

import json
import os
import sqlite3
import urllib.request

import pika

PRICE_TRIES = 3


def say(text):
    print(f"[settle {os.getpid()}] {text}", flush=True)


def price_list():
    url = os.environ["PRICE_URL"] + "/prices/2026-10"
    for left in reversed(range(PRICE_TRIES)):
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return json.load(answer)["per_kg"]
        except OSError as error:
            say(f"price list: {error}, {left} tries left")
            if not left:
                raise


def payment(each, prices, quality):
    grade = quality[each["farm"]]
    fat = each["fat"]
    return (
        round(each["litres"] * 1.03 * (prices["base"] + (fat - 4.0) * prices["fat"]) * grade, 2)
        if fat is not None
        else None
    )


def main():
    prices = price_list()
    store = sqlite3.connect("settlement.db", timeout=1)
    store.execute("PRAGMA foreign_keys = on")
    quality = dict(store.execute("SELECT farm, grade FROM farm"))
    say(f"prices {prices}, {len(quality)} farms")
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
    channel = connection.channel()
    channel.queue_declare("milk.settle", durable=True)
    channel.basic_qos(prefetch_count=40)
    total = 0.0
    done = 0
    for method, _, raw in channel.consume("milk.settle", inactivity_timeout=8):
        if method is None:
            raise SystemExit("settle: no end of delivery within 8 s")
        each = json.loads(raw)
        if each.get("end"):
            channel.basic_ack(method.delivery_tag)
            break
        paid = payment(each, prices, quality)
        with store:
            store.execute(
                "INSERT INTO settlement (ticket, farm, litres, fat, collected, paid) VALUES (?, ?, ?, ?, ?, ?)",
                (each["ticket"], each["farm"], each["litres"], each["fat"], each["collected"], paid),
            )
        channel.basic_ack(method.delivery_tag)
        done += 1
        total += paid or 0
        if done % 40 == 0:
            say(f"{done} settled, {total:.2f} so far")
    channel.cancel()
    if done != each["sent"]:
        raise SystemExit(f"settle: {each['sent']} collections were sent, {done} settled")
    farms = store.execute("SELECT count(DISTINCT farm) FROM settlement").fetchone()[0]
    if farms < len(quality):
        raise SystemExit(f"settle: {farms} of {len(quality)} farms have a collection, month cannot be closed")
    with open("statements/2026-10.txt", "w", encoding="utf-8") as file:
        for farm, litres, paid in store.execute("SELECT farm, sum(litres), sum(paid) FROM settlement GROUP BY farm"):
            file.write(f"{farm:12}{litres:14.1f}{paid:14.2f}\n" * 8)
    say(f"{done} collections, {total:.2f} in all")
    connection.close()


main()
