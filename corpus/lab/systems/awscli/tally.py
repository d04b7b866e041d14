"""Tally visits by clinic and ward; write batches for the booking table and the report."""

import csv
import json
import sys
from collections import Counter
from pathlib import Path

items, fees, visits = [], Counter(), Counter()
for name in sys.argv[1:]:
    with open(name, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = (row["clinic"], row["ward"])
            visits[key] += 1
            fees[key] += int(row["fee_cents"])
            if int(row["visit_no"]) % 10 == 0:
                item = {
                    "visit_no": {"S": row["visit_no"]},
                    "clinic": {"S": row["clinic"]},
                    "seen_on": {"S": row["seen_on"]},
                }
                items.append({"PutRequest": {"Item": item}})
print(
    f"tally: {sum(visits.values())} visits of {len(visits)} wards, {sum(fees.values()) / 100:.2f} EUR, {len(items)} to review"
)
Path("batches").mkdir(exist_ok=True)
for at in range(0, len(items), 25):
    Path(f"batches/{at // 25:03}.json").write_text(json.dumps({"visit-review": items[at : at + 25]}))
with open("report.csv", "w", newline="") as file:
    csv.writer(file).writerows([*key, visits[key], fees[key]] for key in sorted(visits))
