"""Partitioned tables as landing tables: profiled, checked, set aside and brought back like any other, or declined."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.bench import PostgresBench
from contracts.test_release import ALL_DOSES, DOSES_EASED, Ward
from mendline.errors import NotSupported, Rejected
from mendline.incident import Plan
from mendline.quality.quarantine import restore, set_aside
from mendline.snapshots import take_snapshot
from mendline.testing.values import NOON
from mendline.undoing import undo

KINDS = {
    "range": "RANGE (dose_id)|FOR VALUES FROM (MINVALUE) TO (14)|FOR VALUES FROM (14) TO (18)|DEFAULT",
    "list": "LIST (is_first)|FOR VALUES IN (TRUE)|FOR VALUES IN (FALSE)|DEFAULT",
    "hash": "HASH (dose_id)|FOR VALUES WITH (MODULUS 2, REMAINDER 0)|FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
}
WHOLE = "SELECT t::text FROM raw.doses AS t ORDER BY 1"


class PartitionedBench(PostgresBench):
    """A bench whose loader keeps its tables in partitions."""

    def __init__(self, url: str, kind: str) -> None:
        super().__init__(url)
        self.kind = kind

    def replace(self, table: str, select: str) -> None:
        super().replace(table, select)
        key, *bounds = KINDS[self.kind].split("|")
        self.sql(f"ALTER TABLE {table} RENAME TO plain; CREATE TABLE {table} (LIKE raw.plain) PARTITION BY {key}")
        for number, bound in enumerate(bounds):
            self.sql(f"CREATE TABLE {table}_{number} PARTITION OF {table} {bound}")
        self.sql(f"INSERT INTO {table} SELECT * FROM raw.plain; DROP TABLE raw.plain")


@pytest.fixture(params=sorted(KINDS))
def ward(request: pytest.FixtureRequest, repairs_database: str, tmp_path: Path) -> Iterator[Ward]:
    ward = Ward(PartitionedBench(repairs_database, request.param), tmp_path)
    yield ward
    ward.bench.warehouse.close()


def test_rows_of_every_partition_are_set_aside_and_come_back_where_they_were(ward: Ward) -> None:
    assert len(ward.bench.sql(WHOLE)) == 9
    assert ward.states() == {"held": 3}
    checks = ward.repair.verify(ward.plan, ward.receipt, ward.context())
    assert [check for check in checks if not check.passed] == []
    (one,) = undo(ward.services, {ward.repair.name: ward.repair}, ward.incident.id, by="ann", at=NOON, is_served=False)
    assert one.undone_at is not None
    assert ward.bench.sql(ALL_DOSES) == ward.before


def test_rows_are_released_into_their_partitions(ward: Ward) -> None:
    assert ward.release().moved_count == 0
    ward.contract(DOSES_EASED)
    assert ward.release().moved_count == 3
    assert ward.bench.sql(ALL_DOSES) == ward.before


def test_copies_at_the_same_place_of_two_partitions_are_told_apart(ward: Ward) -> None:
    """Both partitions have a first row; only the one that is meant moves."""
    warehouse, before = ward.bench.warehouse, ward.bench.sql(WHOLE)
    with warehouse.writing() as session:
        address = session.address("raw.doses")
        ((first,), *_) = session.rows(f"SELECT {address} FROM raw.doses WHERE dose_id = 11")
        moved = set_aside(
            session,
            warehouse,
            "raw.doses",
            f"{address} = '{first}'",
            incident_id="9",
            batch_id="b",
            check_names=("odd",),
            reason="r",
        )
    assert moved == 1
    assert ward.bench.sql("SELECT count(*) FROM raw.doses WHERE dose_id = 11") == [(0,)]
    with warehouse.writing() as session:
        assert restore(session, warehouse, "raw.doses", incident_id="9") == 1
    assert ward.bench.sql(WHOLE) == before


def test_exact_copies_are_found_and_all_but_one_set_aside(ward: Ward) -> None:
    ward.bench.sql("INSERT INTO raw.doses SELECT * FROM raw.doses")
    plan = ward.repair.plan(ward.context())
    assert isinstance(plan, Plan), plan
    assert plan.moved_row_count == 9
    ward.repair.apply(plan, ward.context())
    assert len(ward.bench.sql(WHOLE)) == 9
    assert ward.states() == {"held": 12}


def test_a_snapshot_sees_every_partition(ward: Ward) -> None:
    snapshot = take_snapshot(ward.services.config.datasets["doses"], "run", ward.bench.warehouse)
    assert snapshot is not None
    assert snapshot.row_count == 9
    (dose,) = [one for one in snapshot.profiles if one.column == "dose_id"]
    assert (dose.distinct_count, dose.min_value, dose.max_value) == (9, "11", "21")


def test_a_row_for_which_there_is_no_partition_any_more_stays_in_quarantine(
    repairs_database: str, tmp_path: Path
) -> None:
    ward = Ward(PartitionedBench(repairs_database, "list"), tmp_path)
    ward.bench.sql("DELETE FROM raw.doses WHERE is_first; DROP TABLE raw.doses_0; DROP TABLE raw.doses_2")
    ward.contract(DOSES_EASED)
    before = ward.bench.sql(WHOLE)
    with pytest.raises(Rejected, match="no partition"):
        ward.release(force=True)
    assert ward.bench.sql(WHOLE) == before
    assert ward.states() == {"held": 3}
    ward.bench.warehouse.close()


def test_a_partition_on_another_server_is_declined(repairs_database: str) -> None:
    bench = PostgresBench(repairs_database)
    bench.sql(
        "CREATE EXTENSION IF NOT EXISTS file_fdw; DROP SERVER IF EXISTS files CASCADE;"
        "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; CREATE TABLE raw.far (a integer) PARTITION BY LIST (a);"
        "CREATE FOREIGN TABLE raw.far_1 PARTITION OF raw.far FOR VALUES IN (1) SERVER files OPTIONS (filename '/dev/null')"
    )
    with bench.warehouse.writing() as session, pytest.raises(NotSupported, match="on another server"):
        set_aside(
            session, bench.warehouse, "raw.far", "a = 1", incident_id="1", batch_id="b", check_names=("c",), reason="r"
        )
