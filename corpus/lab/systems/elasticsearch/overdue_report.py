"""Report the overdue loans of each branch from the loans index."""

import csv
import logging
import os
import sys

from elasticsearch import Elasticsearch

logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s:%(name)s:%(message)s")
log = logging.getLogger("overdue_report")

QUERY = {"range": {"due_on": {"lt": "now/d"}}}


def fetch(es: Elasticsearch) -> list[dict[str, object]]:
    after, rows = None, []
    while True:
        page = es.search(index="loans-*", query=QUERY, size=100, sort=[{"loan_id": "asc"}], search_after=after)
        hits = page["hits"]["hits"]
        log.info(
            "page of %d loans, %d of %d shards answered",
            len(hits),
            page["_shards"]["successful"],
            page["_shards"]["total"],
        )
        if not hits:
            return rows
        rows += [hit["_source"] for hit in hits]
        after = hits[-1]["sort"]


def per_branch(rows: list[dict[str, object]]) -> dict[str, list[float]]:
    fines: dict[str, list[float]] = {}
    for row in rows:
        fines.setdefault(row["branch"].upper(), []).append(row["days_late"] * 0.25)
    return fines


def main() -> None:
    es = Elasticsearch(
        os.environ["ES_URL"], api_key=os.environ["ES_API_KEY"], request_timeout=1, max_retries=2, retry_on_timeout=True
    )
    rows = fetch(es)
    fines = per_branch(rows)
    with open("overdue.csv", "w", newline="") as file:
        out = csv.writer(file)
        for branch, amounts in sorted(fines.items()):
            out.writerow([branch, len(amounts), sum(amounts), max(amounts)])
    log.info("%d loans of %d branches reported", len(rows), len(fines))


if __name__ == "__main__":
    main()
