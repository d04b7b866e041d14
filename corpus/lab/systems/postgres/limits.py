"""PostgreSQL: the machinery has run out of something."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from corpus.lab.bench import Bench
from corpus.lab.services import postgres
from corpus.lab.services.postgres import Server
from corpus.lab.systems.postgres.worlds import (
    CELLS,
    CLINICS,
    FREIGHTS,
    LOANS,
    METERS,
    Change,
    both,
    case,
    edit,
    sql,
)

MANY = """
INSERT INTO core.reading SELECT 'DE' || 1001 + n % 60, timestamp '2020-01-01' + n / 60 * interval '1 hour', '1.8.0', 0.5, 'V'
FROM generate_series(1, {count}) AS n
"""
PAST = """
DO $$ BEGIN FOR h IN 1..{count} LOOP
  EXECUTE format('CREATE TABLE %I PARTITION OF signal FOR VALUES FROM (%s) TO (%s)', 'cell_19' || lpad(h::text, 8, '0'), h, h + 1);
  EXECUTE format('ALTER TABLE %I OWNER TO etl', 'cell_19' || lpad(h::text, 8, '0'));
END LOOP; END $$
"""


def _sessions(count: int, user: str = "etl") -> Change:
    """Keep sessions of somebody else's open."""

    def change(bench: Bench, server: Server) -> None:
        for _ in range(count):
            postgres.session(bench, *server.socket(user))

    return change


def _configure(**values: str) -> Change:
    return lambda bench, server: server.configure(**values)


def _small_disk(bench: Bench, place: Path, size: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs", str(place)], check=True)
    bench.on_exit(lambda: subprocess.run(["umount", "-l", str(place)], check=False))


def _tablespace_full(bench: Bench, server: Server) -> None:
    _small_disk(bench, server.directory / "volume2", "64k")
    place = server.directory / "volume2" / "data"
    subprocess.run(["install", "-d", "-o", "postgres", "-m", "700", str(place)], check=True)
    server.execute(f"CREATE TABLESPACE volume2 LOCATION '{place}'")
    server.execute("ALTER TABLE core.reading SET TABLESPACE volume2")


def _backend_memory(bench: Bench, server: Server) -> None:
    server.configure(work_mem="2GB")
    server.execute(MANY.format(count=500_000))
    server.stop("fast")
    server.restart(address_space=130_000_000)


def _kill_child(number: int) -> Callable[[subprocess.Popen[bytes]], None]:
    def action(process: subprocess.Popen[bytes]) -> None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), number)

    return action


def _long_file(bench: Bench, server: Server) -> None:
    path = bench.path("appointments.csv")
    header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(header + "".join(lines * 3000), encoding="utf-8")
    bench.limits[resource.RLIMIT_AS] = 260_000_000


def _branch_killed(bench: Bench, server: Server) -> None:
    bench.env.update(LOG_LEVEL="DEBUG")
    bench.when("west.csv: 150 loans", _kill_child(signal.SIGKILL))


CASES = (
    case(
        "slots_reserved",
        "connections",
        "all of the server's ordinary connections are taken",
        CLINICS,
        both(_configure(max_connections="6"), _sessions(4)),
        language="ja",
    ),
    case(
        "clients_too_many",
        "connections",
        "all of the server's connections are taken",
        METERS,
        both(_configure(max_connections="6"), _sessions(6, "postgres")),
        language="fr",
    ),
    case(
        "role_limit",
        "connections",
        "other runs use the connections that our role may have",
        LOANS,
        both(sql("ALTER ROLE etl CONNECTION LIMIT 3"), _sessions(3)),
        trap="the driver calls it a failed connection",
        language="zh",
    ),
    case(
        "twelve_depots",
        "connections",
        "three times the depots: the pool has fewer connections than the merge has streams",
        FREIGHTS,
        both(
            *(
                edit(
                    "exchange.jsonl",
                    f'{n}", "carrier": 1, "depot": "{depot}"',
                    f'{n}", "carrier": 1, "depot": "X{n}{depot[0]}"',
                )
                for n, depot in ((0, "HAM"), (9, "LEJ"), (8, "MUC"), (7, "CGN"))
            )
        ),
        trap="ends in the word timeout",
    ),
    case(
        "workload_too_long",
        "time_limit",
        "years of appointments: the statement takes longer than the server allows",
        CLINICS,
        both(
            sql(
                "INSERT INTO appointment SELECT 1 + n % 6, 100000 + n, 'P' || n % 9000, date '2019-01-01' + n % 2500, 15 "
                "FROM generate_series(1, 400000) AS n; ALTER ROLE etl SET statement_timeout = '150ms'"
            )
        ),
        language="es",
    ),
    case(
        "temporary_files",
        "limit",
        "the export sorts more than the temporary files may hold",
        METERS,
        both(
            sql(MANY.format(count=120_000)),
            _configure(temp_file_limit="1MB", work_mem="64kB"),
        ),
        subtype="limit_exceeded",
        language="de",
    ),
    case(
        "tablespace_full",
        "disk",
        "the server's second volume is full",
        METERS,
        _tablespace_full,
        subtype="disk_full",
        language="ja",
    ),
    case(
        "handover_volume_full",
        "disk",
        "the volume of the handover is full",
        METERS,
        lambda bench, server: _small_disk(bench, bench.path("handover"), "24k"),
        subtype="disk_full",
    ),
    case(
        "backend_memory",
        "memory",
        "the server's process gets no more memory for its sort",
        METERS,
        _backend_memory,
        trap="the server names a memory context and a request of some bytes",
        language="es",
    ),
    case("file_of_a_year", "memory", "the worker has too little memory for the file", CLINICS, _long_file),
    case(
        "partitions_of_years",
        "limit",
        "more partitions to drop in one transaction than the server has locks",
        CELLS,
        both(sql(PAST.format(count=900)), _configure(max_locks_per_transaction="10")),
        trap="called memory, and is the number of locks",
        subtype="limit_exceeded",
        language="de",
    ),
    case(
        "branch_killed",
        "killed",
        "the process of one branch was killed by the machine",
        LOANS,
        _branch_killed,
        trap="only the shell's line between debug output tells",
        subtype="killed_process",
    ),
)
