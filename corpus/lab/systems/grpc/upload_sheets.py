"""Uploads the sheets that were scanned today, drawer by drawer."""

import csv
import logging
import os
import sys

import grpc
import herbarium_pb2
import herbarium_pb2_grpc

log = logging.getLogger("upload")
SPECIES_API = os.environ.get("DRAWERS", "scans")


def sheets(name):
    with open(f"{SPECIES_API}/{name}", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            yield herbarium_pb2.Sheet(
                barcode=row["barcode"],
                taxon=row["taxon"],
                collector=row["collector"],
                collected_on=row["collected_on"],
                latitude=float(row["lat"]),
                longitude=float(row["lon"]),
                thumbnail=bytes(int(row["thumb_bytes"])),
            )


def main():
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="upload  %(levelname).1s %(asctime)s %(message)s")
    drawers = sorted(name for name in os.listdir(SPECIES_API) if name.endswith(".tsv"))
    with grpc.insecure_channel(f"127.0.0.1:{os.environ['INGEST_PORT']}") as channel:
        grpc.channel_ready_future(channel).result(timeout=6)
        stub = herbarium_pb2_grpc.IngestStub(channel)
        done = 0
        for name in drawers:
            for sheet in sheets(name):
                stub.Put(sheet, timeout=4)
                done += 1
            count = stub.CloseDrawer(herbarium_pb2.Drawer(name=name), timeout=4)
            log.info("%s uploaded, %d sheets in the store", name, count.sheets)
        if done < int(os.environ.get("LEAST_SHEETS", "200")):
            log.error(
                "only %d sheets in %d drawers, the scanner counted %s",
                done,
                len(drawers),
                os.environ.get("LEAST_SHEETS", "200"),
            )
            sys.exit(2)


main()
