"""The tables of knowledge hold together, and their entries are found where they should be and nowhere else."""

from __future__ import annotations

import pytest

from mendline.classify import error_codes
from mendline.incident import FailureType


def found(text: str) -> set[tuple[str, str]]:
    return {(hit.meaning.family, hit.meaning.code) for hit in error_codes.codes_in(text)}


def test_every_row_has_a_source_a_subtype_and_beliefs_that_add_up():
    rows = [meaning for family in error_codes.codes().values() for meaning in family.values()]
    rows += [template.meaning for template in error_codes._templates()]
    assert len(rows) > 1500
    for row in rows:
        assert row.source
        assert row.subtype == row.subtype.lower()
        assert 0 < row.weight + sum(row.alternatives.values()) <= 1.0001, row
        assert row.type not in row.alternatives, row


@pytest.mark.parametrize(
    ("text", "family", "code"),
    [
        ("ERROR:  42703: column x", "sqlstate", "42703"),
        ("SQLSTATE[23000]: Integrity", "sqlstate", "23000"),
        ("HTTP/1.1 503 Service Unavailable", "http", "503"),
        ("status code: 429", "http", "429"),
        ("StatusCode.UNAVAILABLE", "grpc", "UNAVAILABLE"),
        ("rpc error: code = DeadlineExceeded desc = x", "grpc", "DEADLINE_EXCEEDED"),
        ("Command exited with exit code 137", "exit", "137"),
        ("OSError: [Errno 28] No space", "errno", "28"),
        ("write: ENOSPC", "errno", "ENOSPC"),
        ("ORA-01400: cannot insert NULL", "oracle", "ORA-01400"),
        ("ERROR 1054 (42S22) at line 1", "mysql", "1054"),
        ("Msg 207, Level 16", "mssql", "207"),
        ("000904 (42000): SQL compilation error", "snowflake", "000904"),
        ('"reason": "rateLimitExceeded"', "bigquery", "rateLimitExceeded"),
        ("An error occurred (SlowDown) when calling PutObject", "storage", "SlowDown"),
        ("[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column", "spark", "UNRESOLVED_COLUMN"),
        ("KafkaError{code=_ALL_BROKERS_DOWN}", "kafka", "_ALL_BROKERS_DOWN"),
        ("Code: 241. DB::Exception: Memory limit", "clickhouse", "241"),
        ("DPY-6005: cannot connect", "oracle", "DPY-6005"),
        ("An error occurred (AWS.SimpleQueueService.NonExistentQueue) when calling", "storage", "NonExistentQueue"),
        ("io.grpc.StatusRuntimeException: UNAVAILABLE: io exception", "grpc", "UNAVAILABLE"),
        ("Error: 14 UNAVAILABLE: No connection established", "grpc", "UNAVAILABLE"),
        ('"status": "RESOURCE_EXHAUSTED"', "grpc", "RESOURCE_EXHAUSTED"),
        ("code: 'P2022',", "prisma", "P2022"),
        ("'code': 13, 'codeName': 'Unauthorized'", "mongo", "Unauthorized"),
        ("AADSTS7000222: The provided client secret keys are expired", "aadsts", "AADSTS7000222"),
        ("curl: (28) Operation timed out", "curl", "28"),
        ("cURL error 6: Could not resolve host", "curl", "6"),
        ("OSError: [WinError 112] There is not enough space on the disk", "winerror", "112"),
        ("rsync error: error in socket IO (code 10) at clientserver.c(127)", "rsync", "10"),
        ("DB2 SQL Error: SQLCODE=-803, SQLSTATE=23505", "db2", "-803"),
        ("[IBM][CLI Driver][DB2/LINUXX8664] SQL0206N", "db2", "-206"),
        ("[Teradata Database] [Error 3807] Object 't' does not exist", "teradata", "3807"),
        ("SAP DBTech JDBC: [260]: invalid column name", "hana", "260"),
        ("<error/vctrs_error_subscript_oob>", "token", "vctrs_error_subscript_oob"),
        ("code: 'UND_ERR_CONNECT_TIMEOUT'", "errno_name", "UND_ERR_CONNECT_TIMEOUT"),
        ("SQLITE_CONSTRAINT_NOTNULL", "token", "SQLITE_CONSTRAINT_NOTNULL"),
    ],
)
def test_a_code_is_found_in_the_grammar_of_its_family(text: str, family: str, code: str):
    assert (family, code) in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "read 503 rows",
        "order 42703 shipped",
        "batch 137 of 400",
        "line 28 of 30",
        "took 429 ms",
        "exit code 0",
        "HTTP/1.1 200 OK",
        "part P2022 of the shelf",
        "transaction 28 of curl",
    ],
)
def test_a_bare_number_is_no_code(text: str):
    assert found(text) == set()


def test_a_message_gives_the_names_in_its_slots():
    hits = error_codes.messages_in('column "Total Amount" of relation "sales.orders" does not exist')
    best = max(hits, key=lambda hit: len(hit.slots))
    assert best.slots == {"column": "Total Amount", "table": "sales.orders"}
    assert best.meaning.type is FailureType.SCHEMA_CHANGE


def test_no_message_has_to_be_tried_on_every_text():
    """A few that begin with a number or stand alone in their line have no word to be found by."""
    for template in error_codes._templates():
        assert all(word in template.meaning.code.lower().replace("\\", "") for word in template.words), template
        assert template.pattern.pattern
    assert len(error_codes._wordless()) <= 5


def test_no_code_stands_in_both_tables():
    seen = [(row["family"], row["code"]) for name in error_codes._CODE_TABLES for row in error_codes._rows(name)]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    ("name", "kind", "subtype"),
    [
        ("org.apache.spark.memory.SparkOutOfMemoryError", FailureType.RESOURCE, "out_of_memory"),
        ("SQLite3::ConstraintException", FailureType.DATA_QUALITY, "constraint_violation"),
        ("ActiveRecord::RecordNotUnique", FailureType.DATA_QUALITY, "duplicate_key"),
        ("Net::ReadTimeout", FailureType.API_FAILURE, "timeout"),
        ("CsvHelper.HeaderValidationException", FailureType.SCHEMA_CHANGE, "column_missing"),
        ("json.UnmarshalTypeError", FailureType.SCHEMA_CHANGE, "type_changed"),
        ("x509.UnknownAuthorityError", FailureType.API_FAILURE, "tls"),
        ("google.api_core.exceptions.Unauthenticated", FailureType.API_FAILURE, "expired_credentials"),
        ("sqlalchemy.exc.TimeoutError", FailureType.RESOURCE, "too_many_connections"),
        ("dagster._core.errors.DagsterInvalidConfigError", FailureType.UNKNOWN, "configuration"),
    ],
)
def test_a_class_is_known_by_its_path_or_its_last_part(name: str, kind: FailureType, subtype: str):
    meaning = error_codes.class_meaning(name)
    assert meaning is not None
    assert (meaning.type, meaning.subtype) == (kind, subtype)


def test_the_words_kept_with_a_message_are_those_of_its_pattern():
    for table in error_codes.MESSAGE_TABLES:
        for row in error_codes._rows(table):
            assert row.get("words") == list(error_codes.words_of(str(row["message"]))), (
                f"{table}: {row['message']}: run `make corpus-model`"
            )
