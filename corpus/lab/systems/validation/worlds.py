"""The stages that validate, and the files and lists they validate."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Prepare, Program
from corpus.lab.services.web import Reply, serve

Row = dict[str, Any]
LIST = {"version": "2026-03-01", "emails": ["mallory@example.org", "trudy@example.org"]}


def order(n: int) -> Row:
    lines = [{"sku": f"AB-{1000 + n + k}", "quantity": k + 1, "price": f"{n % 90}.95"} for k in range(n % 3 + 1)]
    return {
        "order_id": 700_000 + n,
        "customer_email": f"Customer{n}@example.org",
        "placed_at": f"2026-03-01T{n % 24:02d}:10:00+01:00",
        "status": ("new", "paid", "shipped")[n % 3],
        "lines": lines,
    }


def shop(bench: Bench, change: Callable[[Row], Row] = lambda row: row, count: int = 60) -> None:
    for part in range(12):
        rows = [change(order(part * 100 + n)) for n in range(count)]
        bench.write(f"inbox/orders-{part:02d}.json", json.dumps(rows))
    bench.path("accepted/any")
    bench.env |= {"GATE_BATCH_SIZE": "100"}
    sanctions(Reply(200, LIST))(bench)


def sanctions(reply: Reply) -> Prepare:
    """Let the sanctions list be answered so."""

    def inject(bench: Bench) -> None:
        bench.env["GATE_SANCTIONS_URL"] = serve(bench, {"/lists/current": [reply]}).url + "/lists/current"

    return inject


def sensor_rows() -> list[str]:
    return [
        f"GH{house:02d},{house * 10 + sensor},2026-03-01T{hour:02d}:00:00,{18 + (house + hour) % 7}.5,{55 + sensor}.0"
        for house in range(1, 13)
        for sensor in range(4)
        for hour in range(24)
    ]


def greenhouse(bench: Bench, head: str = "house,sensor_id,at,celsius,humidity", rows: list[str] | None = None) -> None:
    bench.write("readings.csv", "\n".join([head, *(sensor_rows() if rows is None else rows)]) + "\n")


CONTRACT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "claim",
    "type": "object",
    "required": ["claim_no", "policy", "amount", "kind", "reported"],
    "properties": {
        "claim_no": {"type": "string", "pattern": "^C[0-9]{6}$"},
        "policy": {"type": "integer"},
        "amount": {"type": "number", "minimum": 0, "maximum": 5000000},
        "kind": {"enum": ["fire", "water", "theft"]},
        "reported": {"type": "string", "format": "date"},
        "note": {"type": "string", "maxLength": 200},
    },
    "additionalProperties": False,
}
AVRO: Row = {
    "type": "record",
    "name": "claim",
    "fields": [
        {"name": "claim_no", "type": "string"},
        {"name": "policy", "type": "int"},
        {"name": "amount", "type": "double"},
        {"name": "kind", "type": {"type": "enum", "name": "kind", "symbols": ["fire", "water", "theft"]}},
        {"name": "reported", "type": "string"},
        {"name": "note", "type": ["null", "string"], "default": None},
    ],
}
HISTORY = """
import fastavro, json
schema = fastavro.parse_schema(json.load(open({schema!r})))
rows = [{{"claim_no": f"C9{{n:05d}}", "policy": n, "amount": 1.5, "kind": "fire", "reported": "2026-02-01"}} for n in range(400)]
fastavro.writer(open("history.avro", "wb"), schema, [{change} for row in rows])
"""


def claim(n: int) -> Row:
    kind = ("fire", "water", "theft")[n % 3]
    made = {"claim_no": f"C{n:06d}", "policy": 30_000 + n, "amount": n * 12.5, "kind": kind, "reported": "2026-02-27"}
    return made | ({"note": "reported by telephone"} if n % 9 == 0 else {})


def insurance(bench: Bench, change: Callable[[Row], Row] = lambda row: row, count: int = 250, told: int = 250) -> None:
    bench.write("claims.jsonl", "".join(json.dumps(change(claim(n))) + "\n" for n in range(count)))
    bench.write("claims.meta.json", json.dumps({"day": "2026-03-01", "rows": told, "error_429": 0, "memory": "claims"}))
    bench.write("contract.json", json.dumps(CONTRACT))
    bench.write("claim.avsc", json.dumps(AVRO))
    history(bench, AVRO, "row")


def history(bench: Bench, schema: Row, change: str) -> None:
    bench.write("old.avsc", json.dumps(schema))
    bench.run(str(bench.python), "-c", HISTORY.format(schema="old.avsc", change=change))


GATE = Program(name="webshop", command=("{python}", "orders_gate.py"), files=("orders_gate.py",), world=shop)
STEP = Program(name="webshop", command=("bash", "gate.sh"), files=("gate.sh", "orders_gate.py"), world=shop)
HOUSES = Program(
    name="greenhouse",
    command=("{python}", "sensor_checks.py", "averages.csv"),
    files=("sensor_checks.py",),
    world=greenhouse,
)
CLAIMS = Program(
    name="claims", command=("{python}", "claims_contract.py"), files=("claims_contract.py",), world=insurance
)
