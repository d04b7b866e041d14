"""Rust: two compiled stages that use the standard library alone, one priced from files and one fed over HTTP."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Callable, Sequence
from pathlib import Path

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import edited, unset
from corpus.lab.services import web

HERE = Path(__file__).parent
CACHE = Path("/opt/venvs/rust-build")
HEADER = "waybill;zone;service;gross_kg;pieces"
QUAYS = ("north", "south", "oil", "grain", "ferry", "fish")
JSON = {"Content-Type": "application/json"}


def build(bench: Bench, name: str, change: Callable[[str], str] = lambda text: text) -> None:
    """Compile a stage; a text that was compiled before is taken from the cache."""
    source = change((HERE / f"{name}.rs").read_text())
    kept = CACHE / hashlib.sha256(source.encode()).hexdigest() / name
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        bench.write("src/main.rs", source)
        command = ("/usr/bin/rustc", "--edition", "2021", "-g", "--crate-name", name, "-o", str(kept), "src/main.rs")
        bench.run(*command)
    bench.path(name).unlink(missing_ok=True)
    bench.path(name).symlink_to(kept)


def bill(n: int) -> str:
    return f"W{n:06d};Z{n % 9:02d};{('STD', 'EXPR')[n % 2]};{3 + n % 70}.{n % 10};{1 + n % 4}"


def waybills(bench: Bench, count: int = 600, header: str = HEADER) -> None:
    bench.write("waybills.csv", "\n".join([header, *map(bill, range(count))]) + "\n")
    bench.write("waybills.ctl", f"{count}\n")


def pricing(bench: Bench) -> None:
    build(bench, "waybills")
    waybills(bench)
    tariff(bench)
    bench.env |= {"TARIFF_YEAR": "2026", "RUST_BACKTRACE": "1"}


def tariff(bench: Bench, currency: str = "") -> None:
    records = (f"Z{z:02d} {s:6s}{currency}{120 + z * 15:08d}" for z in range(9) for s in ("STD", "EXPR"))
    bench.write("tariff-2026.dat", "\n".join(records) + "\n")


def night(bench: Bench) -> None:
    pricing(bench)
    bench.path("waybills.csv").unlink()
    for at, depot in enumerate(("brno", "graz", "lviv", "pecs", "trieste")):
        lines = [HEADER, *map(bill, range(at * 400, at * 400 + 400))]
        bench.write(f"depots/{depot}.csv", "\n".join(lines) + "\n")


def calls(quay: str, count: int = 150) -> list[str]:
    return [f"{quay[0].upper()}{n % 8},MV {quay.title()} {n % 60},{4 + n % 30},{5 + n % 9}.5" for n in range(count)]


def harbour(bench: Bench) -> None:
    build(bench, "berths")
    serve(bench)
    bench.env["RUST_BACKTRACE"] = "0"


def serve(bench: Bench, changed: Sequence[web.Reply] = (), quay: str = "grain") -> None:
    csv = {"Content-Type": "text/csv"}
    routes: dict[str, Sequence[web.Reply]] = {
        f"/v1/calls/{name}.csv": [web.Reply(200, "\n".join(calls(name)), csv)] for name in QUAYS
    }
    if changed:
        routes[f"/v1/calls/{quay}.csv"] = changed
    settings(bench, web.serve(bench, dict(routes)).port)


def settings(bench: Bench, port: int, weeks: int = 4) -> None:
    bench.write("berths.conf", f"host = 127.0.0.1:{port}\nquays = {' '.join(QUAYS)}\nweeks = {weeks}\n")


PRICE = Program(name="waybills", command=("./waybills",), world=pricing)
NIGHT = Program(name="freight", command=("bash", "nightly.sh"), files=("nightly.sh",), world=night)
BERTHS = Program(name="berths", command=("./berths",), world=harbour)


def answered(*replies: web.Reply, quay: str = "grain") -> Prepare:
    return lambda bench: serve(bench, replies, quay)


def released(name: str, old: str, new: str) -> Prepare:
    def inject(bench: Bench) -> None:
        if old not in (HERE / f"{name}.rs").read_text():
            raise LookupError(f"`{name}.rs` does not hold {old!r}")
        build(bench, name, lambda text: text.replace(old, new))

    return inject


def of_five_fields(bench: Bench) -> None:
    lines = [",".join([*line.split(","), "NOR" if n % 3 else "PAN"]) for n, line in enumerate(calls("grain"))]
    serve(bench, [web.Reply(200, "\n".join(lines))])


def draught_unknown(bench: Bench) -> None:
    text = "\n".join(calls("oil")).replace("MV Oil 31,5,9.5", "MV Oil 31,5,unk.", 1)
    if "unk." not in text:
        raise LookupError("no such call")
    serve(bench, [web.Reply(200, text)], "oil")


def without_pieces(bench: Bench) -> None:
    path = bench.path("depots/lviv.csv")
    path.write_text("".join(line.rpartition(";")[0] + "\n" for line in path.read_text().splitlines()))


def as_latin(bench: Bench) -> None:
    path = bench.path("depots/lviv.csv")
    text = path.read_text().replace("W000950;", "W000950 fälschlich;", 1)
    path.write_text(text, encoding="latin-1")


def fewer_than_announced(bench: Bench) -> None:
    waybills(bench, 377)
    bench.write("waybills.ctl", "600\n")


def full_out(bench: Bench) -> None:
    waybills(bench, 4000)
    bench.mount("out", "size=64k")


def little_memory(bench: Bench) -> None:
    bench.replace("berths.conf", "weeks = 4", "weeks = 52000")
    bench.limits[resource.RLIMIT_AS] = 600_000_000


def few_threads(bench: Bench) -> None:
    bench.command = ("setpriv", "--reuid=4711", "--clear-groups", "./berths")
    bench.limits[resource.RLIMIT_NPROC] = 3
    bench.env["RUST_BACKTRACE"] = "1"


def closed(bench: Bench) -> None:
    settings(bench, free_port())


CASES = (
    Case(
        name="gross_weight_renamed",
        family="renamed",
        cause="the file's gross_kg is called weight_kg now",
        program=PRICE,
        inject=edited("waybills.csv", "gross_kg", "weight_kg", count=1),
    ),
    Case(
        name="tariff_with_currency",
        family="added",
        cause="the tariff's records have a currency before the price",
        program=PRICE,
        inject=lambda bench: tariff(bench, "EUR"),
        trap="surfaces as a digit that cannot be parsed; only the widths of record and layout tell",
    ),
    Case(
        name="calls_of_five_fields",
        family="column_count",
        cause="the service's calls have a flag as their fifth field",
        program=BERTHS,
        inject=of_five_fields,
        subtype="column_added",
    ),
    Case(
        name="depot_without_pieces",
        family="removed",
        cause="one depot's file has no pieces any more",
        program=NIGHT,
        inject=without_pieces,
        trap="a panic over an index; the depot's header, which the shell printed, tells",
    ),
    Case(
        name="pieces_empty",
        family="null",
        cause="a waybill has no count of pieces",
        program=PRICE,
        inject=edited("waybills.csv", bill(311), bill(311)[:-1], count=1),
    ),
    Case(
        name="draught_not_a_number",
        family="unparsable",
        cause="a call's draught is the text unk.",
        program=BERTHS,
        inject=draught_unknown,
    ),
    Case(
        name="depot_in_latin",
        family="encoding",
        cause="a depot's file is in Latin-1",
        program=NIGHT,
        inject=as_latin,
    ),
    Case(
        name="waybills_missing",
        family="volume",
        cause="377 of the 600 announced waybills arrived",
        program=PRICE,
        inject=fewer_than_announced,
        subtype="incomplete",
        trap="a panic of an assertion, with a backtrace",
    ),
    Case(name="harbour_refuses", family="refused", cause="the harbour service is down", program=BERTHS, inject=closed),
    Case(
        name="harbour_hangs",
        family="slow",
        cause="the harbour service does not answer for one quay",
        program=BERTHS,
        inject=answered(web.Reply(ending="hang"), quay="ferry"),
        trap="a read that waited too long is called a resource that is temporarily unavailable",
    ),
    Case(
        name="harbour_throttles",
        family="rate_limit",
        cause="the harbour service throttles",
        program=BERTHS,
        inject=answered(
            web.Reply(429, '{"title":"Too Many Requests","detail":"30 per minute"}', JSON | {"Retry-After": "60"}),
            quay="fish",
        ),
    ),
    Case(
        name="invoice_volume_full",
        family="disk",
        cause="the volume of the invoices is full",
        program=PRICE,
        inject=full_out,
        subtype="disk_full",
    ),
    Case(
        name="plan_memory",
        family="memory",
        cause="the plan of so many weeks needs more memory than the stage may have",
        program=BERTHS,
        inject=little_memory,
    ),
    Case(
        name="loader_threads",
        family="limit",
        cause="the account may have three threads",
        program=BERTHS,
        inject=few_threads,
        trap="the same words of the operating system as a read that timed out",
        subtype="limit_exceeded",
    ),
    Case(
        name="check_one_too_far",
        family="code_bug",
        cause="the new release compares with the waybill after the last",
        program=PRICE,
        inject=released("waybills", "waybills[at].number < waybills[at - 1]", "waybills[at + 1].number < waybills[at]"),
        trap="breaks in a function called check_schema",
    ),
    Case(
        name="tariff_year_unset",
        family="configuration",
        cause="the deployment does not set the tariff's year",
        program=NIGHT,
        inject=unset("TARIFF_YEAR"),
    ),
    Case(
        name="night_cut",
        family="no_cause",
        cause="only the end of the log was kept",
        program=NIGHT,
        inject=edited("tariff-2026.dat", "Z03 EXPR", "Z03 XPRS", count=1),
        keep="tail:2",
        subtype="general_error",
    ),
)
SYSTEM = System(name="rust", debian=("rustc",), cases=CASES)
