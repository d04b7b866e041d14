"""Road tolls: alembic, reflected tables, a small pool, PostgreSQL."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
from pathlib import Path

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program
from corpus.lab.faults import edited, environment
from corpus.lab.services import postgres

GANTRIES = ("A04N", "A04S", "A11E", "A11W", "B27N", "B27S")


def _passages(gantry: str) -> list[dict[str, object]]:
    at = GANTRIES.index(gantry)
    return [
        {
            "passage_id": at * 1000 + n,
            "plate": f"{'KLMN'[n % 4]}-{100 + (n * 7 + at) % 90}",
            "category": ("L2", "L3", "L5")[n % 3],
            "km": 4 + (n * 13) % 60,
            "at": f"2026-11-21T{n % 24:02}:{n % 60:02}:00+00:00",
        }
        for n in range(80)
    ]


def _write(bench: Bench, gantry: str, passages: list[dict[str, object]]) -> None:
    bench.write(f"gantries/{gantry}.jsonl", "".join(json.dumps(each) + "\n" for each in passages))


def _tolls(bench: Bench, messages: str = "C") -> None:
    server = postgres.start(bench, messages=messages)
    bench.env["TOLLS_DSN"] = server.url.replace("postgresql:", "postgresql+psycopg:")
    bench.env["PGCONNECT_TIMEOUT"] = "2"
    for gantry in GANTRIES:
        _write(bench, gantry, _passages(gantry))
    bench.run("alembic", "upgrade", "head")
    server.execute("INSERT INTO tariff VALUES ('L2', 12.5), ('L3', 15), ('L5', 21.25)", user="etl")


TOLLS = Program(
    name="tolls",
    command=("bash", "settle.sh"),
    files=("settle.sh", "settle_tolls.py", "alembic.ini", "migrations"),
    world=_tolls,
)
MAUT = Program(
    name="maut",
    command=("bash", "settle.sh"),
    files=TOLLS.files,
    world=lambda bench: _tolls(bench, "fr_FR"),
)


def _changed(gantry: str, number: int, change: dict[str, object]) -> Prepare:
    def inject(bench: Bench) -> None:
        passages = _passages(gantry)
        passages[number] |= change
        _write(bench, gantry, passages)

    return inject


def _all_changed(old: str, new: str) -> Prepare:
    def inject(bench: Bench) -> None:
        for gantry in GANTRIES:
            bench.replace(f"gantries/{gantry}.jsonl", f'"{old}": ', f'"{new}": ')

    return inject


def _hang(bench: Bench) -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(8)
    bench.on_exit(listener.close)
    server = postgres.running(bench)
    bench.env["TOLLS_DSN"] = bench.env["TOLLS_DSN"].replace(f":{server.port}/", f":{listener.getsockname()[1]}/")


def _busy_threads(bench: Bench) -> None:
    bench.env["POOL_LOG"] = "DEBUG"
    bench.replace("settle_tolls.py", "pg_sleep(0.05)", "pg_sleep(2.5)")
    bench.replace("settle_tolls.py", "ThreadPoolExecutor(WORKERS)", "ThreadPoolExecutor(6)")


def _short_statements(bench: Bench) -> None:
    postgres.running(bench).execute("ALTER ROLE etl SET statement_timeout = '150ms'")
    bench.replace("settle_tolls.py", "pg_sleep(0.05)", "pg_sleep(0.9)")


def _stop_at(text: str, mode: str) -> Prepare:
    def inject(bench: Bench) -> None:
        bench.replace("settle_tolls.py", "pg_sleep(0.05)", "pg_sleep(0.5)")
        bench.when(text, lambda _: postgres.running(bench).stop(mode))

    return inject


def _small_volume(bench: Bench) -> None:
    server = postgres.running(bench)
    place = Path("/srv/volumes/tolls")
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32k,mode=0700,uid=postgres,gid=postgres", "tmpfs", str(place)], check=True
    )
    bench.on_exit(lambda: subprocess.run(["umount", "-l", str(place)], check=False))
    server.execute(f"CREATE TABLESPACE gantry LOCATION '{place}'")
    server.execute("ALTER TABLE passage SET TABLESPACE gantry")


def _forgotten_revision(bench: Bench) -> None:
    postgres.script("UPDATE alembic_version SET version_num = 'c7de1b02'", user="etl")(bench)


def _other_head(bench: Bench) -> None:
    text = bench.path("migrations/versions/a41c_statement.py").read_text(encoding="utf-8")
    other = (
        text.replace("a41c0e77", "b5520ad1")
        .replace('"statement"', '"memory_limit"')
        .replace("monthly statement", "memory limits")
    )
    bench.write("migrations/versions/b552_memory_limit.py", other)


def _heap(bench: Bench) -> None:
    for gantry in GANTRIES:
        _write(bench, gantry, [each | {"passage_id": n} for n in range(700) for each in _passages(gantry)])
    bench.limits[resource.RLIMIT_AS] = 330_000_000
    bench.env["WORKERS"] = "1"


def _case(
    name: str, family: str, cause: str, inject: Prepare, trap: str = "", subtype: str = "", program: Program = TOLLS
) -> Case:
    language = "fr" if program is MAUT else "en"
    return Case(
        name=name,
        family=family,
        program=program,
        cause=cause,
        inject=inject,
        trap=trap,
        subtype=subtype,
        language=language,
    )


CASES = (
    _case(
        "tariff_table_gone",
        "table_gone",
        "the table of tariffs was moved to another schema",
        postgres.script("CREATE SCHEMA pricing; ALTER TABLE tariff SET SCHEMA pricing", user="etl"),
        trap="the whole message is one word after the migration's lines",
    ),
    _case(
        "km_became_text",
        "retyped",
        "the store's column km is text since its owner's change",
        postgres.script("ALTER TABLE passage ALTER km TYPE text", user="etl"),
        trap="a missing operator, in a function called price",
    ),
    _case(
        "gantries_write_vehicle",
        "renamed",
        "the gantries call category vehicle_class",
        _all_changed("category", "vehicle_class"),
        trap="unconsumed names or a NULL, in the store",
    ),
    _case(
        "passage_lane_required",
        "added",
        "the store's owner added a required column lane",
        postgres.script(
            "ALTER TABLE passage ADD lane smallint NOT NULL DEFAULT 1; ALTER TABLE passage ALTER lane DROP DEFAULT",
            user="etl",
        ),
        trap="a NULL violation of a column that the program does not know",
        subtype="column_added",
    ),
    _case(
        "km_out_of_range",
        "range",
        "a passage of 40,000,000,000 km",
        _changed("B27N", 12, {"km": 40_000_000_000}),
        subtype="out_of_range",
        program=MAUT,
    ),
    _case(
        "plate_too_long",
        "range",
        "a plate of more characters than plates have",
        _changed("A11E", 40, {"plate": "memory exhausted"}),
        subtype="value_too_long",
        trap="the value reads like an error",
    ),
    _case(
        "passage_time_false",
        "unparsable",
        "a passage at the 31st of November",
        _changed("A11W", 60, {"at": "2026-11-31T08:00:00+00:00"}),
        subtype="invalid_date",
    ),
    _case("store_hangs", "slow", "the database server takes the connection and says nothing", _hang),
    _case("store_away", "refused", "no database server listens", lambda bench: postgres.running(bench).stop()),
    _case(
        "store_stops_midway",
        "reset",
        "the database server is shut down while passages are priced",
        _stop_at("A04N:", "fast"),
        trap="a traceback of threads after a good load",
        subtype="connection_lost",
    ),
    _case(
        "store_password_rotated",
        "credentials",
        "the password of the service was changed",
        postgres.script("ALTER ROLE etl PASSWORD 'x8-other'", user="postgres"),
        program=MAUT,
    ),
    _case(
        "store_unknown_host",
        "dns",
        "the name of the database server is not resolved",
        environment(TOLLS_DSN="postgresql+psycopg://etl:tr0ut-91@tolls-db.prod.invalid/warehouse"),
    ),
    _case(
        "pool_exhausted",
        "connections",
        "the pool has fewer connections than there are threads",
        _busy_threads,
        trap="a timeout, in a thread",
    ),
    _case("store_full_of_sessions", "connections", "the server has no session left", postgres.sessions_taken),
    _case(
        "pricing_too_long",
        "time_limit",
        "the server ends statements that take too long",
        _short_statements,
        subtype="query_timeout",
    ),
    _case(
        "passages_volume_full",
        "disk",
        "the volume of the table is full",
        _small_volume,
        trap="the server's word comes wrapped as an OperationalError",
        subtype="disk_full",
    ),
    _case("passages_too_many", "memory", "a backlog of passages does not fit into the process", _heap),
    _case(
        "statement_forbidden",
        "permission",
        "the role may not delete statements",
        postgres.script(
            "ALTER TABLE statement OWNER TO postgres; GRANT SELECT, INSERT ON statement TO etl; ", user="postgres"
        ),
        program=MAUT,
    ),
    _case(
        "revision_unknown",
        "configuration",
        "an older release runs against a newer store",
        _forgotten_revision,
        trap="a revision that is missing is no table",
    ),
    _case(
        "two_heads",
        "configuration",
        "two migrations of two releases follow the same one",
        _other_head,
        trap="a migration called memory_limit",
    ),
    _case(
        "driver_missing",
        "environment",
        "the deployment names a driver that is not installed",
        lambda bench: bench.env.update(
            TOLLS_DSN=postgres.running(bench).url.replace("postgresql:", "postgresql+psycopg2:")
        ),
        subtype="configuration",
    ),
    _case(
        "limit_of_none",
        "code_bug",
        "the new release calls a column that the query does not give",
        edited("settle_tolls.py", "if each.n >", "if each.passages >"),
        trap="an attribute that is missing, in a function called check_limits",
    ),
)
