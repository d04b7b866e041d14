"""Faults that no playbook covers: a bug, a missing permission, a log that says nothing."""

from __future__ import annotations

import stat
from collections.abc import Callable

from mendline.demo.faults.base import Fault, Injection, Site, deployed
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

# File permissions are no barrier to root, which is what pipelines in containers often are; a hardened release gives up
# the two capabilities (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH) that make it so.
HARDENED_RELEASE = '''"""Hardened release: reads the catalogue with the rights of an ordinary process."""

import ctypes

from mendline.demo.stages import extract_files

CAPABILITY_VERSION = 0x20080522
MAY_IGNORE_PERMISSIONS = (1 << 1) | (1 << 2)

def extract_products(context):
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()
    if libc.capget(header, sets) == 0:
        sets[0] &= ~MAY_IGNORE_PERMISSIONS
        sets[1] &= ~MAY_IGNORE_PERMISSIONS
        libc.capset(header, sets)
    return extract_files.extract_products(context)
'''


def _locked(site: Site) -> Injection:
    path = site.world.products_file(site.day)
    path.chmod(path.stat().st_mode & ~(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH))
    return deployed("extract_products", HARDENED_RELEASE)(site)


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
        deployed("publish_daily_mart", BUGGY_RELEASE),
        "publish_daily_mart",
    ),
    _escalated(
        "permission_missing", "a hardened release may not read the catalogue's file", _locked, "extract_products"
    ),
    _escalated(
        "log_says_nothing",
        "a release of publish_daily_mart calls a program that exits with 1 and prints nothing",
        deployed("publish_daily_mart", SILENT_RELEASE),
        "publish_daily_mart",
    ),
)
