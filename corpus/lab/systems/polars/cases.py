"""polars: wind farm settlement from CSV, parquet and an API; clinic visits from NDJSON with a strict schema."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable

from corpus.lab.bench import Bench
from corpus.lab.case import Prepare, System, case
from corpus.lab.faults import all_of, as_nobody, edited, environment, kill_children, limited, unreachable, unset
from corpus.lab.services import certificate, web
from corpus.lab.systems.polars.worlds import CLINICS, NIGHTLY, WIND, tell


def _told(script: str) -> Prepare:
    return lambda bench: tell(bench, "import polars as pl\n" + script)


def _debug(bench: Bench) -> None:
    bench.env["LOG_LEVEL"] = "DEBUG"


def _replies(*replies: web.Reply) -> Prepare:
    return web.answers("/v2/tariffs", *replies)


def _cut(name: str, share: float) -> Prepare:
    def inject(bench: Bench) -> None:
        data = bench.path(name).read_bytes()
        bench.path(name).write_bytes(data[: int(len(data) * share)])

    return inject


def _mounted(bench: Bench, name: str, options: str) -> None:
    bench.mount(name, options)


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
    as_nobody(bench)


def _kill_child(text: str) -> Prepare:
    return lambda bench: bench.when(text, kill_children)


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


SHAPE = (
    case(
        "telemetry_column_renamed",
        "renamed",
        WIND,
        "the turbines' export renamed output_kwh",
        all_of(*(edited(f"telemetry/T{n:03d}.csv", "output_kwh", "energy_kwh") for n in range(1, 31))),
    ),
    case(
        "one_file_has_another_column",
        "added",
        WIND,
        "one turbine's new firmware writes a further column",
        all_of(
            _debug,
            _lines("telemetry/T017.csv", lambda rows: [rows[0] + ",permission", *(f"{row},1" for row in rows[1:])]),
        ),
        trap="the new column is called permission",
    ),
    case(
        "turbine_id_is_number",
        "retyped",
        WIND,
        "the forecast's turbine_id is a number now",
        _told(
            "f='forecast/plan.parquet'; d=pl.read_parquet(f); "
            "d.with_columns(pl.col('turbine_id').str.slice(1).cast(pl.Int32)).write_parquet(f)"
        ),
        trap="surfaces in a join",
    ),
    case(
        "forecast_files_disagree",
        "retyped",
        WIND,
        "the new planning tool writes expected_kwh as text",
        _told(
            "pl.DataFrame({'turbine_id':['T040'],'farm':['brae'],'expected_kwh':['410 kWh'],'rated_kw':[500]})"
            ".write_parquet('forecast/zplan2.parquet')"
        ),
    ),
    case(
        "tariffs_nested",
        "nested",
        WIND,
        "the API nests the tariffs below data",
        _replies(
            web.Reply(429, {"error": "slow down"}),
            web.Reply(200, {"data": {"tariffs": [{"farm": "brae", "eur_per_mwh": "71.25"}]}, "meta": {"page": 1}}),
        ),
        trap="a rate limit before it was recovered from; surfaces as KeyError",
    ),
    case(
        "insurer_key_renamed",
        "renamed",
        CLINICS,
        "the insurers' table renamed share_pct",
        _told("f='insurers.parquet'; pl.read_parquet(f).rename({'share_pct':'coverage_pct'}).write_parquet(f)"),
        trap="fails in a function called check_schema after healthy steps",
    ),
    case(
        "history_has_new_column",
        "column_count",
        CLINICS,
        "the history got a column `memory`",
        _told("f='history.parquet'; pl.read_parquet(f).with_columns(pl.lit(None).alias('memory')).write_parquet(f)"),
        subtype="column_count",
        trap="the column is called memory",
    ),
    case(
        "patient_not_nested_any_more",
        "nested",
        CLINICS,
        "the clinics flattened the patient",
        lambda bench: bench.write(
            "visits.ndjson",
            bench.path("visits.ndjson")
            .read_text(encoding="utf-8")
            .replace('"patient": {"ref"', '"patient_ref"')
            .replace('}, "specialty"', ', "specialty"'),
        ),
        trap="surfaces as patients of no insurer; the null counts tell",
    ),
)
VALUES = (
    case(
        "word_in_a_number",
        "unparsable",
        WIND,
        "one reading is n/v",
        edited("telemetry/T009.csv", ",77,12.5,2", ",n/v,12.5,2", 1),
        subtype="unparsable_value",
    ),
    case(
        "turbine_without_plan",
        "orphan",
        WIND,
        "telemetry of a turbine that no plan knows",
        edited("telemetry/T005.csv", "T005,", "T805,"),
        trap="surfaces as empty cells after the joins",
    ),
    case(
        "hours_missing",
        "volume",
        WIND,
        "one farm's files end at 14:00",
        all_of(*(_lines(f"telemetry/T{n:03d}.csv", lambda rows: rows[:57]) for n in range(2, 31, 3))),
        subtype="incomplete",
    ),
    case(
        "plan_twice",
        "duplicate",
        WIND,
        "a turbine stands twice in the plan",
        _told("f='forecast/plan.parquet'; d=pl.read_parquet(f); pl.concat([d, d.head(1)]).write_parquet(f)"),
        trap="surfaces as a join validation",
    ),
    case(
        "plan_cut",
        "malformed",
        WIND,
        "the plan was cut in transfer",
        _cut("forecast/plan.parquet", 0.7),
        subtype="truncated_file",
    ),
    case(
        "reading_out_of_range",
        "range",
        WIND,
        "one reading is 100,000 times too large",
        edited("telemetry/T011.csv", "T011,2026-05-04T07:15,78", "T011,2026-05-04T07:15,7800000"),
        subtype="out_of_range",
    ),
    case(
        "minutes_beyond_a_byte",
        "range",
        CLINICS,
        "a visit of three days",
        edited("visits.ndjson", '"minutes": 43', '"minutes": 4300', 1),
        subtype="out_of_range",
    ),
    case(
        "unknown_patient",
        "orphan",
        CLINICS,
        "a visit of a patient whom no insurer knows",
        edited("visits.ndjson", "PT-0123", "PT-9123", 1),
    ),
    case(
        "fee_text",
        "encoding",
        WIND,
        "a file holds bytes that are no UTF-8",
        lambda bench: bench.path("telemetry/T014.csv").write_bytes(
            bench.path("telemetry/T014.csv")
            .read_bytes()
            .replace(b"T014,2026-05-04T02:00", b"T\xe4\xf6,2026-05-04T02:00")
        ),
    ),
    case(
        "broken_json_line",
        "malformed",
        CLINICS,
        "one line is no JSON",
        edited("visits.ndjson", '{"visit_id": 9321, "patient": {', '{"visit_id": 9321, "patient": ', 1),
        subtype="malformed_file",
    ),
    case(
        "unknown_specialty",
        "range",
        CLINICS,
        "a specialty that is an error text",
        edited(
            "visits.ndjson",
            '"visit_id": 9404, "patient": {"ref": "PT-0114", "born": "1962-09-18"}, "specialty": "cardiology"',
            '"visit_id": 9404, "patient": {"ref": "PT-0114", "born": "1962-09-18"}, "specialty": "Connection refused (os error 111)"',
        ),
        subtype="check_violation",
        trap="the value holds an error text",
    ),
)
REMOTE = (
    case(
        "tariffs_certificate_expired",
        "tls",
        WIND,
        "the tariff service's certificate has expired",
        certificate.untrusted("TARIFF_URL", -1),
        trap="surfaces as exceeded retries",
    ),
    case("tariffs_down", "outage", WIND, "the tariff service is down", _replies(web.page(503))),
    case(
        "tariffs_maintenance_page",
        "protocol",
        WIND,
        "an HTML page with status 200",
        _replies(_page(MAINTENANCE)),
        subtype="outage_page",
        trap="surfaces as a JSON parse error",
    ),
    case(
        "tariffs_refused",
        "refused",
        WIND,
        "nobody listens at the tariff service",
        unreachable("TARIFF_URL"),
    ),
    case("tariffs_hang", "slow", NIGHTLY, "the tariff service does not answer", _replies(web.Reply(ending="hang"))),
    case(
        "tariffs_token_revoked",
        "credentials",
        WIND,
        "the token was revoked",
        _replies(web.Reply(401, {"error": "token_revoked", "schema": "v2"}, {"WWW-Authenticate": "Bearer"})),
        subtype="expired_credentials",
    ),
    case(
        "tariffs_rate_limit",
        "rate_limit",
        NIGHTLY,
        "the tariff service limits the rate",
        _replies(web.Reply(429, {"error": "quota"}, {"Retry-After": "3600"})),
        subtype="rate_limit",
    ),
    case(
        "tariffs_reset",
        "reset",
        NIGHTLY,
        "the connection is reset",
        _replies(web.Reply(ending="reset")),
        trap="the wrapper knows only an exit code",
    ),
    case(
        "tariffs_gone",
        "endpoint",
        WIND,
        "the endpoint was retired",
        _replies(web.Reply(410, {"message": "v2 was retired, see /v3/prices"})),
        subtype="endpoint_changed",
    ),
)
LIMITS = (
    case("disk_full", "disk", WIND, "the output's disk is full", _full_disk),
    case(
        "too_many_files",
        "handles",
        WIND,
        "the stage may hold eight files open",
        limited(resource.RLIMIT_NOFILE, 8),
        trap="surfaces while reading a healthy file",
    ),
    case(
        "file_too_large",
        "disk",
        CLINICS,
        "no file may be larger than 4 kB",
        limited(resource.RLIMIT_FSIZE, 4096),
        subtype="file_too_large",
    ),
    case("out_of_memory", "memory", NIGHTLY, "three million readings and 0.9 GB", _fat),
    case(
        "killed",
        "killed",
        NIGHTLY,
        "the kernel kills the step",
        _kill_child("telemetry:"),
        subtype="killed_process",
        trap="the last line of the step is healthy progress",
    ),
    case(
        "cpu_limit",
        "time_limit",
        NIGHTLY,
        "the step may use one second of CPU",
        all_of(_fat, lambda bench: bench.limits.pop(resource.RLIMIT_AS), environment(CPU_SECONDS="1")),
        subtype="cpu_limit",
    ),
)
OURS = (
    case(
        "misspelt_method",
        "code_bug",
        WIND,
        "the new release calls a method that polars does not have",
        edited("settle_wind.py", 'dt.truncate("1h")', 'dt.trunc("1h")'),
    ),
    case(
        "wrong_alias",
        "code_bug",
        CLINICS,
        "the new release renames a column of its own",
        edited("clinic_visits.py", '.alias("born_on")', '.alias("born_at")'),
        trap="reads like a column that the source lost; fails in check_schema",
    ),
    case(
        "no_variable",
        "configuration",
        WIND,
        "the token's variable is not set",
        unset("TARIFF_TOKEN"),
        trap="a KeyError",
    ),
    case("archive_read_only", "permission", CLINICS, "the archive is mounted for reading only", _read_only),
    case("plan_not_readable", "permission", WIND, "our role may not read the plan", _as_nobody),
    case(
        "no_telemetry",
        "missing_input",
        WIND,
        "the day's files were not delivered",
        _nothing_delivered,
    ),
    case(
        "no_insurers",
        "missing_input",
        CLINICS,
        "the insurers' table was not delivered",
        lambda bench: bench.path("insurers.parquet").unlink(),
    ),
    case(
        "requests_missing",
        "environment",
        WIND,
        "a library that is not installed",
        edited("settle_wind.py", "import requests", "import requests_toolbelt as requests"),
    ),
    case(
        "stopped",
        "interrupted",
        NIGHTLY,
        "an operator pressed Ctrl-C",
        all_of(_replies(web.Reply(ending="hang")), lambda bench: bench.kill_when("telemetry columns", signal.SIGINT)),
    ),
    case(
        "only_the_wrapper",
        "no_cause",
        NIGHTLY,
        "the log was cut",
        _replies(web.page(502)),
        keep="tail:2",
        subtype="undetermined",
    ),
)
SYSTEM = System(
    name="polars",
    requirements=("polars==2.1.0", "pyarrow==26.0.1", "requests==2.34.2"),
    cases=(*SHAPE, *VALUES, *REMOTE, *LIMITS, *OURS),
)
