"""Kafka: buses' positions (JSON) and a ward's doses (Avro), taken from a broker into SQLite, with confluent-kafka."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
from contextlib import suppress
from typing import Any

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.services import kafka

Record = dict[str, Any]
STORE = """CREATE TABLE position (vehicle TEXT NOT NULL, seen_at TEXT NOT NULL, line TEXT NOT NULL, lat REAL CHECK (lat BETWEEN -90 AND 90),
  lon REAL, delay_s INTEGER NOT NULL, PRIMARY KEY (vehicle, seen_at))"""
WARD = "CREATE TABLE dose (dose_id INTEGER PRIMARY KEY, patient TEXT NOT NULL, substance TEXT, milligrams INTEGER CHECK (milligrams > 0), given_at TEXT)"
ENCODE = """
import base64, io, json, sys, fastavro
schema, batches = json.load(sys.stdin)
parsed = fastavro.parse_schema(schema)
for batch in batches:
    out = io.BytesIO()
    fastavro.writer(out, parsed, batch, sync_marker=b"0123456789abcdef")
    print(out.getvalue().hex())
"""
DOSE: list[Record] = [
    {"name": "dose_id", "type": "long"},
    {"name": "patient", "type": "string"},
    {"name": "substance", "type": "string"},
    {"name": "milligrams", "type": "int"},
    {"name": "given_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
]


def _positions(count: int = 300) -> list[Record]:
    return [
        {"vehicle": f"B{n % 40:03}", "seen_at": f"2026-11-20T08:{n // 40:02}:{n % 60:02}Z", "line": str(10 + n % 40 // 5),
         "lat": 52.3 + n / 9000, "lon": 9.7 + n / 7000, "delay_s": (n * 17) % 420}
        for n in range(count)
    ]  # fmt: skip


def _encode(records: list[Record]) -> list[bytes]:
    return [json.dumps(each).encode() for each in records]


def _send(bench: Bench, values: list[bytes], topic: str = "bus.positions") -> None:
    kafka.start(bench, {topic: values})


def _execute(bench: Bench, name: str, script: str) -> None:
    store = sqlite3.connect(bench.path(name))
    with store:
        store.executescript(script)
    store.close()


def _buses(bench: Bench) -> None:
    _execute(bench, "positions.db", STORE)
    _send(bench, _encode(_positions()))


def _doses(count: int = 600) -> list[Record]:
    return [
        {"dose_id": 7000 + n, "patient": f"P{n % 50}", "substance": ("heparin", "insulin", "metamizol")[n % 3],
         "milligrams": 50 + n % 400, "given_at": 1_795_000_000_000 + n * 60_000}
        for n in range(count)
    ]  # fmt: skip


def _avro(bench: Bench, doses: list[Record], fields: list[Record] = DOSE) -> list[bytes]:
    schema = {"type": "record", "name": "Dose", "namespace": "ward.pharmacy", "fields": fields}
    batches = [doses[start : start + 6] for start in range(0, len(doses), 6)]
    written = bench.run(str(bench.python), "-c", ENCODE, text=json.dumps([schema, batches]))
    return [bytes.fromhex(line) for line in written.split()]


def _ward(bench: Bench) -> None:
    _execute(bench, "ward.db", WARD)
    _send(bench, _avro(bench, _doses()), "ward.doses")


BUSES = Program(name="buses", command=("{python}", "land_positions.py"), files=("land_positions.py",), world=_buses)
DOSES = Program(
    name="doses", command=("{python}", "stage_doses.py"), files=("stage_doses.py", "doses.avsc"), world=_ward
)


def _bus(number: int, change: Record) -> Prepare:
    records = _positions()
    records[number] |= change
    return lambda bench: _send(bench, _encode(records))


def _raw_bus(number: int, value: bytes) -> Prepare:
    values = _encode(_positions())
    values[number] = value
    return lambda bench: _send(bench, values)


def _line_renamed(bench: Bench) -> None:
    _send(bench, _encode([{("route" if k == "line" else k): v for k, v in each.items()} for each in _positions()]))


def _dose(number: int, change: Record) -> Prepare:
    doses = _doses()
    doses[number] |= change
    return lambda bench: _send(bench, _avro(bench, doses), "ward.doses")


def _fields(old: str, new: Record | None) -> Prepare:
    """Let the pharmacy write another schema: a field replaced by another one, or left out."""

    def inject(bench: Bench) -> None:
        fields = [new if each["name"] == old and new else each for each in DOSE if each["name"] != old or new]
        name = new["name"] if new else ""
        doses = [{(name if k == old else k): (str(v) if k == old else v) for k, v in each.items()} for each in _doses()]
        _send(bench, _avro(bench, doses, fields), "ward.doses")

    return inject


def _cut_message(bench: Bench) -> None:
    values = _avro(bench, _doses())
    values[70] = values[70][:-40]
    _send(bench, values, "ward.doses")


def _unframed(bench: Bench) -> None:
    _send(bench, [b"\x00\x00\x00\x00\x07" + each for each in _avro(bench, _doses())], "ward.doses")


def _at(address: str) -> Prepare:
    return lambda bench: bench.env.update(KAFKA_BOOTSTRAP=address)


def _refused(bench: Bench) -> None:
    bench.env["KAFKA_BOOTSTRAP"] = f"127.0.0.1:{free_port()}"


def _web_there(bench: Bench) -> None:
    proxy = socket.create_server(("127.0.0.1", 0))
    bench.on_exit(proxy.close)
    bench.on_exit(lambda: proxy.shutdown(socket.SHUT_RDWR))
    threading.Thread(target=_answer_as_proxy, args=(proxy,), daemon=True).start()
    bench.env["KAFKA_BOOTSTRAP"] = f"127.0.0.1:{proxy.getsockname()[1]}"


def _answer_as_proxy(proxy: socket.socket) -> None:
    with suppress(OSError):
        while True:
            client, _ = proxy.accept()
            client.recv(4096)
            client.sendall(
                b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            client.close()


def _listener(bench: Bench) -> None:
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(16)
    bench.on_exit(silent.close)
    bench.env["KAFKA_BOOTSTRAP"] = f"127.0.0.1:{silent.getsockname()[1]}"


def _broker_at(text: str, number: int) -> Prepare:
    return lambda bench: bench.when(text, lambda _: kafka.running(bench).signal(number))


def _small_volume(bench: Bench) -> None:
    place = bench.path("volume")
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=28k", "tmpfs", str(place)], check=True)
    bench.on_exit(lambda: subprocess.run(["umount", "-l", str(place)], check=False))
    shutil.move(bench.path("positions.db"), place / "positions.db")
    bench.path("positions.db").symlink_to("volume/positions.db")
    _send(bench, _encode(_positions(2000)))


def _killed(bench: Bench) -> None:
    bench.write(
        "run.sh", f'{bench.python} land_positions.py\nrc=$?\necho "land_positions.py: exit status $rc"\nexit $rc\n'
    )
    bench.command = ("bash", "run.sh")
    bench.when("200 messages", lambda process: _kill_python(process.pid))


def _kill_python(session: int) -> None:
    subprocess.run(["pkill", "-KILL", "-s", str(session), "python"], check=False)


def _queue(bench: Bench) -> None:
    bench.replace("stage_doses.py", 'GROUP BY substance").fetchall()', 'GROUP BY dose_id").fetchall()')
    bench.replace("stage_doses.py", '"queue.buffering.max.messages": 5000', '"queue.buffering.max.messages": 400')


def _large(bench: Bench) -> None:
    bench.replace(
        "stage_doses.py", '"message.timeout.ms": 2500', '"message.timeout.ms": 2500, "message.max.bytes": 1500'
    )


def _readonly(bench: Bench) -> None:
    bench.directory.chmod(0o755)
    bench.path("positions.db").chmod(0o644)
    bench.command = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *bench.command)


def _edit(name: str, old: str, new: str) -> Prepare:
    return lambda bench: bench.replace(name, old, new)


def _case(
    name: str,
    family: str,
    cause: str,
    program: Program,
    inject: Prepare,
    trap: str = "",
    subtype: str = "",
    keep: str = "all",
) -> Case:
    return Case(
        name=name, family=family, program=program, cause=cause, inject=inject, trap=trap, subtype=subtype, keep=keep
    )


CASES = (
    _case(
        "line_called_route",
        "renamed",
        "a position's line is called route now",
        BUSES,
        _line_renamed,
        trap="a NULL violation; the fields of the first message are logged",
    ),
    _case(
        "delay_column_retired",
        "removed",
        "the store's owner removed the column delay_s",
        BUSES,
        lambda bench: _execute(bench, "positions.db", "ALTER TABLE position DROP COLUMN delay_s"),
    ),
    _case(
        "milligrams_became_text",
        "retyped",
        "the pharmacy writes milligrams as text",
        DOSES,
        _fields("milligrams", {"name": "milligrams", "type": "string"}),
        subtype="contract_mismatch",
    ),
    _case(
        "patient_became_case",
        "renamed",
        "the pharmacy calls patient case_id",
        DOSES,
        _fields("patient", {"name": "case_id", "type": "string"}),
        trap="speaks of a default value",
    ),
    _case(
        "dose_has_five_columns",
        "added",
        "the store's owner added a column to dose",
        DOSES,
        lambda bench: _execute(bench, "ward.db", "ALTER TABLE dose ADD COLUMN route TEXT"),
        subtype="column_count",
    ),
    _case(
        "position_cut",
        "malformed",
        "one message is cut",
        BUSES,
        _raw_bus(211, _encode(_positions())[211][:-30]),
        subtype="truncated_file",
        trap="JSON that cannot be decoded, from a broker that works",
    ),
    _case(
        "position_in_latin",
        "encoding",
        "a vehicle's name is in Latin-1",
        BUSES,
        _raw_bus(
            97,
            b'{"vehicle": "S\xfcdring 4 (timeout)", "seen_at": "2026-11-20T08:30:00Z", "line": "12", "lat": 52.1, "lon": 9.9, "delay_s": 4}',
        ),
    ),
    _case(
        "position_off_the_map",
        "range",
        "a latitude of 524 degrees",
        BUSES,
        _bus(160, {"lat": 524.1}),
        subtype="check_violation",
    ),
    _case(
        "position_sent_twice",
        "duplicate",
        "the buses' server sent one position twice",
        BUSES,
        _bus(201, _positions()[161]),
    ),
    _case(
        "dose_cut",
        "malformed",
        "a message lost its end",
        DOSES,
        _cut_message,
        subtype="truncated_file",
        trap="an EOFError without a word",
    ),
    _case(
        "dose_of_zero",
        "range",
        "a dose of 0 mg, of a substance with the text of an error",
        DOSES,
        _dose(333, {"milligrams": 0, "substance": "KafkaError{code=_ALL_BROKERS_DOWN}"}),
        subtype="check_violation",
    ),
    _case("broker_refuses", "refused", "nothing listens at the broker's address", BUSES, _refused),
    _case("broker_unknown", "dns", "the broker's name is not resolved", BUSES, _at("kafka-1.transit.invalid:9092")),
    _case(
        "broker_speaks_http",
        "protocol",
        "a web proxy answers at the broker's address",
        DOSES,
        _web_there,
        trap="librdkafka guesses at the cause, the error is a transport failure",
    ),
    _case("broker_silent", "slow", "the broker takes connections and says nothing", BUSES, _listener),
    _case(
        "broker_silent_midway",
        "slow",
        "the broker falls silent after the doses were read",
        DOSES,
        _broker_at("doses staged", signal.SIGSTOP),
        trap="breaks after the work is done, in a callback",
    ),
    _case(
        "broker_lost_midway",
        "reset",
        "the broker goes away while the topic is read",
        BUSES,
        _broker_at("assigned", signal.SIGKILL),
        subtype="connection_lost",
        trap="ends with a TimeoutError of the program",
    ),
    _case(
        "positions_volume_full", "disk", "the volume of the store is full", BUSES, _small_volume, subtype="disk_full"
    ),
    _case(
        "summaries_queue",
        "limit",
        "more summaries than the producer's queue takes",
        DOSES,
        _queue,
        subtype="limit_exceeded",
        trap="a BufferError of the client's own queue, the broker is well",
    ),
    _case(
        "positions_killed",
        "killed",
        "the machine killed the consumer",
        BUSES,
        _killed,
        trap="the shell's word alone tells",
    ),
    _case(
        "setting_unknown",
        "configuration",
        "the new configuration misspells a property",
        BUSES,
        _edit("land_positions.py", '"group.id"', '"group.name"'),
    ),
    _case(
        "schema_not_shipped",
        "missing_input",
        "the file of the schema was not shipped",
        DOSES,
        lambda bench: bench.path("doses.avsc").unlink(),
        trap="a file with schema in its path",
    ),
    _case(
        "dose_isoformat_bug",
        "code_bug",
        "the new release calls a method on the wrong thing",
        DOSES,
        _edit("stage_doses.py", 'dose["given_at"].isoformat()', 'dose["patient"].isoformat()'),
        trap="an attribute that strings do not have",
    ),
    _case(
        "mean_of_text",
        "code_bug",
        "the new release swaps the summary's columns",
        DOSES,
        _edit(
            "stage_doses.py",
            "for substance, count, milligrams in summary",
            "for count, substance, milligrams in summary",
        ),
    ),
    _case("store_read_only", "permission", "the account may only read the store", BUSES, _readonly),
    _case(
        "positions_log_cut",
        "no_cause",
        "the kept log ends before the error",
        BUSES,
        _bus(290, {"delay_s": None}),
        keep="head:4",
        trap="progress alone",
        subtype="no_error_in_log",
    ),
    _case(
        "library_missing",
        "environment",
        "the image lacks a library",
        DOSES,
        _edit("stage_doses.py", "import fastavro\n", "import fastavro\nimport snappy\n"),
        subtype="configuration",
    ),
)
SYSTEM = System(name="kafka", requirements=("confluent-kafka==2.16.1", "fastavro==1.13.1"), cases=CASES)
