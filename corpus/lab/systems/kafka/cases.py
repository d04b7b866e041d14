"""Kafka: buses' positions (JSON) and a ward's doses (Avro), taken from a broker into SQLite, with confluent-kafka."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from typing import Any

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Prepare, Program, System, case
from corpus.lab.faults import as_nobody, edited
from corpus.lab.services import kafka, sqlite

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


def _buses(bench: Bench) -> None:
    sqlite.execute(bench, "positions.db", STORE)
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
    sqlite.execute(bench, "ward.db", WARD)
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
    place = bench.mount("volume", "size=28k")
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
    as_nobody(bench)


CASES = (
    case(
        "line_called_route",
        "renamed",
        BUSES,
        "a position's line is called route now",
        _line_renamed,
        trap="a NULL violation; the fields of the first message are logged",
    ),
    case(
        "delay_column_retired",
        "removed",
        BUSES,
        "the store's owner removed the column delay_s",
        sqlite.script("positions.db", "ALTER TABLE position DROP COLUMN delay_s"),
    ),
    case(
        "milligrams_became_text",
        "retyped",
        DOSES,
        "the pharmacy writes milligrams as text",
        _fields("milligrams", {"name": "milligrams", "type": "string"}),
        subtype="contract_mismatch",
    ),
    case(
        "patient_became_case",
        "renamed",
        DOSES,
        "the pharmacy calls patient case_id",
        _fields("patient", {"name": "case_id", "type": "string"}),
        trap="speaks of a default value",
    ),
    case(
        "dose_has_five_columns",
        "added",
        DOSES,
        "the store's owner added a column to dose",
        sqlite.script("ward.db", "ALTER TABLE dose ADD COLUMN route TEXT"),
        subtype="column_count",
    ),
    case(
        "position_cut",
        "malformed",
        BUSES,
        "one message is cut",
        _raw_bus(211, _encode(_positions())[211][:-30]),
        subtype="truncated_file",
        trap="JSON that cannot be decoded, from a broker that works",
    ),
    case(
        "position_in_latin",
        "encoding",
        BUSES,
        "a vehicle's name is in Latin-1",
        _raw_bus(
            97,
            b'{"vehicle": "S\xfcdring 4 (timeout)", "seen_at": "2026-11-20T08:30:00Z", "line": "12", "lat": 52.1, "lon": 9.9, "delay_s": 4}',
        ),
    ),
    case(
        "position_off_the_map",
        "range",
        BUSES,
        "a latitude of 524 degrees",
        _bus(160, {"lat": 524.1}),
        subtype="check_violation",
    ),
    case(
        "position_sent_twice",
        "duplicate",
        BUSES,
        "the buses' server sent one position twice",
        _bus(201, _positions()[161]),
    ),
    case(
        "dose_cut",
        "malformed",
        DOSES,
        "a message lost its end",
        _cut_message,
        subtype="truncated_file",
        trap="an EOFError without a word",
    ),
    case(
        "dose_of_zero",
        "range",
        DOSES,
        "a dose of 0 mg, of a substance with the text of an error",
        _dose(333, {"milligrams": 0, "substance": "KafkaError{code=_ALL_BROKERS_DOWN}"}),
        subtype="check_violation",
    ),
    case("broker_refuses", "refused", BUSES, "nothing listens at the broker's address", _refused),
    case("broker_unknown", "dns", BUSES, "the broker's name is not resolved", _at("kafka-1.transit.invalid:9092")),
    case(
        "broker_speaks_http",
        "protocol",
        DOSES,
        "a web proxy answers at the broker's address",
        _web_there,
        trap="librdkafka guesses at the cause, the error is a transport failure",
    ),
    case("broker_silent", "slow", BUSES, "the broker takes connections and says nothing", _listener),
    case(
        "broker_silent_midway",
        "slow",
        DOSES,
        "the broker falls silent after the doses were read",
        _broker_at("doses staged", signal.SIGSTOP),
        trap="breaks after the work is done, in a callback",
    ),
    case(
        "broker_lost_midway",
        "reset",
        BUSES,
        "the broker goes away while the topic is read",
        _broker_at("assigned", signal.SIGKILL),
        subtype="connection_lost",
        trap="ends with a TimeoutError of the program",
    ),
    case("positions_volume_full", "disk", BUSES, "the volume of the store is full", _small_volume, subtype="disk_full"),
    case(
        "summaries_queue",
        "limit",
        DOSES,
        "more summaries than the producer's queue takes",
        _queue,
        subtype="limit_exceeded",
        trap="a BufferError of the client's own queue, the broker is well",
    ),
    case(
        "positions_killed",
        "killed",
        BUSES,
        "the machine killed the consumer",
        _killed,
        trap="the shell's word alone tells",
    ),
    case(
        "setting_unknown",
        "configuration",
        BUSES,
        "the new configuration misspells a property",
        edited("land_positions.py", '"group.id"', '"group.name"'),
    ),
    case(
        "schema_not_shipped",
        "missing_input",
        DOSES,
        "the file of the schema was not shipped",
        lambda bench: bench.path("doses.avsc").unlink(),
        trap="a file with schema in its path",
    ),
    case(
        "dose_isoformat_bug",
        "code_bug",
        DOSES,
        "the new release calls a method on the wrong thing",
        edited("stage_doses.py", 'dose["given_at"].isoformat()', 'dose["patient"].isoformat()'),
        trap="an attribute that strings do not have",
    ),
    case(
        "mean_of_text",
        "code_bug",
        DOSES,
        "the new release swaps the summary's columns",
        edited(
            "stage_doses.py",
            "for substance, count, milligrams in summary",
            "for count, substance, milligrams in summary",
        ),
    ),
    case("store_read_only", "permission", BUSES, "the account may only read the store", _readonly),
    case(
        "positions_log_cut",
        "no_cause",
        BUSES,
        "the kept log ends before the error",
        _bus(290, {"delay_s": None}),
        keep="head:4",
        trap="progress alone",
        subtype="no_error_in_log",
    ),
    case(
        "library_missing",
        "environment",
        DOSES,
        "the image lacks a library",
        edited("stage_doses.py", "import fastavro\n", "import fastavro\nimport snappy\n"),
        subtype="configuration",
    ),
)
SYSTEM = System(name="kafka", requirements=("confluent-kafka==2.16.1", "fastavro==1.13.1"), cases=CASES)
