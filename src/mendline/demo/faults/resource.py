"""Faults of resources: too little memory, a full disk, a killed process."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from typing import Any

from mendline.demo.faults.api import for_data
from mendline.demo.faults.base import Fault, Injection, Site
from mendline.demo.oracle import EndState
from mendline.demo.servers.behaviour import Request, calling, for_the_first
from mendline.incident import FailureType


def _limited(site: Site, **duckdb: Any) -> Injection:
    site.world.update_settings({"duckdb": duckdb})
    return Injection()


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


def _escalated(name: str, summary: str, inject: Any, *failing_stages: str) -> Fault:
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
        "the warehouse may use too little memory for a stage",
        partial(_limited, memory_limit="4MB"),
        "stage_web_events",
    ),
    _escalated("disk_full", "the spool's disk is full", partial(_limited, memory_limit="8MB"), "extract_customers"),
    _escalated("process_killed", "the run's process is killed in the middle of a stage", _killed),
)
