"""Turn a day's passages under the toll gantries into invoices: CSV files and a tariff service in, SQLite and CSV out."""

import argparse
import csv
import io
import json
import logging
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from decimal import Decimal

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions

log = logging.getLogger("toll")


def fetch_tariffs(url, tries=3):
    for attempt in range(1, tries + 1):
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                body = answer.read()
                log.info("tariffs: %s, %s, %d bytes", answer.status, answer.headers.get("Content-Type"), len(body))
                return [(t["class"], t) for t in json.loads(body)["tariffs"]]
        except (urllib.error.URLError, TimeoutError) as error:
            log.warning("tariffs: attempt %d of %d: %s", attempt, tries, error)
            if attempt == tries:
                raise
            time.sleep(0.2 * attempt)


class ParseFile(beam.DoFn):
    def process(self, file):
        reader = csv.DictReader(io.StringIO(file.read_utf8()), delimiter=",")
        log.info("%s: columns %s", file.metadata.path, ",".join(reader.fieldnames))
        for line in reader:
            yield {
                "passage": line["passage"],
                "gantry": line["gantry"],
                "plate": line["plate"].replace("-", ""),
                "axles": int(line["axles"]),
                "km": Decimal(line["km"]),
            }


class Price(beam.DoFn):
    def process(self, passage, tariffs):
        klass = "HGV" if passage["axles"] > 2 else "CAR"
        tariff = tariffs[klass]
        yield passage["plate"], float(passage["km"]) * tariff["per_km"] + tariff["per_gantry"]


class ReadTable(beam.DoFn):
    def __init__(self, sql):
        self.sql = sql

    def process(self, path):
        store = sqlite3.connect(path)
        yield from store.execute(self.sql)
        store.close()


class Invoice(beam.DoFn):
    def process(self, joined):
        plate, sides = joined
        if not sides["amounts"]:
            return
        if not sides["keepers"]:
            raise LookupError(
                f"no vehicle registered under {plate}, {len(sides['amounts'])} passages cannot be invoiced"
            )
        yield plate, sides["keepers"][0], len(sides["amounts"]), round(sum(sides["amounts"]), 2)


class Book(beam.DoFn):
    def __init__(self, path, day):
        self.path, self.day = path, day

    def start_bundle(self):
        self.rows = []

    def process(self, invoice):
        self.rows.append((self.day, *invoice))
        yield invoice

    def finish_bundle(self):
        store = sqlite3.connect(self.path, timeout=2)
        with store:
            store.executemany(
                "INSERT INTO invoice (day, plate, keeper, passages, amount) VALUES (?, ?, ?, ?, ?)", self.rows
            )
        store.close()
        log.info("booked %d invoices", len(self.rows))


def enough(count, least):
    log.info("%d passages", count)
    if count < least:
        raise ValueError(f"only {count} passages, a working day has at least {least}")


def build(p, given):
    passages = (
        p
        | "Match" >> fileio.MatchFiles(given.passages)
        | "Open" >> fileio.ReadMatches()
        | "Parse" >> beam.ParDo(ParseFile())
    )
    passages | "Count" >> beam.combiners.Count.Globally() | "Enough" >> beam.Map(enough, given.least)
    (
        passages
        | "AuditLine" >> beam.Map(lambda each: f"{each['gantry']},{each['passage']},{each['plate']}")
        | "Audit"
        >> fileio.WriteToFiles(
            "audit",
            destination=lambda line: line.split(",")[0],
            sink=lambda _: fileio.TextSink(),
            file_naming=fileio.destination_prefix_naming(suffix=".txt"),
        )
    )
    tariffs = p | "TariffUrl" >> beam.Create([given.tariffs]) | "Tariffs" >> beam.FlatMap(fetch_tariffs)
    amounts = passages | "Price" >> beam.ParDo(Price(), beam.pvalue.AsDict(tariffs))
    keepers = (
        p
        | "Store" >> beam.Create([given.store])
        | "Keepers" >> beam.ParDo(ReadTable("SELECT plate, keeper_id FROM vehicle"))
    )
    invoices = (
        {"amounts": amounts, "keepers": keepers}
        | "Join" >> beam.CoGroupByKey()
        | "Invoice" >> beam.ParDo(Invoice())
        | "Book" >> beam.ParDo(Book(given.store, given.day))
    )
    (
        invoices
        | "Format" >> beam.Map(lambda row: ",".join(map(str, row)))
        | "Write"
        >> beam.io.WriteToText(given.out, file_name_suffix=".csv", header="plate,keeper,passages,amount", num_shards=2)
    )


def main(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--passages", default="passages/*.csv")
    parser.add_argument("--tariffs", required=True)
    parser.add_argument("--store", default="toll.db")
    parser.add_argument("--day", default="2026-10-06")
    parser.add_argument("--out", default="out/invoices")
    parser.add_argument("--least", type=int, default=500)
    given, rest = parser.parse_known_args(argv)
    options = PipelineOptions(rest)
    options.view_as(SetupOptions).save_main_session = False
    with beam.Pipeline(options=options) as p:
        build(p, given)
    log.info("toll day %s closed", given.day)


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, force=True, format="%(levelname)s:%(asctime)s:%(name)s:%(message)s", stream=sys.stderr
    )
    main(sys.argv[1:])
