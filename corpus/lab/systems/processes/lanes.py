"""Tonnage and declared value per lane."""

import csv
import logging
import sys
from collections import defaultdict
from decimal import Decimal

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
log = logging.getLogger("lanes")


def totals(path):
    lanes = defaultdict(lambda: [0.0, Decimal(0), 0])
    with open(path, newline="", encoding="utf-8") as file:
        for number, (consignment, lane, gross_kg, declared) in enumerate(csv.reader(file, delimiter="\t"), 1):
            lanes[lane][0] += float(gross_kg)
            lanes[lane][1] += Decimal(declared)
            lanes[lane][2] += 1
            if number % 20_000 == 0:
                log.info("%d consignments, %d lanes, last %s", number, len(lanes), consignment)
    return lanes


def main(source, target):
    log.info("reading %s", source)
    lanes = totals(source)
    with open(target, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["lane", "tonnes", "declared", "mean_declared_per_kg"])
        for lane, (kilos, declared, _count) in sorted(lanes.items()):
            writer.writerow([lane, round(kilos / 1000, 3), declared, round(float(declared) / kilos, 4)])
    log.info("wrote %d lanes to %s", len(lanes), target)


if __name__ == "__main__":
    main(*sys.argv[1:3])
