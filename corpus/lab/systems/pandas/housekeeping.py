"""Count what the archive holds and report old files."""

import logging
from pathlib import Path

logging.basicConfig(level=logging.INFO, format="%(asctime)s housekeeping %(levelname)s %(message)s")
log = logging.getLogger()

for path in sorted(Path("archive").glob("*.csv")):
    rows = path.read_text().splitlines()
    try:
        total = sum(int(row.split(",")[1]) for row in rows[1:])
    except ValueError as error:
        log.error("%s: %s; skipped, kept for a look by hand", path, error)
        continue
    log.info("%s: %d rows, total %d", path, len(rows) - 1, total)
