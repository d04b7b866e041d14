"""DuckDB: rides (CSV and Parquet to marts), parcels (nested JSON, an attached store), quotes (partners' feeds)."""

from __future__ import annotations

import resource
import signal
import subprocess

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, System
from corpus.lab.faults import cut, edited, environment, limited, small_disk, unreachable, written
from corpus.lab.services import web
from corpus.lab.systems.duckdb.worlds import (
    HEADER,
    PARCELS,
    QUOTES,
    RIDES,
    STATIONS,
    query,
    quotes,
    scan,
    write_scans,
)

HUGE = (
    "COPY (SELECT 5000 + n AS trip_id, n % 40 AS bike_no, 'S01' AS station_from, 'S02' AS station_to, "
    "TIMESTAMP '2026-11-21 06:00:00' + to_seconds(n) AS started_at, 5 AS minutes, n AS metres "
    "FROM range({count}) AS t(n)) TO 'in/trips_9.csv' (HEADER)"
)


def _stations(old: str, new: str) -> Prepare:
    return lambda bench: query(bench, STATIONS.replace(old, new))


def _without_metres(bench: Bench) -> None:
    lines = [f"{n},7001,S01,S02,2026-11-21 09:00:00,7" for n in range(800, 900)]
    bench.write("in/trips_2.csv", "\n".join([HEADER.rpartition(",")[0], *lines]) + "\n")


def _twice(bench: Bench) -> None:
    bench.write("in/trips_3.csv", bench.path("in/trips_1.csv").read_text(encoding="utf-8"))


def _undelivered(bench: Bench) -> None:
    for part in range(3):
        bench.path(f"in/trips_{part}.csv").unlink()


def _feed(name: str, *replies: web.Reply) -> Prepare:
    return web.answers(f"/{name}", *replies)


def _reordered(bench: Bench) -> None:
    path = bench.path("in/trips_1.csv")
    lines = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text(
        "".join(",".join([*each[:2], each[4], *each[2:4], *each[5:]]) + "\n" for each in lines), encoding="utf-8"
    )


def _flat_event(bench: Bench) -> None:
    for part in range(4):
        scans = [scan(n) for n in range(part * 250, (part + 1) * 250)]
        write_scans(bench, part, [{**each, "event": ("in", "out")[n % 2]} for n, each in enumerate(scans)])


def _latin(bench: Bench) -> None:
    path = bench.path("in/trips_2.csv")
    text = path.read_text(encoding="utf-8").replace(",S09,S17,", ",Köln-Süd,S17,", 1)
    path.write_text(text, encoding="latin-1")


def _broken_json(bench: Bench) -> None:
    path = bench.path("in/scans/002.ndjson")
    path.write_text(path.read_text(encoding="utf-8")[:20_011], encoding="utf-8")


def _many(count: int, **variables: str) -> Prepare:
    def inject(bench: Bench) -> None:
        query(bench, HUGE.format(count=count))
        bench.env.update(variables)

    return inject


def _killed(bench: Bench) -> None:
    _many(9_000, LOG_LEVEL="DEBUG")(bench)
    bench.write(
        "run.sh",
        '#!/bin/bash\necho "scheduler: run rides"\n"$PYTHON" build_marts.py\necho "scheduler: rides exited with $?"\nexit 1\n',
    )
    bench.command = ("bash", "run.sh")
    bench.env["PYTHON"] = str(bench.python)
    bench.when("CREATE OR REPLACE TABLE bike_hops", lambda process: _kill(process.pid, signal.SIGKILL))


def _kill(parent: int, number: int) -> None:
    subprocess.run(["pkill", f"-{number}", "-P", str(parent)], check=False)


CASES = (
    Case(
        name="station_docks_renamed",
        family="renamed",
        cause="the station file calls docks capacity now",
        program=RIDES,
        inject=_stations("AS docks", "AS capacity"),
    ),
    Case(
        name="trips_reordered",
        family="contract",
        cause="one file has its columns in another order",
        program=RIDES,
        inject=_reordered,
        trap="complains of a value that is no timestamp, in one line of one file",
    ),
    Case(
        name="trips_without_metres",
        family="removed",
        cause="the third file lost its last column",
        program=RIDES,
        inject=_without_metres,
        subtype="column_missing",
    ),
    Case(
        name="station_opened_text",
        family="retyped",
        cause="the day of opening is text in the station file",
        program=RIDES,
        inject=_stations("DATE '2020-05-01' + n::INTEGER", "printf('%02d.05.2020', n)"),
        trap="surfaces in a comparison, two models after the file was read",
        subtype="type_changed",
    ),
    Case(
        name="event_no_longer_nested",
        family="nested",
        cause="a scan's event is plain text instead of an object",
        program=PARCELS,
        inject=_flat_event,
    ),
    Case(
        name="zone_gone",
        family="table_gone",
        cause="the attached store has zone instead of permission_zone",
        program=PARCELS,
        inject=lambda bench: query(bench, "ALTER TABLE permission_zone RENAME TO zone", "network.duckdb"),
        trap="the table's name holds the word permission",
    ),
    Case(
        name="quote_price_object",
        family="nested",
        cause="the gas feed's price is an object with its currency",
        program=QUOTES,
        inject=_feed(
            "gas",
            web.Reply(503),
            web.Reply(200, [{"plant": "g1", "hour": "2026-11-21 00:00:00", "eur_mwh": {"bid": 41.5, "ask": 42.0}}]),
        ),
        trap="a 503 that was retried and recovered comes first",
        subtype="type_changed",
    ),
    Case(
        name="trip_of_zero_minutes",
        family="range",
        cause="a trip of no minutes",
        program=RIDES,
        inject=edited("in/trips_0.csv", "06:00:00,4,700", "06:00:00,0,700"),
        subtype="check_violation",
    ),
    Case(
        name="trip_in_two_files",
        family="duplicate",
        cause="two files hold the same trips",
        program=RIDES,
        inject=_twice,
    ),
    Case(
        name="minutes_unknown",
        family="unparsable",
        cause="a trip lasts unknown minutes",
        program=RIDES,
        inject=edited("in/trips_1.csv", "2026-11-21 09:03:00,7,709", "2026-11-21 09:03:00,connection timed out,709"),
        trap="the value reads like an error of a server",
        subtype="unparsable_value",
    ),
    Case(
        name="station_name_latin", family="encoding", cause="a station's code in Latin-1", program=RIDES, inject=_latin
    ),
    Case(
        name="stations_cut",
        family="malformed",
        cause="the parquet file was cut short",
        program=RIDES,
        inject=cut("in/stations.parquet", -30),
        subtype="truncated_file",
    ),
    Case(
        name="scans_cut",
        family="malformed",
        cause="one file of scans ends in the middle of an object",
        program=PARCELS,
        inject=_broken_json,
        subtype="truncated_file",
    ),
    Case(
        name="scans_fewer_than_announced",
        family="volume",
        cause="one of four files of scans was delivered empty",
        program=PARCELS,
        inject=written("in/scans/003.ndjson", ""),
        trap="an error of our own SQL, called an invalid input",
    ),
    Case(
        name="declared_too_high",
        family="range",
        cause="a parcel is declared with billions",
        program=PARCELS,
        inject=edited("in/scans/001.ndjson", '"declared": "19.90"', '"declared": "19900000000"', 1),
        subtype="out_of_range",
    ),
    Case(
        name="feed_rate_limited",
        family="rate_limit",
        cause="the partner allows no more requests",
        program=QUOTES,
        inject=_feed("solar", web.Reply(429, {"message": "slow down"})),
    ),
    Case(
        name="feed_outage_page",
        family="protocol",
        cause="a maintenance page comes with status 200",
        program=QUOTES,
        inject=_feed("solar", web.Reply(200, web.page(503).body, {"Content-Type": "text/html"})),
        trap="status 200, and the store complains of malformed JSON",
        subtype="outage_page",
    ),
    Case(
        name="feed_cut",
        family="reset",
        cause="the partner's server closes the connection in the middle of the reply, every time",
        program=QUOTES,
        inject=_feed("gas", web.Reply(200, quotes("gas").body, ending="cut")),
        trap="IncompleteRead reads like a truncated file",
        subtype="connection_lost",
    ),
    Case(
        name="feed_resets",
        family="reset",
        cause="the partner's server resets every connection",
        program=QUOTES,
        inject=_feed("wind", web.Reply(ending="reset")),
    ),
    Case(
        name="feed_hangs",
        family="slow",
        cause="the partner's server does not answer",
        program=QUOTES,
        inject=_feed("gas", web.Reply(ending="hang")),
    ),
    Case(
        name="feed_key_revoked",
        family="credentials",
        cause="the partner revoked our key",
        program=QUOTES,
        inject=_feed("wind", web.Reply(403, {"error": "key revoked"})),
        subtype="forbidden",
    ),
    Case(
        name="feed_name_unknown",
        family="dns",
        cause="the partner's name does not resolve",
        program=QUOTES,
        inject=environment(FEED_URL="http://feeds.netzpartner.invalid"),
    ),
    Case(
        name="feed_refused",
        family="refused",
        cause="nobody listens where the partner was",
        program=QUOTES,
        inject=unreachable("FEED_URL"),
    ),
    Case(
        name="hops_out_of_memory",
        family="memory",
        cause="the busiest day of the year: the join needs more than the memory limit",
        program=RIDES,
        inject=_many(60_000, MEMORY_LIMIT="6MB"),
    ),
    Case(
        name="hops_spill_full",
        family="limit",
        cause="the join spills more than the temporary directory may hold",
        program=RIDES,
        inject=_many(60_000, MEMORY_LIMIT="80MB", MAX_TEMP_DIRECTORY_SIZE="20MB", THREADS="1"),
        trap="calls itself out of memory",
        subtype="limit_exceeded",
    ),
    Case(
        name="out_volume_full",
        family="disk",
        cause="the volume of the exports is full",
        program=RIDES,
        inject=small_disk("out", "16k"),
        subtype="disk_full",
    ),
    Case(
        name="store_file_limit",
        family="disk",
        cause="the worker may not write files as large as the store has become",
        program=RIDES,
        inject=limited(resource.RLIMIT_FSIZE, 200_000),
        trap="an input/output error of the store's own file",
        subtype="file_too_large",
    ),
    Case(
        name="rides_killed",
        family="killed",
        cause="the machine killed the process for its memory",
        program=RIDES,
        inject=_killed,
        trap="only the wrapper's status tells",
        subtype="killed_process",
    ),
    Case(
        name="pace_function_missing",
        family="code_bug",
        cause="the new release of a model calls a function that does not exist",
        program=RIDES,
        inject=edited("models/40_station_day.sql", "median(", "medain("),
        trap="reads like something that was removed from the catalog",
    ),
    Case(
        name="lane_group_by",
        family="code_bug",
        cause="the new release of a model selects what it does not group by",
        program=PARCELS,
        inject=edited("models/50_lane.sql", "GROUP BY ALL", "GROUP BY h.lane"),
        trap="complains of a column",
    ),
    Case(
        name="model_format",
        family="code_bug",
        cause="the new release logs a statement that the driver does not give",
        program=PARCELS,
        inject=edited("build_marts.py", "statement.query.split()", "statement.sql.split()"),
        trap="the program dies in a line of logging",
    ),
    Case(
        name="store_from_the_future",
        family="configuration",
        cause="the deployment points the store to a file that is none",
        program=PARCELS,
        inject=written("parcels.duckdb", "[default]\nstore = s3://lake/parcels\n" * 200),
        trap="reads like a corrupt file",
    ),
    Case(
        name="extension_not_installed",
        family="environment",
        cause="the image lacks the extension that an attached store needs",
        program=PARCELS,
        inject=edited("models/20_hub.sql", "(READ_ONLY)", "(TYPE sqlite, READ_ONLY)"),
        subtype="configuration",
    ),
    Case(
        name="trips_not_delivered",
        family="missing_input",
        cause="no file of trips was delivered",
        program=RIDES,
        inject=_undelivered,
    ),
    Case(
        name="memory_limit_spelling",
        family="configuration",
        cause="the deployment gives a memory limit that is no size",
        program=RIDES,
        inject=environment(MEMORY_LIMIT="4 gigs"),
        trap="a memory limit is named, and nothing ran out",
    ),
    Case(
        name="models_cut",
        family="no_cause",
        cause="the log ends before the model that failed",
        program=PARCELS,
        inject=edited("in/scans/001.ndjson", '"parcel": "PK00130"', '"parcel": null'),
        keep="head:3",
        trap="only models that went well",
        subtype="no_error_in_log",
    ),
)
SYSTEM = System(name="duckdb", requirements=("duckdb==2.0.0",), cases=CASES)
