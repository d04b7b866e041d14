"""Load the appointments of one day, of all practices, and count what each practice has to do."""

import csv
import logging
import os
import sys

import psycopg
from tenacity import before_sleep_log, retry, retry_if_exception_type, stop_after_attempt, wait_fixed

logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="%(asctime)s %(levelname)-8s [%(name)s] %(message)s")
log = logging.getLogger("appointments")
PATH = os.environ.get("APPOINTMENTS_FILE", "appointments.csv")

UPSERT = """
INSERT INTO appointment (practice_id, appointment_no, patient_no, day, minutes, note)
SELECT practice_id::integer, appointment_no::integer, patient_no, day::date, minutes::smallint, note
FROM staged
ON CONFLICT (practice_id, appointment_no)
DO UPDATE SET patient_no = excluded.patient_no, day = excluded.day, minutes = excluded.minutes, note = excluded.note
"""
WORKLOAD = """
INSERT INTO workload (practice_id, day, appointments, utilisation)
SELECT a.practice_id, a.day, count(*), sum(a.minutes) * 100 / p.open_minutes
FROM appointment AS a JOIN practice AS p USING (practice_id)
GROUP BY a.practice_id, a.day, p.open_minutes
ON CONFLICT (practice_id, day) DO UPDATE SET appointments = excluded.appointments, utilisation = excluded.utilisation
"""


@retry(
    retry=retry_if_exception_type(psycopg.OperationalError),
    wait=wait_fixed(0.3),
    stop=stop_after_attempt(4),
    before_sleep=before_sleep_log(log, logging.WARNING),
    reraise=True,
)
def connect():
    connection = psycopg.connect(connect_timeout=2, application_name="appointments")
    log.info("connected to %s/%s", connection.info.host, connection.info.dbname)
    return connection


def read_file():
    with open(PATH, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        log.debug("%s: header %s", PATH, reader.fieldnames)
        rows = list(reader)
    log.info("%s: %d appointments", PATH, len(rows))
    return rows


def stage(cursor, rows):
    cursor.execute(
        "CREATE TEMP TABLE staged (practice_id text, appointment_no text, patient_no text, day text, minutes text, note text)"
    )
    with cursor.copy("COPY staged FROM STDIN") as copy:
        for row in rows:
            names = ("practice_id", "appointment_no", "patient_no", "day", "minutes", "note")
            copy.write_row([row.get(name) or None for name in names])
    log.info("staged %d rows", len(rows))


def main():
    rows = read_file()
    with connect() as connection, connection.cursor() as cursor:
        stage(cursor, rows)
        cursor.execute(UPSERT)
        log.info("upsert: %s", cursor.statusmessage)
        cursor.execute(WORKLOAD)
        log.info("workload: %s", cursor.statusmessage)
    log.info("finished, %d appointments", len(rows))


if __name__ == "__main__":
    try:
        main()
    except Exception:
        log.exception("load_appointments failed")
        sys.exit(1)
