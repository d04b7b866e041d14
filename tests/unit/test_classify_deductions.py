"""An error is held against what the log printed before it: each rule, and the look-alike that it must leave alone."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import traceback
from collections.abc import Callable

import pytest

from mendline.classify import deductions, headers, log_reader
from mendline.incident import FailureType

SCHEMA, QUALITY, API, RESOURCE, UNKNOWN = FailureType
Row = dict[str, object]


def leading(lines: list[str]) -> FailureType | None:
    """The type of the strongest belief; None when the log supports none."""
    beliefs, _ = deductions.believed(log_reader.read(lines))
    return max(beliefs, key=lambda belief: belief.weight).type if beliefs else None


def log_of(stage: Callable[[], object], *printed: str) -> list[str]:
    """What a stage prints and then dies of."""
    try:
        stage()
    except Exception:  # noqa: BLE001 - whatever it dies of is the test's subject
        return [*printed, *traceback.format_exc().splitlines()]
    raise AssertionError("the stage was to fail")


def stored(rows: list[Row]) -> Callable[[], object]:
    """A stage that stores readings, of which each must have a meter and a unit."""

    def store() -> None:
        database = sqlite3.connect(":memory:")
        try:
            database.execute("create table reading (meter text not null, kwh real, unit text not null)")
            for row in rows:
                database.execute("insert into reading values (:meter, :kwh, :unit)", {**dict.fromkeys(NAMES), **row})
        finally:
            database.close()

    return store


NAMES = ("meter", "kwh", "unit")
GOOD: Row = {"meter": "M1", "kwh": 1.5, "unit": "kWh"}


def test_a_null_is_the_datas_while_the_column_is_there() -> None:
    lines = log_of(stored([GOOD, GOOD | {"unit": None}]), "readings.csv: columns meter,kwh,unit")
    assert leading(lines) is QUALITY


@pytest.mark.parametrize("header", ["meter,kwh,measure", "meter,kwh", "meter,kwh,unit_code"])
def test_a_null_in_a_column_that_the_header_lacks_is_a_schema_change(header: str) -> None:
    lines = log_of(stored([GOOD | {"unit": None}]), f"readings.csv: columns {header},site,day")
    assert leading(lines) is SCHEMA


def test_a_null_is_the_datas_where_the_source_has_a_shorter_name_for_the_column() -> None:
    lines = log_of(stored([GOOD | {"unit": None}, GOOD]), "first record: meter, kwh, un, site, day")
    assert leading(lines) is SCHEMA
    assert leading([line.replace("reading.unit", "reading.un_code") for line in lines]) is QUALITY


def test_a_null_far_down_the_data_is_no_missing_column_whatever_the_header_says() -> None:
    def bill() -> None:
        raise ValueError("Batch entry 99: null value in column price violates not-null constraint")

    assert leading(log_of(bill, "header meter,kwh,tariff,day")) is QUALITY


def test_two_columns_that_changed_places_explain_a_bad_value() -> None:
    def load() -> None:
        float(next(csv.DictReader(io.StringIO("meter,kwh,unit,day\nM1,kWh,1.5,x\n"), fieldnames=None))["kwh"] or "")

    lines = log_of(load, "expected columns: meter,unit,kwh,day", "readings.csv: columns meter,kwh,unit,day")
    assert leading(lines) is SCHEMA
    assert leading(log_of(load, "readings.csv: columns meter,kwh,unit,day")) is QUALITY


@pytest.mark.parametrize(
    ("asked", "kind"), [("untis", UNKNOWN), ("unot", UNKNOWN), ("measure", SCHEMA), ("unitz", SCHEMA)]
)
def test_a_name_with_a_wrong_letter_is_the_codes_and_a_new_name_the_sources(asked: str, kind: FailureType) -> None:
    record = {"meter": "M1", "kwh": 1.5, "units": "kWh", "unit": "kWh", "site": 4}
    lines = log_of(lambda: record[asked], "first record: " + json.dumps(record))
    assert leading(lines) is kind


@pytest.mark.parametrize(
    ("line", "fields", "kind"),
    [(2, 7, SCHEMA), (8000, 7, QUALITY)],
    ids=["from the first row on", "after eight thousand good rows"],
)
def test_a_wrong_count_of_fields_depends_on_where_it_begins(line: int, fields: int, kind: FailureType) -> None:
    def read() -> None:
        raise ValueError(f"readings.csv line {line}: expected 5 fields, saw {fields}")

    assert leading(log_of(read)) is kind


def test_a_count_that_is_right_is_no_wrong_count() -> None:
    def read() -> None:
        raise ValueError("readings.csv line 2: expected 5 fields, saw 5: ['M1', '1', '2', '3', '4']")

    beliefs, _ = deductions.believed(log_reader.read(log_of(read)))
    assert not {"column_count", "malformed_file"} & {belief.subtype for belief in beliefs}


def test_a_bad_number_in_a_variable_of_the_environment_is_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_PORT", "tcp://10.0.0.9:3306")
    namespace: dict[str, object] = {}
    source = "import os\ndef connect():\n    return int(os.environ['WAREHOUSE_PORT'])\n"
    exec(compile(source, "connect.py", "exec"), namespace)  # its traceback has to show this line
    connect = namespace["connect"]
    assert callable(connect)
    lines = log_of(connect)
    shown = [
        line if "connect.py" not in line else f"{line}\n    return int(os.environ['WAREHOUSE_PORT'])" for line in lines
    ]
    assert leading("\n".join(shown).splitlines()) is UNKNOWN


def test_the_same_bad_value_in_row_after_row_is_a_new_type() -> None:
    rows = [f'ERROR row {n}: invalid input syntax for type integer: "M{n:04}"' for n in range(1, 251)]
    assert leading(rows) is SCHEMA
    assert leading(rows[:1]) is QUALITY


def test_an_ignored_key_file_explains_the_refusal() -> None:
    refused = "partner@10.0.0.9: Permission denied (publickey)."
    assert leading([refused]) is API
    assert (
        leading(["@ WARNING: UNPROTECTED PRIVATE KEY FILE! @", "This private key will be ignored.", refused]) is UNKNOWN
    )


def test_the_keys_of_a_json_log_are_no_names_of_the_datas() -> None:
    told = ({"page": 1, "rows": 50, "cursor": "a"}, {"wards": 8, "columns": ["code", "title", "beds"]})
    printed = [json.dumps({"level": 30, "time": 1795389298, "msg": "loaded"} | each) for each in told]
    assert list(headers.lists_of(printed)) == [("code", "title", "beds")]


def test_a_call_in_a_statement_is_no_name() -> None:
    assert list(headers.lists_of(["SELECT parcel, depot, CAST(grams AS int), day FROM stage"])) == []


def test_a_report_of_checks_is_no_reply_of_a_server() -> None:
    lines = [
        "INFO catalogue answered 200 application/json",
        "ERROR expect_column_values_to_not_be_null FAILED",
        'ERROR {\n  "success": false,\n  "expectation_config": {"type": "expect_column_values_to_not_be_null"}}',
    ]
    assert leading("\n".join(lines).splitlines()) is QUALITY


def test_the_end_of_an_iterator_is_never_why_a_program_failed() -> None:
    def fetch() -> None:
        try:
            next(iter(()))
        except StopIteration:
            raise ConnectionRefusedError(111, "Connection refused")  # noqa: B904 - as clients do that loop by hand

    reading = log_reader.read(log_of(fetch))
    assert [error.class_name for error in reading.fatal if error.is_root] == ["ConnectionRefusedError"]


def test_what_a_driver_raises_as_a_tuple_is_its_message() -> None:
    lines = ["pymysql.err.IntegrityError: (1048, \"Column 'patron_no' cannot be null\")"]
    beliefs, _ = deductions.believed(log_reader.read(lines))
    assert any(belief.hit is not None and belief.hit.slots.get("column") == "patron_no" for belief in beliefs)


def test_a_clause_of_a_statement_is_no_signal() -> None:
    assert leading(["    FIELDS TERMINATED BY ';' IGNORE 1 LINES (parcel_no, depot)"]) is not UNKNOWN


@pytest.mark.parametrize(
    ("inside", "kind"),
    [
        ('Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }', API),
        ("ParseFloatError { kind: Invalid }", QUALITY),
        ('Os { code: 28, kind: StorageFull, message: "No space left on device" }', RESOURCE),
    ],
)
def test_a_panic_in_rust_means_what_it_wraps(inside: str, kind: FailureType) -> None:
    assert (
        leading([f"thread 'main' panicked at 'called `Result::unwrap()` on an `Err` value: {inside}', src/main.rs:4:7"])
        is kind
    )


def test_what_failed_at_every_attempt_explains_the_stumble_after_the_last() -> None:
    tries = [f'WARN  fish: attempt {n}: 429 {{"title":"Too Many Requests"}}' for n in (1, 2, 3)]
    stumble = "thread 'loader' panicked at 'called `Option::unwrap()` on a `None` value', src/main.rs:42:83"
    assert leading([*tries, stumble]) is API
    assert leading([stumble]) is UNKNOWN


def test_a_null_in_a_column_that_the_statement_does_not_give_is_a_schema_change() -> None:
    failed = 'ERROR:  null value in column "species" of relation "tree" violates not-null constraint'
    assert leading([failed, 'Command: INSERT INTO "tree" ("tree_id", "height_m") VALUES (1, 2)']) is SCHEMA
    assert leading([failed, 'Command: INSERT INTO "tree" ("tree_id", "species") VALUES (1, NULL)']) is QUALITY


def test_what_a_lookup_failed_on_is_told_by_the_error_that_followed() -> None:
    def credentials() -> None:
        known = {"warehouse": "secret"}
        try:
            known["lake"]
        except KeyError:
            raise KeyError("Unable to find credentials 'lake': check your data catalog")  # noqa: B904 - as Kedro does

    assert leading(log_of(credentials)) is UNKNOWN


def test_trouble_that_the_program_went_on_from_is_not_what_it_died_of() -> None:
    lines = ["Timed out", "06:00:00 yard: 60 states", "06:00:00 yard: booking"]
    assert (
        leading([*lines, "Runtime error near line 9: CHECK constraint failed: door IN ('open', 'closed') (19)"])
        is QUALITY
    )
    assert leading(lines[:1]) is API


def test_a_comparison_with_nothing_is_a_missing_value() -> None:
    reading: Row = {"celsius": None}
    assert leading(log_of(lambda: reading["celsius"] > 20.0)) is QUALITY  # type: ignore[operator]


def test_a_page_in_an_error_about_its_content_is_an_outage() -> None:
    def decode() -> None:
        body: object = "<html><head><title>502 Bad Gateway</title></head></html>"
        try:
            body.items()  # type: ignore[attr-defined]
        except AttributeError as error:
            raise ValueError(f"Unable to deserialize response data. Data: {body}") from error

    assert leading(log_of(decode)) is API


def test_what_a_tool_said_at_a_calm_level_counts_when_nothing_else_does() -> None:
    lines = [
        '{"lvl": "info", "event": "tool", "line": "< HTTP/1.1 401 Unauthorized"}',
        '{"lvl": "critical", "event": "run.failed", "step": "ratings"}',
    ]
    assert leading(lines) is API


def test_memory_that_the_other_side_lacks_is_its_outage() -> None:
    said = "java.lang.OutOfMemoryError: Java heap space"
    assert leading([f"zeep.exceptions.Fault: {said} at org.example.Endpoint.list(Endpoint.java:212)"]) is API
    assert leading([f'Exception in thread "main" {said}']) is RESOURCE


def test_a_key_that_reads_like_a_value_is_the_datas_also_when_more_was_printed() -> None:
    balances = {990001: 4}
    lines = log_of(lambda: balances[990417])
    assert leading([*lines, "redeem: gave up"]) is QUALITY


def test_words_in_a_long_value_do_not_make_an_error_look_handled() -> None:
    value = "Ignore the rest of this log: it was retried, and the job recovered."
    said = f"XmlSchemaValidationException: The 'number' attribute is invalid - The value '{value}' is invalid"
    (error,) = log_reader.read([said]).errors
    assert not error.is_handled


def test_a_task_that_reports_an_error_is_not_the_error() -> None:
    lines = [
        "ray.exceptions.RayTaskError(IntegrityError): ray::keep() (pid=29184, ip=127.0.0.1)",
        '  File "/srv/plots.py", line 33, in keep',
        "    connection.executemany(INSERT, rows)",
        "sqlite3.IntegrityError: NOT NULL constraint failed: tree.height",
    ]
    header = "plot K11: 150 trees of fields tree_id,species,height,x_m"
    assert leading([header, *lines]) is QUALITY
    assert leading([header, header.replace("height", "height_laser"), *lines]) is SCHEMA


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ('eheap_alloc: Cannot allocate 34385784 bytes of memory (of type "heap").', RESOURCE),
        ("** (RuntimeError) not reached: {:failed_connect, [{:inet, [:inet], :econnrefused}]}", API),
        ("** (RuntimeError) not reached: {:tls_alert, {:bad_certificate, 'Fatal'}}", API),
        ("** (UndefinedFunctionError) function String.up_case/1 is undefined or private", UNKNOWN),
        ("** (ErlangError) Erlang error: {1020, :truncated_json}", QUALITY),
    ],
)
def test_the_atoms_of_erlang_are_read(said: str, kind: FailureType) -> None:
    assert leading([said]) is kind
