"""The demo's judge finds every way in which a warehouse can be wrong, and nothing else."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from mendline.demo.oracle import BadRows, EndState, judge

HEALTHY = """
CREATE SCHEMA landing; CREATE SCHEMA staging; CREATE SCHEMA core; CREATE SCHEMA mart; CREATE SCHEMA contract;
CREATE TABLE landing.payments (payment_id VARCHAR, amount VARCHAR);
INSERT INTO landing.payments VALUES ('1', '10.00'), ('2', '20.00');
CREATE VIEW contract.payments AS SELECT payment_id, amount FROM landing.payments;
CREATE TABLE staging.payments (business_date DATE, payment_id INTEGER, amount DECIMAL(10,2));
INSERT INTO staging.payments VALUES ('2026-11-02', 1, 10), ('2026-11-02', 2, 20);
CREATE TABLE mart.daily (business_date DATE, total DECIMAL(12,2));
INSERT INTO mart.daily VALUES ('2026-11-02', 30), ('2026-11-02', 30);
"""
QUARANTINE = """
CREATE TABLE landing.payments__quarantine (incident_id VARCHAR, batch_id VARCHAR, check_names VARCHAR, reason VARCHAR,
    row_hash VARCHAR, payload VARCHAR, quarantined_at TIMESTAMP);
INSERT INTO landing.payments__quarantine VALUES
    ('1', 'b', 'range:amount', 'below 0', 'h', '{"payment_id": "7", "amount": "-1"}', now()::TIMESTAMP),
    ('1', 'b', 'range:amount', 'below 0', 'i', '{"payment_id": "8", "amount": "-1"}', now()::TIMESTAMP);
"""
INJECTED = BadRows(table="landing.payments", key="payment_id", values=("7", "8"))


def warehouse(path: Path, *scripts: str) -> Path:
    with duckdb.connect(str(path)) as connection:
        for script in (HEALTHY, *scripts):
            connection.execute(script)
    return path


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return warehouse(tmp_path / "reference.duckdb")


def differences(tmp_path: Path, reference: Path, *scripts: str, state: EndState, bad: tuple[BadRows, ...] = ()) -> str:
    found = warehouse(tmp_path / "found.duckdb", *scripts)
    return "\n".join(judge(found, reference, end_state=state, bad_rows=bad).differences)


def test_equal_warehouses_are_right_in_any_row_order(tmp_path: Path, reference: Path) -> None:
    shuffled = "CREATE TABLE t AS FROM staging.payments ORDER BY payment_id DESC; DELETE FROM staging.payments; "
    shuffled += "INSERT INTO staging.payments FROM t; DROP TABLE t"
    assert differences(tmp_path, reference, shuffled, state=EndState.HEALTHY) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DELETE FROM staging.payments WHERE payment_id = 2", "`staging.payments` has 1 missing rows"),
        ("INSERT INTO mart.daily VALUES ('2026-11-02', 30)", "`mart.daily` has 1 surplus rows"),
        ("UPDATE staging.payments SET amount = 20.01 WHERE payment_id = 2", "1 surplus rows"),
        ("UPDATE staging.payments SET amount = NULL WHERE payment_id = 2", "1 missing rows"),
        ("DROP TABLE mart.daily", "`mart.daily` is missing"),
        ("CREATE TABLE mart.other (a INTEGER)", "`mart.other` is not expected"),
        ("ALTER TABLE staging.payments ALTER amount TYPE DOUBLE", "amount DOUBLE"),
        (QUARANTINE, "`landing.payments__quarantine` holds 2 rows that were not injected"),
    ],
)
def test_a_difference_from_the_healthy_run_is_named(tmp_path: Path, reference: Path, change: str, said: str) -> None:
    assert said in differences(tmp_path, reference, change, state=EndState.HEALTHY)


def test_a_copy_of_a_row_is_a_difference(tmp_path: Path, reference: Path) -> None:
    copied = "INSERT INTO staging.payments FROM staging.payments LIMIT 1"
    assert "1 surplus rows" in differences(tmp_path, reference, copied, state=EndState.HEALTHY)


def test_all_injected_rows_in_quarantine_are_right(tmp_path: Path, reference: Path) -> None:
    state = EndState.MINUS_BAD_ROWS
    assert differences(tmp_path, reference, QUARANTINE, state=state, bad=(INJECTED,)) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DELETE FROM landing.payments__quarantine WHERE row_hash = 'h'", "missing 7, surplus none"),
        ('UPDATE landing.payments__quarantine SET payload = \'{"payment_id": "1"}\'', "missing 7, 8, surplus 1"),
        ("INSERT INTO landing.payments__quarantine FROM landing.payments__quarantine", "holds 4 rows, 2 were injected"),
        ("UPDATE landing.payments__quarantine SET reason = ''", "without an incident or a reason"),
        ("DROP TABLE landing.payments__quarantine", "holds 0 rows, 2 were injected"),
    ],
)
def test_quarantine_that_is_not_exactly_the_injected_rows_is_wrong(
    tmp_path: Path, reference: Path, change: str, said: str
) -> None:
    found = differences(tmp_path, reference, QUARANTINE, change, state=EndState.MINUS_BAD_ROWS, bad=(INJECTED,))
    assert said in found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DELETE FROM landing.payments WHERE payment_id = '2'", "`landing.payments` has 1 missing rows"),
        ("CREATE OR REPLACE VIEW contract.payments AS SELECT 1 AS payment_id", "view `contract.payments` was changed"),
    ],
)
def test_untouched_covers_landing_and_views_which_a_repair_may_change(
    tmp_path: Path, reference: Path, change: str, said: str
) -> None:
    assert said in differences(tmp_path, reference, change, state=EndState.UNTOUCHED)
    (tmp_path / "found.duckdb").unlink()
    assert differences(tmp_path, reference, change, state=EndState.HEALTHY) == ""
