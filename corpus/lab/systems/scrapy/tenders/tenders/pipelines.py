import datetime as dt
import logging
import sqlite3
from decimal import Decimal
from pathlib import Path

from itemadapter import ItemAdapter

log = logging.getLogger(__name__)


class Normalise:
    """French dates and amounts become the register's."""

    def process_item(self, item):
        notice = ItemAdapter(item)
        for field in ("published", "deadline"):
            notice[field] = dt.datetime.strptime(notice[field], "%d/%m/%Y").date().isoformat()
        amount = notice["value_eur"].removesuffix("€").replace("\u202f", "").strip().replace(",", ".")
        notice["value_eur"] = str(Decimal(amount))
        return item


class Register:
    def open_spider(self):
        self.register = sqlite3.connect("data/register.db", timeout=1)
        self.register.execute("PRAGMA foreign_keys = ON")

    def close_spider(self):
        self.register.commit()
        log.info("register: %d changes", self.register.total_changes)
        self.register.close()

    def process_item(self, item):
        notice = ItemAdapter(item)
        self.register.execute(
            "INSERT INTO notice (ref, title, buyer, published, deadline, value_eur) VALUES (?, ?, ?, ?, ?, ?)",
            [notice[name] for name in ("ref", "title", "buyer", "published", "deadline", "value_eur")],
        )
        self.register.executemany(
            "INSERT INTO lot (notice, number, cpv, title) VALUES (?, ?, ?, ?)",
            [(notice["ref"], *lot) for lot in notice["lots"]],
        )
        return item


class ByDivision:
    """One file per CPV division, for the subscribers' mails."""

    def open_spider(self):
        self.files = {}

    def close_spider(self):
        for file in self.files.values():
            file.close()

    def process_item(self, item):
        for _, cpv, title in ItemAdapter(item)["lots"]:
            if cpv not in self.files:
                self.files[cpv] = Path(f"mails/{cpv}.txt").open("w", encoding="utf-8")
            self.files[cpv].write(f"{item['ref']}  {title}\n")
        return item
