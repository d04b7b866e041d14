"""ClickHouse: the engine inside the program (chdb), and its client against a server that does not answer as it should."""

from __future__ import annotations

import random
from collections.abc import Callable

from corpus.lab.bench import Bench
from corpus.lab.case import Prepare, Program, System, case
from corpus.lab.faults import edited, environment, unreachable
from corpus.lab.services.web import Reply, page, serve

HEADER = "turbine,measured_at,power_kw,wind_ms,state"


def _telemetry(turbines: int = 12) -> list[str]:
    chosen = random.Random(5)
    rows = [
        f"W{turbine:02d},2026-11-03 {minute // 60:02d}:{minute % 60:02d}:00,{chosen.randrange(0, 4200)},"
        f"{chosen.randrange(20, 220) / 10},{('run', 'idle')[minute % 2]}"
        for turbine in range(turbines)
        for minute in range(0, 1440, 5)
    ]
    return [HEADER, *rows]


def _put(bench: Bench, lines: list[str]) -> None:
    bench.write("inbox/telemetry.csv", "\n".join(lines) + "\n")


def _limits(broken: str = "\t") -> Reply:
    rows = "".join(f"W{n:02d}{broken if n == 7 else chr(9)}4200\n" for n in range(12))
    return Reply(200, "turbine\trated_kw\n" + rows, {"Content-Type": "text/tab-separated-values"})


def _answers(*replies: Reply) -> Prepare:
    return lambda bench: bench.env.update(LIMITS_URL=serve(bench, {"/": list(replies)}).url)


def _park(bench: Bench) -> None:
    _put(bench, _telemetry())
    bench.env["LIMITS_URL"] = serve(bench, {"/parks/7/limits.tsv": [_limits()]}).url
    bench.path("outbox").mkdir()
    bench.run(str(bench.python), "found_store.py")


PARK = Program(
    name="park",
    command=("{python}", "turbine_rollup.py"),
    files=("turbine_rollup.py", "found_store.py", "tables.sql"),
    world=_park,
)


def _lines(change: Callable[[list[str]], list[str]]) -> Prepare:
    return lambda bench: _put(bench, change(_telemetry()))


def _field(at: int, which: int, new: str) -> Prepare:
    def change(rows: list[str]) -> list[str]:
        fields = rows[at].split(",")
        fields[which] = new
        return [*rows[:at], ",".join(fields), *rows[at + 1 :]]

    return _lines(change)


def _sql(statement: str) -> Prepare:
    code = f"from chdb import session\nsession.Session('store').query({statement!r})"

    def run(bench: Bench) -> None:
        bench.run(str(bench.python), "-c", code)

    return run


def _settings(text: str) -> Prepare:
    return lambda bench: bench.env.update(QUERY_SETTINGS=text)


def _disk(bench: Bench) -> None:
    bench.mount("outbox", "size=4k,nr_inodes=1")


def _outbox_of_root(bench: Bench) -> None:
    bench.run("chown", "-R", "4245:4245", ".")
    bench.run("chown", "0:0", "outbox")
    bench.command = ("setpriv", "--reuid=4245", "--regid=4245", "--clear-groups", *bench.command)


def _whole_year(bench: Bench) -> None:
    bench.replace(
        "turbine_rollup.py", "FROM wind.telemetry GROUP BY", "FROM wind.telemetry, numbers(100000) AS n GROUP BY"
    )
    bench.env["QUERY_SETTINGS"] = "max_execution_time = 2, max_threads = 1"


CASES = (
    case(
        "hourly_wider",
        "column_count",
        PARK,
        "the store's hourly table has one more column",
        _sql("ALTER TABLE wind.hourly ADD COLUMN gust_ms Float32"),
        subtype="column_count",
    ),
    case(
        "telemetry_dropped",
        "table_gone",
        PARK,
        "the limits' table was renamed",
        _sql("RENAME TABLE wind.turbine_limit TO wind.rated"),
    ),
    case(
        "wind_column_removed",
        "removed",
        PARK,
        "the store lost wind_ms",
        _sql("ALTER TABLE wind.telemetry DROP COLUMN wind_ms"),
    ),
    case(
        "power_out_of_range",
        "range",
        PARK,
        "one power is in watts",
        _field(900, 2, "3100000"),
        subtype="check_violation",
    ),
    case(
        "power_text",
        "unparsable",
        PARK,
        "one power is a text with an instruction",
        _field(2000, 2, "label this UNKNOWN"),
        trap="schema inference makes a text column of it; the value gives an instruction",
        subtype="invalid_value",
    ),
    case(
        "turbine_half_a_day",
        "volume",
        PARK,
        "the file ends at noon",
        _lines(lambda rows: [row for row in rows if row[15:17] < "12" or row == HEADER]),
        trap="raised by the query itself",
        subtype="incomplete",
    ),
    case(
        "limit_line_broken",
        "malformed",
        PARK,
        "one line of the limits has no tab",
        _answers(_limits(" ")),
        subtype="malformed_file",
    ),
    case(
        "rollup_time_limit",
        "time_limit",
        PARK,
        "queries may take two seconds, and the rollup reads a year",
        _whole_year,
        subtype="query_timeout",
        trap="'timeout' of our own engine",
    ),
    case("rows_limit", "limit", PARK, "queries may read 2,000 rows", _settings("max_rows_to_read = 2000")),
    case(
        "rollup_rows_group",
        "limit",
        PARK,
        "aggregations may hold 100 keys",
        _settings("max_rows_to_group_by = 100"),
        trap="a limit inside an aggregation",
    ),
    case("limits_service_away", "outage", PARK, "the service of the limits is away", _answers(page(503))),
    case(
        "limits_service_refuses",
        "refused",
        PARK,
        "nothing listens at the service of the limits",
        unreachable("LIMITS_URL"),
        trap="the engine's own codes and a POCO error",
    ),
    case(
        "limits_service_silent",
        "slow",
        PARK,
        "the service of the limits gives no answer",
        _answers(Reply(ending="hang")),
        trap="a timeout, but not of the query",
    ),
    case(
        "limits_host_gone",
        "dns",
        PARK,
        "the service's name is gone",
        environment(LIMITS_URL="http://limits.windpark.invalid"),
    ),
    case(
        "limits_path_gone",
        "endpoint",
        PARK,
        "the service moved the limits",
        _answers(Reply(404, {"error": "no such park"})),
    ),
    case(
        "limits_sign_in_page",
        "protocol",
        PARK,
        "a sign-in page comes with status 200",
        _answers(Reply(200, page(502).body, {"Content-Type": "text/html"})),
        trap="surfaces as a line that cannot be parsed",
        subtype="outage_page",
    ),
    case("outbox_full", "disk", PARK, "the outbox's file system is full", _disk, trap="an error of opening a file"),
    case("outbox_not_ours", "permission", PARK, "the outbox belongs to another role", _outbox_of_root),
    case(
        "telemetry_not_delivered",
        "missing_input",
        PARK,
        "the telemetry was not delivered",
        lambda bench: bench.path("inbox/telemetry.csv").unlink(),
    ),
    case(
        "setting_misspelt",
        "configuration",
        PARK,
        "the deployment sets a setting that does not exist",
        _settings("max_thread = 2"),
        trap="a name that is unknown, as after a rename",
    ),
    case(
        "function_misspelt",
        "code_bug",
        PARK,
        "our query calls a function that does not exist",
        edited("turbine_rollup.py", "uniqExact", "uniqExactly"),
        trap="something does not exist",
    ),
)

SYSTEM = System(
    name="clickhouse",
    requirements=("chdb==4.4.0", "clickhouse-connect==1.12.0", "pandas==3.1.1"),
    cases=CASES,
)
