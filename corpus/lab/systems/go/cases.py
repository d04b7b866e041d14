"""Go: a compiled loader of library loans, and rclone as a program that others wrote."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Case, Program, System
from corpus.lab.faults import edited, environment, limited, small_disk, without
from corpus.lab.services import certificate, web

HERE = Path(__file__).parent
CACHE = Path("/opt/venvs/go-build")
Loan = dict[str, Any]
JSON = {"Content-Type": "application/json"}


def build(bench: Bench, change: Callable[[str], str] = lambda text: text) -> None:
    """Compile the loader; a text that was compiled before is taken from the cache."""
    source = change((HERE / "loans.go").read_text())
    kept = CACHE / hashlib.sha256(source.encode()).hexdigest() / "loans"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        bench.write("build/loans.go", source)
        bench.run("env", f"GOCACHE={CACHE}/cache", "go", "build", "-trimpath", "-o", str(kept), "build/loans.go")
    bench.path("loans").unlink(missing_ok=True)
    bench.path("loans").symlink_to(kept)


def loans() -> list[Loan]:
    return [
        {
            "loan_id": 70_000 + n,
            "branch": f"B{n % 40:02d}",
            "member": {"card": f"C{n * 37:06d}", "kind": "adult"},
            "lent_at": f"2026-02-{1 + n % 28:02d}T10:00:00Z",
            "days_late": n % 9,
            "rate": 0.2,
        }
        for n in range(400)
    ]


def pages(rows: list[Loan], size: int = 50) -> list[web.Reply]:
    starts = range(0, len(rows), size)
    return [web.Reply(body=rows[at : at + size]) for at in starts] + [web.Reply(body=[])]


def _serve(bench: Bench, replies: list[web.Reply], tls: ssl.SSLContext | None = None) -> web.Web:
    def reply(path: str) -> web.Reply:
        page = int(path.rpartition("=")[2])
        return replies[min(page, len(replies)) - 1]

    server = web.serve(bench, {"/v2/loans": [reply]}, tls=tls)
    bench.env["LOANS_API"] = server.url
    return server


def loans_world(bench: Bench) -> None:
    build(bench)
    bench.path("out/x")
    bench.write("branches.csv", "\n".join(["code,name", *(f"B{n:02d},branch-{n}" for n in range(40))]) + "\n")
    bench.env |= {"LOANS_TOKEN": "lt_live_4c1f", "LOANS_MINIMUM": "300"}
    _serve(bench, pages(loans()))


def copy_world(bench: Bench) -> None:
    for n in range(6):
        bench.write(f"export/day-{n}.csv", "scan_id,shelf\n" + "".join(f"{k},S{k % 50}\n" for k in range(3000)))
    server = web.serve(bench, {})
    names = [f"day-{n}.csv" for n in range(6)]
    listing = "".join(f'<a href="{name}">{name}</a>\n' for name in names)
    server.set("/scans/", web.Reply(body=f"<html><body>{listing}</body></html>", headers={"Content-Type": "text/html"}))
    for name in names:
        server.set(f"/scans/{name}", web.Reply(body=bench.path(f"export/{name}").read_bytes()))
    _point(bench, f"{server.url}/scans/")


def _point(bench: Bench, url: str) -> None:
    bench.write("rclone.conf", f"[depot]\ntype = http\nurl = {url}\n")


RCLONE = (
    "rclone",
    "copy",
    "depot:",
    "landing",
    "--config",
    "rclone.conf",
    "-v",
    "--retries",
    "2",
    "--low-level-retries",
)
LOANS = Program(name="loans", command=("./loans",), world=loans_world)
COPY = Program(name="scans", command=(*RCLONE, "2", "--timeout", "2s", "--contimeout", "2s"), world=copy_world)


def changed(change: Callable[[Loan], Loan], *, first: int = 0, last: int = 10_000) -> Callable[[Bench], None]:
    def inject(bench: Bench) -> None:
        rows = [change(row) if first <= n <= last else row for n, row in enumerate(loans())]
        _serve(bench, pages(rows))

    return inject


def one(number: int, change: Callable[[Loan], Loan]) -> Callable[[Bench], None]:
    return changed(change, first=number, last=number)


def after(pages_before: int, reply: web.Reply) -> Callable[[Bench], None]:
    return lambda bench: _serve(bench, [*pages(loans())[:pages_before], reply])


def source(old: str, new: str) -> Callable[[Bench], None]:
    def inject(bench: Bench) -> None:
        assert old in (HERE / "loans.go").read_text()
        build(bench, lambda text: text.replace(old, new))

    return inject


def _self_signed(bench: Bench) -> None:
    pair = certificate.self_signed(bench, "loans.city.example")
    _serve(bench, pages(loans()), certificate.context(pair))


def _scripted(bench: Bench, text: str) -> None:
    bench.write("run.sh", text)
    bench.command = ("bash", "run.sh")


INDEX = """cards := make([]byte, 0)
	for len(cards) < 1<<31 {
		cards = append(cards, make([]byte, 1<<24)...)
	}
	log.Printf("index of %d bytes", len(cards))
	fees, seen := """
CHECKSUM = """for n, sum := 0, 0; n < 1<<40; n++ {
		sum += n % 7
		if n == 100 {
			log.Printf("checking cards, sum %d", sum)
		}
	}
	fees, seen := """
SAMPLE = """if len(loans) > 0 {
			sample, _ := json.Marshal(loans[0])
			log.Printf("sample %s", sample)
		}
		log.Printf("page %d: %d loans\""""


def _greedy_index(bench: Bench) -> None:
    source("fees, seen := ", INDEX)(bench)
    bench.limits[resource.RLIMIT_AS] = 1_300_000_000


def _long_check(bench: Bench) -> None:
    source("fees, seen := ", CHECKSUM)(bench)
    _scripted(bench, 'ulimit -t 1\n./loans\nstatus=$?\necho "exit status $status"\nexit $status\n')


def _member_gone(bench: Bench) -> None:
    source('log.Printf("page %d: %d loans"', SAMPLE)(bench)
    changed(without("member"))(bench)


def _three_columns(bench: Bench) -> None:
    bench.write("branches.csv", "code,name,area\n" + "".join(f"B{n:02d},b-{n},N{n % 4}\n" for n in range(40)))


def _other_run(bench: Bench) -> None:
    """Another run waits for the API while it holds the lock."""
    server = web.serve(bench, {"/v2/loans": [web.Reply(ending="hang")]})
    environment = bench.environment() | {"LOANS_API": server.url}
    other = subprocess.Popen(["./loans"], cwd=bench.directory, env=environment, stderr=subprocess.PIPE)
    bench.on_exit(other.wait)
    bench.on_exit(other.kill)
    assert other.stderr is not None
    other.stderr.readline()  # it says how many branches there are when it has the lock


def _nobody_listens(bench: Bench) -> None:
    _point(bench, f"http://127.0.0.1:{free_port()}/scans/")


def _terminate(bench: Bench) -> None:
    _scripted(bench, "trap 'echo \"run.sh: caught SIGINT\"; exit 130' INT\n./loans\n")
    bench.kill_when("page 3:", signal.SIGINT)


CASES = (
    Case(
        name="days_late_quoted",
        family="retyped",
        cause="days_late comes as text since a release of the API",
        program=LOANS,
        inject=changed(lambda row: row | {"days_late": str(row["days_late"])}),
    ),
    Case(
        name="unexpected_member",
        family="added",
        cause="the API sends a new member renewed_by",
        program=LOANS,
        inject=changed(lambda row: row | {"renewed_by": None}),
        trap="retried three times like an outage",
    ),
    Case(
        name="list_wrapped_in_object",
        family="nested",
        cause="the list is nested in an object with a cursor now",
        program=LOANS,
        inject=lambda b: _serve(b, [web.Reply(body={"data": loans()[:50], "next": "c2"})]),
    ),
    Case(
        name="branches_with_third_column",
        family="column_count",
        cause="branches.csv has a third column",
        program=LOANS,
        inject=_three_columns,
    ),
    Case(
        name="member_gone_panics",
        family="removed",
        cause="the API no longer sends the member object; the loader follows its pointer",
        program=LOANS,
        inject=_member_gone,
        trap="a nil pointer panic looks like a bug; the logged sample has lost its member on all loans",
    ),
    Case(
        name="loan_of_unknown_branch",
        family="orphan",
        cause="a loan of a branch that the list of branches does not hold",
        program=LOANS,
        inject=one(212, lambda row: row | {"branch": "B88"}),
    ),
    Case(
        name="day_that_does_not_exist",
        family="unparsable",
        subtype="invalid_date",
        cause="a loan lent on 30 February",
        program=LOANS,
        inject=one(333, lambda row: row | {"lent_at": "2026-02-30T10:00:00Z"}),
        trap="fails in the decoder and is retried like a failed request",
    ),
    Case(
        name="late_for_centuries",
        family="range",
        cause="days_late 99999 of one loan",
        program=LOANS,
        inject=one(140, lambda row: row | {"days_late": 99_999}),
    ),
    Case(
        name="half_of_the_loans",
        family="volume",
        cause="the API delivers 100 loans of a working day, without any error",
        program=LOANS,
        inject=lambda b: _serve(b, pages(loans()[:100])),
    ),
    Case(
        name="quote_inside_field",
        family="malformed",
        cause="a stray quote in a branch's name",
        program=LOANS,
        inject=edited("branches.csv", "branch-17", 'north "old" hall', count=1),
    ),
    Case(
        name="gateway_page_with_status_200",
        family="protocol",
        cause="a proxy answers with its own page and status 200",
        program=LOANS,
        inject=after(3, web.Reply(200, web.page(503).body, {"Content-Type": "text/html"})),
        trap="an invalid character in the decoder",
    ),
    Case(
        name="token_expired",
        family="credentials",
        cause="the token has expired in the middle of the run",
        program=LOANS,
        inject=after(4, web.Reply(401, {"error": "token_expired", "limit": "memory 512"}, JSON)),
    ),
    Case(
        name="self_signed_certificate",
        family="tls",
        cause="the API shows a certificate of nobody's authority",
        program=LOANS,
        inject=_self_signed,
    ),
    Case(
        name="headers_never_come",
        family="slow",
        cause="the API takes the request and never answers",
        program=LOANS,
        inject=after(2, web.Reply(ending="hang")),
        trap="reads `context deadline exceeded`, as a limit of our own would",
    ),
    Case(
        name="listing_endpoint_gone",
        family="endpoint",
        cause="the depot has moved its folder",
        program=COPY,
        inject=edited("rclone.conf", "/scans/", "/scan-archive/"),
    ),
    Case(
        name="depot_refuses",
        family="refused",
        cause="the depot's server is down",
        program=COPY,
        inject=_nobody_listens,
    ),
    Case(
        name="depot_name_unknown",
        family="dns",
        cause="the depot's name no longer resolves",
        program=COPY,
        inject=lambda b: _point(b, "https://depot.scans.invalid/scans/"),
        trap="rclone speaks of an error reading the source root directory",
    ),
    Case(
        name="landing_full",
        family="disk",
        cause="the landing disk has no space left",
        program=COPY,
        inject=small_disk("landing", "96k"),
        trap="listed by rclone as failed copies with retries, as if the source were ill",
    ),
    Case(
        name="files_of_branches",
        family="handles",
        cause="the worker may open 20 files, the loader keeps one open for each branch",
        program=LOANS,
        inject=limited(resource.RLIMIT_NOFILE, 20),
    ),
    Case(
        name="memory_of_the_worker",
        family="memory",
        cause="the process may have 1.3 GB of addresses, the new index of cards asks for more",
        program=LOANS,
        inject=_greedy_index,
        trap="hundreds of lines of goroutines after the one line that counts",
    ),
    Case(
        name="processor_time_used_up",
        family="killed",
        cause="the process used more processor time than its limit and was killed",
        program=LOANS,
        inject=_long_check,
        trap="only the shell's one word and the status tell it; the loader was in the middle of a check",
    ),
    Case(
        name="map_of_nobody",
        family="code_bug",
        cause="a release forgot to make a map",
        program=LOANS,
        inject=source("branches := map[string]string{}", "var branches map[string]string"),
    ),
    Case(
        name="index_beyond_the_row",
        family="code_bug",
        cause="a release reads the third of two columns",
        program=LOANS,
        inject=source("branches[row[0]] = row[1]", "branches[row[0]] = row[2]"),
        trap="looks like a file with too few columns; the header and parser agree on two, as ever",
    ),
    Case(
        name="minimum_left_empty",
        family="configuration",
        cause="LOANS_MINIMUM was lost in a deployment",
        program=LOANS,
        inject=environment(LOANS_MINIMUM=""),
        trap="a syntax error of a number, as bad data gives it",
    ),
    Case(
        name="other_run_holds_lock",
        family="concurrency",
        cause="another run of the loader is under way",
        program=LOANS,
        inject=_other_run,
        trap="reads `file exists`",
    ),
    Case(
        name="branches_not_delivered",
        family="missing_input",
        cause="branches.csv was not delivered",
        program=LOANS,
        inject=lambda b: os.unlink(b.path("branches.csv")),
    ),
    Case(
        name="stopped_from_terminal",
        family="interrupted",
        cause="somebody pressed Ctrl-C",
        program=LOANS,
        inject=_terminate,
    ),
)

SYSTEM = System(name="go", cases=CASES, debian=("golang-go", "rclone"))
