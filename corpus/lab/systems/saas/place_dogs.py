#!/usr/bin/env python3
"""Guide dog school: bring dogs, placements and training sessions from Salesforce into the vets' SQLite register."""

import csv
import io
import json
import logging
import os
import sqlite3
import sys
from contextlib import ExitStack

import requests
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceError
from tenacity import before_sleep_log, retry, retry_if_exception, stop_after_attempt, wait_fixed

logging.basicConfig(
    level=os.environ.get("LOG_LEVEL", "INFO"), format="[%(asctime)s] %(levelname)-7s %(name)s:%(lineno)d - %(message)s"
)
log = logging.getLogger("place_dogs")

DOGS = "SELECT Id, Name, Chip_No__c, Breed__c, Weight_kg__c, Born_On__c, Kennel__c FROM Dog__c WHERE Status__c != 'Retired'"
PLACEMENTS = "SELECT Id, Dog__c, Handler__c, Handler_Postcode__c, Placed_On__c FROM Placement__c"
SESSIONS = "SELECT Id, Dog__c, Trainer__c, Held_On__c, Score__c FROM Training_Session__c"


class Bounded(HTTPAdapter):
    def send(self, request, **kwargs):
        kwargs["timeout"] = (1, 2)
        return super().send(request, **kwargs)


def connect():
    url = os.environ["SF_INSTANCE"]
    session = requests.Session()
    session.mount("https://", Bounded())
    answer = session.post(
        f"{url}/services/oauth2/token",
        data={
            "grant_type": "client_credentials",
            "client_id": os.environ["SF_CLIENT"],
            "client_secret": os.environ["SF_SECRET"],
        },
    )
    answer.raise_for_status()
    log.info("signed in at %s", url)
    return Salesforce(instance_url=url, session_id=answer.json()["access_token"], session=session)


def is_passing(error):
    return isinstance(error, SalesforceError) and (
        error.status >= 500 or b"UNABLE_TO_LOCK_ROW" in json.dumps(error.content).encode()
    )


patiently = retry(
    retry=retry_if_exception(is_passing),
    stop=stop_after_attempt(3),
    wait=wait_fixed(0.2),
    before_sleep=before_sleep_log(log, logging.WARNING),
    reraise=True,
)


@patiently
def rows(sf, soql):
    found = list(sf.query_all_iter(soql))
    log.info("%d records: %s", len(found), soql.split(" FROM ")[1])
    return found


def dogs(sf):
    for dog in rows(sf, DOGS):
        size = "large" if dog["Weight_kg__c"] > 32 else "medium"
        yield dog["Id"], dog["Name"], int(dog["Chip_No__c"]), dog["Breed__c"], size, dog["Born_On__c"], dog["Kennel__c"]


def placements(sf):
    for each in rows(sf, PLACEMENTS):
        yield each["Id"], each["Dog__c"], each["Handler__c"], each["Handler_Postcode__c"][:2], each["Placed_On__c"]


def sessions(sf):
    for part in sf.bulk2.Training_Session__c.query(SESSIONS, max_records=400, wait=0.1):
        for row in csv.DictReader(io.StringIO(part)):
            yield row["Id"], row["Dog__c"], row["Trainer__c"], row["Held_On__c"], float(row["Score__c"])


def sheets(found):
    """One training sheet per trainer, for the kennel's printer."""
    with ExitStack() as stack:
        files = {}
        for number, dog, trainer, held, score in found:
            if trainer not in files:
                files[trainer] = stack.enter_context(open(f"sheets/{trainer}.txt", "w"))
            files[trainer].write(f"{held}  {dog}  {score:>5.1f}  ({number})\n")
    log.info("sheets of %d trainers", len(files))


@patiently
def report(sf, counts):
    sf.Sync_Run__c.create({"Name": "vet register", "Records__c": sum(counts.values())})
    for kennel in ("K1", "K2", "K3"):
        sf.Kennel__c.update(kennel, {"Last_Export__c": "2026-11-22"})
    log.info("reported %s", counts)


def main():
    sf = connect()
    register = sqlite3.connect("data/vets.db", timeout=1)
    register.execute("PRAGMA foreign_keys = ON")
    counts = {}
    with register:
        for table in ("session", "placement", "dog"):
            register.execute(f"DELETE FROM {table}")
        for table, found in (("dog", dogs(sf)), ("placement", placements(sf)), ("session", sessions(sf))):
            loaded = list(found)
            marks = ", ".join("?" * len(loaded[0]))
            register.executemany(f"INSERT INTO {table} VALUES ({marks})", loaded)
            counts[table] = len(loaded)
            log.info("%s: %d rows", table, len(loaded))
        sheets(loaded)
    report(sf, counts)


if __name__ == "__main__":
    sys.exit(main())
