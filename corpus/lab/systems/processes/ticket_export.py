import json
import logging
import sys

logging.basicConfig(level=logging.DEBUG, format="%(asctime)s export   %(levelname)s %(message)s")
log = logging.getLogger()

count = 0
with open(sys.argv[1], encoding="utf-8") as file:
    for line in file:
        ticket = json.loads(line)
        log.debug("ticket %s %s by %s: %s", ticket["id"], ticket["state"], ticket["requester"], ticket["subject"])
        print(json.dumps(ticket), flush=True)
        count += 1
log.info("exported %d tickets", count)
