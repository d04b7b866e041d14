"""PostgreSQL: for a person to look at."""

from __future__ import annotations

import signal

from corpus.lab.bench import Bench
from corpus.lab.services import postgres, web
from corpus.lab.services.postgres import Server
from corpus.lab.systems.postgres.worlds import (
    CLINICS,
    DESK,
    FREIGHTS,
    LOANS,
    METERS,
    Change,
    both,
    case,
    edit,
    env,
    page_of,
    sql,
)


def _interrupt(bench: Bench, server: Server) -> None:
    bench.env.update(LOG_LEVEL="DEBUG")
    held = postgres.session(bench, *server.socket("postgres"))
    postgres.say(held, "BEGIN;\nLOCK TABLE lending.reader;")  # the run cannot be over before it is stopped
    bench.kill_when("loan 40 of 150", signal.SIGINT)


def _counting(bench: Bench, server: Server) -> None:
    web.running(bench).set("/v2/tickets", web.page(502), web.page(504), page_of)
    bench.replace("pull_tickets.py", "count = land(", "count = len(land(")
    bench.replace("pull_tickets.py", "Desk().tickets())", "Desk().tickets()))")


def _unset(name: str) -> Change:
    def change(bench: Bench, server: Server) -> None:
        del bench.env[name]

    return change


CASES = (
    case(
        "landing_not_ours",
        "permission",
        "the landing table belongs to another role since its rebuild",
        METERS,
        sql("ALTER TABLE landing.reading OWNER TO postgres; GRANT SELECT, INSERT ON landing.reading TO etl"),
        language="ru",
    ),
    case(
        "carrier_not_granted",
        "permission",
        "our role may not read carriers",
        FREIGHTS,
        sql("ALTER TABLE carrier OWNER TO postgres; ALTER ROLE etl SET statement_timeout = '30s'"),
    ),
    case(
        "check_schema_attribute",
        "code_bug",
        "the check calls an attribute that does not exist",
        LOANS,
        edit("warehouse.py", "kind._type_affinity", "kind.affinity"),
        trap="the function that breaks is called check_schema and the object is a column's type",
    ),
    case(
        "settle_group_by",
        "code_bug",
        "the new release of settle.sql forgot a column of GROUP BY",
        METERS,
        edit("settle.sql", "GROUP BY m.supplier, c.kwh_planned", "GROUP BY m.supplier"),
        trap="the server complains of a column",
        language="zh",
    ),
    case(
        "settle_comma",
        "code_bug",
        "the new release of merge.sql has a comma too many",
        METERS,
        edit("merge.sql", "SET kwh = s.kwh, quality = s.quality", "SET kwh = s.kwh, quality = s.quality,"),
        language="fr",
    ),
    case(
        "pull_len_of_number",
        "code_bug",
        "the new release takes the length of a number",
        DESK,
        _counting,
        trap="a 502 and a 504 that were retried and recovered come first",
    ),
    case(
        "database_name",
        "configuration",
        "the deployment names a database that was never made",
        CLINICS,
        env(PGDATABASE="warehouse_blue"),
        trap="reads like a thing that went away; the driver retries it",
        language="de",
    ),
    case(
        "schema_variable",
        "configuration",
        "the deployment lost a variable",
        LOANS,
        _unset("WAREHOUSE_SCHEMA"),
        trap="a KeyError with the word schema",
    ),
    case(
        "sslmode",
        "configuration",
        "the deployment has an SSL mode that does not exist",
        METERS,
        env(PGSSLMODE="verify"),
        trap="looks like TLS",
    ),
    case(
        "delivery_missing",
        "missing_input",
        "the operator's file was not delivered",
        METERS,
        lambda bench, server: bench.path("readings_2026-11-21.csv").unlink(),
        language="es",
    ),
    case(
        "driver_missing",
        "environment",
        "the image lacks the compiled driver that it is told to use",
        CLINICS,
        env(PSYCOPG_IMPL="c"),
    ),
    case(
        "stopped_by_hand",
        "interrupted",
        "somebody pressed Ctrl-C",
        LOANS,
        _interrupt,
        trap="ends inside the driver's wait for the server",
    ),
    case(
        "log_cut",
        "no_cause",
        "the log was cut before the error",
        LOANS,
        both(env(LOG_LEVEL="DEBUG"), edit("reports/west.csv", ";west;", ";westend;")),
        keep="head:120",
        trap="progress only",
        subtype="no_error_in_log",
    ),
    case(
        "status_only",
        "no_cause",
        "only the wrapper's last lines were kept",
        LOANS,
        edit("reports/nord.csv", "102077;nord", "102077;nordbad"),
        keep="tail:1",
        trap="a status and nothing else",
        subtype="general_error",
    ),
)
