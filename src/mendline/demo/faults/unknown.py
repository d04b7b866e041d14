"""Faults that no playbook covers: a bug, a missing permission, a log that says nothing."""

from __future__ import annotations

import stat
from collections.abc import Callable

from mendline.demo.faults.base import Fault, Injection, Site
from mendline.demo.oracle import EndState
from mendline.incident import FailureType

# What a hasty release looks like: right on the days on which every channel sold something.
BUGGY_RELEASE = '''"""Release candidate: share of each channel in the day's sales."""

def publish_daily_mart(context):
    with context.warehouse() as db:
        rows = db.execute(
            "SELECT channel, count(*) FROM core.fct_sales WHERE business_date = ? GROUP BY channel", [context.day]
        ).fetchall()
    sold = dict(rows)
    context.log.info("channels of %s: %s", context.day, sold)
    return sum(count / sold.get(f"{channel}_returns", 0) for channel, count in sold.items())
'''

# The export tool is a foreign program: it ends with 1 and tells nobody why.
SILENT_RELEASE = '''"""Release candidate: hands the mart over to the export tool."""

import subprocess

def publish_daily_mart(context):
    context.log.info("handing %s over to the export tool", context.day)
    subprocess.run(["false"], check=True)
    return 0
'''


def _deployed(stage: str, code: str) -> Callable[[Site], Injection]:
    def inject(site: Site) -> Injection:
        path = site.world.deployed(stage)
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")
        return Injection()

    return inject


def _locked(site: Site) -> Injection:
    path = site.world.products_file(site.day)
    path.chmod(path.stat().st_mode & ~(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH))
    return Injection(drop_privileges=True)


def _escalated(name: str, summary: str, inject: Callable[[Site], Injection], failing_stage: str) -> Fault:
    return Fault(
        name=name,
        summary=summary,
        inject=inject,
        expected_type=FailureType.UNKNOWN,
        expected_outcomes=("escalated",),
        end_state=EndState.UNTOUCHED,
        failing_stages=(failing_stage,),
    )


FAULTS = (
    _escalated(
        "bug_in_a_stage",
        "a release of publish_daily_mart divides by zero",
        _deployed("publish_daily_mart", BUGGY_RELEASE),
        "publish_daily_mart",
    ),
    _escalated(
        "permission_missing", "the catalogue's file may not be read by the pipeline", _locked, "extract_products"
    ),
    _escalated(
        "log_says_nothing",
        "a release of publish_daily_mart calls a program that exits with 1 and prints nothing",
        _deployed("publish_daily_mart", SILENT_RELEASE),
        "publish_daily_mart",
    ),
)
