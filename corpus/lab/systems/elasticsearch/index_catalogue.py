"""Bring the library's catalogue of the day into the search index, in bulk, and let the alias point at it."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from elasticsearch import Elasticsearch, helpers

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(levelname)-7s [%(name)s] %(message)s")
log = logging.getLogger("catalogue.index")


def titles(path: Path) -> Iterator[dict[str, object]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        title = json.loads(line)
        title["decade"] = title["year"] // 10 * 10
        yield {"_op_type": "index", "_index": os.environ["INDEX"], "_id": title["isbn"], "_source": title}


def main() -> None:
    es = Elasticsearch(
        os.environ["ES_URL"],
        api_key=os.environ["ES_API_KEY"],
        request_timeout=1,
        max_retries=2,
        retry_on_timeout=True,
        retry_on_status=(429, 502, 503, 504),
    )
    cluster = es.info()
    log.info("connected to %s, version %s", cluster["cluster_name"], cluster["version"]["number"])
    index = os.environ["INDEX"]
    mapping = es.indices.get_mapping(index=index)[index]["mappings"]["properties"]
    log.info("%s maps %s", index, ", ".join(f"{name}:{field['type']}" for name, field in mapping.items()))
    done, _ = helpers.bulk(es, titles(Path("titles.ndjson")), chunk_size=200, raise_on_error=True)
    log.info("indexed %d titles", done)
    es.indices.refresh(index=index)
    held = es.count(index=index)["count"]
    log.info("%s holds %d titles", index, held)
    assert held >= done * 0.95, (held, done)
    es.indices.update_aliases(actions=[{"add": {"index": index, "alias": "catalogue"}}])
    log.info("alias catalogue -> %s", index)


if __name__ == "__main__":
    try:
        main()
    except helpers.BulkIndexError as error:
        for item in error.errors[:3]:
            log.error("bulk: %s", json.dumps({key: value for key, value in item["index"].items() if key != "data"}))
        log.error("stage index_catalogue failed: %s", error)
        sys.exit(1)
    except Exception:
        log.exception("stage index_catalogue failed")
        sys.exit(1)
