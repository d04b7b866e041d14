"""What the reference pipeline promises without running: its DAG, its contracts, its type mapping, its servers' moods."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import sqlalchemy as sa

from mendline.contracts import load_contract
from mendline.demo.pipeline import STAGES
from mendline.demo.servers import behaviour
from mendline.demo.servers.behaviour import Reply, Request
from mendline.demo.stages.extract_orders import landing_type
from mendline.demo.world import _merged

CONTRACTS = Path(str(files("mendline.demo").joinpath("contracts")))
DATASETS = ("orders", "customers", "web_events", "products", "payments", "shipments")


def _request(number: int, path: str = "/x") -> Request:
    return Request(number=number, method="GET", path=path, query={}, headers={})


def test_the_dag_has_fifteen_stages_and_each_waits_only_for_earlier_ones() -> None:
    seen: set[str] = set()
    for stage in STAGES:
        assert seen.issuperset(stage.after)
        seen.add(stage.name)
    assert len(seen) == 15
    assert sum(name.startswith("extract_") for name in seen) == 6


def test_the_contract_view_of_orders_is_read_by_five_stages_directly() -> None:
    readers = {stage.name for stage in STAGES if "extract_orders" in stage.after}
    assert readers == {"stage_orders", "stage_web_events", "stage_payments", "stage_shipments", "dim_customer"}


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_source_dataset_has_a_contract_with_key_owner_and_runbook(dataset: str) -> None:
    contract = load_contract(CONTRACTS / f"{dataset}.odcs.yaml", dataset)
    assert contract.owner
    assert contract.runbook
    assert [column.name for column in contract.columns if column.is_primary_key]
    assert [rule.kind for rule in contract.table_rules if rule.kind == "row_count"]


def test_foreign_keys_point_at_properties_that_exist() -> None:
    contracts = {name: load_contract(CONTRACTS / f"{name}.odcs.yaml", name) for name in DATASETS}
    references = [column.references for c in contracts.values() for column in c.columns if column.references]
    assert len(references) == 4
    for reference in references:
        dataset, column = reference.split(".")
        assert column in {found.name for found in contracts[dataset].columns}


@pytest.mark.parametrize(
    ("declared", "landed"),
    [
        (sa.INTEGER(), "INTEGER"),
        (sa.BIGINT(), "BIGINT"),
        (sa.NUMERIC(10, 2), "DECIMAL(10,2)"),
        (sa.FLOAT(), "DOUBLE"),
        (sa.TEXT(), "VARCHAR"),
        (sa.TIMESTAMP(), "TIMESTAMP"),
        (sa.types.NullType(), "VARCHAR"),
    ],
)
def test_orders_land_with_the_type_that_the_source_declares(declared: sa.types.TypeEngine[object], landed: str) -> None:
    assert landing_type(declared) == landed


def test_a_server_misbehaves_exactly_as_often_as_it_was_told() -> None:
    bad, good = Reply(status=503), Reply()
    mood = behaviour.for_the_first(2, behaviour.answering(bad), lambda request: request.path == "/data")
    paths = ("/token", "/data", "/data", "/token", "/data")
    found = [mood(_request(number, path), lambda: good).status for number, path in enumerate(paths, start=1)]
    assert found == [200, 503, 503, 200, 200]


def test_slow_and_reset_keep_the_healthy_body() -> None:
    good = Reply(body=b"{}", headers={"X": "1"})
    late = behaviour.slow(3.0)(_request(1), lambda: good)
    cut = behaviour.reset_mid_body(1)(_request(1), lambda: good)
    assert (late.body, late.headers, late.delay_s) == (b"{}", {"X": "1"}, 3.0)
    assert (cut.body, cut.reset_after) == (b"{}", 1)


def test_changed_settings_leave_their_neighbours_alone() -> None:
    old = {"crm": {"url": "a", "key": "k"}, "seed": 1}
    assert _merged(old, {"crm": {"url": "b"}}) == {"crm": {"url": "b", "key": "k"}, "seed": 1}
    assert old["crm"] == {"url": "a", "key": "k"}
