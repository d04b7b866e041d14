"""Book what partners redeemed, check it against the members' balances, write the statements of every tier."""

import contextlib
import json
import os
import sys
import traceback
from pathlib import Path
from urllib.parse import urlsplit

import snowflake.connector

BOOK = "INSERT INTO CORE.REDEMPTIONS (VOUCHER, MEMBER_NO, PARTNER, POINTS, BOOKED_AT) VALUES (%s, %s, %s, %s, %s)"


def out(text):
    print(f"redeem[{os.getpid()}]: {text}", flush=True)


def connect():
    where = urlsplit(os.environ["SNOWFLAKE_URL"])
    return snowflake.connector.connect(
        account="skyline",
        user="ETL_REDEEM",
        password=os.environ["SNOWFLAKE_PASSWORD"],
        protocol=where.scheme,
        host=where.hostname,
        port=where.port,
        database="LOYALTY",
        warehouse="REDEEM_WH",
        login_timeout=4,
        network_timeout=4,
        socket_timeout=2,
    )


def vouchers(name, file):
    document = json.load(file)
    fields = ", ".join(document["vouchers"][0])
    out(f"{name}: partner {document['partner']}, {len(document['vouchers'])} vouchers with {fields}")
    for voucher in document["vouchers"]:
        yield (
            voucher["voucher"],
            voucher["member"]["no"],
            document["partner"],
            voucher["points"],
            voucher.get("booked_at"),
        )


def check(rows, balances):
    spent = {}
    for voucher, member, _, points, _ in rows:
        tier, miles = balances[member]
        spent.setdefault(tier, []).append((member, voucher, points))
        if points > miles:
            raise ValueError(f"voucher {voucher}: {points} points of member {member}, who has {miles}")
    return spent


def main():
    with contextlib.ExitStack() as stack:
        files = {
            path.name: stack.enter_context(path.open(encoding="utf-8"))
            for path in sorted(Path("partners").glob("*.json"))
        }
        link = stack.enter_context(connect())
        cursor = link.cursor()
        cursor.execute("SELECT MEMBER_NO, TIER, MILES FROM CORE.MEMBERS")
        balances = {member: (tier, miles) for member, tier, miles in cursor}
        out(f"{len(balances)} members")
        rows = [row for name, file in files.items() for row in vouchers(name, file)]
        spent = check(rows, balances)
        for at in range(0, len(rows), 100):
            cursor.executemany(BOOK, rows[at : at + 100])
            out(f"booked {cursor.rowcount} vouchers [{cursor.sfqid}]")
        for tier, lines in sorted(spent.items()):
            with open(f"statements/{tier}.csv", "w") as file:
                file.writelines(f"{member};{voucher};{points}\n" for member, voucher, points in lines)
            out(f"statement of {tier}: {len(lines)} lines")


try:
    main()
except Exception:
    traceback.print_exc()
    out("gave up")
    sys.exit(1)
