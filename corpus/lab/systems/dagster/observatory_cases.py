"""Faults of the assets that turn exposures into photometry with a star catalogue from a web service."""

from __future__ import annotations

import resource

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program
from corpus.lab.faults import edited, environment, unreachable, unset
from corpus.lab.services.web import Reply, answers, page, running, serve


def stars(number: int, *, key: object = None, magnitude: str = "mag") -> Reply:
    first = 40 * (number - 1)
    entries = [
        {"id": n if key is None else f"{key}{n}", "ra_deg": n * 1.7, magnitude: 6 + n % 9}
        for n in range(first, first + 40)
    ]
    return Reply(body={"stars": entries})


def exposures(bench: Bench, count: int = 1200) -> None:
    lines = [
        f"{n % 80},2026-10-0{1 + n // 720 % 9}T{n // 60 % 12:02d}:{n % 60:02d}:00,{30 + n % 3 * 15},{2000 + n * 7 % 900}"
        for n in range(count)
    ]
    bench.write("exposures.csv", "\n".join(["star,taken_at,seconds,counts", *lines]) + "\n")


def world(bench: Bench) -> None:
    bench.write("dagster_home/dagster.yaml", "telemetry:\n  enabled: false\n")
    web = serve(bench, {"/stars?page=1": [stars(1)], "/stars?page=2": [stars(2)]})
    exposures(bench)
    bench.path("reports/x")
    bench.env |= {
        "DAGSTER_HOME": str(bench.directory / "dagster_home"),
        "CATALOGUE_URL": web.url,
        "CATALOGUE_KEY": "obs-41d7-c9",
        "STORAGE": "storage",
        "SUMMARY_DIR": "reports",
    }


NIGHT = Program(name="observatory", command=("{python}", "observatory.py"), files=("observatory.py",), world=world)


def reply(number: int, *replies: Reply) -> Prepare:
    return answers(f"/stars?page={number}", *replies)


def _texts(bench: Bench) -> None:
    web = running(bench)
    web.set("/stars?page=1", stars(1, key="HD"))
    web.set("/stars?page=2", stars(2, key="HD"))


def _covered(bench: Bench) -> None:
    lines = bench.path("exposures.csv").read_text().splitlines()
    dark = [line if n == 0 or n % 11 else f"{line.rpartition(',')[0]},0" for n, line in enumerate(lines)]
    bench.write("exposures.csv", "\n".join(dark) + "\n")


def _huge_matrix(bench: Bench) -> None:
    lines = [
        f"{n % 80},2026-10-{1 + n // 86400:02d}T{n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d},30,2100"
        for n in range(1_200_000)
    ]
    bench.write("exposures.csv", "\n".join(["star,taken_at,seconds,counts", *lines]) + "\n")
    bench.limits[resource.RLIMIT_AS] = 1_000_000_000


def _repeated_star(bench: Bench) -> None:
    web = running(bench)
    web.set("/stars?page=2", stars(1))


def _no_reports(bench: Bench) -> None:
    bench.env["SUMMARY_DIR"] = "/mnt/observatory/reports"


SORRY = '<!DOCTYPE html>\n<html lang="en"><title>Star catalogue</title><p>Down for maintenance, back soon.</p></html>\n'

CASES = (
    Case(
        name="observatory_backend_away",
        family="outage",
        cause="the catalogue's proxy has no backend",
        program=NIGHT,
        inject=reply(2, page(503)),
    ),
    Case(
        name="observatory_catalogue_refuses",
        family="refused",
        cause="nothing listens at the catalogue's port",
        program=NIGHT,
        inject=unreachable("CATALOGUE_URL"),
    ),
    Case(
        name="observatory_key_expired",
        family="credentials",
        cause="the catalogue's key expired",
        program=NIGHT,
        inject=reply(1, Reply(401, {"code": "key_expired", "message": "API key obs-41d7-c9 expired on 2026-10-01"})),
    ),
    Case(
        name="observatory_catalogue_hangs",
        family="slow",
        cause="the catalogue does not answer",
        program=NIGHT,
        inject=reply(2, Reply(ending="hang")),
    ),
    Case(
        name="observatory_throttled",
        family="rate_limit",
        subtype="quota_exceeded",
        cause="the observatory has used up the day's quota of the catalogue",
        program=NIGHT,
        inject=reply(
            2, Reply(429, {"code": "quota", "message": "daily memory quota of 500 requests used, resets 00:00 UTC"})
        ),
        trap="words of memory and quota in the other side's answer",
    ),
    Case(
        name="observatory_name_unknown",
        family="dns",
        cause="the catalogue's name does not resolve",
        program=NIGHT,
        inject=environment(CATALOGUE_URL="http://stars.catalogue.invalid"),
    ),
    Case(
        name="observatory_sorry_page",
        family="protocol",
        subtype="outage_page",
        cause="the catalogue serves a page with status 200",
        program=NIGHT,
        inject=reply(1, Reply(200, SORRY, {"Content-Type": "text/html"})),
        trap="surfaces as a JSON that cannot be decoded, under the framework's retries",
    ),
    Case(
        name="observatory_magnitude_renamed",
        family="renamed",
        cause="the catalogue calls mag magnitude_v now",
        program=NIGHT,
        inject=reply(2, page(502), stars(2, magnitude="magnitude_v")),
        trap="an outage that was overcome stands before a KeyError, and the framework tries thrice",
    ),
    Case(
        name="observatory_star_as_text",
        family="retyped",
        cause="the catalogue's ids are texts now",
        program=NIGHT,
        inject=_texts,
        trap="surfaces as a merge that is not possible, like a bug",
    ),
    Case(
        name="observatory_counts_gone",
        family="removed",
        cause="the exposures have no column counts any more",
        program=NIGHT,
        inject=edited("exposures.csv", "seconds,counts", "seconds,electrons"),
    ),
    Case(
        name="observatory_half_past_24",
        family="unparsable",
        subtype="invalid_date",
        cause="an exposure at an hour that does not exist",
        program=NIGHT,
        inject=edited("exposures.csv", "2026-10-01T10:30:00", "2026-10-01T24:30:00", count=1),
    ),
    Case(
        name="observatory_star_empty",
        family="null",
        cause="an exposure without the number of its star",
        program=NIGHT,
        inject=edited("exposures.csv", "\n33,2026", "\n,2026", count=1),
        trap="surfaces as a type that cannot be converted",
    ),
    Case(
        name="observatory_lens_cover",
        family="range",
        subtype="check_violation",
        cause="every eleventh exposure was taken with the cover on: no counts",
        program=NIGHT,
        inject=_covered,
        trap="all steps end well, a check of the framework stops the run",
    ),
    Case(
        name="observatory_page_repeated",
        family="duplicate",
        cause="the catalogue's second page repeats the first",
        program=NIGHT,
        inject=_repeated_star,
        trap="surfaces as a merge error about keys",
    ),
    Case(
        name="observatory_matrix",
        family="memory",
        cause="an exposure per second makes a matrix that does not fit into 1 GB",
        program=NIGHT,
        inject=_huge_matrix,
    ),
    Case(
        name="observatory_summary_folder",
        family="configuration",
        cause="the folder of the summaries does not exist on this worker",
        program=NIGHT,
        inject=_no_reports,
    ),
    Case(
        name="observatory_key_not_set",
        family="configuration",
        cause="the deployment does not set CATALOGUE_KEY",
        program=NIGHT,
        inject=unset("CATALOGUE_KEY"),
        trap="words of a key, as of expired credentials",
    ),
    Case(
        name="observatory_drift_check",
        family="code_bug",
        cause="a change calls the list of columns as a function",
        program=NIGHT,
        inject=edited("observatory.py", "name not in columns]", "name not in columns()]"),
        trap="the asset is called check_schema_drift",
    ),
    Case(
        name="observatory_input_misspelt",
        family="code_bug",
        cause="a change misspells the input asset exposures",
        program=NIGHT,
        inject=edited("observatory.py", "exposures: pd.DataFrame) -> pd", "exposure: pd.DataFrame) -> pd"),
        trap="an asset that is not produced, like a delivery that is missing",
    ),
)
