"""The Elasticsearch client: a bulk load of a library's catalogue and a report, against a server that answers badly.

Source of the server's replies: the reference of Elasticsearch's REST interface, version 9 (error bodies of bulk, search, security).
"""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import unreachable
from corpus.lab.services.web import Reply, page, serve

PRODUCT = {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/vnd.elasticsearch+json;compatible-with=9"}
INFO = {
    "name": "es-data-2",
    "cluster_name": "library-search",
    "cluster_uuid": "pZ3kYx0cQ2uVfakeUUID9g",
    "version": {"number": "9.2.1", "build_flavor": "default", "lucene_version": "10.3.1"},
    "tagline": "You Know, for Search",
}
MAPPING = {
    "isbn": "keyword",
    "title": "text",
    "year": "integer",
    "decade": "integer",
    "shelf": "keyword",
    "acquired": "date",
}
INDEX = "catalogue-2026.11.22"


def ok(body: Any, status: int = 200) -> Reply:
    return Reply(status, body, PRODUCT)


def error(status: int, kind: str, reason: str, **more: Any) -> Reply:
    cause = {"type": kind, "reason": reason, **more}
    return ok({"error": {"root_cause": [cause], **cause}, "status": status}, status)


def titles(count: int = 700) -> list[dict[str, Any]]:
    return [
        {
            "isbn": f"97830{n:08d}",
            "title": f"Volume {n}",
            "year": 1950 + n % 76,
            "shelf": f"K{n % 40}",
            "acquired": f"2026-{1 + n % 11:02d}-03",
        }
        for n in range(count)
    ]


def bulk(result: dict[str, Any] | None = None, *, count: int = 200, bad: int = 1) -> Reply:
    """The reply to a bulk request; `result` is what the first `bad` items got."""
    items = [
        {"index": {"_index": INDEX, "_id": title["isbn"], "status": 201, "result": "created"}}
        for title in titles(count)
    ]
    if result:
        for item in items[:bad]:
            item["index"] = {"_index": INDEX, "_id": item["index"]["_id"], **result}
    return ok({"took": 31, "errors": bool(result), "items": items})


def refused_item(status: int, kind: str, reason: str, caused: tuple[str, str] | None = None) -> dict[str, Any]:
    why: dict[str, Any] = {"type": kind, "reason": reason}
    if caused:
        why["caused_by"] = {"type": caused[0], "reason": caused[1]}
    return {"status": status, "error": why}


def routes(**changed: list[Reply]) -> dict[str, list[Reply]]:
    fields = {name: {"type": kind} for name, kind in MAPPING.items()}
    count = 700
    whole = [bulk() for _ in range(count // 200)] + [bulk(count=count % 200 or 200)]
    replies = {
        "/": [ok(INFO)],
        f"/{INDEX}/_mapping": [ok({INDEX: {"mappings": {"properties": fields}}})],
        "/_bulk": whole,
        f"/{INDEX}/_refresh": [ok({"_shards": {"total": 2, "successful": 2, "failed": 0}})],
        f"/{INDEX}/_count": [ok({"count": count, "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0}})],
        "/_aliases": [ok({"acknowledged": True})],
    }
    named = {"mapping": f"/{INDEX}/_mapping", "bulk": "/_bulk", "count": f"/{INDEX}/_count", "info": "/"}
    return replies | {named[name]: list(value) for name, value in changed.items()}


def catalogue(bench: Bench, **changed: list[Reply]) -> None:
    bench.write("titles.ndjson", "".join(json.dumps(title) + "\n" for title in titles()))
    key = "bGlicmFyeS1ldGw6ZmFrZWtleTEyMzQ1Njc4OTA="
    bench.env |= {"INDEX": INDEX, "ES_API_KEY": key, "ES_URL": serve(bench, routes(**changed)).url}


def hits(first: int, count: int, change: Callable[[dict[str, Any]], dict[str, Any]] = lambda loan: loan) -> Reply:
    rows = [
        {
            "_index": "loans-2026",
            "_id": f"L{n}",
            "_source": change(
                {"loan_id": n, "branch": f"b{n % 12:02d}", "days_late": 1 + n % 50, "due_on": "2026-10-01"}
            ),
            "sort": [n],
        }
        for n in range(first, first + count)
    ]
    return ok(
        {
            "took": 6,
            "timed_out": False,
            "_shards": {"total": 4, "successful": 4, "skipped": 0, "failed": 0},
            "hits": {"hits": rows},
        }
    )


def loans(bench: Bench, *pages: Reply) -> None:
    given = pages or (hits(0, 100), hits(100, 100), hits(200, 40), hits(240, 0))
    bench.env |= {
        "ES_URL": serve(bench, {"/loans-": list(given)}).url,
        "ES_API_KEY": "bGlicmFyeS1yZXBvcnQ6ZmFrZTEyMzQ=",
    }


CATALOGUE = Program(
    name="catalogue", command=("{python}", "index_catalogue.py"), files=("index_catalogue.py",), world=catalogue
)
OVERDUE = Program(name="overdue", command=("{python}", "overdue_report.py"), files=("overdue_report.py",), world=loans)


def served(**changed: list[Reply]) -> Prepare:
    return lambda bench: catalogue(bench, **changed)


def paged(*pages: Reply) -> Prepare:
    return lambda bench: loans(bench, *pages)


def line(number: int, change: Callable[[str], str]) -> Prepare:
    def inject(bench: Bench) -> None:
        path = bench.path("titles.ndjson")
        lines = path.read_text().splitlines(keepends=True)
        lines[number] = change(lines[number])
        path.write_text("".join(lines))

    return inject


def full_volume(bench: Bench) -> None:
    bench.mount("report", "size=4k")
    bench.write("report/previous.csv", "x" * 4096)
    bench.path("overdue.csv").symlink_to("report/overdue.csv")


def address_space(bench: Bench) -> None:
    bench.write("titles.ndjson", "".join(json.dumps(title) + "\n" for title in titles(900_000)))
    bench.limits[resource.RLIMIT_AS] = 260_000_000


BREAKER = "[parent] Data too large, data for [<http_request>] would be [1041873244/993.6mb], which is larger than the limit of [1020054732/972.7mb]"
DATE = "failed to parse date field [0000-00-00] with format [strict_date_optional_time||epoch_millis]"
FLOODED = (
    f"index [{INDEX}] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, "
    "index has read-only-allow-delete block];"
)
REJECTED = (
    "rejected execution of coordinating operation [coordinating_and_primary_bytes=53481201, replica_bytes=0, "
    "all_bytes=53481201, coordinating_operation_bytes=618220, max_coordinating_and_primary_bytes=53687091]"
)
FORBIDDEN = (
    f"action [indices:admin/mappings/get] is unauthorized for API key id [fake7Zk3] of user [library-etl] on indices [{INDEX}], "
    "this action is granted by the index privileges [view_index_metadata,manage,all]"
)
NO_DATE = (
    "[1:101] failed to parse field [acquired] of type [date] in document with id '9783000000000'. "
    "Preview of field's value: '0000-00-00'"
)
CASES = (
    Case(
        name="load_cut",
        family="no_cause",
        cause="the log ends while the titles are sent; the line that breaks the stage comes later",
        program=CATALOGUE,
        inject=line(688, lambda text: text.replace("shelf", "", 1)[:70]),
        keep="head:7",
        subtype="no_error_in_log",
    ),
    Case(
        name="index_of_strict_mapping",
        family="contract",
        cause="the index forbids fields that its mapping does not have, and no longer maps the decade",
        program=CATALOGUE,
        inject=served(
            mapping=[
                ok(
                    {
                        INDEX: {
                            "mappings": {
                                "dynamic": "strict",
                                "properties": {n: {"type": t} for n, t in MAPPING.items() if n != "decade"},
                            }
                        }
                    }
                )
            ],
            bulk=[
                bulk(
                    refused_item(
                        400,
                        "strict_dynamic_mapping_exception",
                        "[1:89] mapping set to strict, dynamic introduction of [decade] within [_doc] is not allowed",
                    ),
                    bad=200,
                )
            ],
        ),
    ),
    Case(
        name="loans_without_branch",
        family="renamed",
        cause="the documents' branch is called library_code since the third page's index",
        program=OVERDUE,
        inject=paged(
            hits(0, 100),
            hits(100, 100, lambda loan: {("library_code" if k == "branch" else k): v for k, v in loan.items()}),
            hits(200, 0),
        ),
    ),
    Case(
        name="index_gone",
        family="table_gone",
        cause="the index was deleted",
        program=CATALOGUE,
        inject=served(
            mapping=[
                error(
                    404,
                    "index_not_found_exception",
                    f"no such index [{INDEX}]",
                    **{"resource.type": "index_or_alias", "resource.id": INDEX, "index": INDEX},
                )
            ]
        ),
    ),
    Case(
        name="date_of_zeros",
        family="unparsable",
        cause="one title was acquired on a date of zeros",
        program=CATALOGUE,
        inject=served(
            bulk=[
                bulk(),
                bulk(
                    refused_item(
                        400,
                        "document_parsing_exception",
                        NO_DATE,
                        ("illegal_argument_exception", DATE),
                    )
                ),
            ]
        ),
        subtype="invalid_date",
        trap="speaks of a field of a type",
    ),
    Case(
        name="year_null",
        family="null",
        trap="an error over types",
        cause="a title has no year",
        program=CATALOGUE,
        inject=line(388, lambda text: text.replace(text.split('"year": ')[1].split(",")[0], "null", 1)),
    ),
    Case(
        name="line_cut",
        family="malformed",
        cause="a line of the file ends in its middle",
        program=CATALOGUE,
        inject=line(611, lambda text: text[:52] + "\n"),
        subtype="truncated_file",
    ),
    Case(
        name="search_refuses",
        family="refused",
        cause="nobody listens",
        program=OVERDUE,
        inject=unreachable("ES_URL"),
    ),
    Case(
        name="key_expired",
        family="credentials",
        cause="the key for the interface expired",
        program=CATALOGUE,
        inject=served(
            info=[
                error(
                    401,
                    "security_exception",
                    "api key is expired",
                    **{"header": {"WWW-Authenticate": ['Basic realm="security", charset="UTF-8"', "ApiKey"]}},
                )
            ]
        ),
    ),
    Case(
        name="proxy_page",
        family="outage",
        cause="a proxy before the cluster answers in its place",
        program=OVERDUE,
        inject=paged(hits(0, 100), page(502)),
        subtype="outage_page",
    ),
    Case(
        name="bulk_hangs",
        family="slow",
        cause="the cluster does not answer the bulk request",
        program=CATALOGUE,
        inject=served(bulk=[bulk(), Reply(ending="hang")]),
    ),
    Case(
        name="breaker",
        family="memory",
        cause="the cluster's nodes are out of heap: the parent circuit breaker refuses",
        program=CATALOGUE,
        inject=served(
            bulk=[
                bulk(),
                error(
                    429,
                    "circuit_breaking_exception",
                    BREAKER,
                    bytes_wanted=1041873244,
                    bytes_limit=1020054732,
                    durability="PERMANENT",
                ),
            ]
        ),
        trap="a status 429, retried as if it were a throttle",
    ),
    Case(
        name="flood_stage",
        family="disk",
        cause="the cluster's disks passed the flood-stage watermark",
        program=CATALOGUE,
        inject=served(
            bulk=[
                bulk(
                    refused_item(
                        429,
                        "cluster_block_exception",
                        FLOODED,
                    ),
                    bad=200,
                )
            ]
        ),
        subtype="disk_full",
        trap="status 429 and the words too many requests",
    ),
    Case(
        name="bulk_rejected",
        family="limit",
        cause="the node holds as many bytes of writes in flight as it may",
        program=CATALOGUE,
        inject=served(bulk=[bulk(), bulk(refused_item(429, "es_rejected_execution_exception", REJECTED), bad=73)]),
        subtype="insufficient_resources",
        trap="status 429 of single items, in a reply of status 200",
    ),
    Case(
        name="report_volume_full",
        family="disk",
        cause="the report's volume is full",
        program=OVERDUE,
        inject=full_volume,
        subtype="disk_full",
    ),
    Case(
        name="role_may_not_read_mapping",
        family="permission",
        cause="our own role may not read the mapping",
        program=CATALOGUE,
        inject=served(
            mapping=[
                error(
                    403,
                    "security_exception",
                    FORBIDDEN,
                )
            ]
        ),
    ),
    Case(
        name="decade_of_text",
        family="code_bug",
        cause="the new release formats the year before it divides it",
        program=CATALOGUE,
        inject=lambda bench: bench.replace(
            "index_catalogue.py", 'title["year"] // 10', 'f"{title["isbn"]}" // 10'.replace('"isbn"', "'isbn'")
        ),
        trap="an error over types in a line that reads a field",
    ),
)
SYSTEM = System(name="elasticsearch", requirements=("elasticsearch==9.5.1",), cases=CASES)
