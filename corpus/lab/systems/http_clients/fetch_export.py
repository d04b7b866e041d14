"""Fetch the archive's export in pieces with urllib3 and index its entries in memory."""

import gzip
import hashlib
import json
import logging
import os
import sys

import urllib3

logging.basicConfig(stream=sys.stdout, level=logging.DEBUG, format="%(asctime)s [%(levelname)s] %(name)s %(message)s")
log = logging.getLogger("archive.export")
POOL = urllib3.PoolManager(
    retries=urllib3.Retry(
        connect=2, read=2, status=2, backoff_factor=0.05, status_forcelist=[503], raise_on_status=True
    ),
    timeout=urllib3.Timeout(connect=1.0, read=0.8),
)
URL = os.environ["ARCHIVE_URL"]


def manifest():
    answer = POOL.request("GET", f"{URL}/export/manifest.json", headers={"Accept": "application/json"})
    if answer.status != 200:
        raise RuntimeError(f"manifest: status {answer.status}: {answer.data[:200]!r}")
    found = answer.json()
    log.info("manifest of %s with %d pieces", found["day"], len(found["pieces"]))
    return found


def piece(entry):
    answer = POOL.request("GET", URL + entry["path"], preload_content=False)
    data = answer.read()
    log.debug("%s: %d bytes, sha256 %s", entry["path"], len(data), hashlib.sha256(data).hexdigest()[:12])
    if len(data) != entry["size"]:
        log.warning("%s has %d bytes, the manifest says %d", entry["path"], len(data), entry["size"])
    return data


def entries(data):
    for number, line in enumerate(gzip.decompress(data).splitlines(), 1):
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"entry {number} is not JSON") from error


def main():
    index = {}
    found = manifest()
    for entry in found["pieces"]:
        for item in entries(piece(entry)):
            index.setdefault(item["shelf"], []).append((item["signature"], item["title"]))
        log.info("%s indexed, %d shelves so far", entry["path"], len(index))
    with open("index.json", "w") as file:
        json.dump({shelf: sorted(items) for shelf, items in sorted(index.items())}, file, indent=1)
    log.info("index.json: %d shelves, %d entries", len(index), sum(map(len, index.values())))


if __name__ == "__main__":
    main()
