import csv

from scrapy.exceptions import DropItem


class Seconds:
    """m:ss.s becomes seconds; who did not start has no time and is no result."""

    def process_item(self, item):
        if item["time"] in ("DNS", "DNF"):
            raise DropItem(f"{item['event']}: {item['licence']} {item['time']}", log_level="DEBUG")
        minutes, seconds = item.pop("time").split(":")
        item["seconds"] = round(int(minutes) * 60 + float(seconds), 1)
        return item


class Clubs:
    def __init__(self):
        with open("clubs.csv", encoding="utf-8", newline="") as file:
            self.clubs = {row["name"]: row["code"] for row in csv.DictReader(file)}

    def process_item(self, item):
        item["club"] = self.clubs.get(item["club"], item["club"])
        return item
