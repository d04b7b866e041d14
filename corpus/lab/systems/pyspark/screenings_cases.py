"""Faults of the job that asks a film catalogue from within its tasks."""

from __future__ import annotations

import json

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program
from corpus.lab.faults import edited
from corpus.lab.services.web import Reply, answers, page, serve
from corpus.lab.systems.pyspark.parcels_cases import log_all, options


def _shows() -> list[dict[str, object]]:
    return [
        {
            "film": f"F{n % 23:03d}",
            "hall": n % 4 + 1,
            "sold": n % 120,
            "length": f"{1 + n % 2}h {n % 60} min",
            "tag": f"prog-{3 + n % 2}",
        }
        for n in range(900)
    ]


def _film(path: str) -> Reply:
    name = path.rpartition("/")[2]
    return Reply(body={"film": name, "title": f"The {name} affair", "age": 6 * (int(name[1:]) % 4)})


def world(bench: Bench) -> None:
    halls = "hall,seats\n1,120\n2,180\n3,90\n4,240\n"
    web = serve(bench, {"/halls.csv": [Reply(200, halls, {"Content-Type": "text/csv"})], "/films": [_film]})
    bench.env["CATALOGUE_URL"] = web.url
    put(bench, _shows())
    log_all(bench)


def put(bench: Bench, shows: list[dict[str, object]]) -> None:
    bench.write("screenings.jsonl", "".join(json.dumps(show) + "\n" for show in shows))


SCREENINGS = Program(name="screenings", command=("{python}", "screenings.py"), files=("screenings.py",), world=world)


def reply(path: str, *replies: Reply) -> Prepare:
    return answers(path, *replies)


def _long_length(bench: Bench) -> None:
    shows = _shows()
    shows[640]["length"] = "1h " + " " * 18_000_000 + "30 min"
    put(bench, shows)
    options(bench, "--conf spark.executor.pyspark.memory=70m")


CASES = (
    Case(
        name="screenings_halls_unavailable",
        family="outage",
        cause="the catalogue's proxy finds no backend",
        program=SCREENINGS,
        inject=reply("/halls.csv", page(503)),
    ),
    Case(
        name="screenings_throttled",
        family="rate_limit",
        cause="the catalogue throttles the job's requests",
        program=SCREENINGS,
        inject=reply("/films/F01", Reply(429, {"error": "slow down"}, {"Retry-After": "60"})),
        trap="an exception of a python worker inside a stage that was tried twice",
    ),
    Case(
        name="screenings_key_rejected",
        family="credentials",
        subtype="forbidden",
        cause="the catalogue revoked this client's access",
        program=SCREENINGS,
        inject=reply("/films", Reply(403, {"error": "client suspended"})),
        trap="an exception of a python worker",
    ),
    Case(
        name="screenings_title_gone",
        family="removed",
        cause="the catalogue's films have no title any more",
        program=SCREENINGS,
        inject=reply("/films", Reply(body={"film": "F000", "age": 12, "names": {"en": "The affair"}})),
        trap="a KeyError of a python worker",
    ),
    Case(
        name="screenings_tag_index",
        family="code_bug",
        cause="a change takes the third part of a tag that has two",
        program=SCREENINGS,
        inject=edited("screenings.py", 'split("-")[1]', 'split("-")[2]'),
        trap="the function is called check_schema_version",
    ),
    Case(
        name="screenings_worker_memory",
        family="memory",
        cause="a python worker may use 70 MB, one screening has a length of 18 MB",
        program=SCREENINGS,
        inject=_long_length,
        trap="an exception of a python worker inside a stage that was tried twice",
    ),
)
