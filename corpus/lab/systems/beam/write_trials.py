"""Write trials (JSON on standard input) as an Avro file with the schema that stands beside them."""

import json
import sys

import fastavro

given = json.load(sys.stdin)
for name, records in given["files"].items():
    with open(name, "wb") as file:
        fastavro.writer(file, given["schema"], records)
