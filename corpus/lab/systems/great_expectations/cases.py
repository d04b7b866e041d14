"""Great Expectations: a food bank's weekly intake is validated and published."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import as_nobody, edited, kill_children, limited, recoded, unreachable, unset
from corpus.lab.services import web

CATEGORIES = ("dairy", "bread", "vegetables", "tinned")


def world(bench: Bench) -> None:
    rows = [
        f"FB-{n:05d},Donor {n % 30},{CATEGORIES[n % 4]},{5 + n % 60}.5,2026-05-0{n % 7 + 1},{2 + n % 5}.0"
        for n in range(1, 401)
    ]
    bench.write("intake.csv", "\n".join(["intake_id,donor,category,kilos,received,temperature", *rows]) + "\n")
    donors = [f"Donor {n},{('north', 'south', 'harbour')[n % 3]}" for n in range(30)]
    bench.write("donors.csv", "\n".join(["donor,region", *donors]) + "\n")
    server = web.serve(bench, {"/categories": [web.Reply(200, list(CATEGORIES))]})
    bench.env["CATALOGUE_URL"] = server.url


INTAKE = Program(name="intake", command=("{python}", "validate_intake.py"), files=("validate_intake.py",), world=world)
WRAPPED = Program(
    name="intake_weekly",
    command=(
        "bash",
        "-c",
        "{python} validate_intake.py; rc=$?; echo \"$(date '+%F %T') weekly: intake exited with $rc\"; exit $rc",
    ),
    files=("validate_intake.py",),
    world=world,
)


def _case(
    name: str,
    family: str,
    inject: Prepare,
    cause: str,
    *,
    program: Program = INTAKE,
    trap: str = "",
    subtype: str = "",
    keep: str = "all",
) -> Case:
    return Case(
        name=name, family=family, cause=cause, program=program, inject=inject, trap=trap, subtype=subtype, keep=keep
    )


def _rows(change: Callable[[list[str]], list[str]]) -> Prepare:
    """Change the cells of every row of the intake."""

    def inject(bench: Bench) -> None:
        lines = bench.path("intake.csv").read_text(encoding="utf-8").splitlines()
        bench.write("intake.csv", "\n".join(",".join(change(line.split(","))) for line in lines) + "\n")

    return inject


def _replies(*replies: web.Reply) -> Prepare:
    return web.answers("/categories", *replies)


def _kilos_with_unit(cells: list[str]) -> list[str]:
    return cells if cells[3] == "kilos" else [*cells[:3], cells[3] + " kg", *cells[4:]]


def _short(bench: Bench) -> None:
    lines = bench.path("intake.csv").read_text(encoding="utf-8").splitlines()
    bench.write("intake.csv", "\n".join(lines[:61]) + "\n")


def _full_disk(bench: Bench) -> None:
    bench.mount("share", "size=8k")
    bench.env["PUBLISH_TO"] = "share"


def _read_only(bench: Bench) -> None:
    bench.path("share").mkdir(mode=0o755)
    bench.env["PUBLISH_TO"] = "share"
    as_nobody(bench)


def _two_seconds(bench: Bench) -> None:
    bench.command = ("bash", "-c", f"ulimit -S -t 2; {bench.command[2]}")


def _kill(bench: Bench) -> None:
    bench.when("catalogue answered", kill_children)


SHAPE = (
    _case(
        "column_renamed",
        "renamed",
        edited("intake.csv", "kilos", "weight_kg", 1),
        "the file's kilos is called weight_kg",
        trap="several checks fail with exceptions after it",
    ),
    _case(
        "column_added",
        "added",
        _rows(lambda cells: [*cells, "timeout" if cells[0] == "intake_id" else "0"]),
        "the file has a further column",
        subtype="column_added",
        trap="the new column is called timeout",
    ),
    _case(
        "columns_reordered",
        "contract",
        _rows(lambda cells: [cells[0], cells[2], cells[1], *cells[3:]]),
        "donor and category changed places",
    ),
    _case(
        "kilos_carry_units",
        "retyped",
        _rows(_kilos_with_unit),
        "kilos is a text with a unit in every row now",
        trap="every value fails the range check too",
    ),
)
VALUES = (
    _case("donor_missing", "null", edited("intake.csv", "FB-00123,Donor 3,", "FB-00123,,"), "one intake has no donor"),
    _case("intake_twice", "duplicate", edited("intake.csv", "FB-00200,", "FB-00199,"), "one intake stands twice"),
    _case("file_too_short", "volume", _short, "sixty rows where four hundred are usual", subtype="incomplete"),
    _case("latin1", "encoding", recoded("intake.csv", "Donor 17", "Café Lümmel"), "the file came as latin-1"),
    _case(
        "donor_not_registered",
        "orphan",
        edited("intake.csv", "Donor 21,", "HTTP 503 Service Unavailable,"),
        "a donor that nobody registered",
        trap="the donor's name is an error text",
    ),
    _case(
        "unreadable_day",
        "unparsable",
        edited("intake.csv", "FB-00300,Donor 0,dairy,5.5,2026-05-07", "FB-00300,Donor 0,dairy,5.5,07/05/2026"),
        "one day is written the other way",
        subtype="invalid_date",
    ),
)
REMOTE = (
    _case("catalogue_down", "outage", _replies(web.page(503)), "the catalogue is down"),
    _case(
        "catalogue_refused",
        "refused",
        unreachable("CATALOGUE_URL"),
        "nobody listens at the catalogue",
    ),
    _case(
        "catalogue_page",
        "protocol",
        _replies(web.Reply(200, "<html><body>Validation service portal</body></html>", {"Content-Type": "text/html"})),
        "a page with status 200",
        subtype="outage_page",
        trap="surfaces as a JSON error",
    ),
    _case(
        "catalogue_cut",
        "reset",
        _replies(web.Reply(200, list(CATEGORIES) * 50, ending="cut")),
        "the answer breaks off",
        subtype="connection_lost",
    ),
)
LIMITS = (
    _case(
        "published_file_too_large",
        "disk",
        limited(resource.RLIMIT_FSIZE, 3000),
        "no file may be larger than 3 kB",
        subtype="file_too_large",
        trap="after a validation that passed",
    ),
    _case(
        "cpu_used_up",
        "time_limit",
        _two_seconds,
        "the stage may use two seconds of CPU",
        program=WRAPPED,
        subtype="cpu_limit",
    ),
    _case("share_full", "disk", _full_disk, "the share is full", trap="after a validation that passed"),
    _case("killed", "killed", _kill, "the kernel kills the stage", program=WRAPPED, subtype="killed_process"),
)
OURS = (
    _case(
        "expectation_bug",
        "code_bug",
        edited(
            "validate_intake.py",
            'ExpectColumnValuesToNotBeNull(column="donor")',
            'ExpectColumnValuesToNotBeNull(column="doner")',
        ),
        "the new suite misspells a column",
        trap="reads like a missing column; the header is right",
    ),
    _case(
        "regex_bug",
        "code_bug",
        edited("validate_intake.py", r'r"^FB-\d{5}$"', r'r"^FB-(\d{5}$"'),
        "the new suite's pattern is broken",
        trap="surfaces as a failed validation",
    ),
    _case(
        "no_address",
        "configuration",
        unset("CATALOGUE_URL"),
        "the catalogue's variable is not set",
    ),
    _case("share_not_writable", "permission", _read_only, "our role may not write to the share"),
    _case(
        "not_delivered",
        "missing_input",
        lambda bench: bench.path("intake.csv").unlink(),
        "the week's file was not delivered",
    ),
    _case(
        "stopped",
        "interrupted",
        lambda bench: bench.kill_when("catalogue answered", signal.SIGINT),
        "an operator pressed Ctrl-C",
    ),
    _case(
        "log_cut",
        "no_cause",
        edited("intake.csv", "FB-00200,", "FB-00199,"),
        "the kept log says only that it failed",
        keep="tail:2",
        program=WRAPPED,
        trap="a failed validation may have any cause",
    ),
)
SYSTEM = System(
    name="great_expectations",
    requirements=("great_expectations==1.24.1",),
    environment={"GX_ANALYTICS_ENABLED": "false", "TQDM_DISABLE": "1"},
    cases=(*SHAPE, *VALUES, *REMOTE, *LIMITS, *OURS),
)
