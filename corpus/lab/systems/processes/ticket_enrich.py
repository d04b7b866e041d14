import csv
import json
import logging
import sys

logging.basicConfig(level=logging.INFO, format="%(asctime)s enrich   %(levelname)s %(message)s")
log = logging.getLogger()

with open(sys.argv[1], newline="", encoding="utf-8") as file:
    reader = csv.DictReader(file)
    agents = {row["agent"]: row for row in reader}
log.info("%d agents, fields %s", len(agents), reader.fieldnames)

for number, line in enumerate(sys.stdin, 1):
    ticket = json.loads(line)
    agent = agents.get(ticket["agent"], {})
    ticket["team"] = agent.get("team")
    ticket["hours"] = round(ticket["closed_at"] / 3600 - ticket["opened_at"] / 3600, 2)
    print(json.dumps(ticket), flush=True)
    if number % 200 == 0:
        log.info("enriched %d", number)
log.info("end of input")
