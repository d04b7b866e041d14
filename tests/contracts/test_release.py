"""Quarantined rows go back once they pass, once, or are given up: on real tables, after real incidents."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.bench import Bench
from mendline.config import load_config
from mendline.errors import InputError, RefusedByPolicy, Rejected, Unavailable
from mendline.incident import FailureType, LogExcerpt, OutcomeKind, Plan, Receipt, RunRef
from mendline.intervention import lease_of
from mendline.ledger import Ledger
from mendline.quality.checks import RowCheck
from mendline.quality.quarantine import restore, set_aside
from mendline.quality.release import Conditions, Decision, discard, put_in
from mendline.releasing import Decided, Word, give_up, kept, release, rows
from mendline.testing.memory_engine import MemoryEngine
from mendline.testing.memory_store import MemoryStore
from mendline.testing.values import NOON, a_classification, an_incident
from mendline.tools.apply_quality_filter import ApplyQualityFilter
from mendline.tools.base import Services, ToolContext
from mendline.undoing import undo
from unit.workflow_world import CONTRACT, PARCELS, Freight

Q = "raw.parcels__quarantine"
WITH_NULLS = f"SELECT * REPLACE (CASE WHEN parcel_id < 105 THEN NULL ELSE sender END AS sender) FROM ({PARCELS})"
ANN = Decision(by="ann", at=NOON, note="the partner confirmed them")
EASED = CONTRACT.replace("{name: sender, logicalType: string, required: true}", "{name: sender, logicalType: string}")
KEYLESS = EASED.replace(", primaryKey: true, required: true", "")


@dataclass
class Depot:
    """A world in which an incident has set five rows without a sender aside."""

    world: Freight
    incident: str

    def word(self, *, by: Decision = ANN, dataset: str | None = None, force: bool = False) -> Word:
        return Word(incident_id=self.incident, decision=by, dataset=dataset, is_forced=force)

    def release(self, *, force: bool = False) -> Decided:
        (answer,) = release(self.world.services, self.word(force=force), is_served=False)
        return answer

    def discard(self) -> Decided:
        (answer,) = give_up(self.world.services, self.word(), is_served=False)
        return answer

    def contract(self, text: str) -> None:
        (self.world.path.parent / "parcels.yaml").write_text(text, encoding="utf-8")

    def states(self) -> dict[str, int]:
        return dict(self.world.sql(f"SELECT state, count(*) FROM {Q} GROUP BY 1"))

    def loaded(self) -> int:
        return int(self.world.sql("SELECT count(*) FROM raw.parcels")[0][0])


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    world = Freight(tmp_path)
    world.land(WITH_NULLS)
    depot = Depot(world=world, incident=world.fail())
    filtered(depot)
    assert (depot.loaded(), depot.states()) == (195, {"held": 5})
    return depot


def filtered(depot: Depot) -> Receipt:
    """Apply the quality filter as the workflow would, without the steps around it."""
    world = depot.world
    record = world.store.incident(depot.incident)
    assert record is not None
    hands = world.hands()
    log = hands.retrieve_logs(record.incident, record.incident.run)
    context = hands.context(record.incident, log, hands.classify(record.incident, log), 1)
    plan = ApplyQualityFilter().plan(context)
    assert isinstance(plan, Plan), plan
    return ApplyQualityFilter().apply(plan, context)


def test_rows_that_still_fail_stay_with_their_reason_and_count(depot: Depot) -> None:
    before = depot.world.data()
    answer = depot.release()
    assert (answer.moved_count, answer.rerun_stages) == (0, ())
    assert [(one.reason, one.row_count) for one in answer.staying] == [("not_null:sender", 5)]
    assert depot.world.data() == before


def test_rows_that_pass_by_now_go_back_exactly_once_and_their_readers_are_named(depot: Depot) -> None:
    depot.contract(EASED)
    answer = depot.release()
    assert (answer.moved_count, answer.staying, answer.rerun_stages) == (5, (), ("weigh", "bill"))
    assert depot.world.sql("FROM raw.parcels ORDER BY ALL") == depot.world.sql(f"FROM ({WITH_NULLS}) ORDER BY ALL")
    again = depot.release()
    assert (again.moved_count, again.staying) == (0, ())
    assert (depot.loaded(), depot.states()) == (200, {"released": 5})
    ((by, note, count),) = depot.world.sql(f"SELECT decided_by, note, count(decided_at) FROM {Q} GROUP BY ALL")
    assert (by, note, count) == ("ann", "the partner confirmed them", 5)


def test_only_the_rows_that_pass_go_back(depot: Depot) -> None:
    depot.contract(EASED.replace("{name: city,", "{name: city, logicalTypeOptions: {pattern: '^(Bern|Chur)$'},"))
    answer = depot.release()
    basel = depot.world.sql(f"SELECT count(*) FROM ({WITH_NULLS}) WHERE sender IS NULL AND city = 'Basel'")[0][0]
    assert 0 < basel < 5
    assert answer.moved_count == 5 - basel
    assert [(one.reason, one.row_count) for one in answer.staying] == [("pattern:city", basel)]
    assert depot.states() == {"released": 5 - basel, "held": basel}
    depot.contract(EASED)
    assert depot.release().moved_count == basel
    assert depot.loaded() == 200


def test_a_person_may_put_in_what_still_fails(depot: Depot) -> None:
    assert depot.release(force=True).moved_count == 5
    assert (depot.loaded(), depot.states()) == (200, {"released": 5})


def test_a_row_whose_key_the_table_has_got_otherwise_stays(depot: Depot) -> None:
    depot.contract(EASED)
    depot.world.sql("INSERT INTO raw.parcels VALUES (100, 'found again', 1, 'Bern')")
    answer = depot.release()
    assert answer.moved_count == 4
    assert [(one.reason, one.row_count) for one in answer.staying] == [("conflict:parcel_id", 1)]
    assert depot.world.sql("SELECT sender FROM raw.parcels WHERE parcel_id = 100") == [("found again",)]


@pytest.mark.parametrize("contract", [EASED, KEYLESS])
def test_rows_that_were_loaded_again_are_not_doubled(depot: Depot, contract: str) -> None:
    depot.contract(contract)
    depot.world.land(WITH_NULLS)
    answer = depot.release()
    assert answer.moved_count == 0
    assert [one.row_count for one in answer.staying] == [5]
    assert "loaded again" in answer.staying[0].reason
    assert depot.loaded() == 200


def test_rows_of_an_earlier_batch_go_back_only_by_a_person_s_decision(depot: Depot) -> None:
    depot.contract(EASED)
    depot.world.engine.run()
    before = depot.world.data()
    with pytest.raises(RefusedByPolicy, match=r"run `run-\d+` has ended since.*--force"):
        depot.release()
    assert depot.world.data() == before
    assert depot.release(force=True).moved_count == 5


def test_an_engine_that_cannot_say_whose_batch_it_is_needs_a_decision_too(depot: Depot) -> None:
    depot.contract(EASED)
    services = replace(depot.world.services, engines={"memory": Away()})
    with pytest.raises(RefusedByPolicy, match="cannot be told: gone fishing"):
        release(services, depot.word(), is_served=False)
    (answer,) = release(services, depot.word(force=True), is_served=False)
    assert (answer.moved_count, answer.rerun_stages) == (5, ("weigh",))


class Away:
    def __getattr__(self, name: str) -> Callable[..., object]:
        def away(*_: object) -> object:
            raise Unavailable("gone fishing")

        return away


def test_rows_that_do_not_fit_the_table_any_more_stay(depot: Depot) -> None:
    depot.contract(EASED)
    depot.world.land(f"SELECT city, weight, sender, parcel_id FROM ({PARCELS}) WHERE parcel_id >= 105")
    with pytest.raises(Rejected, match=r"otherwise than they were.*--force"):
        depot.release()
    depot.world.sql("DROP VIEW front.parcels; ALTER TABLE raw.parcels DROP COLUMN city")
    for force in (False, True):
        with pytest.raises(Rejected, match="do not fit"):
            depot.release(force=force)
    assert (depot.loaded(), depot.states()) == (195, {"held": 5})


def test_what_only_the_log_had_against_a_row_still_holds(tmp_path: Path) -> None:
    """The target refuses what the contract allows: back in the table, the row would fail the stage again."""
    world = Freight(tmp_path)
    (tmp_path / "parcels.yaml").write_text(EASED, encoding="utf-8")
    world.land(WITH_NULLS)
    depot = Depot(world=world, incident=world.fail())
    world.handle(depot.incident)
    assert world.outcome(depot.incident).kind is OutcomeKind.RESOLVED
    assert depot.states() == {"held": 5}
    answer = depot.release()
    assert answer.moved_count == 0
    assert [(one.reason, one.row_count) for one in answer.staying] == [("not_null:sender", 5)]


def test_what_cannot_be_checked_now_stays(depot: Depot) -> None:
    depot.contract(CONTRACT.replace("{name: sender,", "{name: sent_by,"))
    answer = depot.release()
    assert answer.moved_count == 0
    assert [one.reason for one in answer.staying] == ["what it failed cannot be checked now"]


def test_values_that_do_not_cast_stay_while_they_do_not(tmp_path: Path) -> None:
    world = Freight(tmp_path)
    heavy = "CASE WHEN parcel_id < 103 THEN 'heavy' ELSE weight::VARCHAR END"
    world.land(f"SELECT * REPLACE ({heavy} AS weight) FROM ({PARCELS})")
    depot = Depot(world=world, incident=world.fail())
    world.handle(depot.incident)
    assert depot.states() == {"held": 3}
    answer = depot.release()
    assert (answer.moved_count, [one.row_count for one in answer.staying]) == (0, [3])
    (tmp_path / "parcels.yaml").unlink()
    (tmp_path / "parcels.yaml").write_text(CONTRACT.replace("{name: weight,", "{name: heft,"), encoding="utf-8")
    assert depot.release().moved_count == 0


def test_discarded_rows_are_kept_with_who_when_and_why_and_go_back_no_more(depot: Depot) -> None:
    depot.contract(EASED)
    assert depot.discard().moved_count == 5
    assert depot.discard().moved_count == 0
    assert depot.release(force=True).moved_count == 0
    (one,) = kept(depot.world.services, incident_id=depot.incident)
    assert (one.holding.state, one.holding.row_count, one.holding.decided_by) == ("discarded", 5, "ann")
    assert (one.holding.decided_at, one.holding.note) == (NOON, "the partner confirmed them")
    assert depot.loaded() == 195


def test_the_rows_of_another_incident_stay_where_they_are(depot: Depot) -> None:
    with depot.world.warehouse.writing() as session:
        set_aside(
            session,
            depot.world.warehouse,
            "raw.parcels",
            "parcel_id < 110",
            incident_id="99",
            batch_id="run-1",
            check_names=("odd",),
            reason="r",
        )
    depot.contract(EASED)
    assert depot.release().moved_count == 5
    assert dict(depot.world.sql(f"SELECT incident_id, any_value(state) FROM {Q} GROUP BY 1")) == {
        depot.incident: "released",
        "99": "held",
    }


def test_a_crash_between_effect_and_record_is_healed_by_the_same_command(depot: Depot) -> None:
    class Cut(MemoryStore):
        def put_receipt(self, key: str, receipt: Receipt) -> None:
            raise KeyboardInterrupt

    depot.contract(EASED)
    store = depot.world.store
    cut = Cut()
    cut.__dict__.update(store.__dict__)
    services = replace(depot.world.services, store=cut, ledger=Ledger(store=cut, now=lambda: NOON))
    with pytest.raises(KeyboardInterrupt):
        release(services, depot.word(), is_served=False)
    (open_one,) = [intent for intent in store.intents(depot.incident) if intent.repair == "release"]
    assert open_one.receipt is None
    assert depot.loaded() == 200
    assert depot.release().moved_count == 0
    (healed,) = [intent for intent in store.intents(depot.incident) if intent.repair == "release"]
    assert healed.receipt is not None
    assert "5 rows went back" in healed.receipt.summary
    assert depot.loaded() == 200


def test_nothing_is_done_while_somebody_else_is_at_it(depot: Depot) -> None:
    depot.contract(EASED)
    world, before = depot.world, depot.world.data()
    record = world.store.incident(depot.incident)
    assert record is not None
    assert world.store.lease(lease_of(record.incident), "another", 60)
    with pytest.raises(Unavailable, match="being repaired for another incident"):
        depot.release()
    world.store.release(lease_of(record.incident), "another")
    world.engine.busy = (RunRef(engine="memory", pipeline="job", run_id="tonight"),)
    with pytest.raises(Unavailable, match="run `tonight` of `freight` is under way"):
        depot.release()
    world.engine.busy = ()
    assert world.data() == before
    assert depot.release().moved_count == 5


def test_an_incident_that_a_worker_handles_is_left_to_it(tmp_path: Path) -> None:
    world = Freight(tmp_path)
    world.land(WITH_NULLS)
    depot = Depot(world=world, incident=world.fail())
    with world.warehouse.writing() as session:
        set_aside(
            session,
            world.warehouse,
            "raw.parcels",
            "sender IS NULL",
            incident_id=depot.incident,
            batch_id="run-1",
            check_names=("not_null:sender",),
            reason="r",
        )
    with pytest.raises(Unavailable, match="is being handled"):
        release(world.services, depot.word(force=True), is_served=True)
    assert depot.release(force=True).moved_count == 5


def test_what_is_not_there_is_said_with_the_next_step(depot: Depot) -> None:
    services = depot.world.services
    with pytest.raises(InputError, match=r"no incident `77`.*mendline incidents"):
        release(services, Word(incident_id="77", decision=ANN), is_served=False)
    with pytest.raises(InputError, match="there is no dataset `crates`; there are parcels"):
        release(services, depot.word(dataset="crates"), is_served=False)
    depot.world.sql(f"UPDATE {Q} SET incident_id = '99'")
    with pytest.raises(InputError, match=r"has set no rows aside.*quarantine list"):
        depot.release()


def test_the_rows_are_shown_by_incident_and_by_dataset(depot: Depot) -> None:
    by_incident = rows(depot.world.services, depot.incident, 3)
    assert [(name, row.state, row.check_names) for name, row in by_incident] == [
        ("parcels", "held", "not_null:sender")
    ] * 3
    assert rows(depot.world.services, "parcels", 100) == rows(depot.world.services, depot.incident, 100)


STEPS = st.lists(
    st.tuples(st.sampled_from(["aside", "release", "force", "discard"]), st.sampled_from("12"), st.integers(0, 7)),
    max_size=7,
)


@pytest.fixture(scope="module")
def lawful(tmp_path_factory: pytest.TempPathFactory) -> Freight:
    """Two incidents, and a landing table without a key of which some rows fail the contract."""
    world = Freight(tmp_path_factory.mktemp("law"))
    (world.path.parent / "parcels.yaml").write_text(KEYLESS.replace("{name: city,", RULE), encoding="utf-8")
    record = world.store.incident(world.fail())
    assert record is not None
    world.store.open_incident(replace(record.incident, fingerprint="another cause"))
    world.sql(f"CREATE TABLE raw.input AS SELECT * REPLACE (parcel_id % 5 AS parcel_id) FROM ({PARCELS} LIMIT 12)")
    world.sql("UPDATE raw.input SET sender = NULL, weight = 1")  # so that there are exact copies
    return world


@settings(max_examples=6, deadline=None)
@given(steps=STEPS)
def test_held_and_loaded_and_discarded_are_always_the_input(lawful: Freight, steps: list[tuple[str, str, int]]) -> None:
    """Whatever is set aside, released and given up in whatever order: no row is lost, none is doubled."""
    lawful.land("FROM raw.input")
    lawful.sql(f"DROP TABLE IF EXISTS {Q}; DROP TABLE IF EXISTS _mendline.ledger")
    for number, (step, incident, digit) in enumerate(steps):
        decision = replace(ANN, at=NOON + timedelta(minutes=number))
        word = Word(incident_id=incident, decision=decision, is_forced=step == "force")
        try:
            if step == "aside":
                put_aside(lawful, incident, f"parcel_id % 7 < {digit}", number)
            elif step == "discard":
                give_up(lawful.services, word, is_served=False)
            else:
                release(lawful.services, word, is_served=False)
        except InputError:  # that incident has set nothing aside yet
            continue
        assert everything(lawful) == sorted(str(text) for (text,) in lawful.sql(f"SELECT {ROW} FROM raw.input"))


def everything(world: Freight) -> list[str]:
    out = f"SELECT payload FROM {Q} WHERE state <> 'released'"
    return sorted(str(text) for (text,) in world.sql(f"{out} UNION ALL SELECT {ROW} FROM raw.parcels"))


ROW = "CAST(to_json(struct_pack(parcel_id, sender, weight, city)) AS VARCHAR)"
RULE = "{name: city, logicalTypeOptions: {pattern: '^(Bern|Chur)$'},"


def put_aside(world: Freight, incident: str, where: str, number: int) -> None:
    with world.warehouse.writing() as session:
        set_aside(
            session,
            world.warehouse,
            "raw.parcels",
            f"rowid IN (SELECT rowid FROM raw.parcels WHERE {where} LIMIT 3)",
            incident_id=incident,
            batch_id="run-1",
            check_names=("odd",),
            reason="r",
            at=NOON + timedelta(minutes=number),
        )


DOSES = """
SELECT (10 + range)::INTEGER AS dose_id, CASE WHEN range % 4 = 0 THEN NULL ELSE 'nurse ' || range END AS given_by,
       (range * 37 % 900 / 10)::DECIMAL(8,2) AS amount, TIMESTAMP '2026-01-01 08:00:00' + INTERVAL (range) MINUTE AS given_at,
       DATE '2026-01-01' AS day, range % 2 = 0 AS is_first, range / 7.0 AS share
FROM range(12)"""
DOSES_CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: doses
version: 1.0.0
status: active
schema:
- name: doses
  properties:
  - {name: dose_id, logicalType: integer, primaryKey: true, required: true}
  - {name: given_by, logicalType: string, required: true}
  - {name: amount, logicalType: number, physicalType: "DECIMAL(8,2)", required: true}
"""
DOSES_EASED = DOSES_CONTRACT.replace(
    "{name: given_by, logicalType: string, required: true}", "{name: given_by, logicalType: string}"
)
ALL_DOSES = "SELECT * FROM raw.doses ORDER BY dose_id, given_by"


class Ward:
    """Every third dose has no name with it and was set aside, in whichever warehouse."""

    def __init__(self, bench: Bench, directory: Path) -> None:
        self.bench, self.directory = bench, directory
        settings = {
            "engines": {"memory": {"kind": "dagster", "dagster_home": "home", "code": {"module": "somewhere"}}},
            "pipelines": {"ward": {"engine": "memory", "job": "job"}},
            "warehouses": {"main": bench.entry},
            "datasets": {
                "doses": {
                    "pipeline": "ward",
                    "warehouse": "main",
                    "landing": "raw.doses",
                    "contract": "doses.yaml",
                    "read_by": ["sum"],
                    "quality": {"max_failing_fraction": 0.5},
                }
            },
        }
        (directory / "mendline.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        self.contract(DOSES_CONTRACT)
        store = MemoryStore()
        self.services = Services(
            config=load_config(directory / "mendline.yaml"),
            engines={"memory": MemoryEngine(upstream={"sum": ()}, failing={"sum": ("Error", "null value")})},
            warehouses={"main": bench.warehouse},
            store=store,
            ledger=Ledger(store=store, now=lambda: NOON),
        )
        engine = self.services.engines["memory"]
        assert isinstance(engine, MemoryEngine)
        failure = replace(an_incident().failures[0], run=engine.run(), root_run_id="run-1", stage="sum")
        incident = replace(an_incident(), engine="memory", pipeline="ward", failures=(failure,))
        self.incident = store.open_incident(incident).incident
        bench.replace("raw.doses", DOSES)
        self.before = bench.sql(ALL_DOSES)
        self.repair = ApplyQualityFilter()
        plan = self.repair.plan(self.context())
        assert isinstance(plan, Plan), plan
        self.plan = plan
        self.receipt = self.repair.apply(plan, self.context())

    def contract(self, text: str) -> None:
        (self.directory / "doses.yaml").write_text(text, encoding="utf-8")

    def context(self) -> ToolContext:
        return ToolContext(
            services=self.services,
            incident=self.incident,
            log=LogExcerpt(source="log", lines=(), total_count=0),
            classification=replace(a_classification(FailureType.DATA_QUALITY), confidence=0.95),
            datasets=(self.services.config.datasets["doses"],),
        )

    def release(self, *, force: bool = False) -> Decided:
        word = Word(incident_id=self.incident.id, decision=ANN, is_forced=force)
        (answer,) = release(self.services, word, is_served=False)
        return answer

    def states(self) -> dict[str, int]:
        return dict(self.bench.sql("SELECT state, count(*) FROM raw.doses__quarantine GROUP BY state"))


@pytest.fixture
def ward(bench: Bench, tmp_path: Path) -> Ward:
    ward = Ward(bench, tmp_path)
    assert (len(bench.sql(ALL_DOSES)), ward.states()) == (9, {"held": 3})
    return ward


def test_on_every_warehouse_rows_come_back_as_they_were_once_they_pass(ward: Ward) -> None:
    assert [(one.reason, one.row_count) for one in ward.release().staying] == [("not_null:given_by", 3)]
    ward.contract(DOSES_EASED)
    assert ward.release().moved_count == 3
    assert ward.release().moved_count == 0
    assert ward.bench.sql(ALL_DOSES) == ward.before
    assert ward.states() == {"released": 3}


FULL = "  quality:\n  - {metric: rowCount, mustBeLessOrEqualTo: 10}\n"
FRESH = """
  quality:
  - {name: morning, type: sql, mustBeGreaterThan: 5,
     query: "SELECT EXTRACT(minute FROM min(given_at)) + 100 * min(dose_id) - 1000 FROM {object}"}
"""


@pytest.mark.parametrize("rule", [FULL, FRESH], ids=["row count", "sql"])
def test_on_every_warehouse_a_release_that_would_break_a_rule_about_the_batch_needs_a_decision(
    ward: Ward, rule: str
) -> None:
    ward.contract(DOSES_EASED + rule)
    with pytest.raises(RefusedByPolicy, match=r"3 rows that pass.*would not hold any more.*--force"):
        ward.release()
    assert (len(ward.bench.sql(ALL_DOSES)), ward.states()) == (9, {"held": 3})
    assert ward.release(force=True).moved_count == 3
    assert ward.bench.sql(ALL_DOSES) == ward.before


def test_on_every_warehouse_a_rule_that_the_release_mends_or_never_held_does_not_forbid_it(ward: Ward) -> None:
    mended, broken = "{metric: rowCount, mustBeGreaterThan: 10}", "{metric: rowCount, mustBeGreaterThan: 50}"
    ward.contract(f"{DOSES_EASED}  quality:\n  - {mended}\n  - {broken}\n")
    assert ward.release().moved_count == 3


def test_on_every_warehouse_what_is_in_the_table_again_stays(ward: Ward) -> None:
    ward.contract(DOSES_EASED)
    ward.bench.sql(
        "INSERT INTO raw.doses SELECT dose_id + 1, 'someone', amount, given_at, day, is_first, share "
        "FROM raw.doses WHERE dose_id IN (13)"
    )  # 14 has stood in quarantine
    ward.bench.replace("raw.copy", DOSES)
    ward.bench.sql("INSERT INTO raw.doses SELECT * FROM raw.copy WHERE dose_id = 10")
    answer = ward.release()
    assert answer.moved_count == 1
    assert sorted(one.reason.split(":")[0] for one in answer.staying) == ["conflict", "stands in the table again"]
    assert ward.states() == {"released": 1, "held": 2}


def test_on_every_warehouse_rows_are_given_up_and_shown(ward: Ward) -> None:
    word = Word(incident_id=ward.incident.id, decision=ANN)
    assert give_up(ward.services, word, is_served=False)[0].moved_count == 3
    (one,) = kept(ward.services)
    assert (one.holding.state, one.holding.row_count, one.holding.decided_by) == ("discarded", 3, "ann")
    assert len(rows(ward.services, "doses", 2)) == 2
    assert ward.release(force=True).moved_count == 0


def test_on_every_warehouse_a_repair_is_undone_while_its_world_stands(ward: Ward) -> None:
    assert ward.repair.obstacle(ward.receipt, ward.context()) == ""
    repairs = {ward.repair.name: ward.repair}
    (one,) = undo(ward.services, repairs, ward.incident.id, by="ann", at=NOON, is_served=False)
    assert one.undone_at is not None
    assert ward.bench.sql(ALL_DOSES) == ward.before


def test_on_every_warehouse_an_undo_says_what_stands_in_its_way(ward: Ward) -> None:
    ward.release(force=True)
    repairs = {ward.repair.name: ward.repair}
    (one,) = undo(ward.services, repairs, ward.incident.id, by="bob", at=NOON, is_served=False)
    assert f"rows of incident `{ward.incident.id}` were released by ann" in one.obstacle
    assert ward.states() == {"released": 3}


def test_on_every_warehouse_a_quarantine_from_before_the_states_is_brought_up(ward: Ward) -> None:
    for column in ("state", "left_count", "decided_at", "decided_by", "note"):
        ward.bench.sql(f"ALTER TABLE raw.doses__quarantine DROP COLUMN {column}")
    (one,) = kept(ward.services)
    assert (one.holding.state, one.holding.row_count) == ("held", 3)
    assert len(rows(ward.services, "doses", 9)) == 3
    ward.contract(DOSES_EASED)
    assert ward.release().moved_count == 3
    assert ward.bench.sql(ALL_DOSES) == ward.before


@pytest.mark.parametrize("seed", range(2))
def test_on_every_warehouse_no_row_is_lost_or_doubled_by_any_order_of_steps(bench: Bench, seed: int) -> None:
    """Two incidents set copies of the same rows aside, put them back, take them back and give them up."""
    dice, warehouse = random.Random(seed), bench.warehouse
    bench.replace("raw.t", "SELECT range % 3 AS a, 'x' AS b FROM range(12)")
    address = warehouse.idiom.address
    odd = RowCheck(name="odd", kind="custom", columns=("a",), failing_sql="COALESCE((a = 1), FALSE)")
    input_count = bench.sql("SELECT a, count(*) FROM raw.t GROUP BY a ORDER BY a")
    for number in range(10):
        at, incident = NOON + timedelta(minutes=number), dice.choice("12")
        some = f"{address} IN (SELECT {address} FROM raw.t WHERE a = {dice.randrange(3)} LIMIT {dice.randrange(1, 4)})"
        conditions = dice.choice([None, Conditions(checks=(odd,)), Conditions(checks=())])
        with warehouse.writing() as session:
            match dice.choice(["aside", "aside", "release", "restore", "discard"]):
                case "aside":
                    set_aside(
                        session,
                        warehouse,
                        "raw.t",
                        some,
                        incident_id=incident,
                        batch_id="b",
                        check_names=("odd",),
                        reason="law",
                        at=at,
                    )
                case "release":
                    put_in(session, warehouse, "raw.t", incident, decision=replace(ANN, at=at), conditions=conditions)
                case "restore":
                    restore(session, warehouse, "raw.t", incident_id=incident)
                case _ if number > 6:
                    discard(session, warehouse, "raw.t", incident, replace(ANN, at=at))
        with warehouse.reading() as session:
            schema, kept_ones = session.schema("raw.t"), session.schema("raw.t__quarantine")
        assert schema is not None
        source = "SELECT payload FROM raw.t__quarantine WHERE state <> 'released'"
        held = warehouse.idiom.rows_of(schema.columns, source)
        everything = "SELECT * FROM raw.t" + (f" UNION ALL {held}" if kept_ones else "")
        assert bench.sql(f"SELECT a, count(*) FROM ({everything}) AS o GROUP BY a ORDER BY a") == input_count
