"""Singer target: validates records and writes them in batches to the SQLite ledger."""

import io
import json
import sqlite3
import sys
from decimal import Decimal
from pathlib import Path

import singer
from jsonschema import Draft4Validator, FormatChecker

LOGGER = singer.get_logger()
sqlite3.register_adapter(Decimal, float)


class Stream:
    def __init__(self, message, batch_size):
        self.name = message.stream
        self.columns = list(message.schema["properties"])
        self.validator = Draft4Validator(message.schema, format_checker=FormatChecker())
        self.batch_size = batch_size
        self.waiting = []

    def add(self, record):
        self.validator.validate(record)
        self.waiting.append([record.get(column) for column in self.columns])
        return len(self.waiting) >= self.batch_size

    def flush(self, ledger):
        if not self.waiting:
            return
        marks = ", ".join("?" for _ in self.columns)
        with ledger:
            ledger.executemany(f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES ({marks})", self.waiting)
        LOGGER.info("Loaded %d rows into '%s'", len(self.waiting), self.name)
        self.waiting = []


def persist(lines, config):
    ledger = sqlite3.connect(config["ledger"])
    streams, state = {}, None
    for line in lines:
        message = singer.parse_message(line)
        if isinstance(message, singer.SchemaMessage):
            streams[message.stream] = Stream(message, config["batch_size"])
        elif isinstance(message, singer.RecordMessage):
            stream = streams[message.stream]
            if stream.add(message.record):
                stream.flush(ledger)
        elif isinstance(message, singer.StateMessage):
            state = message.value
    for stream in streams.values():
        stream.flush(ledger)
    return state


@singer.utils.handle_top_exception(LOGGER)
def main():
    config = json.loads(Path("target.json").read_text())
    state = persist(io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8"), config)
    LOGGER.info("Emitting state %s", json.dumps(state))
    sys.stdout.write(json.dumps(state) + "\n")


if __name__ == "__main__":
    main()
