"""Book a day's card gifts from Stripe in the charity's ledger; say thanks later, reconcile with the payout now."""

import csv
import datetime as dt
import json
import logging
import os
import sys

import psycopg
import stripe

logging.basicConfig(
    stream=sys.stdout,
    level=os.environ.get("LOG_LEVEL", "INFO"),
    format="ts=%(asctime)s.%(msecs)03dZ level=%(levelname)s logger=%(name)s msg=%(message)r",
    datefmt="%Y-%m-%dT%H:%M:%S",
)
log = logging.getLogger("gifts")
logging.getLogger("urllib3").setLevel(logging.INFO)

GIFT = """INSERT INTO gift (charge, donor, appeal, given_at, currency, gross, fee, net)
          VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"""
DONOR = "INSERT INTO donor (customer, name, country) VALUES (%s, %s, %s) ON CONFLICT (customer) DO NOTHING"


def window(day):
    start = dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
    return {"gte": int(start.timestamp()), "lt": int((start + dt.timedelta(days=1)).timestamp())}


def donors(api):
    for customer in api.v1.customers.list({"limit": 50}).auto_paging_iter():
        yield customer.id, customer.name, customer.address.country if customer.address else None


def gifts(api, day, journal):
    params = {"created": window(day), "limit": 50, "expand": ["data.balance_transaction"]}
    for number, charge in enumerate(api.v1.charges.list(params).auto_paging_iter(), 1):
        journal.write(json.dumps(charge.to_dict(), default=str) + "\n")
        settled = charge.balance_transaction
        if number % 50 == 0:
            log.info("%d charges, last %s of %s", number, charge.id, charge.created)
        yield (
            charge.id,
            charge.customer,
            charge.metadata["appeal"],
            dt.datetime.fromtimestamp(charge.created, dt.UTC),
            charge.currency,
            charge.amount / 100,
            settled.fee / 100,
            settled.net / 100,
        )


def reconcile(api, link, day):
    paid = sum(p.amount for p in api.v1.payouts.list({"arrival_date": window(day), "limit": 10}).data) / 100
    booked = link.execute("SELECT coalesce(sum(net), 0) FROM gift WHERE given_at::date = %s", (day,)).fetchone()[0]
    log.info("payout %.2f, booked %.2f", paid, booked)
    if abs(float(booked) - paid) > 0.5:
        raise RuntimeError(f"ledger of {day} does not agree with the payout: booked {booked}, paid out {paid:.2f}")


def statement(link, day):
    rows = link.execute(
        "SELECT appeal, count(*), sum(net) FROM gift WHERE given_at::date = %s GROUP BY appeal ORDER BY appeal", (day,)
    ).fetchall()
    with open(f"statements/{day}.csv", "w", newline="") as file:
        csv.writer(file).writerows([("appeal", "gifts", "net"), *rows])
    log.info("statement of %d appeals", len(rows))


def main(day):
    api = stripe.StripeClient(
        os.environ["STRIPE_KEY"],
        base_addresses={"api": os.environ["STRIPE_API"]},
        max_network_retries=2,
        http_client=stripe.RequestsClient(timeout=2),
    )
    log.debug("ledger %s", os.environ["DATABASE_URL"])
    with psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=3) as link, open("journal.ndjson", "w") as journal:
        new = [link.execute(DONOR, donor).rowcount for donor in donors(api)]
        log.info("%d donors, %d new", len(new), sum(new))
        rows = list(gifts(api, day, journal))
        log.info("booking %d gifts", len(rows))
        for row in rows:
            link.execute(GIFT, row)
        reconcile(api, link, day)
        statement(link, day)
    log.info("%s is booked", day)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception:
        log.exception("booking failed")
        raise SystemExit(1) from None
