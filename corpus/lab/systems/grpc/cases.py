"""gRPC: trades streamed from a power exchange into PostgreSQL, herbarium sheets sent to an ingest service over SQLite."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import all_of, edited, environment, small_disk
from corpus.lab.services import certificate, postgres, sqlite, web

Trade = dict[str, Any]
Sheet = dict[str, str]

HERE = Path(__file__).parent
TABLES = """
CREATE TABLE product (product text PRIMARY KEY, hours numeric NOT NULL);
INSERT INTO product VALUES ('H', 1), ('QH', 0.25), ('BASE', 24);
CREATE TABLE counterparty (code varchar(12) PRIMARY KEY, name text NOT NULL);
INSERT INTO counterparty SELECT 'EIC-' || n, 'Member ' || n FROM generate_series(10, 29) AS n;
CREATE TABLE trade (
    trade_id bigint PRIMARY KEY, product text NOT NULL REFERENCES product,
    counterparty varchar(24) NOT NULL REFERENCES counterparty, price numeric(8, 2) NOT NULL,
    mwh double precision NOT NULL CHECK (mwh > 0), side text NOT NULL, delivery timestamptz NOT NULL, confirmation bytea
);
CREATE MATERIALIZED VIEW position AS
    SELECT delivery, product, sum(CASE side WHEN 'BUY' THEN mwh ELSE -mwh END) AS mwh FROM trade GROUP BY 1, 2;
"""
TOKEN = "mk_live_77b0e1"
STORE = """
CREATE TABLE taxon (name TEXT PRIMARY KEY);
CREATE TABLE sheet (
    id INTEGER PRIMARY KEY, barcode TEXT NOT NULL UNIQUE, taxon TEXT NOT NULL REFERENCES taxon, collector TEXT NOT NULL,
    collected_on TEXT NOT NULL, lat REAL NOT NULL CHECK (lat BETWEEN -90 AND 90), lon REAL NOT NULL
);
"""
GENERA = ("Carex", "Rosa", "Salix", "Viola", "Rubus", "Hieracium", "Alchemilla", "Taraxacum")
FIELDS = ("barcode", "taxon", "collector", "collected_on", "lat", "lon", "thumb_bytes")


def trades() -> list[Trade]:
    return [
        {
            "trade_id": 880_000 + n,
            "product": ("H", "QH", "BASE")[n % 3],
            "counterparty": f"EIC-{10 + n % 20}",
            "price": f"{64 + n % 31}.{n % 10}0",
            "volume": 0.5 + n % 12,
            "side": 1 + n % 2,
            "delivery": 1_795_392_000 + n % 24 * 3600,
        }
        for n in range(360)
    ]


def generate(bench: Bench, proto: str, folder: str) -> None:
    """Make the Python modules of a schema, as its owner's build does."""
    tool = (str(bench.python), "-m", "grpc_tools.protoc", f"-I{Path(proto).parent}")
    bench.path(f"{folder}/.keep").touch()
    bench.run(*tool, f"--python_out={folder}", f"--grpc_python_out={folder}", proto)


def open_exchange(bench: Bench, rows: list[Trade], **told: object) -> None:
    """Start the exchange with its schema as it lies in `exchange/`; the program is pointed at it."""
    generate(bench, "exchange/trades.proto", "exchange")
    port = free_port()
    bench.path("exchange/exchange.py").write_text((HERE / "exchange.py").read_text())
    totals = {"trades": len(rows), "volume": sum(row.get("volume", 1.0) for row in rows)}
    settings = {"port": port, "token": TOKEN, "trades": rows, "totals": totals, **told}
    bench.write("exchange/exchange.json", json.dumps(settings))
    errors = bench.path("exchange/errors").open("wb")
    server = subprocess.Popen(
        [str(bench.python), "exchange.py"],
        cwd=bench.path("exchange"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
    )
    bench.on_exit(server.wait)
    bench.on_exit(server.kill)
    assert server.stdout is not None
    if server.stdout.readline().strip() != b"up":
        raise RuntimeError(f"the exchange did not open: {bench.path('exchange/errors').read_text()[-1500:]}")
    bench.env["MARKET_TARGET"] = f"127.0.0.1:{port}"


def spot_world(bench: Bench) -> None:
    postgres.start(bench, schema=TABLES)
    generate(bench, "trades.proto", "gen")
    bench.write("exchange/trades.proto", bench.path("trades.proto").read_text())
    bench.env["MARKET_TOKEN"] = TOKEN
    open_exchange(bench, trades())


def sheets(drawer: int) -> list[Sheet]:
    return [
        {
            "barcode": f"HB{drawer}{n:05}",
            "taxon": f"{GENERA[(drawer + n) % 8]} sp. {n % 3}",
            "collector": f"collector {n % 7}",
            "collected_on": f"19{20 + n % 60}-0{1 + n % 9}-{1 + n % 28:02}",
            "lat": f"{46 + n % 9}.25",
            "lon": f"{7 + n % 6}.5",
            "thumb_bytes": "64",
        }
        for n in range(80)
    ]


def scan(bench: Bench, drawer: int, rows: list[Sheet], *, encoding: str = "utf-8") -> None:
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)] if rows else ["\t".join(FIELDS)]
    bench.write(f"scans/drawer_{drawer}.tsv", "\n".join(lines) + "\n", encoding=encoding)


def herbarium_world(bench: Bench) -> None:
    for drawer in range(1, 4):
        scan(bench, drawer, sheets(drawer))
    taxa = ", ".join(f"('{genus} sp. {n}')" for genus in GENERA for n in range(3))
    sqlite.execute(bench, "herbarium.db", f"{STORE} INSERT INTO taxon VALUES {taxa}")
    bench.path("thumbs/.keep").touch()
    generate(bench, "herbarium.proto", ".")
    bench.env["INGEST_PORT"] = str(free_port())


SPOT = Program(
    name="spot", command=("{python}", "load_trades.py"), files=("load_trades.py", "trades.proto"), world=spot_world
)
HERBARIUM = Program(
    name="herbarium",
    command=("sh", "evening.sh"),
    files=("evening.sh", "ingest_server.py", "upload_sheets.py", "herbarium.proto"),
    world=herbarium_world,
)


def reopened(change: Callable[[int, Trade], Trade], *edits: tuple[str, str], **told: object) -> Prepare:
    """Let the exchange offer changed trades, with a schema that its owner has edited."""

    def inject(bench: Bench) -> None:
        for old, new in edits:
            bench.replace("exchange/trades.proto", old, new)
        open_exchange(bench, [change(n, row) for n, row in enumerate(trades())], **told)

    return inject


def same(_: int, row: Trade) -> Trade:
    return row


def trade(number: int, **values: object) -> Prepare:
    return reopened(lambda n, row: row | values if n == number else row)


def failing(method: str, code: str, details: str, **more: object) -> Prepare:
    return reopened(same, failures={method: {"code": code, "details": details, **more}})


def sheet(drawer: int, number: int, **values: str) -> Prepare:
    def inject(bench: Bench) -> None:
        rows = sheets(drawer)
        rows[number] |= values
        scan(bench, drawer, rows)

    return inject


def ledger(script: str) -> Prepare:
    return postgres.script(script, user="etl")


def _numeric_price(_: int, row: Trade) -> Trade:
    return row | {"price": float(row["price"])}


def _party(_: int, row: Trade) -> Trade:
    return row | {"counterparty": {"code": row["counterparty"], "area": "10YDE-VE-------2"}}


def _no_delivery(_: int, row: Trade) -> Trade:
    return {name: value for name, value in row.items() if name != "delivery"}


def _delivery_number(_: int, row: Trade) -> Trade:
    start = row["delivery"]
    return {name: value for name, value in row.items() if name != "delivery"} | {"starts": start, "ends": start + 3600}


def _third_side(number: int, row: Trade) -> Trade:
    return row | {"side": 3} if number % 60 == 59 else row


def _closing(bench: Bench) -> None:
    """Let 310 of the 360 trades come."""
    rows = trades()
    open_exchange(bench, rows[:310], totals={"trades": 360, "volume": sum(row["volume"] for row in rows)})


def _next_service(bench: Bench) -> None:
    bench.replace("exchange/trades.proto", "package spot.v1;", "package spot.v2;")
    open_exchange(bench, trades())


def _web_page(bench: Bench) -> None:
    server = web.serve(bench, {"/": [web.page(502)]})
    bench.env["MARKET_TARGET"] = f"127.0.0.1:{server.port}"


def _expired(bench: Bench) -> None:
    pair = certificate.self_signed(bench, "localhost", days=0)
    open_exchange(bench, trades(), tls=[str(pair.key), str(pair.certificate)])
    bench.env["MARKET_CA"] = str(pair.certificate)


def _large_confirmation(bench: Bench) -> None:
    """One trade comes with a scanned contract of five megabytes."""
    bench.path("exchange/contract.pdf").write_bytes(b"%PDF-1.7 " + os.urandom(5_200_000))
    source = (HERE / "exchange.py").read_text()
    changed = source.replace(
        "    return made\n",
        "    if made.trade_id == 880212:\n        made.confirmation = open('contract.pdf', 'rb').read()\n    return made\n",
    )
    _reopen_with(bench, changed)


def _reopen_with(bench: Bench, source: str) -> None:
    port = free_port()
    settings = json.loads(bench.path("exchange/exchange.json").read_text()) | {"port": port}
    bench.write("exchange/exchange.json", json.dumps(settings))
    bench.write("exchange/exchange.py", source)
    server = subprocess.Popen(
        [str(bench.python), "exchange.py"], cwd=bench.path("exchange"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    bench.on_exit(server.wait)
    bench.on_exit(server.kill)
    assert server.stdout is not None
    server.stdout.readline()
    bench.env["MARKET_TARGET"] = f"127.0.0.1:{port}"


def _statement_limit(bench: Bench) -> None:
    server = postgres.running(bench)
    slow = "CREATE FUNCTION check_limit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM sum(n) FROM generate_series(1, 4000000) AS n; RETURN new; END $$"
    server.execute(f"{slow}; CREATE TRIGGER credit BEFORE INSERT ON trade FOR EACH ROW EXECUTE FUNCTION check_limit()")
    server.execute("ALTER ROLE etl SET statement_timeout = '200ms'")


def _view_of_another(bench: Bench) -> None:
    server = postgres.running(bench)
    server.execute("ALTER TABLE trade OWNER TO postgres; GRANT SELECT ON trade TO etl")


def _killed_server(bench: Bench) -> None:
    """Kill the ingest service and leave the rest, as the kernel does when memory runs out."""

    def kill(process: subprocess.Popen[bytes]) -> None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)

    bench.when("100 sheets filed", kill)


def _older_service_runs(bench: Bench) -> None:
    """Let the service of another run hold the port."""
    source = bench.path("ingest_server.py").read_text().replace('"herbarium.db"', '"/dev/null"')
    bench.write("older/ingest_server.py", source)
    bench.path("older/thumbs/.keep").touch()
    for module in ("herbarium_pb2.py", "herbarium_pb2_grpc.py"):
        bench.write(f"older/{module}", bench.path(module).read_text())
    bench.write("older/ingest_server.py", source.replace('sqlite3.connect("/dev/null"', 'sqlite3.connect("other.db"'))
    older = subprocess.Popen(
        [str(bench.python), "ingest_server.py"],
        cwd=bench.path("older"),
        env=bench.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    bench.on_exit(older.wait)
    bench.on_exit(older.kill)
    assert older.stdout is not None
    older.stdout.readline()


def _backup_runs(bench: Bench) -> None:
    store = sqlite3.connect(bench.path("herbarium.db"), isolation_level=None, check_same_thread=False)
    store.execute("BEGIN IMMEDIATE")
    bench.on_exit(store.close)


def _many_genera(bench: Bench) -> None:
    rows = [row | {"taxon": f"Genus{n} sp. 0"} for n, row in enumerate(sheets(1))]
    taxa = ", ".join(f"('{row['taxon']}')" for row in rows)
    sqlite.execute(bench, "herbarium.db", f"INSERT INTO taxon VALUES {taxa}")
    scan(bench, 1, rows)
    bench.limits[resource.RLIMIT_NOFILE] = 56


def _newer_modules(bench: Bench) -> None:
    """What a build machine with the next protobuf leaves in `gen/`."""
    text = bench.path("gen/trades_pb2.py").read_text()
    start = text.index("ValidateProtobufRuntimeVersion(")
    end = text.index(")", start)
    arguments = text[start:end].split(",")
    arguments[1] = f"\n    {int(arguments[1]) + 1}"
    bench.write("gen/trades_pb2.py", text[:start] + ",".join(arguments) + text[end:])


def _latin1(bench: Bench) -> None:
    rows = sheets(2)
    rows[51]["collector"] = "Märta Lindström"
    scan(bench, 2, rows, encoding="latin-1")


CASES = (
    Case(
        name="price_became_double",
        family="retyped",
        cause="the exchange's schema has price as a double where it was text",
        program=SPOT,
        inject=reopened(_numeric_price, ("string price = 4;", "double price = 4;")),
        trap="the field reads as empty and a decimal cannot be made of it, as of one bad value",
    ),
    Case(
        name="counterparty_became_message",
        family="nested",
        cause="the exchange's schema has the counterparty as a message of code and area",
        program=SPOT,
        inject=reopened(
            _party,
            ("string counterparty = 3;", "Party counterparty = 3;"),
            ("message Day {", "message Party {\n  string code = 1;\n  string area = 2;\n}\n\nmessage Day {"),
        ),
        trap="the bytes of the message read as a text that is too long, or a code that nobody knows",
    ),
    Case(
        name="delivery_split",
        family="removed",
        cause="delivery was removed in favour of starts and ends",
        program=SPOT,
        inject=reopened(
            _delivery_number,
            ("google.protobuf.Timestamp delivery = 7;", "reserved 7;\n  int64 starts = 9;\n  int64 ends = 10;"),
        ),
        trap="a NULL violation; the message has no field of that name any more",
    ),
    Case(
        name="third_side",
        family="contract",
        cause="the exchange's schema has a third side, for swaps",
        program=SPOT,
        inject=reopened(_third_side, ("  SELL = 2;", "  SELL = 2;\n  SWAP = 3;")),
        trap="a ValueError, as of a bad value",
    ),
    Case(
        name="ledger_column_renamed",
        family="renamed",
        cause="trade.mwh was renamed; the server speaks French",
        program=SPOT,
        inject=all_of(
            ledger("ALTER TABLE trade RENAME mwh TO energy_mwh"),
            lambda bench: postgres.running(bench).configure(lc_messages="fr_FR.UTF-8"),
        ),
        language="fr",
    ),
    Case(
        name="unknown_taxon",
        family="orphan",
        cause="a sheet is of a taxon that is in no checklist",
        program=HERBARIUM,
        inject=sheet(3, 40, taxon="Rosa sp. 9"),
        trap="a failed precondition reported by a service",
    ),
    Case(
        name="trade_listed_twice",
        family="duplicate",
        cause="the exchange lists one trade twice; the server speaks Spanish",
        program=SPOT,
        inject=all_of(
            trade(222, trade_id=880_101),
            lambda bench: postgres.running(bench).configure(lc_messages="es_ES.UTF-8"),
        ),
        language="es",
    ),
    Case(
        name="barcode_on_two_sheets",
        family="duplicate",
        cause="one barcode is on two sheets",
        program=HERBARIUM,
        inject=sheet(2, 61, barcode="HB100013"),
        trap="a status of the service, with its RPC's debug text",
    ),
    Case(
        name="collected_in_february",
        family="unparsable",
        cause="a sheet was collected on the thirtieth of February",
        program=HERBARIUM,
        inject=sheet(1, 33, collected_on="1951-02-30"),
        trap="an invalid argument, as of a wrong call",
        subtype="invalid_date",
    ),
    Case(
        name="collector_in_latin1",
        family="encoding",
        cause="a drawer was written in Latin-1",
        program=HERBARIUM,
        inject=_latin1,
    ),
    Case(
        name="fifty_trades_short",
        family="volume",
        cause="the exchange streams 310 of the 360 trades of its totals",
        program=SPOT,
        inject=_closing,
        subtype="incomplete",
    ),
    Case(
        name="exchange_hangs",
        family="slow",
        cause="the exchange does not answer in time",
        program=SPOT,
        inject=all_of(
            reopened(same, slow="ListTrades"), environment(GRPC_VERBOSITY="debug", GRPC_TRACE="http,channel")
        ),
        trap="the library's own trace around it, with errors that are none",
    ),
    Case(
        name="token_revoked",
        family="credentials",
        cause="the exchange revoked our token",
        program=SPOT,
        inject=reopened(same, token="mk_live_another"),
        subtype="expired_credentials",
    ),
    Case(
        name="quota_of_calls",
        family="rate_limit",
        cause="the exchange lets us make no more calls this minute",
        program=SPOT,
        inject=failing(
            "ListTrades", "RESOURCE_EXHAUSTED", "quota exceeded: 30 calls per minute for member stadtwerk-09"
        ),
        trap="the status is called RESOURCE_EXHAUSTED",
        subtype="quota_exceeded",
    ),
    Case(
        name="page_instead_of_exchange",
        family="protocol",
        cause="a proxy answers in HTTP/1.1 at the exchange's port",
        program=SPOT,
        inject=_web_page,
        subtype="outage_page",
    ),
    Case(
        name="service_is_v2",
        family="endpoint",
        cause="the exchange has switched off version 1 of its service",
        program=SPOT,
        inject=_next_service,
        subtype="endpoint_changed",
    ),
    Case(
        name="exchange_certificate_expired",
        family="tls",
        cause="the exchange's certificate expired",
        program=SPOT,
        inject=_expired,
    ),
    Case(
        name="contract_above_limit",
        family="limit",
        cause="a trade's message is larger than our client takes",
        program=SPOT,
        inject=_large_confirmation,
        subtype="limit_exceeded",
    ),
    Case(
        name="ledger_sessions_taken",
        family="connections",
        cause="the role has all the sessions that the server gives",
        program=SPOT,
        inject=postgres.sessions_taken,
    ),
    Case(
        name="credit_check_too_slow",
        family="time_limit",
        cause="a new trigger needs longer than the role's statements may take",
        program=SPOT,
        inject=all_of(_statement_limit, failing("Close", "UNAVAILABLE", "leader election in progress", calls=1)),
        trap="a failed call that a retry has overcome comes first",
        subtype="query_timeout",
    ),
    Case(
        name="store_volume_full",
        family="disk",
        cause="the thumbnails' volume is full",
        program=HERBARIUM,
        inject=small_disk("thumbs", "20k"),
        trap="the client has an exception of the application with status UNKNOWN",
        subtype="disk_full",
    ),
    Case(
        name="thumbnail_files_open",
        family="handles",
        cause="the service holds a file per genus open, more than its limit",
        program=HERBARIUM,
        inject=_many_genera,
    ),
    Case(
        name="ingest_killed",
        family="killed",
        cause="the ingest service is killed as the kernel does it when memory runs out",
        program=HERBARIUM,
        inject=_killed_server,
        trap="the upload's log has a lost connection",
        subtype="killed_process",
    ),
    Case(
        name="port_held_by_older_run",
        family="concurrency",
        cause="the service of an earlier run still holds the port",
        program=HERBARIUM,
        inject=_older_service_runs,
        trap="the upload talks to the other service, whose store has no tables",
        subtype="conflict",
    ),
    Case(
        name="store_locked_by_backup",
        family="concurrency",
        cause="a backup holds the store's lock",
        program=HERBARIUM,
        inject=_backup_runs,
        trap="a deadline or a status UNKNOWN at the client",
        subtype="lock_contention",
    ),
    Case(
        name="shelf_divided_by_text",
        family="code_bug",
        cause="a change of the service divides a number by a text",
        program=HERBARIUM,
        inject=edited(
            "ingest_server.py", "cursor.lastrowid // 25", 'cursor.lastrowid // os.environ.get("PER_SHELF", "25")'
        ),
        trap="the client has a status of the service",
    ),
    Case(
        name="right_to_ledger_missing",
        family="permission",
        cause="our role may not insert into trade any more",
        program=SPOT,
        inject=_view_of_another,
    ),
    Case(
        name="modules_from_newer_build",
        family="environment",
        cause="the modules were generated by a newer protobuf than the one installed",
        program=SPOT,
        inject=_newer_modules,
        trap="it speaks of versions and an incompatible schema",
        subtype="configuration",
    ),
)
SYSTEM = System(
    name="grpc",
    requirements=("grpcio==1.85.1", "protobuf==7.36.2", "grpcio-tools==1.85.1", "psycopg[binary]==3.3.9"),
    debian=("postgresql-15", "locales-all"),
    cases=CASES,
)
