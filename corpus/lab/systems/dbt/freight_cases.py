"""Faults of the dbt project on PostgreSQL that totals shipments per carrier."""

from __future__ import annotations

import subprocess

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Case, Prepare, Program
from corpus.lab.faults import edited
from corpus.lab.services import postgres

SCHEMA = """
CREATE SCHEMA tms;
CREATE TABLE tms.carrier (carrier_code text PRIMARY KEY, carrier_name text);
INSERT INTO tms.carrier SELECT 'C' || i, 'Carrier ' || i FROM generate_series(1, 8) i;
CREATE TABLE tms.shipment (shipment_no text, carrier_code text, shipped_on text, pallets int, gross numeric);
INSERT INTO tms.shipment SELECT 'S' || i, 'C' || (1 + i % 8), to_char(date '2026-01-01' + i % 90, 'YYYY-MM-DD'), 1 + i % 30, 100 + i
  FROM generate_series(1, 2500) i;
CREATE TABLE tms.timeout_log (gate text, waited_min int);
INSERT INTO tms.timeout_log SELECT 'G' || (i % 6), i % 90 FROM generate_series(1, 300) i;
"""


def world(bench: Bench) -> None:
    postgres.start(bench, schema=SCHEMA)


def _german(bench: Bench) -> None:
    postgres.start(bench, schema=SCHEMA, messages="de_DE")


def _french(bench: Bench) -> None:
    postgres.start(bench, schema=SCHEMA, messages="fr_FR")


def program(name: str, prepare: Prepare) -> Program:
    return Program(name=name, command=("bash", "build.sh", "freight"), files=("build.sh", "freight"), world=prepare)


def _with_target(bench: Bench) -> None:
    world(bench)
    sql("CREATE SCHEMA marts; CREATE TABLE marts.waiting (gate text, longest_min int, trucks bigint)")(bench)


FREIGHT = program("freight", world)
WAITING = program("freight_waiting", _with_target)
GERMAN = program("freight_de", _german)
FRENCH = program("freight_fr", _french)


def sql(script: str, user: str = "etl") -> Prepare:
    return lambda bench: postgres.running(bench).execute(script, user=user)


def _settings(**values: str) -> Prepare:
    return lambda bench: postgres.running(bench).configure(**values)


def _elsewhere(bench: Bench) -> None:
    bench.env["PGPORT"] = str(free_port())


def _unknown_host(bench: Bench) -> None:
    bench.env["PGHOST"] = "pg-primary.freight.invalid"


def _crash(bench: Bench) -> None:
    server = postgres.running(bench)
    server.when_waiting(bench, "tms.shipment", lambda: server.stop("immediate"))


def _full(bench: Bench) -> None:
    server = postgres.running(bench)
    server.configure(max_connections="5", superuser_reserved_connections="1")
    where = ["-h", str(server.directory), "-p", str(server.port), "-U", "etl", "-d", server.database]
    for _ in range(4):
        holder = subprocess.Popen(
            ["psql", "-X", "-q", "-A", "-t", *where],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert holder.stdin is not None and holder.stdout is not None
        holder.stdin.write("\\echo there\n")
        holder.stdout.readline()
        bench.on_exit(holder.kill)


def _no_password(bench: Bench) -> None:
    bench.env.pop("PGPASSWORD")


def _temp_limit(bench: Bench) -> None:
    postgres.running(bench).execute(
        "ALTER ROLE etl SET temp_file_limit = '1MB'; ALTER ROLE etl SET work_mem = '64kB'; ALTER ROLE etl SET enable_nestloop = off"
    )
    postgres.running(bench).execute(
        "INSERT INTO tms.shipment SELECT 'T' || i, 'C1', '2026-02-02', 1, 5 FROM generate_series(1, 60000) i",
        user="etl",
    )


CASES = (
    Case(
        name="freight_gross_renamed",
        family="renamed",
        cause="the source's column gross is called gross_weight now",
        program=GERMAN,
        inject=sql("ALTER TABLE tms.shipment RENAME COLUMN gross TO gross_weight"),
        language="de",
        trap="the server speaks German",
    ),
    Case(
        name="freight_log_moved",
        family="table_gone",
        cause="the source's owner renamed the table timeout_log",
        program=FREIGHT,
        inject=sql("ALTER TABLE tms.timeout_log RENAME TO gate_wait"),
        trap="the table is called timeout_log",
    ),
    Case(
        name="freight_waited_is_text",
        family="retyped",
        cause="the source's waited_min is a text with a unit now, the target's column is a number",
        program=WAITING,
        inject=sql("ALTER TABLE tms.timeout_log ALTER waited_min TYPE text USING waited_min || ' min'"),
        trap="fails in the statement that loads the target",
    ),
    Case(
        name="freight_carriers_dropped",
        family="removed",
        cause="the source's carrier has no carrier_name any more",
        program=FREIGHT,
        inject=sql("ALTER TABLE tms.carrier DROP COLUMN carrier_name"),
    ),
    Case(
        name="freight_date_impossible",
        family="unparsable",
        subtype="invalid_date",
        cause="a shipment of the thirty-first of June",
        program=FRENCH,
        inject=sql("UPDATE tms.shipment SET shipped_on = '2026-06-31' WHERE shipment_no = 'S1777'"),
        language="fr",
        trap="the server speaks French",
    ),
    Case(
        name="freight_weight_overflow",
        family="range",
        subtype="out_of_range",
        cause="a weight was entered in grams",
        program=FREIGHT,
        inject=sql("UPDATE tms.shipment SET gross = 84000000 WHERE shipment_no = 'S12'"),
    ),
    Case(
        name="freight_server_away",
        family="refused",
        cause="nothing listens at the server's port",
        program=FREIGHT,
        inject=_elsewhere,
    ),
    Case(
        name="freight_host_unknown",
        family="dns",
        cause="the server's name does not resolve",
        program=FREIGHT,
        inject=_unknown_host,
    ),
    Case(
        name="freight_password_changed",
        family="credentials",
        cause="the role's password was changed at the server",
        program=GERMAN,
        inject=sql("ALTER ROLE etl PASSWORD 'another-one-83'", "postgres"),
        language="de",
        trap="the server speaks German",
    ),
    Case(
        name="freight_server_crashed",
        family="reset",
        subtype="connection_lost",
        cause="the server went down without a word",
        program=FREIGHT,
        inject=_crash,
        trap="two models fail with the same words, four are skipped",
    ),
    Case(
        name="freight_database_closed",
        family="outage",
        cause="the database's administrator closed it for connections during a migration",
        program=FRENCH,
        inject=lambda bench: postgres.running(bench).execute(
            "ALTER DATABASE warehouse ALLOW_CONNECTIONS false", database="postgres"
        ),
        language="fr",
        trap="the server speaks French",
    ),
    Case(
        name="freight_connections_used_up",
        family="connections",
        cause="other sessions hold all connections of the server",
        program=FREIGHT,
        inject=_full,
        trap="a fatal error of the connection, as of an outage",
    ),
    Case(
        name="freight_statement_timeout",
        family="time_limit",
        subtype="query_timeout",
        cause="a statement may take 250 ms",
        program=FREIGHT,
        inject=sql("ALTER ROLE etl SET statement_timeout = '250ms'", "postgres"),
    ),
    Case(
        name="freight_temp_limit",
        family="limit",
        subtype="limit_exceeded",
        cause="a session may spill 1 MB to disk",
        program=FREIGHT,
        inject=_temp_limit,
    ),
    Case(
        name="freight_no_right",
        family="permission",
        cause="our role may not read the carriers any more",
        program=FREIGHT,
        inject=sql("ALTER TABLE tms.carrier OWNER TO postgres; REVOKE ALL ON tms.carrier FROM etl", "postgres"),
    ),
    Case(
        name="freight_password_not_set",
        family="configuration",
        cause="the deployment does not set PGPASSWORD",
        program=FREIGHT,
        inject=_no_password,
        trap="words of a password, as of credentials that expired",
    ),
    Case(
        name="freight_macro_missing",
        family="code_bug",
        cause="a change calls a macro that nobody wrote",
        program=FREIGHT,
        inject=edited(
            "freight/models/carrier_month.sql", "date_trunc('month', s.shipped_on)", "{{ month_start('s.shipped_on') }}"
        ),
    ),
)
