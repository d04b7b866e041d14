"""polars: wind farm settlement from CSV, parquet and an API; clinic visits from NDJSON with a strict schema."""

from __future__ import annotations

import resource
import signal
import subprocess
from collections.abc import Callable

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.services import certificate, web
from corpus.lab.systems.polars.worlds import CLINICS, NIGHTLY, WIND, apis, tell


def _silent(inject: Callable[[Bench], object]) -> Prepare:
    def run(bench: Bench) -> None:
        inject(bench)

    return run


def _case(
    name: str,
    family: str,
    program: Program,
    inject: Callable[[Bench], object],
    cause: str,
    *,
    trap: str = "",
    subtype: str = "",
    keep: str = "all",
) -> Case:
    return Case(
        name=name,
        family=family,
        cause=cause,
        program=program,
        inject=_silent(inject),
        trap=trap,
        subtype=subtype,
        keep=keep,
    )


def _edit(name: str, old: str, new: str, count: int = -1) -> Prepare:
    return lambda bench: bench.replace(name, old, new, count=count)


def _all(*steps: Callable[[Bench], object]) -> Prepare:
    def inject(bench: Bench) -> None:
        for step in steps:
            step(bench)

    return inject


def _told(script: str) -> Prepare:
    return lambda bench: tell(bench, "import polars as pl\n" + script)


def _debug(bench: Bench) -> None:
    bench.env["LOG_LEVEL"] = "DEBUG"


def _replies(*replies: web.Reply) -> Prepare:
    return lambda bench: apis["tariffs"].set("/v2/tariffs", *replies)


def _environment(**values: str) -> Prepare:
    return lambda bench: bench.env.update(values)


def _limit(which: int, most: int) -> Prepare:
    return lambda bench: bench.limits.update({which: most})


def _cut(name: str, share: float) -> Prepare:
    def inject(bench: Bench) -> None:
        data = bench.path(name).read_bytes()
        bench.path(name).write_bytes(data[: int(len(data) * share)])

    return inject


def _mounted(bench: Bench, name: str, options: str) -> None:
    where = bench.path(name)
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(where)], check=True)
    bench.on_exit(lambda: subprocess.run(["umount", str(where)], check=True))


def _full_disk(bench: Bench) -> None:
    _mounted(bench, "scratch", "size=16k")
    bench.env["OUT_DIR"] = "scratch"
    tell(bench, "open('scratch/settlement.prev','w').write('x' * 12000)")


def _read_only(bench: Bench) -> None:
    _mounted(bench, "archive", "size=1m,ro")
    bench.env["TARGET"] = "archive/history.parquet"


def _as_nobody(bench: Bench) -> None:
    for folder in ("forecast", "telemetry"):
        bench.path(folder).chmod(0o755)
    bench.path("forecast/plan.parquet").chmod(0o600)
    bench.command = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *bench.command)


def _kill_child(text: str) -> Prepare:
    return lambda bench: bench.when(text, lambda process: _kill_children(process.pid))


def _kill_children(parent: int) -> None:
    subprocess.run(["pkill", "-KILL", "-P", str(parent)], check=False)


def _lines(name: str, change: Callable[[list[str]], list[str]]) -> Prepare:
    def inject(bench: Bench) -> None:
        lines = bench.path(name).read_text(encoding="utf-8").splitlines()
        bench.write(name, "\n".join(change(lines)) + "\n")

    return inject


def _fat(bench: Bench) -> None:
    """Give one turbine a million readings and the program little room."""
    rows = "".join(f"T031,2026-05-04T{n % 24:02d}:{n % 60:02d},12.5,6.5,1\n" for n in range(3_000_000))
    bench.write("telemetry/T031.csv", "turbine_id,slot,output_kwh,wind_ms,state\n" + rows)
    bench.limits[resource.RLIMIT_AS] = 900_000_000
    bench.env["POLARS_MAX_THREADS"] = "2"


def _page(text: str) -> web.Reply:
    return web.Reply(200, text, {"Content-Type": "text/html; charset=utf-8", "Server": "AkamaiGHost"})


MAINTENANCE = "<!DOCTYPE html><html><body><h1>We'll be back soon</h1><p>Scheduled maintenance of the tariff service.</p></body></html>"


def _nothing_delivered(bench: Bench) -> None:
    for path in bench.path("telemetry").glob("*"):
        path.unlink()


def _untrusted(variable: str, days: int) -> Prepare:
    """Put a server with a certificate of its own making before the API."""

    def inject(bench: Bench) -> None:
        pair = certificate.self_signed(bench, "localhost", days=days)
        port = free_port()
        command = [
            "openssl",
            "s_server",
            "-accept",
            str(port),
            "-cert",
            str(pair.certificate),
            "-key",
            str(pair.key),
            "-www",
        ]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        bench.on_exit(server.wait)
        bench.on_exit(server.kill)
        assert server.stdout is not None
        for line in server.stdout:
            if line.startswith(b"ACCEPT"):
                break
        bench.env[variable] = f"https://127.0.0.1:{port}"

    return inject


SHAPE = (
    _case(
        "telemetry_column_renamed",
        "renamed",
        WIND,
        _all(*(_edit(f"telemetry/T{n:03d}.csv", "output_kwh", "energy_kwh") for n in range(1, 31))),
        "the turbines' export renamed output_kwh",
    ),
    _case(
        "one_file_has_another_column",
        "added",
        WIND,
        _all(
            _debug,
            _lines("telemetry/T017.csv", lambda rows: [rows[0] + ",permission", *(f"{row},1" for row in rows[1:])]),
        ),
        "one turbine's new firmware writes a further column",
        trap="the new column is called permission",
    ),
    _case(
        "turbine_id_is_number",
        "retyped",
        WIND,
        _told(
            "f='forecast/plan.parquet'; d=pl.read_parquet(f); "
            "d.with_columns(pl.col('turbine_id').str.slice(1).cast(pl.Int32)).write_parquet(f)"
        ),
        "the forecast's turbine_id is a number now",
        trap="surfaces in a join",
    ),
    _case(
        "forecast_files_disagree",
        "retyped",
        WIND,
        _told(
            "pl.DataFrame({'turbine_id':['T040'],'farm':['brae'],'expected_kwh':['410 kWh'],'rated_kw':[500]})"
            ".write_parquet('forecast/zplan2.parquet')"
        ),
        "the new planning tool writes expected_kwh as text",
    ),
    _case(
        "tariffs_nested",
        "nested",
        WIND,
        _replies(
            web.Reply(429, {"error": "slow down"}),
            web.Reply(200, {"data": {"tariffs": [{"farm": "brae", "eur_per_mwh": "71.25"}]}, "meta": {"page": 1}}),
        ),
        "the API nests the tariffs below data",
        trap="a rate limit before it was recovered from; surfaces as KeyError",
    ),
    _case(
        "insurer_key_renamed",
        "renamed",
        CLINICS,
        _told("f='insurers.parquet'; pl.read_parquet(f).rename({'share_pct':'coverage_pct'}).write_parquet(f)"),
        "the insurers' table renamed share_pct",
        trap="fails in a function called check_schema after healthy steps",
    ),
    _case(
        "history_has_new_column",
        "column_count",
        CLINICS,
        _told("f='history.parquet'; pl.read_parquet(f).with_columns(pl.lit(None).alias('memory')).write_parquet(f)"),
        "the history got a column `memory`",
        subtype="column_count",
        trap="the column is called memory",
    ),
    _case(
        "patient_not_nested_any_more",
        "nested",
        CLINICS,
        lambda bench: bench.write(
            "visits.ndjson",
            bench.path("visits.ndjson")
            .read_text(encoding="utf-8")
            .replace('"patient": {"ref"', '"patient_ref"')
            .replace('}, "specialty"', ', "specialty"'),
        ),
        "the clinics flattened the patient",
        trap="surfaces as patients of no insurer; the null counts tell",
    ),
)
VALUES = (
    _case(
        "word_in_a_number",
        "unparsable",
        WIND,
        _edit("telemetry/T009.csv", ",77,12.5,2", ",n/v,12.5,2", 1),
        "one reading is n/v",
        subtype="unparsable_value",
    ),
    _case(
        "turbine_without_plan",
        "orphan",
        WIND,
        _edit("telemetry/T005.csv", "T005,", "T805,"),
        "telemetry of a turbine that no plan knows",
        trap="surfaces as empty cells after the joins",
    ),
    _case(
        "hours_missing",
        "volume",
        WIND,
        _all(*(_lines(f"telemetry/T{n:03d}.csv", lambda rows: rows[:57]) for n in range(2, 31, 3))),
        "one farm's files end at 14:00",
        subtype="incomplete",
    ),
    _case(
        "plan_twice",
        "duplicate",
        WIND,
        _told("f='forecast/plan.parquet'; d=pl.read_parquet(f); pl.concat([d, d.head(1)]).write_parquet(f)"),
        "a turbine stands twice in the plan",
        trap="surfaces as a join validation",
    ),
    _case(
        "plan_cut",
        "malformed",
        WIND,
        _cut("forecast/plan.parquet", 0.7),
        "the plan was cut in transfer",
        subtype="truncated_file",
    ),
    _case(
        "reading_out_of_range",
        "range",
        WIND,
        _edit("telemetry/T011.csv", "T011,2026-05-04T07:15,78", "T011,2026-05-04T07:15,7800000"),
        "one reading is 100,000 times too large",
        subtype="out_of_range",
    ),
    _case(
        "minutes_beyond_a_byte",
        "range",
        CLINICS,
        _edit("visits.ndjson", '"minutes": 43', '"minutes": 4300', 1),
        "a visit of three days",
        subtype="out_of_range",
    ),
    _case(
        "unknown_patient",
        "orphan",
        CLINICS,
        _edit("visits.ndjson", "PT-0123", "PT-9123", 1),
        "a visit of a patient whom no insurer knows",
    ),
    _case(
        "fee_text",
        "encoding",
        WIND,
        lambda bench: bench.path("telemetry/T014.csv").write_bytes(
            bench.path("telemetry/T014.csv")
            .read_bytes()
            .replace(b"T014,2026-05-04T02:00", b"T\xe4\xf6,2026-05-04T02:00")
        ),
        "a file holds bytes that are no UTF-8",
    ),
    _case(
        "broken_json_line",
        "malformed",
        CLINICS,
        _edit("visits.ndjson", '{"visit_id": 9321, "patient": {', '{"visit_id": 9321, "patient": ', 1),
        "one line is no JSON",
        subtype="malformed_file",
    ),
    _case(
        "unknown_specialty",
        "range",
        CLINICS,
        _edit(
            "visits.ndjson",
            '"visit_id": 9404, "patient": {"ref": "PT-0114", "born": "1962-09-18"}, "specialty": "cardiology"',
            '"visit_id": 9404, "patient": {"ref": "PT-0114", "born": "1962-09-18"}, "specialty": "Connection refused (os error 111)"',
        ),
        "a specialty that is an error text",
        subtype="check_violation",
        trap="the value holds an error text",
    ),
)
REMOTE = (
    _case(
        "tariffs_certificate_expired",
        "tls",
        WIND,
        _untrusted("TARIFF_URL", -1),
        "the tariff service's certificate has expired",
        trap="surfaces as exceeded retries",
    ),
    _case("tariffs_down", "outage", WIND, _replies(web.page(503)), "the tariff service is down"),
    _case(
        "tariffs_maintenance_page",
        "protocol",
        WIND,
        _replies(_page(MAINTENANCE)),
        "an HTML page with status 200",
        subtype="outage_page",
        trap="surfaces as a JSON parse error",
    ),
    _case(
        "tariffs_refused",
        "refused",
        WIND,
        lambda bench: bench.env.update(TARIFF_URL=f"http://127.0.0.1:{free_port()}"),
        "nobody listens at the tariff service",
    ),
    _case("tariffs_hang", "slow", NIGHTLY, _replies(web.Reply(ending="hang")), "the tariff service does not answer"),
    _case(
        "tariffs_token_revoked",
        "credentials",
        WIND,
        _replies(web.Reply(401, {"error": "token_revoked", "schema": "v2"}, {"WWW-Authenticate": "Bearer"})),
        "the token was revoked",
        subtype="expired_credentials",
    ),
    _case(
        "tariffs_rate_limit",
        "rate_limit",
        NIGHTLY,
        _replies(web.Reply(429, {"error": "quota"}, {"Retry-After": "3600"})),
        "the tariff service limits the rate",
        subtype="rate_limit",
    ),
    _case(
        "tariffs_reset",
        "reset",
        NIGHTLY,
        _replies(web.Reply(ending="reset")),
        "the connection is reset",
        trap="the wrapper knows only an exit code",
    ),
    _case(
        "tariffs_gone",
        "endpoint",
        WIND,
        _replies(web.Reply(410, {"message": "v2 was retired, see /v3/prices"})),
        "the endpoint was retired",
        subtype="endpoint_changed",
    ),
)
LIMITS = (
    _case("disk_full", "disk", WIND, _full_disk, "the output's disk is full"),
    _case(
        "too_many_files",
        "handles",
        WIND,
        _limit(resource.RLIMIT_NOFILE, 8),
        "the stage may hold eight files open",
        trap="surfaces while reading a healthy file",
    ),
    _case(
        "file_too_large",
        "disk",
        CLINICS,
        _limit(resource.RLIMIT_FSIZE, 4096),
        "no file may be larger than 4 kB",
        subtype="file_too_large",
    ),
    _case("out_of_memory", "memory", NIGHTLY, _fat, "three million readings and 0.9 GB"),
    _case(
        "killed",
        "killed",
        NIGHTLY,
        _kill_child("telemetry:"),
        "the kernel kills the step",
        subtype="killed_process",
        trap="the last line of the step is healthy progress",
    ),
    _case(
        "cpu_limit",
        "time_limit",
        NIGHTLY,
        _all(_fat, lambda bench: bench.limits.pop(resource.RLIMIT_AS), _environment(CPU_SECONDS="1")),
        "the step may use one second of CPU",
        subtype="cpu_limit",
    ),
)
OURS = (
    _case(
        "misspelt_method",
        "code_bug",
        WIND,
        _edit("settle_wind.py", 'dt.truncate("1h")', 'dt.trunc("1h")'),
        "the new release calls a method that polars does not have",
    ),
    _case(
        "wrong_alias",
        "code_bug",
        CLINICS,
        _edit("clinic_visits.py", '.alias("born_on")', '.alias("born_at")'),
        "the new release renames a column of its own",
        trap="reads like a column that the source lost; fails in check_schema",
    ),
    _case(
        "no_variable",
        "configuration",
        WIND,
        lambda bench: bench.env.pop("TARIFF_TOKEN"),
        "the token's variable is not set",
        trap="a KeyError",
    ),
    _case("archive_read_only", "permission", CLINICS, _read_only, "the archive is mounted for reading only"),
    _case("plan_not_readable", "permission", WIND, _as_nobody, "our role may not read the plan"),
    _case(
        "no_telemetry",
        "missing_input",
        WIND,
        _nothing_delivered,
        "the day's files were not delivered",
    ),
    _case(
        "no_insurers",
        "missing_input",
        CLINICS,
        lambda bench: bench.path("insurers.parquet").unlink(),
        "the insurers' table was not delivered",
    ),
    _case(
        "requests_missing",
        "environment",
        WIND,
        _edit("settle_wind.py", "import requests", "import requests_toolbelt as requests"),
        "a library that is not installed",
    ),
    _case(
        "stopped",
        "interrupted",
        NIGHTLY,
        _all(_replies(web.Reply(ending="hang")), lambda bench: bench.kill_when("telemetry columns", signal.SIGINT)),
        "an operator pressed Ctrl-C",
    ),
    _case(
        "only_the_wrapper",
        "no_cause",
        NIGHTLY,
        _replies(web.page(502)),
        "the log was cut",
        keep="tail:2",
        subtype="undetermined",
    ),
)
SYSTEM = System(
    name="polars",
    requirements=("polars==2.1.0", "pyarrow==26.0.1", "requests==2.34.2"),
    cases=(*SHAPE, *VALUES, *REMOTE, *LIMITS, *OURS),
)
