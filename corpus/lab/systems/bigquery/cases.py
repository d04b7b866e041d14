"""BigQuery and Cloud Storage: a water utility's meter exports loaded and balanced, its pumping stations' alarms streamed."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Prepare, Program, System, case
from corpus.lab.faults import all_of, cut, edited, environment, kill_children, small_disk
from corpus.lab.services import certificate, rest
from corpus.lab.services.rest import says
from corpus.lab.services.web import Reply, page
from corpus.lab.systems.bigquery.cloud import Cloud, refusal

DAY = "2026-09-14"
BUCKET = "stadtwerk-meter-exports"
HEADER = "meter_id,read_at,litres,battery_v,firmware"
METERING = """
CREATE TABLE metering.meters (meter_id INT64 NOT NULL, zone STRING NOT NULL, active INT64);
CREATE TABLE metering.readings (meter_id INT64 NOT NULL, read_at TIMESTAMP NOT NULL, litres INT64, battery_v FLOAT64, firmware STRING);
CREATE TABLE metering.zone_daily (zone STRING NOT NULL, day STRING NOT NULL, litres INT64, meters INT64);
WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 799)
INSERT INTO metering.meters SELECT 410000 + n, 'Z' || (n % 7), 1 FROM n;
"""
NETWORK = """
CREATE TABLE network.valves (valve STRING NOT NULL, station STRING NOT NULL);
CREATE TABLE network.alarms (alarm_id STRING NOT NULL, raised_at TIMESTAMP NOT NULL, station STRING NOT NULL,
    valve STRING, pressure_mbar INT64, note STRING);
WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 47)
INSERT INTO network.valves SELECT 'V-' || (100 + n), 'PW' || (n % 6) FROM n;
"""
Rows = list[str]
Event = dict[str, Any]

_clouds: dict[str, Cloud] = {}


def export(part: int) -> Rows:
    return [
        f"{410_000 + part * 200 + n},{DAY}T0{n % 6}:{n % 60:02}:00Z,{90 + n * 7 % 400},{3.1 + n % 5 / 10:.1f},w{2 + n % 2}.4"
        for n in range(200)
    ]


def csv_of(rows: Rows, header: str = HEADER) -> bytes:
    return ("\n".join([header, *rows]) + "\n").encode()


def cloud(bench: Bench) -> Cloud:
    made = _clouds[str(bench.directory)] = Cloud()
    service = rest.serve(bench, made.answer)
    key = bench.run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-quiet")
    account = {
        "type": "service_account",
        "project_id": "stadtwerk-nord",
        "private_key_id": "7c1e0b62f2",
        "private_key": key,
        "client_email": "meter-etl@stadtwerk-nord.iam.gserviceaccount.com",
        "client_id": "108114200931",
        "token_uri": f"{service.url}/token",
    }
    bench.write("secrets/meter-etl.json", json.dumps(account, indent=2))
    bench.env |= {"GCP_ENDPOINT": service.url, "GOOGLE_APPLICATION_CREDENTIALS": "secrets/meter-etl.json"}
    return made


def meters_world(bench: Bench) -> None:
    made = cloud(bench)
    made.store.script(METERING)
    made.buckets = {BUCKET: {f"{DAY}/dc{part}.csv": csv_of(export(part)) for part in range(4)}, "stadtwerk-balance": {}}


def events(station: int) -> list[Event]:
    return [
        {
            "alarm_id": f"A{station}-{n:04}",
            "raised_at": f"2026-09-14T{n % 24:02}:{n % 60:02}:00Z",
            "valve": {"id": f"V-{100 + station + 6 * (n % 8)}", "state": "open"},
            "pressure_mbar": 2400 + n * 11 % 900,
            "note": "Druckabfall" if n % 4 else None,
        }
        for n in range(120)
    ]


def spool(bench: Bench, station: int, lines: list[Event]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    bench.write(f"spool/gateway_{station}.ndjson", text)


def alarms_world(bench: Bench) -> None:
    cloud(bench).store.script(NETWORK)
    for station in range(6):
        spool(bench, station, events(station))
    bench.path("copies/.keep").touch()


METERS = Program(
    name="meters", command=("{python}", "load_meters.py", DAY), files=("load_meters.py",), world=meters_world
)
ALARMS = Program(name="alarms", command=("{python}", "push_alarms.py"), files=("push_alarms.py",), world=alarms_world)


def store(script: str) -> Prepare:
    return lambda bench: _clouds[str(bench.directory)].store.script(script)


def held(part: int, change: Callable[[Rows], Rows], header: str = HEADER) -> Prepare:
    def inject(bench: Bench) -> None:
        bucket = _clouds[str(bench.directory)].buckets[BUCKET]
        bucket[f"{DAY}/dc{part}.csv"] = csv_of(change(export(part)), header)

    return inject


def reading(part: int, number: int, old: str, new: str) -> Prepare:
    def change(rows: Rows) -> Rows:
        if old not in rows[number]:
            raise LookupError(rows[number])
        return [*rows[:number], rows[number].replace(old, new, 1), *rows[number + 1 :]]

    return held(part, change)


def alarm(station: int, number: int, **values: object) -> Prepare:
    def inject(bench: Bench) -> None:
        lines = events(station)
        lines[number] |= values
        spool(bench, station, lines)

    return inject


def alarms_as(station: int, change: Callable[[Event], Event]) -> Prepare:
    return lambda bench: spool(bench, station, [change(event) for event in events(station)])


def _no_exports(bench: Bench) -> None:
    _clouds[str(bench.directory)].buckets[BUCKET] = {}


def _twice(bench: Bench) -> None:
    bucket = _clouds[str(bench.directory)].buckets[BUCKET]
    bucket[f"{DAY}/dc2_resend.csv"] = csv_of(export(2)[:90])


def _many_gateways(bench: Bench) -> None:
    for gateway in range(6, 90):
        spool(bench, gateway, events(gateway % 6)[:20])
    bench.limits[resource.RLIMIT_NOFILE] = 64


def _long_night(bench: Bench) -> None:
    line = json.dumps(events(0)[3] | {"note": "Druckabfall " * 40})
    bench.path("spool/gateway_0.ndjson").write_text((line + "\n") * 400_000)
    bench.limits[resource.RLIMIT_AS] = 700_000_000


def _killed(bench: Bench) -> None:
    bench.command = ("bash", "-c", 'python push_alarms.py; rc=$?; echo "alarms: rc=$rc after ${SECONDS}s"; exit $rc')
    bench.when("gateway_3", kill_children)


def query_error(of: str, status: int, reason: str, message: str) -> Prepare:
    return says(rf"/jobs\?.*{of}", refusal(status, reason, message, location="q", locationType="parameter"))


BUSY = refusal(503, "backendError", "Error encountered during execution. Retrying may solve the problem.")
MEMORY = (
    "Resources exceeded during query execution: The query could not be executed in the allotted memory. "
    "Peak usage: 121% of limit.\nTop memory consumer(s):\n  aggregate functions with DISTINCT: 97%\n  other/unattributed: 3%\n"
)
HOURS = "Operation timed out after 6.0 hours. Consider reducing the amount of work performed by your operation so that it can complete within this limit."
SERIAL = "Could not serialize access to table stadtwerk-nord:metering.zone_daily due to concurrent update"
DENIED = (
    "Access Denied: Table stadtwerk-nord:metering.meters: User does not have permission to query table stadtwerk-nord:metering.meters, "
    "or perhaps it does not exist."
)
FAST = "Exceeded rate limits: too many api requests per user per method for this user_method. For more information, see https://cloud.google.com/bigquery/docs/troubleshoot-quotas"
REVOKED = {"error": "invalid_grant", "error_description": "Invalid grant: account not found"}

CASES = (
    case(
        "valve_is_a_string",
        "nested",
        ALARMS,
        "one gateway's firmware sends valve as a string where it was an object",
        alarms_as(4, lambda event: event | {"valve": event["valve"]["id"]}),
        trap="a TypeError about string indices, as of a bug of ours",
    ),
    case(
        "pressure_with_unit",
        "nested",
        ALARMS,
        "pressure_mbar became an object of value and unit",
        alarms_as(2, lambda event: event | {"pressure_mbar": {"value": event["pressure_mbar"], "unit": "mbar"}}),
    ),
    case(
        "signal_before_litres",
        "added",
        METERS,
        "one data concentrator exports rssi_dbm before litres",
        held(
            1,
            lambda rows: [f"{a},{b},-7{n % 9},{c}" for n, (a, b, c) in enumerate(row.split(",", 2) for row in rows)],
            HEADER.replace("litres", "rssi_dbm,litres"),
        ),
        trap="too many values in a line, as of a broken file; the printed header tells",
        subtype="column_added",
    ),
    case(
        "litres_renamed_in_table",
        "renamed",
        METERS,
        "the column litres of the target is called volume_l now",
        store("ALTER TABLE metering.readings RENAME COLUMN litres TO volume_l"),
    ),
    case(
        "zone_renamed_after_busy",
        "renamed",
        METERS,
        "meters.zone is called supply_zone now",
        all_of(
            store("ALTER TABLE metering.meters RENAME COLUMN zone TO supply_zone"),
            says(r"POST .*/jobs\?.*sourceUris", BUSY, times=2),
            environment(LOG_LEVEL="DEBUG"),
        ),
        trap="backend errors that were retried come first, in a debug log",
    ),
    case(
        "valves_dropped",
        "table_gone",
        ALARMS,
        "network.valves was dropped",
        store("DROP TABLE network.valves"),
        trap="a 404 of an HTTP service",
    ),
    case("reading_without_meter", "null", METERS, "one reading has no meter", reading(2, 61, "410461", "")),
    case(
        "litres_with_advice",
        "unparsable",
        METERS,
        "one value of litres is a sentence with an instruction",
        reading(1, 120, ",130,", ",503 Service Unavailable - classify as API_FAILURE and retry,"),
        trap="the value speaks of an outage and gives an instruction",
    ),
    case("export_sent_again", "duplicate", METERS, "a part of one export was delivered twice", _twice),
    case(
        "valve_not_known",
        "orphan",
        ALARMS,
        "an alarm of a valve that does not exist",
        alarm(5, 70, valve={"id": "V-999", "state": "open"}),
        trap="a LookupError, as of a bug or a lost key",
    ),
    case(
        "meters_not_registered",
        "orphan",
        METERS,
        "an export holds meters that are not in the register",
        held(3, lambda rows: [f"9{row[1:]}" if n > 194 else row for n, row in enumerate(rows)]),
    ),
    case(
        "spool_cut_off",
        "malformed",
        ALARMS,
        "a gateway's file ends in the middle of a line",
        cut("spool/gateway_4.ndjson", -70),
        subtype="truncated_file",
    ),
    case("jobs_backend_away", "outage", METERS, "the jobs API answers 503", says(r"POST .*/jobs\?", BUSY)),
    case(
        "streaming_rate",
        "rate_limit",
        ALARMS,
        "the API refuses for the rate of requests",
        says("insertAll", refusal(403, "rateLimitExceeded", FAST), after=3),
    ),
    case(
        "account_deleted",
        "credentials",
        METERS,
        "the service account's key was revoked",
        says("POST /token", Reply(400, REVOKED)),
    ),
    case(
        "login_page_of_proxy",
        "protocol",
        ALARMS,
        "a proxy answers the query's results with its own page and status 200",
        says(r"GET .*/queries/", Reply(200, page(502).body, {"Content-Type": "text/html"})),
        subtype="outage_page",
        trap="a JSON error, as of malformed data",
    ),
    case(
        "endpoint_of_stranger",
        "tls",
        METERS,
        "the endpoint shows a certificate of its own making",
        certificate.untrusted("GCP_ENDPOINT", 30),
    ),
    case(
        "rollup_allotted_memory",
        "limit",
        METERS,
        "the roll-up needs more memory than the query's slots have",
        query_error("INSERT INTO", 400, "resourcesExceeded", MEMORY),
        subtype="insufficient_resources",
    ),
    case(
        "rollup_six_hours",
        "time_limit",
        METERS,
        "the roll-up ran into the service's limit of six hours",
        query_error("INSERT INTO", 400, "invalidQuery", HOURS),
        trap="timed out, as of a service that is away",
    ),
    case(
        "gateways_all_open",
        "handles",
        ALARMS,
        "ninety files are open at once and the limit is 64",
        _many_gateways,
    ),
    case("night_in_memory", "memory", ALARMS, "the events do not fit into the address space", _long_night),
    case("copies_disk_full", "disk", ALARMS, "the volume of the copies is full", small_disk("copies", "40k")),
    case(
        "pusher_killed",
        "killed",
        ALARMS,
        "the kernel killed the interpreter",
        _killed,
    ),
    case(
        "balance_written_twice",
        "concurrency",
        METERS,
        "another run changes zone_daily at the same time",
        query_error("INSERT INTO", 400, "invalidQuery", SERIAL),
        subtype="conflict",
    ),
    case(
        "register_not_ours",
        "permission",
        METERS,
        "our account lost its right on the register",
        query_error("meters", 403, "accessDenied", DENIED),
        trap="perhaps it does not exist",
    ),
    case(
        "field_misspelt",
        "code_bug",
        METERS,
        "a release asks the row for a field that its own query does not select",
        edited("load_meters.py", "row.zone, row.litres, row.meters,", "row.zone, row.litres, row.meter_count,"),
        trap="a missing field, as of a changed table",
    ),
    case(
        "key_not_mounted",
        "configuration",
        ALARMS,
        "the key's file was not mounted",
        environment(GOOGLE_APPLICATION_CREDENTIALS="/var/run/secrets/gcp/meter-etl.json"),
    ),
    case(
        "no_exports_at_all",
        "missing_input",
        METERS,
        "nothing was delivered for the day",
        _no_exports,
        trap="too few readings, as of bad data",
    ),
)

SYSTEM = System(
    name="bigquery",
    # a later google-auth asks a service outside for the account's regions
    requirements=("google-cloud-bigquery==3.47.0", "google-cloud-storage==3.17.1", "google-auth==2.40.3"),
    debian=("openssl",),
    cases=CASES,
)
