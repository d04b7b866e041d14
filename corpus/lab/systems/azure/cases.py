"""Azure: a dairy cooperative's milk collection settled (blobs, tables, sign-in), the cooling of its farms' tanks checked."""

from __future__ import annotations

import gzip
import json
import resource
import ssl
from collections.abc import Callable
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, System, case
from corpus.lab.faults import all_of, edited, environment, kill_children, limited, small_disk, unset
from corpus.lab.services import certificate, rest
from corpus.lab.services.rest import says
from corpus.lab.services.web import Reply, page
from corpus.lab.systems.azure.cloud import (
    ACCOUNT,
    TENANT,
    Cloud,
    as_json_lines,
    refusal,
    sign_in_refusal,
    table_refusal,
)

DAY = "2026-10-12"
HEADER = "ticket;tournee;ferme;litres;mg_g_l;remarque"
KEY = "Yk1vZGVzdGVMYWl0ZXJpZU91ZXN0Q2xlRGVTdG9ja2FnZTAxMjM0NTY3ODkwYWJjZGVmMDEyMw=="
Rows = list[str]
Samples = list[dict[str, Any]]

_clouds: dict[str, Cloud] = {}
_presents: dict[str, ssl.SSLContext] = {}


def tour(number: int) -> Rows:
    return [
        f"C{number}{n:03};T{number};F{number}{n % 9:02};{600 + n * 37 % 4000};{36 + n % 9}.{n % 10};{'citerne propre' if n % 5 else ''}"
        for n in range(24)
    ]


def csv_of(rows: Rows, header: str = HEADER) -> bytes:
    return ("\n".join([header, *rows]) + "\n").encode()


def farm(number: int, n: int) -> dict[str, Any]:
    return {
        "PartitionKey": f"T{number}",
        "RowKey": f"F{number}{n:02}",
        "commune": ("Vitré", "Redon", "Fougères")[n % 3],
        "prix_base": 432.5 + n,
        "bonus_mg": 2.1,
    }


def cloud(bench: Bench) -> Cloud:
    place = str(bench.directory)
    made = _clouds[place] = Cloud()
    pair = certificate.self_signed(bench, "localhost")
    _presents[place] = certificate.context(pair)
    service = rest.serve(bench, made.answer, tls=_presents[place])
    made.url = service.url
    bench.env |= {"REQUESTS_CA_BUNDLE": "tls/server.crt", "LAIT_COMPTE_URL": f"{service.url}/{ACCOUNT}"}
    return made


def milk_world(bench: Bench) -> None:
    made = cloud(bench)
    made.blobs = {f"collecte/{DAY}/tournee_{number}.csv": csv_of(tour(number)) for number in range(1, 5)}
    farms = [farm(number, n) for number in range(1, 5) for n in range(9)]
    made.tables = {"fermes": {(each["PartitionKey"], each["RowKey"]): each for each in farms}, "reglements": {}}
    bench.env |= {
        "AZURE_TENANT_ID": TENANT,
        "AZURE_CLIENT_ID": "2f0d5a0c-7b54-4c3a-8f16-0e6e1f3f9a41",
        "AZURE_CLIENT_SECRET": "Qm8~lab7w.Zp3kV1fQxT0eLrYdNs9uHcJbGa4",
        "AZURE_AUTHORITY_HOST": made.url.removeprefix("https://"),
    }


def trace(tank: int, count: int = 480) -> Samples:
    return [
        {
            "tank": f"TK{tank:02}",
            "seq": n,
            "minute": 3 * n,
            "temp_c": round(3.2 + (n + tank) % 17 / 10, 1),
            "agitator": n % 2,
        }
        for n in range(count)
    ]


def packed(samples: Samples) -> bytes:
    return gzip.compress(as_json_lines(samples), mtime=0)


def tanks_world(bench: Bench) -> None:
    made = cloud(bench)
    made.blobs = {f"tanks/night/tank_{tank:02}.jsonl.gz": packed(trace(tank)) for tank in range(12)}
    made.blobs["tanks/register.json"] = json.dumps({f"TK{tank:02}": 0 for tank in range(12)}).encode()
    bench.path("work/.keep").touch()
    bench.env["TANKS_CONNECTION_STRING"] = (
        f"DefaultEndpointsProtocol=https;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={made.url}/{ACCOUNT}"
    )


MILK = Program(
    name="collecte", command=("{python}", "regler_collecte.py", DAY), files=("regler_collecte.py",), world=milk_world
)
TANKS = Program(name="tanks", command=("{python}", "tank_trace.py"), files=("tank_trace.py",), world=tanks_world)


def changed(change: Callable[[Cloud], object]) -> Prepare:
    return lambda bench: change(_clouds[str(bench.directory)])


def tickets(number: int, change: Callable[[Rows], Rows], header: str = HEADER) -> Prepare:
    return changed(
        lambda c: c.blobs.update({f"collecte/{DAY}/tournee_{number}.csv": csv_of(change(tour(number)), header)})
    )


def ticket(number: int, at: int, **values: str) -> Prepare:
    names = HEADER.split(";")

    def change(rows: Rows) -> Rows:
        old = dict(zip(names, rows[at].split(";"), strict=True))
        return [*rows[:at], ";".join((old | values)[name] for name in names), *rows[at + 1 :]]

    return tickets(number, change)


def farms_as(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Prepare:
    def inject(held: Cloud) -> None:
        held.tables["fermes"] = {key: change(entity) for key, entity in held.tables["fermes"].items()}

    return changed(inject)


def traced(tank: int, body: bytes) -> Prepare:
    return changed(lambda c: c.blobs.update({f"tanks/night/tank_{tank:02}.jsonl.gz": body}))


def presents(name: str, *, days: int = 3650, address: str = "127.0.0.1") -> Prepare:
    """Let the service show another certificate from now on; the program trusts its signer."""

    def inject(bench: Bench) -> None:
        pair = certificate.self_signed(bench, name, days=days, address=address)
        _presents[str(bench.directory)].load_cert_chain(pair.certificate, pair.key)

    return inject


def _price_lost(entity: dict[str, Any]) -> dict[str, Any]:
    return {("prix_reference" if name == "prix_base" else name): value for name, value in entity.items()}


def _register_changes(bench: Bench) -> None:
    held = _clouds[str(bench.directory)]
    bench.when("event=register", lambda _: held.blobs.update({"tanks/register.json": b'{"TK00": 12}'}))


def _two_hundred_tanks(bench: Bench) -> None:
    held = _clouds[str(bench.directory)]
    held.blobs |= {f"tanks/night/tank_{tank:02}.jsonl.gz": packed(trace(tank, 4)) for tank in range(12, 140)}
    bench.limits[resource.RLIMIT_NOFILE] = 100


def _killed(bench: Bench) -> None:
    traced(3, packed(trace(3, 300_000)))(bench)
    bench.command = (
        "bash",
        "-c",
        'python tank_trace.py; rc=$?; echo "ts=$(date -u +%FT%TZ) level=error event=exit rc=$rc"; exit $rc',
    )
    bench.when("tank=TK02", kill_children)


def _few_cpu_seconds(bench: Bench) -> None:
    traced(2, packed(trace(2, 900_000)))(bench)
    bench.command = (
        "bash",
        "-c",
        "ulimit -S -t 3; python tank_trace.py; rc=$?; echo level=error event=exit rc=$rc; exit $rc",
    )


MOVED = {"volume_l" if name == "litres" else name: name for name in HEADER.split(";")}
BUSY = refusal(503, "ServerBusy", "The server is busy.")
SECRET = "The provided client secret keys for app '2f0d5a0c-7b54-4c3a-8f16-0e6e1f3f9a41' are expired. Visit the Azure portal to create new keys for your app."
SIGNATURE = "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature."
MISMATCH = "This request is not authorized to perform this operation using this permission."

SCHEMA: tuple[Case, ...] = (
    case(
        "litres_called_volume",
        "renamed",
        MILK,
        "a tour's file calls litres volume_l",
        tickets(3, lambda rows: rows, ";".join(MOVED)),
    ),
    case(
        "prices_as_document",
        "nested",
        MILK,
        "prix_base became a JSON document in a string",
        farms_as(lambda e: e | {"prix_base": json.dumps({"valeur": e["prix_base"], "devise": "EUR"})}),
        trap="a failed conversion of a decimal, as of one bad value",
    ),
    case(
        "temperature_per_sensor",
        "nested",
        TANKS,
        "new firmware gives temp_c as an object with a value per sensor",
        traced(5, packed([s | {"temp_c": {"top": s["temp_c"], "bottom": s["temp_c"]}} for s in trace(5)])),
        trap="a TypeError of a comparison, as of a bug",
    ),
    case(
        "price_property_renamed",
        "renamed",
        MILK,
        "the farms' prix_base is called prix_reference now",
        all_of(
            farms_as(_price_lost),
            says("GET .*comp=list", BUSY, times=2),
            environment(NIVEAU_HTTP="DEBUG"),
        ),
        trap="the server was busy before, and the log holds every request",
    ),
    case(
        "commas_instead_of_semicolons",
        "contract",
        MILK,
        "a tour's file is separated by commas now",
        changed(lambda c: c.blobs.update({f"collecte/{DAY}/tournee_2.csv": csv_of(tour(2)).replace(b";", b",")})),
        trap="a bare KeyError; the printed columns tell the rest",
        subtype="contract_mismatch",
    ),
    case(
        "settlements_table_gone",
        "table_gone",
        MILK,
        "the table reglements was deleted",
        changed(lambda c: c.tables.pop("reglements")),
    ),
)
VALUES: tuple[Case, ...] = (
    case(
        "farm_not_registered",
        "orphan",
        MILK,
        "a ticket of a farm that the register does not hold",
        ticket(2, 11, ferme="F299"),
        trap="a 404 of an HTTP service, as of a resource that was moved",
    ),
    case(
        "ticket_collected_twice",
        "duplicate",
        MILK,
        "a ticket stands in two tours",
        ticket(4, 20, ticket="C1005"),
        trap="a 409 Conflict, as of two runs at once",
    ),
    case(
        "litres_not_a_number", "unparsable", MILK, "a ticket's litres are 'env. 900'", ticket(3, 7, litres="env. 900")
    ),
    case(
        "ticket_with_slash",
        "range",
        MILK,
        "a ticket's number holds a slash, which no row key may",
        ticket(1, 15, ticket="C1015/2"),
        subtype="out_of_range",
    ),
    case(
        "trace_cut_off",
        "malformed",
        TANKS,
        "a trace was uploaded in part",
        traced(7, packed(trace(7))[:1100]),
        subtype="truncated_file",
    ),
    case(
        "sample_without_temperature",
        "null",
        TANKS,
        "a sample has no temperature",
        traced(8, packed([s | ({"temp_c": None} if n == 200 else {}) for n, s in enumerate(trace(8))])),
        trap="a TypeError, as of a bug",
    ),
)
SERVICES: tuple[Case, ...] = (
    case("storage_busy", "outage", MILK, "the storage is busy", says("GET .*comp=list", BUSY)),
    case(
        "secret_expired",
        "credentials",
        MILK,
        "our secret has expired",
        says("POST .*/token", sign_in_refusal(7000222, SECRET)),
        subtype="expired_credentials",
    ),
    case("blob_silent", "slow", MILK, "downloads get no answer", says("GET .*tournee_3", Reply(ending="hang"))),
    case(
        "gateway_page_in_tables",
        "protocol",
        MILK,
        "a gateway answers the tables with its own page and status 200",
        says("fermes", Reply(200, page(502).body, {"Content-Type": "text/html"}), after=6),
        trap="a missing field, as of a changed table",
        subtype="outage_page",
    ),
    case("certificate_expired", "tls", TANKS, "the service's certificate has expired", presents("localhost", days=0)),
)
MACHINE: tuple[Case, ...] = (
    case("work_volume_full", "disk", TANKS, "the work volume is full", small_disk("work", "150k")),
    case(
        "too_many_tanks_open",
        "handles",
        TANKS,
        "140 traces are open at once and the limit is 100",
        _two_hundred_tanks,
    ),
    case(
        "trace_in_memory",
        "memory",
        TANKS,
        "a trace does not fit into the address space",
        all_of(traced(2, packed(trace(2, 900_000))), limited(resource.RLIMIT_AS, 400_000_000)),
    ),
    case(
        "cpu_seconds_spent",
        "time_limit",
        TANKS,
        "the run may use three seconds of CPU",
        _few_cpu_seconds,
        subtype="cpu_limit",
    ),
    case("checker_killed", "killed", TANKS, "the kernel killed the interpreter", _killed),
)
OURS: tuple[Case, ...] = (
    case(
        "register_changed_meanwhile",
        "concurrency",
        TANKS,
        "another run wrote the register in the meantime",
        _register_changes,
        subtype="conflict",
    ),
    case(
        "register_leased",
        "concurrency",
        TANKS,
        "another run holds the register's lease",
        changed(lambda c: c.leases.add("tanks/register.json")),
        subtype="lock_contention",
    ),
    case(
        "tables_role_missing",
        "permission",
        MILK,
        "our account lost its role on the tables",
        says("POST .*/reglements", table_refusal(403, "AuthorizationPermissionMismatch", MISMATCH)),
    ),
    case(
        "secret_not_configured",
        "configuration",
        MILK,
        "the secret's variable was not deployed",
        unset("AZURE_CLIENT_SECRET"),
        trap="a KeyError",
    ),
    case(
        "connection_string_cut",
        "configuration",
        TANKS,
        "the deployed connection string has no endpoint and a broken pair; the secret stands in the log",
        all_of(
            environment(TANKS_VERBOSE="1"),
            lambda b: b.env.update(
                TANKS_CONNECTION_STRING=f"DefaultEndpointsProtocol=https;AccountName;AccountKey={KEY}"
            ),
        ),
        trap="a secret in the log, and an error about its form",
    ),
    case(
        "decimal_times_float",
        "code_bug",
        MILK,
        "a release multiplies a decimal with a float",
        edited("regler_collecte.py", 'Decimal(str(ferme["bonus_mg"]))', 'ferme["bonus_mg"]'),
        trap="a TypeError, as of a retyped field",
    ),
)

SYSTEM = System(
    name="azure",
    requirements=("azure-storage-blob==12.31.1", "azure-data-tables==12.7.0", "azure-identity==1.27.0"),
    debian=("openssl",),
    cases=SCHEMA + VALUES + SERVICES + MACHINE + OURS,
)
