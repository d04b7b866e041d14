"""Profile, quarantine and watch in real warehouses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contracts.bench import Bench, DuckDBBench
from contracts.quality_world import CONTRACT, SHELF, Library, make_library
from mendline.config import Quality
from mendline.errors import NotSupported, Rejected
from mendline.incident import Declined, FindingVerdict, Plan, from_json, to_json
from mendline.ledger import Ledger
from mendline.monitor.data_quality import watch
from mendline.quality.quarantine import restore, set_aside
from mendline.testing.memory_store import MemoryStore
from mendline.tools.apply_quality_filter import ApplyQualityFilter
from mendline.tools.base import Diagnostic, Repair, ToolContext
from mendline.tools.profile_failed_batch import ProfileFailedBatch

T = 'raw."Loans In"'
Q = 'raw."Loans In__quarantine"'
ID = '"LOAN_ID"'
BAD = {
    "type_castable:fee": f"UPDATE {T} SET \"Fee\" = 'free' WHERE {ID} = '3'",
    "not_null:fee": f"UPDATE {T} SET \"Fee\" = NULL WHERE {ID} = '3'",
    "range:fee": f"UPDATE {T} SET \"Fee\" = '-0.01' WHERE {ID} = '3'",
    "foreign_key:member": f"UPDATE {T} SET member = 'nobody' WHERE {ID} = '3'",
    "type_castable:due_on": f"UPDATE {T} SET due_on = '2026-02-30' WHERE {ID} = '3'",
    "pattern:shelf": "shelf A-",
    "length:shelf": "shelf A-12345",
    "invalid:state": f"UPDATE {T} SET state = 'lost' WHERE {ID} = '3'",
    "type_castable:copies": f"UPDATE {T} SET copies = '1.5' WHERE {ID} = '3'",
    "fee_when_back": f"UPDATE {T} SET state = 'back', \"Fee\" = '500' WHERE {ID} = '3'",
    "type_castable:loan_id": f"UPDATE {T} SET {ID} = 'three' WHERE {ID} = '3'",
    "not_null:loan_id": f"UPDATE {T} SET {ID} = NULL WHERE {ID} = '3'",
    "unique:loan_id": "copy",
}
EASED = CONTRACT.replace("required: true, ", "")


@pytest.fixture
def library(tmp_path: Path, bench: Bench) -> Library:
    return make_library(tmp_path, bench)


def spoil(library: Library, check: str) -> None:
    """Make one row fail the check."""
    statement = BAD[check]
    if statement == "copy":
        library.copy("3", _line_number="1000")
    elif statement.startswith("shelf "):
        wrong = SHELF[library.bench.engine].format(statement.removeprefix("shelf "))
        library.sql(f"UPDATE {T} SET {wrong} WHERE {ID} = '3'")
    else:
        library.sql(statement)


def planned(library: Library, context: ToolContext | None = None) -> Plan:
    plan = ApplyQualityFilter().plan(context or library.context())
    assert isinstance(plan, Plan), plan
    return plan


def declined(library: Library, context: ToolContext | None = None) -> str:
    answer = ApplyQualityFilter().plan(context or library.context())
    assert isinstance(answer, Declined), answer
    return answer.reason


def test_the_tools_are_what_the_protocols_ask() -> None:
    assert isinstance(ProfileFailedBatch(), Diagnostic)
    assert isinstance(ApplyQualityFilter(), Repair)


def test_a_healthy_batch_refutes_and_needs_no_repair(library: Library) -> None:
    (finding,) = ProfileFailedBatch().run(library.context())
    assert finding.verdict is FindingVerdict.REFUTES
    assert finding.data["failing_count"] == 0
    assert any("gone_column" in note for note in finding.data["not_applicable"])
    assert declined(library) == "no row of the datasets involved fails a check"
    assert watch(library.config.datasets["loans"], library.services) == ()


@pytest.mark.parametrize("check", sorted(BAD))
def test_each_kind_of_bad_row_is_found_set_aside_and_put_back_exactly(library: Library, check: str) -> None:
    healthy = library.loans()
    spoil(library, check)
    before = library.loans()
    bad = [row for row in before if row not in healthy]
    context, repair = library.context(), ApplyQualityFilter()

    (finding,) = ProfileFailedBatch().run(context)
    assert finding.verdict is FindingVerdict.SUPPORTS
    assert check in [found["name"] for found in finding.data["checks"]]
    assert finding.data["failing_count"] == 1
    (violation, *_) = watch(library.config.datasets["loans"], library.services)
    assert violation.failing_count == 1

    plan: Plan = from_json(Plan, to_json(planned(library)))
    assert plan == from_json(Plan, to_json(planned(library)))
    assert library.loans() == before
    assert not repair.is_done(plan, context)

    receipt = repair.apply(plan, context)
    assert repair.is_done(plan, context)
    assert library.loans() == [row for row in before if row not in bad]
    ((incident, batch, names, reason, count),) = library.sql(
        f"SELECT incident_id, batch_id, check_names, reason, count(*) FROM {Q} GROUP BY 1, 2, 3, 4"
    )
    assert (incident, batch, count) == ("7", "run", 1)
    assert check in str(names).split(",")
    assert check in str(reason)
    assert all(found.passed for found in repair.verify(plan, receipt, context)), repair.verify(plan, receipt, context)
    (after,) = ProfileFailedBatch().run(context)
    assert after.verdict is FindingVerdict.REFUTES

    assert repair.apply(plan, context) == receipt
    assert library.sql(f"SELECT count(*) FROM {Q}") == [(1,)]

    repair.undo(receipt, context)
    repair.undo(receipt, context)
    assert library.loans() == before
    assert library.sql(f"SELECT count(*) FROM {Q}") == [(0,)]


def test_a_repair_whose_record_was_lost_is_not_applied_twice(library: Library) -> None:
    spoil(library, "range:fee")
    plan, context = planned(library), library.context()
    first = ApplyQualityFilter().apply(plan, context)
    forgetful = make_services_forget(library)
    again = ApplyQualityFilter().apply(plan, replace(context, services=forgetful.services))
    assert again == first
    assert library.sql(f"SELECT count(*) FROM {Q}") == [(1,)]


def make_services_forget(library: Library) -> Library:
    store = MemoryStore()
    ledger = Ledger(store=store, now=library.services.ledger.now)
    return replace(library, services=replace(library.services, store=store, ledger=ledger))


def test_the_threshold_is_on_distinct_rows_and_its_edge_is_allowed(library: Library) -> None:
    library.sql(f"UPDATE {T} SET member = 'nobody', state = 'lost' WHERE CAST({ID} AS INTEGER) < 10")
    plan = planned(library)
    assert plan.parameters["failing_count"] == 10
    library.sql(f"UPDATE {T} SET member = 'nobody' WHERE {ID} = '10'")
    assert "11 of 100 rows" in declined(library)
    assert "10.00%" in declined(library)


def test_one_check_may_have_a_tighter_bound(tmp_path: Path, bench: Bench) -> None:
    library = make_library(tmp_path, bench)
    quality = Quality(max_failing_fraction=0.5, checks={"range:fee": 0.05})
    dataset = library.config.datasets["loans"].model_copy(update={"quality": quality})
    context = replace(library.context(), datasets=(dataset,))
    library.sql(f"UPDATE {T} SET \"Fee\" = '-1' WHERE CAST({ID} AS INTEGER) < 5")
    assert isinstance(ApplyQualityFilter().plan(context), Plan)
    library.sql(f"UPDATE {T} SET \"Fee\" = '-1' WHERE CAST({ID} AS INTEGER) < 6")
    assert "range:fee" in declined(library, context)


def test_a_value_that_only_a_widened_target_holds_is_no_bad_one(library: Library) -> None:
    dataset = library.config.datasets["loans"].model_copy(update={"targets": ("front.kept",)})
    library.sql(f"CREATE TABLE front.kept (fee DECIMAL(8,2)); UPDATE {T} SET \"Fee\" = '1000000' WHERE {ID} = '3'")
    assert [violation.check for violation in watch(dataset, library.services)] == ["type_castable:fee"]
    library.sql("ALTER TABLE front.kept ALTER fee TYPE DECIMAL(12,2)")
    assert watch(dataset, library.services) == ()


def test_an_empty_batch_and_one_that_fails_as_a_whole_are_declined(library: Library) -> None:
    generous = library.config.datasets["loans"].model_copy(update={"quality": Quality(max_failing_fraction=1.0)})
    context = replace(library.context(), datasets=(generous,))
    library.sql(f"UPDATE {T} SET state = 'lost'")
    assert declined(library, context).startswith("all 100 rows")
    library.sql(f"DELETE FROM {T}")
    assert "is empty" in declined(library, context)


def test_rows_that_contradict_each_other_are_left_to_a_person(library: Library) -> None:
    library.copy("3", Fee="'9.99'")
    (finding,) = ProfileFailedBatch().run(library.context())
    assert finding.verdict is FindingVerdict.SUPPORTS
    assert finding.data["conflicting_key_count"] == 1
    assert {"LOAN_ID": "3"} in finding.data["checks"][0]["samples"]
    assert "contradict" in declined(library)


def test_keys_are_compared_as_values_not_as_text(library: Library) -> None:
    library.copy("3", LOAN_ID="'03'")
    assert "contradict" in declined(library)


def test_three_copies_leave_one(library: Library) -> None:
    for _ in range(2):
        library.copy("3")
    before = library.loans()
    plan, context = planned(library), library.context()
    receipt = ApplyQualityFilter().apply(plan, context)
    assert library.sql(f"SELECT count(*) FROM {T} WHERE {ID} = '3'") == [(1,)]
    assert sorted(library.sql(f"SELECT ordinal FROM {Q}")) == [(1,), (2,)]
    assert all(check.passed for check in ApplyQualityFilter().verify(plan, receipt, context))
    ApplyQualityFilter().undo(receipt, context)
    assert library.loans() == before


def test_a_failed_rule_about_the_batch_is_never_filtered(tmp_path: Path, bench: Bench) -> None:
    library = make_library(
        tmp_path, bench, contract=CONTRACT.replace("mustBeGreaterThan: 0}", "mustBeGreaterThan: 500}")
    )
    spoil(library, "range:fee")
    (finding,) = ProfileFailedBatch().run(library.context())
    assert finding.verdict is FindingVerdict.SUPPORTS
    assert "is 100, must be over 500" in declined(library)


def test_the_stage_that_loads_the_table_is_not_run_again(library: Library) -> None:
    spoil(library, "range:fee")
    context = library.context()
    failure = replace(context.incident.failures[0], stage="load_loans")
    failed = replace(context, incident=replace(context.incident, failures=(failure,)))
    assert "bring the rows back" in declined(library, failed)
    above = replace(context, options={"upstream": {"load_loans": ("stage",)}})
    assert "bring the rows back" in declined(library, above)


def test_a_table_that_changed_since_the_plan_is_left_alone(library: Library) -> None:
    spoil(library, "range:fee")
    plan, context = planned(library), library.context()
    library.sql(f"UPDATE {T} SET state = 'back' WHERE {ID} = '50'")
    before = library.loans()
    with pytest.raises(Rejected, match="has changed since the plan"):
        ApplyQualityFilter().apply(plan, context)
    assert library.loans() == before
    assert not library.has(Q)


def test_a_table_that_was_loaded_again_is_not_undone(library: Library) -> None:
    spoil(library, "range:fee")
    plan, context = planned(library), library.context()
    receipt = ApplyQualityFilter().apply(plan, context)
    library.sql(f"UPDATE {T} SET state = 'back' WHERE {ID} = '50'")
    with pytest.raises(NotSupported, match="loaded again"):
        ApplyQualityFilter().undo(receipt, context)
    assert library.sql(f"SELECT count(*) FROM {Q}") == [(1,)]


def test_the_same_rows_of_one_batch_stand_in_quarantine_once(library: Library) -> None:
    healthy = library.loans()
    for _ in range(2):
        library.sql(
            f"DROP TABLE IF EXISTS raw.again; CREATE TABLE raw.again AS SELECT * FROM {T} WHERE {ID} IN ('3', '4')"
        )
        with library.warehouse.writing() as session:
            moved = set_aside(
                session,
                library.warehouse,
                T,
                f"{ID} IN ('3', '4')",
                incident_id="1",
                batch_id="b",
                check_names=("some", "checks"),
                reason="it's a test",
            )
        assert moved == 2
        library.sql(f"INSERT INTO {T} SELECT * FROM raw.again")
    assert library.sql(f"SELECT DISTINCT count(*) OVER (), check_names, reason FROM {Q}") == [
        (2, "some,checks", "it's a test")
    ]
    assert library.loans() == healthy


def test_rows_that_would_not_come_back_as_they_were_are_not_moved(tmp_path: Path) -> None:
    library = make_library(tmp_path, DuckDBBench(tmp_path / "w.duckdb"))
    library.sql("CREATE TABLE raw.odd AS SELECT {'doc': '{\"a\" :  1}'::JSON} AS nested")
    with pytest.raises(Rejected, match="would not come back"), library.warehouse.writing() as session:
        set_aside(
            session, library.warehouse, "raw.odd", "TRUE", incident_id="1", batch_id="b", check_names=("c",), reason="r"
        )
    assert library.sql("SELECT count(*) FROM raw.odd") == [(1,)]


def test_a_column_named_like_the_rows_address_is_refused(tmp_path: Path) -> None:
    library = make_library(tmp_path, DuckDBBench(tmp_path / "w.duckdb"))
    library.sql("CREATE TABLE raw.odd AS SELECT 1 AS rowid")
    with pytest.raises(NotSupported, match="rowid"), library.warehouse.writing() as session:
        set_aside(
            session, library.warehouse, "raw.odd", "TRUE", incident_id="1", batch_id="b", check_names=("c",), reason="r"
        )


def test_restoring_twice_is_restoring_once(library: Library) -> None:
    before = library.loans()
    with library.warehouse.writing() as session:
        for incident in ("1", "2"):
            set_aside(
                session,
                library.warehouse,
                T,
                f"{ID} = '{incident}'",
                incident_id=incident,
                batch_id="b",
                check_names=("c",),
                reason="r",
            )
        assert restore(session, library.warehouse, T, incident_id="1") == 1
        assert restore(session, library.warehouse, T, incident_id="1") == 0
        assert restore(session, library.warehouse, T, incident_id="2") == 1
    assert library.loans() == before


def test_a_batch_predicate_leaves_older_rows_alone(library: Library) -> None:
    library.sql(f"UPDATE {T} SET \"Fee\" = '-1' WHERE {ID} IN ('3', '70')")
    dataset = library.config.datasets["loans"].model_copy(update={"batch": f"CAST({ID} AS INTEGER) >= 50"})
    context = replace(library.context(), datasets=(dataset,))
    plan = ApplyQualityFilter().plan(context)
    assert isinstance(plan, Plan)
    assert (plan.parameters["batch_count"], plan.parameters["failing_count"]) == (50, 1)
    ApplyQualityFilter().apply(plan, context)
    assert library.sql(f"SELECT CAST(payload AS JSON) ->> 'LOAN_ID' FROM {Q}") == [("70",)]


def test_a_constraint_in_the_log_gives_the_check_that_the_contract_lacks(tmp_path: Path, bench: Bench) -> None:
    library = make_library(
        tmp_path, bench, contract=EASED.replace("logicalTypeOptions: {minimum: 0}", "description: x")
    )
    spoil(library, "range:fee")
    line = 'Constraint Error: CHECK constraint failed on table "loans" with expression CHECK((fee >= 0))'
    assert declined(library) == "no row of the datasets involved fails a check"
    context = library.context(line, subtype="check_violation", columns=("fee",))
    (finding,) = ProfileFailedBatch().run(context)
    assert finding.verdict is FindingVerdict.SUPPORTS
    assert finding.data["checks"][0]["is_from_log"]
    assert planned(library, context).parameters["failing_count"] == 1
    in_cents = library.context(line.replace(">= 0", "< 100"), subtype="check_violation", columns=("fee",))
    assert declined(library, in_cents) == "no row of the datasets involved fails a check"


def test_a_null_in_a_column_that_only_the_target_requires(tmp_path: Path, bench: Bench) -> None:
    library = make_library(tmp_path, bench, contract=EASED)
    spoil(library, "not_null:fee")
    assert declined(library) == "no row of the datasets involved fails a check"
    context = library.context("NOT NULL constraint failed: loans.fee", subtype="null_violation", columns=("loans.fee",))
    assert planned(library, context).parameters["names_sql"].count("not_null:fee") == 1


def test_rows_that_fail_elsewhere_do_not_explain_a_log_that_names_a_column(library: Library) -> None:
    spoil(library, "invalid:state")
    context = library.context("NOT NULL constraint failed: loans.fee", subtype="null_violation", columns=("fee",))
    (finding,) = ProfileFailedBatch().run(context)
    assert finding.verdict is FindingVerdict.CANNOT_TELL
    assert "other columns" in declined(library, context)


def test_an_empty_other_dataset_is_not_blamed_on_this_one(library: Library) -> None:
    library.sql("DELETE FROM raw.members")
    (finding,) = ProfileFailedBatch().run(library.context())
    assert finding.verdict is FindingVerdict.REFUTES
    assert any("look there first" in note for note in finding.data["not_applicable"])


def test_a_column_of_another_family_is_left_to_the_schema(library: Library) -> None:
    library.sql(f"DROP VIEW front.loans; ALTER TABLE {T} ALTER due_on TYPE INTEGER USING 1")
    (finding,) = ProfileFailedBatch().run(library.context())
    assert finding.verdict is FindingVerdict.REFUTES
    assert any("matter of its schema" in note for note in finding.data["not_applicable"])


def test_what_cannot_be_read_is_said_and_not_raised(library: Library) -> None:
    library.sql("DROP VIEW front.loans")
    library.sql(f"DROP TABLE {T}")
    (finding,) = ProfileFailedBatch().run(library.context())
    assert finding.verdict is FindingVerdict.CANNOT_TELL
    assert "is not there" in declined(library)


def test_samples_show_keys_only(library: Library) -> None:
    spoil(library, "foreign_key:member")
    (finding,) = ProfileFailedBatch().run(library.context())
    assert finding.data["checks"][0]["samples"] == [{"LOAN_ID": "3"}]
    assert "nobody" not in to_json(finding)
