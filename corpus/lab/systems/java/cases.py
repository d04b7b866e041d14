"""Java: bills from meter readings (java.net.http, Jackson, JDBC, logback)."""

from __future__ import annotations

import hashlib
import resource
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Case, Program, System
from corpus.lab.faults import limited, small_disk, unset
from corpus.lab.services import certificate, postgres, web

HERE = Path(__file__).parent
CACHE = Path("/opt/venvs/java-classes")
JARS = ("jackson-core", "jackson-annotations", "jackson-databind", "postgresql", "slf4j-api", "logback-core")
CLASSPATH = ":".join([*(f"/usr/share/java/{name}.jar" for name in (*JARS, "logback-classic")), "classes", "."])
SCHEMA = """
CREATE TABLE meter (meter_no integer PRIMARY KEY, district text NOT NULL);
CREATE TABLE bill (
    meter_no integer NOT NULL REFERENCES meter, billed_on date NOT NULL, kwh numeric(9, 2) NOT NULL CHECK (kwh >= 0),
    tariff_code text NOT NULL, cents numeric(10, 2) NOT NULL, PRIMARY KEY (meter_no, billed_on)
);
INSERT INTO meter SELECT n, 'district ' || n % 12 FROM generate_series(1, 3000) n;
"""
Tariff = dict[str, Any]


def compile_java(bench: Bench, change: Callable[[str], str] = lambda text: text) -> None:
    """Compile the loader; what was compiled before is taken from the cache."""
    source = change((HERE / "MeterLoad.java").read_text())
    kept = CACHE / hashlib.sha256(source.encode()).hexdigest()[:16]
    if not (kept / "MeterLoad.class").exists():
        bench.write("source/MeterLoad.java", source)
        bench.run("javac", "-proc:none", "-cp", CLASSPATH, "-d", str(kept), "source/MeterLoad.java")
    bench.path("classes").unlink(missing_ok=True)
    bench.path("classes").symlink_to(kept)


def tariffs() -> list[Tariff]:
    return [{"code": f"T{n}", "centsPerKwh": 20.5 + n, "baseCents": 90, "validFrom": "2026-01-01"} for n in range(6)]


def lines() -> list[str]:
    return [f"{n},2026-05-04,{n % 40}.25,T{n % 6}" for n in range(1, 3001)]


def _readings(bench: Bench, rows: list[str], header: str = "meter_no,read_on,kwh,tariff") -> None:
    bench.write("readings.csv", "\n".join([header, *rows]) + "\n")


def _tariffs(bench: Bench, *replies: web.Reply, tls: ssl.SSLContext | None = None) -> None:
    bench.env["TARIFF_URL"] = web.serve(bench, {"/tariffs": list(replies)}, tls=tls).url


def world(bench: Bench) -> None:
    compile_java(bench)
    _readings(bench, lines())
    bench.path("export/x")
    _tariffs(bench, web.Reply(body=tariffs()))
    server = postgres.start(bench, schema=SCHEMA)
    bench.env |= {
        "JDBC_URL": f"jdbc:postgresql://127.0.0.1:{server.port}/{server.database}",
        "DB_USER": server.user,
        "DB_PASSWORD": server.password,
    }


JVM = ("java", "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
METERS = Program(name="meters", command=(*JVM, "-cp", CLASSPATH, "MeterLoad"), files=("logback.xml",), world=world)


def tariff(change: Callable[[Tariff], Tariff]) -> Callable[[Bench], None]:
    def inject(bench: Bench) -> None:
        _tariffs(bench, web.Reply(body=[change(row) for row in tariffs()]))

    return inject


def reading(number: int, new: str) -> Callable[[Bench], None]:
    """Replace one reading."""
    return lambda bench: _readings(bench, [*lines()[: number - 1], new, *lines()[number:]])


def answer(*replies: web.Reply) -> Callable[[Bench], None]:
    def inject(bench: Bench) -> None:
        _tariffs(bench, *replies)

    return inject


def source(old: str, new: str) -> Callable[[Bench], None]:
    return lambda bench: compile_java(bench, lambda text: text.replace(old, new))


def _renamed_amount(row: Tariff) -> Tariff:
    return {"pricePerKwh" if name == "centsPerKwh" else name: value for name, value in row.items()}


def _tls(bench: Bench) -> None:
    pair = certificate.self_signed(bench, "tariffs.supplier.example")
    _tariffs(bench, web.Reply(body=tariffs()), tls=certificate.context(pair))


def _many_readings(bench: Bench) -> None:
    _readings(bench, [text for _ in range(150) for text in lines()])
    bench.command = ("java", "-Xmx24m", *bench.command[2:])


def _no_sessions(bench: Bench) -> None:
    server = postgres.running(bench)
    server.configure(max_connections="4", superuser_reserved_connections="1")
    where = ["-h", str(server.directory), "-p", str(server.port), "-U", "etl", "-d", "warehouse"]
    for _ in range(3):
        held = subprocess.Popen(["psql", "-X", "-q", "-A", "-t", *where], stdin=-1, stdout=-1, text=True)
        assert held.stdin is not None and held.stdout is not None
        held.stdin.write("SELECT 1;\n")
        held.stdin.flush()
        held.stdout.readline()
        bench.on_exit(held.wait)
        bench.on_exit(held.kill)


def _slow_trigger(bench: Bench) -> None:
    postgres.running(bench).execute(
        "ALTER ROLE etl SET statement_timeout = '900ms';\n"
        "CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " PERFORM count(*) FROM generate_series(1, 900000000); RETURN NEW; END $$;\n"
        "CREATE TRIGGER audit BEFORE INSERT ON bill FOR EACH ROW EXECUTE FUNCTION audit()"
    )


def _other_run(bench: Bench) -> None:
    """Another run's session takes its bills back only when this one has waited for longer than its lock_timeout."""
    server = postgres.running(bench)
    server.execute("ALTER ROLE etl SET lock_timeout = '600ms'")
    ended = threading.Event()
    bench.on_exit(ended.set)
    server.when_waiting(bench, "bill", lambda: ended.wait(5))


def _terminated(bench: Bench) -> None:
    server = postgres.running(bench)
    server.when_waiting(bench, "bill", lambda: server.stop("immediate"))


CASES = (
    Case(
        name="tariff_member_renamed",
        family="renamed",
        cause="the supplier calls centsPerKwh pricePerKwh now",
        program=METERS,
        inject=tariff(_renamed_amount),
        trap="Jackson speaks of an unrecognized field, four causes deep",
    ),
    Case(
        name="base_price_nested",
        family="nested",
        cause="baseCents is an object of net and gross now",
        program=METERS,
        inject=tariff(lambda row: row | {"baseCents": {"net": 90, "gross": 107}}),
    ),
    Case(
        name="meter_number_became_text",
        family="retyped",
        cause="bill.meter_no is text since a migration",
        program=METERS,
        inject=postgres.script("ALTER TABLE bill DROP CONSTRAINT bill_meter_no_fkey, ALTER meter_no TYPE text"),
        trap="the batch insert goes through; the export's join fails on an operator",
    ),
    Case(
        name="district_removed",
        family="removed",
        cause="a migration removed meter.district",
        program=METERS,
        inject=postgres.script("ALTER TABLE meter DROP COLUMN district"),
    ),
    Case(
        name="readings_reordered",
        family="contract",
        subtype="contract_mismatch",
        cause="the file's columns are in another order",
        program=METERS,
        inject=lambda b: _readings(
            b,
            [",".join((s.split(",")[1], s.split(",")[0], *s.split(",")[2:])) for s in lines()],
            "read_on,meter_no,kwh,tariff",
        ),
        trap="a NumberFormatException of a date that is right; the logged header has another order",
    ),
    Case(
        name="reading_of_unknown_meter",
        family="orphan",
        cause="a reading of a meter that is not registered",
        program=METERS,
        inject=reading(1200, "88123,2026-05-04,4.00,T1"),
        trap="wrapped in a BatchUpdateException that quotes the whole insert",
    ),
    Case(
        name="tariff_unknown",
        family="null",
        cause="one reading has no tariff, and so no price",
        program=METERS,
        inject=reading(2100, "2100,2026-05-04,4.00,"),
        trap="the null is of a column that is computed",
    ),
    Case(
        name="consumption_not_a_number",
        family="unparsable",
        cause="one consumption reads 4..5",
        program=METERS,
        inject=reading(700, "700,2026-05-04,4..5,T2"),
        trap="thrown by java.math with an index out of nothing",
    ),
    Case(
        name="consumption_overflows",
        family="range",
        cause="one consumption is greater than the column allows",
        program=METERS,
        inject=reading(1700, "1700,2026-05-04,99999999999.00,T2"),
    ),
    Case(
        name="supplier_not_authorized",
        family="credentials",
        subtype="forbidden",
        cause="the supplier has blocked our account",
        program=METERS,
        inject=answer(web.Reply(403, {"code": "ACCOUNT_SUSPENDED", "detail": "invoice 2291 is unpaid"})),
    ),
    Case(
        name="supplier_certificate",
        family="tls",
        cause="the supplier's certificate is nobody's",
        program=METERS,
        inject=_tls,
        trap="a long chain of causes down to a certification path",
    ),
    Case(
        name="database_down",
        family="refused",
        cause="the database server is down",
        program=METERS,
        inject=lambda b: b.env.update(JDBC_URL=f"jdbc:postgresql://127.0.0.1:{free_port()}/warehouse"),
    ),
    Case(
        name="database_crashes",
        family="reset",
        subtype="connection_lost",
        cause="the database server goes down in the middle of a batch",
        program=METERS,
        inject=_terminated,
    ),
    Case(
        name="supplier_hangs",
        family="slow",
        cause="the supplier takes the request and does not answer",
        program=METERS,
        inject=answer(web.Reply(ending="hang")),
    ),
    Case(
        name="heap_of_24_mb",
        family="memory",
        cause="a year's readings do not fit into 24 MB of heap",
        program=METERS,
        inject=_many_readings,
    ),
    Case(
        name="sessions_used_up",
        family="connections",
        cause="other clients hold all the server's sessions",
        program=METERS,
        inject=_no_sessions,
        trap="`FATAL` in the connection's handshake",
    ),
    Case(
        name="batch_over_time",
        family="time_limit",
        subtype="query_timeout",
        cause="the batch takes longer than the role's statement_timeout",
        program=METERS,
        inject=_slow_trigger,
        trap="a batch entry `was aborted`, the reason after a call of getNextException",
    ),
    Case(
        name="export_disk_full",
        family="disk",
        cause="the export's disk is full",
        program=METERS,
        inject=small_disk("export", "8k"),
    ),
    Case(
        name="handles_of_jvm",
        family="handles",
        cause="the process may have 14 open files",
        program=METERS,
        inject=limited(resource.RLIMIT_NOFILE, 14),
    ),
    Case(
        name="list_that_cannot_grow",
        family="code_bug",
        cause="a release made the list of readings immutable",
        program=METERS,
        inject=source("readings = new ArrayList<>()", "readings = List.of()"),
        trap="an exception without message below a stage called read-readings",
    ),
    Case(
        name="driver_not_on_classpath",
        family="environment",
        subtype="configuration",
        cause="the driver's jar was left out of the deployment",
        program=METERS,
        inject=lambda b: setattr(
            b, "command", tuple(part.replace("/usr/share/java/postgresql.jar:", "") for part in b.command)
        ),
        trap="a failure at the stage connect, as of a database that is away",
    ),
    Case(
        name="bills_locked_by_other_run",
        family="concurrency",
        subtype="lock_contention",
        cause="another run holds the table of bills",
        program=METERS,
        inject=_other_run,
        trap="a statement was canceled due to a timeout, of a lock",
    ),
    Case(
        name="address_of_supplier_lost",
        family="configuration",
        cause="TARIFF_URL was lost in a deployment",
        program=METERS,
        inject=unset("TARIFF_URL"),
        trap="an IllegalArgumentException of a URI `null/tariffs`",
    ),
)

SYSTEM = System(
    name="java",
    cases=CASES,
    debian=(
        "openjdk-17-jdk-headless",
        "libpostgresql-jdbc-java",
        "libjackson2-databind-java",
        "libslf4j-java",
        "liblogback-java",
        "postgresql-15",
    ),
)
