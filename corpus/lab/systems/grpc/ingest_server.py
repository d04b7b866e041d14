"""Takes digitised herbarium sheets and files them: the record in SQLite, the thumbnail in a folder per taxon."""

import datetime as dt
import logging
import os
import signal
import sqlite3
import sys
import threading
from concurrent import futures

import grpc
import herbarium_pb2
import herbarium_pb2_grpc

log = logging.getLogger("ingest")
OPENED = {}


class Ingest(herbarium_pb2_grpc.IngestServicer):
    def __init__(self):
        self.lock = threading.Lock()
        self.store = sqlite3.connect("herbarium.db", timeout=1.0, check_same_thread=False)
        self.store.execute("PRAGMA foreign_keys = on")
        self.store.execute("PRAGMA journal_mode = memory")
        self.count = 0

    def Put(self, sheet, context):
        try:
            collected = dt.date.fromisoformat(sheet.collected_on)
        except ValueError as error:
            log.info("rejecting %s", sheet.barcode)
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"sheet {sheet.barcode}: collected_on: {error}")
        with self.lock:
            self.file_thumbnail(sheet)
            try:
                with self.store:
                    cursor = self.store.execute(
                        "INSERT INTO sheet (barcode, taxon, collector, collected_on, lat, lon) VALUES (?, ?, ?, ?, ?, ?)",
                        (
                            sheet.barcode,
                            sheet.taxon,
                            sheet.collector,
                            collected.isoformat(),
                            sheet.latitude,
                            sheet.longitude,
                        ),
                    )
            except sqlite3.IntegrityError as error:
                log.info("rejecting %s", sheet.barcode)
                code = grpc.StatusCode.ALREADY_EXISTS if "UNIQUE" in str(error) else grpc.StatusCode.FAILED_PRECONDITION
                context.abort(code, f"sheet {sheet.barcode}: {error}")
            self.count += 1
            if self.count % 50 == 0:
                log.info("%d sheets filed", self.count)
            return herbarium_pb2.Accepted(shelf=cursor.lastrowid // 25)

    def file_thumbnail(self, sheet):
        genus = sheet.taxon.split(" ")[0]
        if genus not in OPENED:
            OPENED[genus] = open(f"thumbs/{genus}.bin", "ab", buffering=0)
        OPENED[genus].write(sheet.thumbnail)

    def CloseDrawer(self, drawer, context):
        with self.lock:
            sheets = self.store.execute("SELECT count(*) FROM sheet").fetchone()[0]
            log.info("drawer %s closed with %d sheets", drawer.name, sheets)
            return herbarium_pb2.Count(sheets=sheets)


def main():
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="ingest  %(levelname).1s %(asctime)s %(message)s")
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), options=[("grpc.so_reuseport", 0)])
    herbarium_pb2_grpc.add_IngestServicer_to_server(Ingest(), server)
    server.add_insecure_port(f"127.0.0.1:{os.environ['INGEST_PORT']}")
    server.start()
    log.info("listening on %s", os.environ["INGEST_PORT"])
    signal.signal(signal.SIGTERM, lambda *_: server.stop(0.5))
    server.wait_for_termination()


main()
