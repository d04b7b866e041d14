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
