"""Check the web shop's orders against their model and hand them to the warehouse."""

import json
import logging
import os
import pathlib
import sys
import urllib.request
from datetime import datetime
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s gate %(message)s")
log = logging.getLogger("gate")


class Line(BaseModel):
    model_config = ConfigDict(extra="forbid")
    sku: str = Field(pattern=r"^[A-Z]{2}-\d{4}$")
    quantity: int = Field(gt=0, le=500)
    price: Decimal = Field(max_digits=8, decimal_places=2)


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False)
    order_id: int
    customer_email: str
    placed_at: datetime
    status: Literal["new", "paid", "shipped"]
    lines: list[Line] = Field(min_length=1)

    @field_validator("customer_email")
    @classmethod
    def has_at(cls, value):
        if "@" not in value:
            raise ValueError("no address of e-mail")
        return value.lower()


class Settings(BaseModel):
    """What the deployment gives."""

    sanctions_url: str
    batch_size: int = Field(ge=10)
    target: str = "accepted"


def settings():
    return Settings.model_validate(
        {name[5:].lower(): value for name, value in os.environ.items() if name.startswith("GATE_")}
    )


class Sanctions(BaseModel):
    version: str
    emails: set[str]


def sanctions(url):
    with urllib.request.urlopen(url, timeout=2) as answer:
        body = answer.read()
        log.info(
            "sanctions list: status %s, %s, %d bytes", answer.status, answer.headers.get("Content-Type"), len(body)
        )
    return Sanctions.model_validate_json(body)


def orders():
    for path in sorted(pathlib.Path("inbox").glob("*.json")):
        content = path.read_text(encoding="utf-8")
        raw = json.loads(content)
        log.info("%s: %d orders", path.name, len(raw))
        for number, one in enumerate(raw):
            try:
                yield Order.model_validate(one)
            except ValidationError:
                log.error("%s: order no. %d does not fit: %s", path.name, number, json.dumps(one)[:300])
                raise


def totals(accepted):
    sums = {}
    for order in accepted:
        sums[order.status] = sums.get(order.status, 0) + sum(line.quantity * line.price for line in order.lines)
    return sums


def main():
    given = settings()
    banned = sanctions(given.sanctions_url).emails
    accepted = [order for order in orders() if order.customer_email not in banned]
    log.info(
        "%d orders accepted, totals %s", len(accepted), {name: str(total) for name, total in totals(accepted).items()}
    )
    for start in range(0, len(accepted), given.batch_size):
        batch = accepted[start : start + given.batch_size]
        path = pathlib.Path(given.target) / f"batch-{start:06d}.json"
        path.write_text(json.dumps([order.model_dump(mode="json") for order in batch]))
        log.info("wrote %s with %d orders", path, len(batch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
