import json
import logging
import sqlite3
import sys

logging.basicConfig(level=logging.INFO, format="%(asctime)s store    %(levelname)s %(message)s")
log = logging.getLogger()

db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA synchronous = OFF")
batch = []


def flush():
    with db:
        db.executemany(
            "INSERT INTO ticket VALUES (:id, :requester, :team, :state, :hours, :subject)"
            " ON CONFLICT (id) DO UPDATE SET state = excluded.state, hours = excluded.hours",
            batch,
        )
    log.info("committed batch of %d", len(batch))
    batch.clear()


for line in sys.stdin:
    batch.append(json.loads(line))
    if len(batch) == 250:
        flush()
if batch:
    flush()
log.info("teams: %s", db.execute("SELECT team, count(*) FROM ticket GROUP BY team").fetchall())
