"""Faults of the shell script that downloads library loans and loads them by the sqlite3 shell."""

from __future__ import annotations

import json
import sqlite3

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program
from corpus.lab.faults import environment, small_disk, unreachable
from corpus.lab.services.web import Reply, answers, running, serve

BRANCHES = ("north", "harbour", "castle", "mill")


def _loans() -> list[dict[str, object]]:
    return [
        {
            "loan_id": f"L-{n:05d}",
            "barcode": f"39{n * 37:08d}",
            "branch": BRANCHES[n % 4],
            "due_on": f"2026-05-{1 + n % 28:02d}",
            "fine_cents": n % 7 * 50,
        }
        for n in range(1, 4001)
    ]


def offer(bench: Bench, loans: list[dict[str, object]]) -> None:
    running(bench).set("/branches", Reply(body={"loans": loans}))


def world(bench: Bench) -> None:
    web = serve(bench, {"/branches": []})
    offer(bench, _loans())
    bench.env |= {"CATALOGUE": web.url, "CATALOGUE_KEY": "cat-5d0e-77aa"}
    bench.write("yesterday.tsv", "")
    db = sqlite3.connect(bench.path("catalogue.db"))
    db.execute("CREATE TABLE branch (code TEXT PRIMARY KEY, open_loans INTEGER)")
    db.execute(
        "CREATE TABLE loan (loan_id TEXT PRIMARY KEY, barcode TEXT NOT NULL, branch TEXT, due_on TEXT, fine REAL)"
    )
    db.executemany("INSERT INTO branch VALUES (?, 0)", [(name,) for name in BRANCHES])
    db.commit()
    db.close()


LOANS = Program(name="library", command=("bash", "loans.sh"), files=("loans.sh",), world=world)
CRON = Program(
    name="library_cron",
    command=("bash", "cron.sh", "branch-loans", "bash", "loans.sh"),
    files=("cron.sh", "loans.sh"),
    world=world,
)


def _answer(reply: Reply) -> Prepare:
    return answers("/branches", reply)


def _bare(bench: Bench) -> None:
    loans = _loans()
    loans[2210]["barcode"] = ""
    offer(bench, loans)


def _fines_in_euro(bench: Bench) -> None:
    offer(bench, [loan | {"fine_cents": f"{loan['fine_cents']} c"} for loan in _loans()])


def _column_renamed(bench: Bench) -> None:
    db = sqlite3.connect(bench.path("catalogue.db"))
    db.execute("ALTER TABLE loan RENAME COLUMN due_on TO due_date")
    db.close()


def _read_only_publication(bench: Bench) -> None:
    bench.env["PUBLISH_DIR"] = "/mnt/reading-room"


def _without_jq(bench: Bench) -> None:
    tools = bench.path("bin/x").parent
    for name in (
        "bash",
        "date",
        "mkdir",
        "curl",
        "wc",
        "sort",
        "comm",
        "sqlite3",
        "cp",
        "grep",
        "dirname",
        "df",
        "tail",
    ):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    bench.env["PATH"] = str(tools)


def _no_prefix(bench: Bench) -> None:
    bench.replace("loans.sh", "grep -q '^L-'", "grep -q '^L_'")


UNAVAILABLE = "<html><body><h2>Wartungsarbeiten</h2><p>Der Katalog ist bis 7 Uhr nicht erreichbar.</p></body></html>\n"

CASES = (
    Case(
        name="library_list_renamed",
        family="renamed",
        cause="the list loans of the payload is called items now",
        program=LOANS,
        inject=_answer(Reply(body={"items": json.loads(json.dumps(_loans())), "count": 4000})),
        trap="jq only says that it cannot iterate over null",
    ),
    Case(
        name="library_fine_with_unit",
        family="retyped",
        cause="fine_cents is a text with its unit now",
        program=CRON,
        inject=_fines_in_euro,
    ),
    Case(
        name="library_target_due_date",
        family="renamed",
        cause="the store's owner renamed due_on to due_date",
        program=CRON,
        inject=_column_renamed,
    ),
    Case(
        name="library_book_without_barcode",
        family="null",
        cause="a loan of a book without barcode",
        program=LOANS,
        inject=_bare,
    ),
    Case(
        name="library_loan_repeated",
        family="duplicate",
        cause="the catalogue lists a loan twice with two due dates",
        program=CRON,
        inject=lambda bench: offer(bench, [*_loans(), _loans()[77] | {"due_on": "2026-06-30"}]),
    ),
    Case(
        name="library_maintenance_page",
        family="protocol",
        subtype="outage_page",
        cause="the catalogue serves a maintenance page with status 200",
        program=LOANS,
        inject=_answer(Reply(200, UNAVAILABLE, {"Content-Type": "text/html"})),
        trap="surfaces as a parse error of jq; the type of the answer is logged",
    ),
    Case(
        name="library_catalogue_silent",
        family="slow",
        cause="the catalogue accepts the connection and does not answer",
        program=CRON,
        inject=_answer(Reply(ending="hang")),
    ),
    Case(
        name="library_catalogue_hangs_up",
        family="reset",
        subtype="connection_lost",
        cause="the catalogue closes the connection halfway through the list",
        program=LOANS,
        inject=_answer(Reply(body={"loans": _loans()}, ending="cut")),
        trap="looks like a truncated file",
    ),
    Case(
        name="library_catalogue_port_closed",
        family="refused",
        cause="nothing listens at the catalogue's port",
        program=CRON,
        inject=unreachable("CATALOGUE"),
    ),
    Case(
        name="library_name_unknown",
        family="dns",
        cause="the catalogue's name does not resolve",
        program=LOANS,
        inject=environment(CATALOGUE="http://catalogue.city-library.invalid"),
    ),
    Case(
        name="library_spool_full",
        family="disk",
        cause="the spool's file system is full",
        program=LOANS,
        inject=small_disk("spool", "200k"),
        trap="surfaces as a failed download of curl",
    ),
    Case(
        name="library_publication_not_mounted",
        family="configuration",
        cause="the publication folder of the configuration does not exist on this worker",
        program=CRON,
        inject=_read_only_publication,
    ),
    Case(
        name="library_jq_not_installed",
        family="environment",
        cause="the new image of the worker has no jq",
        program=LOANS,
        inject=_without_jq,
    ),
    Case(
        name="library_silent_check",
        family="no_cause",
        subtype="undetermined",
        cause="a changed check of the published file fails and prints nothing",
        program=CRON,
        inject=_no_prefix,
        trap="a status 1 after a publication, no word about why",
    ),
)
