"""Redis: a stream of sold tickets, a table of fares, a queue of parcels."""

from __future__ import annotations

import csv
import json
import os
import resource
import socket
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Case, Program, System
from corpus.lab.faults import limited, renamed
from corpus.lab.services import certificate, redis, web

REVENUE = """
CREATE TABLE station (code TEXT PRIMARY KEY, region TEXT NOT NULL);
CREATE TABLE sale (
    ticket_no TEXT PRIMARY KEY, station TEXT NOT NULL REFERENCES station, product TEXT NOT NULL,
    sold_on TEXT NOT NULL, cents INTEGER NOT NULL CHECK (cents >= 0)
) STRICT;
"""
Ticket = dict[str, Any]
Change = Callable[[Ticket], Ticket]


def tickets() -> list[Ticket]:
    products = ("single", "return", "day", "group")
    return [
        {
            "ticket_no": f"T{n:06d}",
            "station": f"ST{n % 12:02d}",
            "product": products[n % 4],
            "sold_at": f"2026-04-1{n % 9}T0{n % 10}:15:00",
            "cents": 240 + n % 700,
        }
        for n in range(1, 241)
    ]


def _store(bench: Bench) -> None:
    store = sqlite3.connect(bench.path("revenue.db"))
    with store:
        store.executescript(REVENUE)
        store.executemany("INSERT INTO station VALUES (?, ?)", [(f"ST{n:02d}", f"R{n % 3}") for n in range(12)])
    store.close()


def _fill(bench: Bench, server: redis.Redis, payloads: list[str], field: str = "payload") -> None:
    server.cli(bench, "DEL", "counter:tickets")
    commands = [f"XADD counter:tickets {n}-1 {field} {json.dumps(text)}" for n, text in enumerate(payloads, 1)]
    server.cli(bench, text="\n".join(commands) + "\n")
    server.cli(bench, "XGROUP", "CREATE", "counter:tickets", "revenue", "0")


def _at(bench: Bench, server: redis.Redis, login: str = "") -> None:
    bench.env["REDIS_URL"] = f"redis://{login}127.0.0.1:{server.port}/0"


def tickets_world(bench: Bench) -> None:
    _store(bench)
    server = redis.start(bench, "--requirepass", "s3rvice-Pa55")
    server.cli(bench, "-a", "s3rvice-Pa55", "CONFIG", "SET", "requirepass", "")
    _fill(bench, server, [json.dumps(each) for each in tickets()])
    _at(bench, server)


def fares_world(bench: Bench) -> None:
    rows = [
        f"R{n:03d},{kind},{300 + n * 7 + extra},2026-05-01" for n in range(160) for kind, extra in (("2", 0), ("1", 90))
    ]
    bench.write("fares.csv", "\n".join(["route,class,cents,valid_from", *rows]) + "\n")
    server = redis.start(bench)
    server.cli(bench, "SET", "fares:version", "41")
    _at(bench, server)


def parcels_world(bench: Bench) -> None:
    rows = [f"P{n:07d}\tD{n % 30:02d}\t{200 + n % 9000}\tfragile {n % 5}" for n in range(4000)]
    bench.write("parcels.tsv", "\n".join(rows) + "\n")
    bench.env["REDIS_PORT"] = str(redis.start(bench).port)


TICKETS = Program(
    name="tickets", command=("{python}", "consume_tickets.py"), files=("consume_tickets.py",), world=tickets_world
)
FARES = Program(name="fares", command=("{python}", "publish_fares.py"), files=("publish_fares.py",), world=fares_world)
PARCELS = Program(name="parcels", command=("bash", "refill_queue.sh"), files=("refill_queue.sh",), world=parcels_world)


def another(*options: str) -> Callable[[Bench], redis.Redis]:
    """Make a second server with the same content to which the program is sent."""

    def begin(bench: Bench) -> redis.Redis:
        server = redis.start(bench, *options, folder="cache")
        _fill(bench, server, [json.dumps(each) for each in tickets()])
        server.cli(bench, "SET", "fares:version", "41")
        _at(bench, server)
        bench.env["REDIS_PORT"] = str(server.port)
        return server

    return begin


def payloads(change: Change, *, every: int = 1, first: int = 1) -> Callable[[Bench], None]:
    """Change the tickets in the stream: each `every`-th from number `first` on."""

    def inject(bench: Bench) -> None:
        rows = [
            change(each) if n >= first and (n - first) % every == 0 else each for n, each in enumerate(tickets(), 1)
        ]
        _fill(bench, another()(bench), [json.dumps(each) for each in rows])

    return inject


def one(change: Change, number: int) -> Callable[[Bench], None]:
    return payloads(change, first=number, every=10_000)


def _text(number: int, change: Callable[[str], str]) -> Callable[[Bench], None]:
    def inject(bench: Bench) -> None:
        rows = [json.dumps(each) for each in tickets()]
        rows[number] = change(rows[number])
        _fill(bench, another()(bench), rows)

    return inject


def _fares(change: Callable[[list[dict[str, str]]], None]) -> Callable[[Bench], None]:
    def inject(bench: Bench) -> None:
        with bench.path("fares.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        change(rows)
        with bench.path("fares.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    return inject


def _tls(bench: Bench) -> None:
    pair = certificate.self_signed(bench, "redis-01.internal", days=0)
    files = ("--tls-cert-file", str(pair.certificate), "--tls-key-file", str(pair.key))
    server = redis.start(
        bench, "--tls-port", "{port}", "--port", "0", "--tls-auth-clients", "no", *files, folder="cache"
    )
    bench.env["REDIS_URL"] = f"rediss://127.0.0.1:{server.port}/0?ssl_ca_certs={pair.certificate}"


def _http_in_front(bench: Bench) -> None:
    bench.env["REDIS_URL"] = f"redis://127.0.0.1:{web.serve(bench, {}).port}/0"


def _expired_password(bench: Bench) -> None:
    server = another()(bench)
    server.cli(bench, "ACL", "SETUSER", "revenue", "on", ">new-Secret-2026", "~*", "+@all")
    _at(bench, server, "revenue:old-Secret-2025@")


def _no_right(bench: Bench) -> None:
    server = another()(bench)
    server.cli(bench, "ACL", "SETUSER", "fares", "on", ">f4res", "~*", "+@read", "+@connection", "+role")
    _at(bench, server, "fares:f4res@")


def _replica_of_dead(bench: Bench) -> None:
    server = another()(bench)
    server.cli(bench, "CONFIG", "SET", "replica-serve-stale-data", "no")
    server.cli(bench, "REPLICAOF", "127.0.0.1", str(free_port()))


def _replica(bench: Bench) -> None:
    leader = bench.env["REDIS_URL"].split(":")[-1].split("/")[0]
    server = another()(bench)
    server.cli(bench, "REPLICAOF", "127.0.0.1", leader)


def _paused(bench: Bench) -> None:
    another()(bench).cli(bench, "CLIENT", "PAUSE", "60000", "WRITE")


def _full_of_clients(bench: Bench) -> None:
    server = another("--maxclients", "6")(bench)
    for _ in range(6):
        held = socket.create_connection(("127.0.0.1", server.port))
        held.sendall(b"PING\r\n")
        held.recv(16)
        bench.on_exit(held.close)


def _little_memory(bench: Bench) -> None:
    another("--maxmemory", "1700k")(bench)


def _wrong_type(bench: Bench) -> None:
    server = another()(bench)
    server.cli(bench, "HSET", "fares:by_price", "R000:2", "300")


def _other_publisher(bench: Bench) -> None:
    """Another publisher raises the version while this one writes its leaflets.

    The first leaflet is a pipe: the program waits there until the other publisher is done.
    """
    server = another()(bench)
    leaflet = bench.path("leaflets/R000.txt")
    os.mkfifo(leaflet)

    def publish(_: object) -> None:
        server.cli(bench, "SET", "fares:version", "42")
        threading.Thread(target=leaflet.read_text, daemon=True).start()

    bench.when("current version is", publish)


def _small_disk(bench: Bench) -> None:
    home = bench.path("redis/redis.log").parent
    small = bench.mount("redis/full", "size=64k")
    bench.run("redis-cli", "-s", str(home / "redis.sock"), "CONFIG", "SET", "dir", str(small))


def _bug(bench: Bench) -> None:
    bench.replace("consume_tickets.py", "tickets, cents / 100)", "tickets, cents_total / 100)")


CASES = (
    Case(
        name="payload_field_renamed",
        family="renamed",
        cause="the counters write the entry's field `body` instead of `payload`",
        program=TICKETS,
        inject=lambda b: _fill(b, another()(b), [json.dumps(each) for each in tickets()], field="body"),
    ),
    Case(
        name="product_renamed",
        family="renamed",
        cause="the ticket's member product is called product_code since a release of the counters",
        program=TICKETS,
        inject=payloads(renamed("product", "product_code")),
        trap="surfaces as a NULL violation; only the logged first entry shows the new name",
    ),
    Case(
        name="cents_became_amount_object",
        family="nested",
        cause="cents became an object of value and currency",
        program=TICKETS,
        inject=payloads(lambda row: row | {"cents": {"value": row["cents"], "currency": "EUR"}}, first=120),
        trap="a bare TypeError in the middle of the stream, after 100 good entries",
    ),
    Case(
        name="index_of_other_kind",
        family="retyped",
        cause="the index is a hash since another team's migration, the program keeps a sorted set",
        program=FARES,
        inject=_wrong_type,
        trap="the server's words speak of an operation against a key",
    ),
    Case(
        name="ticket_of_unknown_station",
        family="orphan",
        cause="a ticket sold at a station that the store does not know",
        program=TICKETS,
        inject=one(lambda row: row | {"station": "ST77"}, 133),
    ),
    Case(
        name="ticket_text_cut",
        family="malformed",
        cause="one ticket's JSON ends in the middle",
        subtype="truncated_file",
        program=TICKETS,
        inject=_text(171, lambda text: text[: len(text) // 2]),
    ),
    Case(
        name="fare_twice",
        family="duplicate",
        cause="the file lists one fare twice with different prices",
        program=FARES,
        inject=_fares(lambda rows: rows.append(rows[17] | {"cents": "999"})),
    ),
    Case(
        name="discount_above_price",
        family="range",
        cause="a discount is greater than the price",
        subtype="check_violation",
        program=TICKETS,
        inject=one(lambda row: row | {"discount_cents": 90_000, "product": "timeout: connection refused"}, 88),
        trap="the product's name holds the words of a network error",
    ),
    Case(
        name="fare_free_of_digits",
        family="unparsable",
        cause="a fare reads `on request`",
        program=FARES,
        inject=_fares(lambda rows: rows[200].update(cents="on request")),
    ),
    Case(
        name="server_down",
        family="refused",
        cause="the server is not running",
        program=TICKETS,
        inject=lambda b: another()(b).stop(),
    ),
    Case(
        name="certificate_expired",
        family="tls",
        cause="the server's certificate has expired",
        program=FARES,
        inject=_tls,
    ),
    Case(
        name="web_proxy_instead",
        family="protocol",
        cause="the address now leads to a web server",
        program=TICKETS,
        inject=_http_in_front,
        trap="reads like a parser's problem with data",
    ),
    Case(
        name="password_replaced",
        family="credentials",
        cause="the password of the service user was replaced on the server",
        program=TICKETS,
        inject=_expired_password,
    ),
    Case(
        name="replica_without_leader",
        family="outage",
        cause="the replica has lost its leader and serves nothing",
        program=TICKETS,
        inject=_replica_of_dead,
        trap="speaks of a configuration setting and of data that is stale",
    ),
    Case(
        name="writes_hang",
        family="slow",
        cause="the server holds back all writes",
        program=FARES,
        inject=_paused,
    ),
    Case(
        name="memory_of_server_used_up",
        family="memory",
        cause="the server has reached maxmemory and may evict nothing",
        program=PARCELS,
        inject=_little_memory,
    ),
    Case(
        name="clients_of_server_used_up",
        family="connections",
        cause="the server has reached maxclients",
        program=TICKETS,
        inject=_full_of_clients,
        trap="wrapped in a ConnectionError, retried like an outage",
    ),
    Case(
        name="leaflets_of_all_routes_open",
        family="handles",
        cause="the worker may open 64 files, the program opens one for each route",
        program=FARES,
        inject=limited(resource.RLIMIT_NOFILE, 64),
    ),
    Case(
        name="snapshot_on_small_disk",
        family="disk",
        cause="the server's disk has no space for the snapshot",
        program=PARCELS,
        inject=_small_disk,
        trap="the client sees a bare ERR; the reason is in the quoted log of the server",
    ),
    Case(
        name="sent_to_replica",
        family="configuration",
        cause="the job's address is a read-only replica's",
        program=FARES,
        inject=_replica,
        trap="a refusal by the server, which works as it should",
    ),
    Case(
        name="role_may_only_read",
        family="permission",
        cause="the job's own user may not write",
        program=FARES,
        inject=_no_right,
    ),
    Case(
        name="other_publisher_was_first",
        family="concurrency",
        cause="another run raised the version at the same time",
        program=FARES,
        inject=_other_publisher,
        trap="an exception of the client library at the last step",
    ),
    Case(
        name="report_names_unknown_variable",
        family="code_bug",
        cause="a release renamed a variable in one place only",
        program=TICKETS,
        inject=_bug,
    ),
)


SYSTEM = System(name="redis", cases=CASES, requirements=("redis==8.1.0",), debian=("redis-server",))
