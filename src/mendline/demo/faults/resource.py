"""Faults of resources: too little memory, a full disk, a killed process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from mendline.demo.faults.api import for_data
from mendline.demo.faults.base import Fault, Injection, Site, deployed
from mendline.demo.oracle import EndState
from mendline.demo.servers.behaviour import Request, calling, for_the_first
from mendline.incident import FailureType

EXPORTING_RELEASE = '''"""Release candidate: also writes the day's overview to the export disk."""

import csv

from mendline.demo.stages import modelling

def publish_daily_mart(context):
    published = modelling.publish_daily_mart(context)
    with context.warehouse() as db, open(context.directory / "export" / "order_overview.csv", "w") as file:
        rows = db.execute("FROM mart.order_overview WHERE business_date = ?", [context.day]).fetchall()
        context.log.info("exporting %d rows to %s", len(rows), file.name)
        csv.writer(file).writerows(rows)
    return published
'''
# Every write to this device fails with ENOSPC, from the kernel itself.
FULL_DEVICE = Path("/dev/full")


def _little_memory(site: Site) -> Injection:
    # Less than one buffer of the engine's JSON reader: no extract that lands JSON can succeed, at any scale.
    site.world.update_settings({"duckdb": {"memory_limit": "24MB"}})
    return Injection()


def _full_disk(site: Site) -> Injection:
    export = site.world.directory / "export"
    export.mkdir()
    (export / "order_overview.csv").symlink_to(FULL_DEVICE)
    return deployed("publish_daily_mart", EXPORTING_RELEASE)(site)


def _killed(site: Site) -> Injection:
    """Kill the run's process, as the kernel's memory killer does, while it waits for the carrier's answer."""
    process_id = 0
    known = threading.Event()

    def on_start(started: int) -> None:
        nonlocal process_id
        process_id = started
        known.set()

    def kill(_request: Request) -> None:
        if known.wait(timeout=30):
            os.kill(process_id, signal.SIGKILL)

    site.servers.carrier.behaviour = for_the_first(1, calling(kill), for_data)
    return Injection(on_start=on_start)


def _escalated(name: str, summary: str, inject: Callable[[Site], Injection], *failing_stages: str) -> Fault:
    return Fault(
        name=name,
        summary=summary,
        inject=inject,
        expected_type=FailureType.RESOURCE,
        expected_outcomes=("escalated",),
        end_state=EndState.UNTOUCHED,
        failing_stages=failing_stages,
    )


FAULTS = (
    _escalated(
        "memory_limit_too_small",
        "the warehouse may use too little memory to land what the sources send",
        _little_memory,
        "extract_orders",
        "extract_customers",
        "extract_web_events",
        "extract_payments",
        "extract_shipments",
    ),
    _escalated(
        "disk_full",
        "the disk that a release of publish_daily_mart exports to is full",
        _full_disk,
        "publish_daily_mart",
    ),
    _escalated("process_killed", "the run's process is killed in the middle of a stage", _killed),
)
