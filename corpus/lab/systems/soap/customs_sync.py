"""Fetch a day's customs declarations from the authority's SOAP service, book their duties, acknowledge them."""

import configparser
import contextlib
import csv
import logging
import os
import sqlite3
import sys
from decimal import Decimal

import requests
import zeep
from requests.adapters import HTTPAdapter
from urllib3.util import Retry
from zeep.transports import Transport
from zeep.wsse.username import UsernameToken

log = logging.getLogger("customs.sync")


def connect(settings):
    session = requests.Session()
    session.mount(
        "http", HTTPAdapter(max_retries=Retry(total=2, backoff_factor=0.2, status_forcelist=[], allowed_methods=None))
    )
    transport = Transport(session=session, timeout=3, operation_timeout=3)
    log.info("reading %s", settings["wsdl"])
    client = zeep.Client(
        settings["wsdl"], transport=transport, wsse=UsernameToken(settings["user"], settings["password"])
    )
    return client.bind(settings["service"], settings["port"])


def declarations(service, day):
    page = 1
    while True:
        reply = service.ListDeclarations(day=day, page=page)
        found = reply.declaration
        log.info("page %d: %d declarations, more=%s", page, len(found), reply.more)
        yield from found
        if not reply.more:
            return
        page += 1


def book(store, found):
    rows = [
        (
            d.mrn,
            d.lodged.isoformat(),
            d.consignee,
            d.tariffCode,
            str(d.grossMass) if d.grossMass is not None else None,
            str(d.duty),
        )
        for d in found
    ]
    with store:
        store.executemany(
            "INSERT INTO declaration (mrn, lodged, consignee, tariff_code, gross_mass, duty) VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
    log.info("%d declarations booked", len(rows))
    return rows


def reconcile(service, day, rows):
    ours = sum(Decimal(row[5]) for row in rows)
    theirs = service.DayTotal(day=day)
    log.info("duties: booked %s, authority %s", ours, theirs)
    if ours != theirs:
        raise RuntimeError(f"duties of {day} do not reconcile: {ours} booked, {theirs} at the authority")


def report(store, path):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["consignee", "declarations", "mass", "duty"])
        writer.writerows(
            store.execute(
                "SELECT consignee, count(*), sum(gross_mass), sum(duty) FROM declaration JOIN tariff USING (tariff_code) GROUP BY 1"
            )
        )
    log.info("report %s written", path)


def split(store, folder):
    """Write what each consignee is sent: a file of its own, all written in one pass."""
    os.makedirs(folder, exist_ok=True)
    with contextlib.ExitStack() as stack:
        files = {}
        for consignee, mrn, duty in store.execute("SELECT consignee, mrn, duty FROM declaration ORDER BY mrn"):
            if consignee not in files:
                files[consignee] = stack.enter_context(open(f"{folder}/{consignee.replace(' ', '_')}.txt", "w"))
            files[consignee].write(f"{mrn} {duty:>12}\n")
    log.info("%d notices in %s", len(files), folder)


def main():
    settings = configparser.ConfigParser(interpolation=None)
    settings.read("customs.ini")
    authority, ours = settings["authority"], settings["ours"]
    day = ours["day"]
    service = connect(authority)
    found = list(declarations(service, day))
    store = sqlite3.connect(ours["store"], timeout=2)
    store.execute("PRAGMA foreign_keys = ON")
    rows = book(store, found)
    reconcile(service, day, rows)
    report(store, ours["report"])
    split(store, ours["notices"])
    receipt = service.Acknowledge(mrn=[row[0] for row in rows])
    log.info("acknowledged, receipt %s", receipt)


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s | %(levelname)-7s | %(name)s | %(message)s", stream=sys.stdout
    )
    try:
        main()
    except Exception:
        log.exception("customs sync failed")
        sys.exit(2)
