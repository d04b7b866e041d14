"""Hold insurance claims against the contract (JSON Schema) and pack them as Avro."""

import io
import json
import logging
import os

import cerberus
import fastavro
import jsonschema

logging.basicConfig(level=os.environ.get("LEVEL", "DEBUG"), format="%(levelname)s\t%(asctime)s\t%(message)s")
log = logging.getLogger("claims")

META = {
    "day": {"type": "string", "regex": r"^\d{4}-\d{2}-\d{2}$", "required": True},
    "rows": {"type": "integer", "required": True, "min": 1},
    "error_429": {"type": "integer", "required": True},
    "memory": {"type": "string", "required": True},
}


def load(name):
    with open(name, encoding="utf-8") as file:
        return json.load(file)


def meta():
    found = load("claims.meta.json")
    checker = cerberus.Validator(META, require_all=True)
    if not checker.validate(found):
        raise ValueError(f"claims.meta.json: {checker.errors}")
    log.info("meta: %s", found)
    return found


def claims(contract):
    validator = jsonschema.Draft202012Validator(contract, format_checker=jsonschema.FormatChecker())
    with open("claims.jsonl", encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            claim = json.loads(line)
            log.debug("claim %s of line %d, fields %s", claim.get("claim_no"), number, sorted(claim))
            validator.validate(claim)
            yield claim


def pack(rows, schema):
    buffer = io.BytesIO()
    fastavro.writer(buffer, schema, rows, codec="deflate")
    log.info("packed %d claims, %d bytes", len(rows), buffer.tell())
    return buffer.getvalue()


def main():
    expected = meta()
    rows = list(claims(load("contract.json")))
    if len(rows) != expected["rows"]:
        raise AssertionError(f"{len(rows)} claims, the meta file says {expected['rows']}")
    schema = fastavro.parse_schema(load("claim.avsc"))
    packed = pack(rows, schema)
    history = list(fastavro.reader(open("history.avro", "rb"), schema))
    log.info("history holds %d claims", len(history))
    known = {row["claim_no"] for row in history}
    again = [row["claim_no"] for row in rows if row["claim_no"] in known]
    if again:
        raise RuntimeError(f"claims were packed before: {again[:5]}")
    with open("claims.avro", "wb") as file:
        file.write(packed)
    log.info("claims.avro written, mean amount %.2f", sum(row["amount"] for row in rows) / len(rows))


if __name__ == "__main__":
    main()
