"""The reference pipeline, run for real: healthy days are green, every re-run gives the same rows, failures are real ones."""

from __future__ import annotations

import logging
import os
import resource
import signal
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import httpx
import pytest

from mendline.config import load_config
from mendline.demo.pipeline import STAGES, run_stage
from mendline.demo.servers import behaviour
from mendline.demo.servers.behaviour import Reply
from mendline.demo.stages.context import StageContext, open_context
from mendline.demo.world import Servers, World, create_world

SCALE = 0.002
LOG = logging.getLogger("retail")
BY_NAME = {stage.name: stage for stage in STAGES}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Three days of sources, of which two have been run by the scheduler; never changed by a test."""
    world = create_world(tmp_path_factory.mktemp("retail") / "base", seed=7, scale=SCALE, days=3)
    with world.open_servers():
        assert world.run_day(world.day(1)).succeeded
        assert world.run_day(world.day(2)).succeeded
    return world


@pytest.fixture
def world(healthy: World, tmp_path: Path) -> World:
    """A copy to break."""
    return healthy.clone(tmp_path / "world")


@pytest.fixture
def servers(world: World) -> Iterator[Servers]:
    with world.open_servers() as opened:
        yield opened


def _context(world: World, number: int) -> StageContext:
    return open_context(world.directory, world.day(number), LOG)


def _checksums(world: World) -> dict[str, tuple[int, int, int]]:
    """Table -> (rows, xor and sum of the rows' hashes), for every table that the pipeline builds or lands."""
    with duckdb.connect(str(world.warehouse), read_only=True) as db:
        tables = db.execute(
            "SELECT table_schema || '.' || table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
        ).fetchall()
        return {name: _checksum(db, name) for (name,) in tables}


def _checksum(db: duckdb.DuckDBPyConnection, table: str) -> tuple[int, int, int]:
    row = db.execute(
        f"SELECT count(*), coalesce(bit_xor(hash(t)), 0), coalesce(sum(hash(t)), 0) FROM {table} t"
    ).fetchone()
    assert row is not None
    return row


def _rows(world: World, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(world.warehouse), read_only=True) as db:
        return db.execute(query).fetchall()


def test_healthy_days_publish_marts_that_agree_with_their_sources(healthy: World) -> None:
    counts = _rows(
        healthy, "SELECT business_date, count(*), count(DISTINCT country) FROM mart.order_overview GROUP BY 1"
    )
    assert sorted(counts) == [(date(2026, 3, 2), 440, 8), (date(2026, 3, 3), 440, 8)]
    assert _rows(healthy, "SELECT DISTINCT payment_status FROM mart.order_overview") == [("paid",)]
    assert _rows(healthy, "SELECT sum(shipment_count) FROM mart.delivery") == [(2 * 360,)]
    (funnel,) = _rows(healthy, "SELECT sum(event_count), count(DISTINCT event_type) FROM mart.web_funnel")
    assert funnel == (2 * 2600, 4)
    assert _rows(healthy, "SELECT count(*) FROM mart.daily_sales WHERE amount <= 0 OR paid_amount <> amount") == [(0,)]


def test_a_healthy_day_lands_with_exactly_the_types_of_the_migration(healthy: World, tmp_path: Path) -> None:
    columns = "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'landing'"
    fresh = create_world(tmp_path / "fresh", scale=SCALE, days=0)
    assert sorted(_rows(healthy, columns)) == sorted(_rows(fresh, columns))


def test_days_and_seeds_differ_but_the_same_seed_is_the_same_world(healthy: World, tmp_path: Path) -> None:
    def keys(world: World, number: int) -> list[tuple[object, ...]]:
        with duckdb.connect() as db:
            return db.execute(
                f"FROM read_csv('{world.payments_file(world.day(number))}', all_varchar = true)"
            ).fetchall()

    again = create_world(tmp_path / "again", seed=7, scale=SCALE, days=1)
    other = create_world(tmp_path / "other", seed=8, scale=SCALE, days=1)
    assert keys(again, 1) == keys(healthy, 1)
    assert keys(other, 1) != keys(healthy, 1)
    assert keys(healthy, 2) != keys(healthy, 1)


def test_running_a_day_again_gives_the_same_warehouse_to_the_row(world: World, servers: Servers) -> None:
    before = _checksums(world)
    assert world.run_day(world.day(2)).succeeded
    assert _checksums(world) == before


def test_running_any_stage_again_gives_the_same_warehouse_to_the_row(world: World, servers: Servers) -> None:
    before = _checksums(world)
    for stage in STAGES:
        assert run_stage(stage, _context(world, 2)) > 0
        assert _checksums(world) == before, stage.name
    assert not list((world.directory / "spool").glob("*.jsonl"))


def test_the_engine_runs_selected_stages_only(world: World, servers: Servers) -> None:
    assert world.run_day(world.day(2), stages=("dim_product",)).succeeded
    assert not servers.crm.requests


def test_a_late_rerun_of_an_earlier_day_is_refused_by_the_stages_that_read_landing(world: World) -> None:
    before = _checksums(world)
    for name in ("stage_orders", "stage_payments", "dim_customer", "dim_product"):
        with pytest.raises(ValueError, match=r"landing\.\w+ holds 2026-03-03, not 2026-03-02: run extract_"):
            run_stage(BY_NAME[name], _context(world, 1))
    assert _checksums(world) == before


def test_mendline_yaml_is_valid_and_follows_the_world_when_it_is_cloned(world: World, servers: Servers) -> None:
    config = load_config(world.config_file)
    assert set(config.datasets) == {"orders", "customers", "web_events", "products", "payments", "shipments"}
    assert config.engines["dagster"].env["RETAIL_WORLD"] == str(world.directory)
    for name in ("crm", "carrier"):
        source = config.sources[name]
        assert source.kind == "http"
        headers = {key: value.get_secret_value() for key, value in source.headers.items()}
        answer = httpx.get(source.url.get_secret_value(), headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, source.expect_content_type)


@pytest.mark.parametrize(
    ("mood", "error"),
    [
        (behaviour.answering(Reply(status=503)), httpx.HTTPStatusError),
        (behaviour.answering(Reply(status=200, body=b"<html>", content_type="text/html")), ValueError),
        (behaviour.slow(0.5), httpx.ReadTimeout),
        (behaviour.reset_mid_body(), httpx.ReadError),
    ],
    ids=["503", "html", "slow", "reset"],
)
def test_a_misbehaving_api_fails_the_extract_with_a_real_error_of_its_client(
    world: World, servers: Servers, mood: behaviour.Behaviour, error: type[Exception]
) -> None:
    world.update_settings({"http": {"timeout_seconds": 0.2}})
    servers.carrier.behaviour = behaviour.for_the_first(1, mood)
    before = _checksums(world)
    with pytest.raises(error):
        run_stage(BY_NAME["extract_shipments"], _context(world, 2))
    assert _checksums(world) == before
    run_stage(BY_NAME["extract_shipments"], _context(world, 2))
    assert _checksums(world) == before


def test_an_expired_token_is_renewed_on_the_way_and_refused_credentials_are_an_error(
    world: World, servers: Servers
) -> None:
    world.update_settings({"crm": {"page_size": 50}})

    def expire(request: behaviour.Request) -> None:
        if request.query.get("page") == "2":
            servers.crm.behaviour = behaviour.healthy
            servers.crm.expire_tokens()

    servers.crm.behaviour = behaviour.calling(expire)
    assert run_stage(BY_NAME["extract_customers"], _context(world, 2)) == 120
    assert sum(request.path == "/oauth/token" for request in servers.crm.requests) == 2
    world.update_settings({"crm": {"client_secret": "revoked"}})
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        run_stage(BY_NAME["extract_customers"], _context(world, 2))


def test_extracts_land_whatever_columns_the_source_sends(world: World, servers: Servers) -> None:
    servers.crm.change_record = lambda record: {**record, "nickname": "x"}
    run_stage(BY_NAME["extract_customers"], _context(world, 2))
    assert _rows(world, "SELECT DISTINCT nickname FROM landing.customers") == [("x",)]


def test_a_payments_line_that_is_too_long_or_not_utf8_lands_and_is_refused_by_the_stage_that_reads(
    world: World,
) -> None:
    file = world.payments_file(world.day(2))
    lines = file.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].rstrip(b"\n") + b";extra\n"
    lines[5] = lines[5].rstrip(b"\n") + b"\xff\n"
    file.write_bytes(b"".join(lines))
    run_stage(BY_NAME["extract_payments"], _context(world, 2))
    odd = "SELECT _line_number, _field_count FROM landing.payments WHERE _field_count <> 7 OR payer_reference LIKE '%\\xff'"
    assert _rows(world, odd) == [(4, 8), (6, 7)]
    with pytest.raises(ValueError, match="1 lines do not have 7 fields, the first is line 4 with 8"):
        run_stage(BY_NAME["stage_payments"], _context(world, 2))


def test_a_trailer_that_does_not_match_fails_the_stage_that_reads_the_payments(world: World) -> None:
    file = world.payments_file(world.day(2))
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[:-3] + lines[-1:]), encoding="utf-8")
    assert run_stage(BY_NAME["extract_payments"], _context(world, 2)) == 438
    with pytest.raises(ValueError, match="the trailer announces 440 payments but the file has 438 data lines"):
        run_stage(BY_NAME["stage_payments"], _context(world, 2))


def test_a_deployed_release_runs_in_place_of_the_built_in_stage(world: World) -> None:
    world.deployed("dim_product").write_text("def dim_product(context):\n    return 1 // 0\n", encoding="utf-8")
    with pytest.raises(ZeroDivisionError):
        run_stage(BY_NAME["dim_product"], _context(world, 2))


def test_limits_reach_the_process_of_one_run_only(world: World, servers: Servers) -> None:
    assert not world.run_day(world.day(2), limits={resource.RLIMIT_NOFILE: 12}).succeeded
    assert world.run_day(world.day(2), stages=("dim_product",)).succeeded


def test_a_killed_run_says_which_signal_ended_it(world: World, servers: Servers) -> None:
    pids: list[int] = []

    def kill(request: behaviour.Request) -> None:
        if request.path == "/v2/customers":
            os.kill(pids[0], signal.SIGKILL)

    servers.crm.behaviour = behaviour.calling(kill)
    result = world.run_day(world.day(3), on_start=pids.append)
    assert (result.succeeded, result.signal) == (False, signal.SIGKILL)
