"""Faults of the nightly shell script that totals consignments per lane."""

from __future__ import annotations

import gzip
import os
import resource
import signal
import subprocess
from pathlib import Path

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program
from corpus.lab.faults import limited

INBOX = "inbox/consignments.psv.gz"
HEADER = "consignment|origin|destination|gross_kg|declared_eur"


def _lines(count: int) -> list[str]:
    ports = ("HAM", "RTM", "ANR", "GDN", "LEH")
    return [
        f"CN{n * 7919 % 1_000_000:07d}|{ports[n % 5]}|{ports[(n // 5 + 1) % 5]}|{200 + n % 900}.{n % 10}|{1500 + n % 7000}"
        for n in range(count)
    ]


def deliver(bench: Bench, lines: list[str], header: str = HEADER) -> None:
    bench.path(INBOX).write_bytes(gzip.compress("\n".join([header, *lines, ""]).encode(), compresslevel=1))


def world(bench: Bench) -> None:
    deliver(bench, _lines(90_000))


NIGHTLY = Program(name="freight", command=("bash", "nightly.sh"), files=("nightly.sh", "lanes.py"), world=world)
CRON = Program(
    name="freight_cron",
    command=("bash", "cron.sh", "consignments", "bash", "nightly.sh"),
    files=("cron.sh", "nightly.sh", "lanes.py"),
    world=world,
)


def _term_added(bench: Bench) -> None:
    rows = [line.split("|") for line in _lines(30_000)]
    lines = ["|".join([*row[:3], "FOB" if n % 2 else "DAP", *row[3:]]) for n, row in enumerate(rows)]
    deliver(bench, lines, "consignment|origin|destination|incoterm|gross_kg|declared_eur")


def _declared_dropped(bench: Bench) -> None:
    deliver(bench, [line.rpartition("|")[0] for line in _lines(30_000)], HEADER.rpartition("|")[0])


def _cut(bench: Bench) -> None:
    whole = bench.path(INBOX).read_bytes()
    bench.path(INBOX).write_bytes(whole[: len(whole) * 2 // 3])


def _twice(bench: Bench) -> None:
    lines = _lines(30_000)
    deliver(bench, [*lines, *lines[4100:4160]])


def _weightless(bench: Bench) -> None:
    lines = [line if "LEH|GDN" not in line else f"{line.rsplit('|', 2)[0]}|0.0|0" for line in _lines(30_000)]
    deliver(bench, lines)


def small_disk(name: str, size: str, variable: str) -> Prepare:
    """Put a small file system where the program works."""

    def mount(bench: Bench) -> None:
        bench.mount(name, f"size={size}")
        bench.env[variable] = name

    return mount


def kill_member(text: str, name: str, number: int = signal.SIGKILL, *, member: int | None = None) -> Prepare:
    """Kill the program's processes of this name, or the one of this age, when its log holds the text; the others live on."""

    def inject(bench: Bench) -> None:
        def act(process: subprocess.Popen[bytes]) -> None:
            for pid in _chosen(_members(process.pid, name), member):
                os.kill(pid, number)

        bench.when(text, act)

    return inject


def _chosen(pids: list[int], member: int | None) -> list[int]:
    return pids if member is None else [pids[member]]


def _members(group: int, name: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) == group and name in (entry / "comm").read_text():
                    found.append(int(entry.name))
            except (ProcessLookupError, FileNotFoundError):
                continue
    return sorted(found)


def _nobody(bench: Bench) -> None:
    subprocess.run(["chown", "-R", "nobody", str(bench.directory)], check=True)
    subprocess.run(["chown", "root", str(bench.path("out/x").parent)], check=True)
    bench.command = ("setpriv", "--reuid=65534", "--clear-groups", *bench.command)


def _few_processes(bench: Bench) -> None:
    subprocess.run(["chown", "-R", "64000", str(bench.directory)], check=True)
    bench.command = ("setpriv", "--reuid=64000", "--clear-groups", "prlimit", "--nproc=2", *bench.command)


CASES = (
    Case(
        name="freight_incoterm_between",
        family="added",
        cause="the sender put a field incoterm between destination and gross_kg",
        program=NIGHTLY,
        inject=_term_added,
        trap="surfaces as a value that is no number; the header in the log tells",
    ),
    Case(
        name="freight_declared_gone",
        family="removed",
        cause="the field declared_eur is not delivered any more",
        program=CRON,
        inject=_declared_dropped,
        trap="surfaces as an invalid operation on a decimal, as bad values would; the logged header lacks the field",
    ),
    Case(
        name="freight_archive_cut",
        family="malformed",
        subtype="truncated_file",
        cause="the archive ends after two thirds",
        program=NIGHTLY,
        inject=_cut,
    ),
    Case(
        name="freight_consignments_twice",
        family="duplicate",
        cause="sixty consignments are in the file twice",
        program=NIGHTLY,
        inject=_twice,
        trap="surfaces as `disorder` of a sorted stream",
    ),
    Case(
        name="freight_lane_without_weight",
        family="range",
        subtype="division_by_zero",
        cause="all consignments of one lane weigh nothing",
        program=CRON,
        inject=_weightless,
        trap="looks like a bug of the code",
    ),
    Case(
        name="freight_spill_full",
        family="disk",
        cause="the file system of the work area is full while the sort spills",
        program=NIGHTLY,
        inject=small_disk("spare", "8m", "WORK"),
    ),
    Case(
        name="freight_file_size_limit",
        family="disk",
        subtype="file_too_large",
        cause="the job may write no file above 1.5 MB",
        program=CRON,
        inject=limited(resource.RLIMIT_FSIZE, 1_500_000),
        trap="gzip is ended by a signal, the shell says so in passing",
    ),
    Case(
        name="freight_lanes_killed",
        family="killed",
        cause="the kernel killed the python step",
        program=CRON,
        inject=kill_member("lanes INFO 20000 consignments", "python3"),
    ),
    Case(
        name="freight_no_more_processes",
        family="limit",
        cause="the account may run two processes only",
        program=NIGHTLY,
        inject=_few_processes,
    ),
    Case(
        name="freight_out_not_ours",
        family="permission",
        cause="the output folder belongs to another account",
        program=NIGHTLY,
        inject=_nobody,
    ),
    Case(
        name="freight_not_delivered",
        family="missing_input",
        cause="no archive came today",
        program=CRON,
        inject=lambda bench: bench.path(INBOX).unlink(),
    ),
    Case(
        name="freight_stopped_by_hand",
        family="interrupted",
        cause="an operator stopped the job",
        program=NIGHTLY,
        inject=kill_member("lanes INFO 20000 consignments", "python3", signal.SIGINT),
        trap="a traceback out of the csv reader",
    ),
)
