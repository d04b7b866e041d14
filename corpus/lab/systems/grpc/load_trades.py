"""Loads the day's trades from the exchange into the position table, and checks them against the exchange's totals."""

import datetime as dt
import json
import os
import sys
import time
import traceback
from decimal import Decimal

import grpc
import psycopg
from google.protobuf.unknown_fields import UnknownFieldSet

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "gen"))
import trades_pb2
import trades_pb2_grpc

DAY = os.environ.get("TRADE_DAY", "2026-11-22")
RETRY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED}
CHUNK = 100

UPSERT = """
    INSERT INTO trade (trade_id, product, counterparty, price, mwh, side, delivery, confirmation)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""


def log(level, message, **more):
    print(
        json.dumps({"time": dt.datetime.now(dt.UTC).isoformat(), "level": level, "msg": message, **more}, default=str),
        flush=True,
    )


def channel():
    target = os.environ["MARKET_TARGET"]
    options = [("grpc.max_reconnect_backoff_ms", 400), ("grpc.enable_retries", 0)]
    if os.environ.get("MARKET_CA"):
        with open(os.environ["MARKET_CA"], "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        log("INFO", "secure channel", target=target)
        return grpc.secure_channel(target, credentials, options)
    log("INFO", "plain channel", target=target)
    return grpc.insecure_channel(target, options)


def attempt(name, call):
    for number in (1, 2, 3):
        try:
            return call()
        except grpc.RpcError as error:
            log(
                "WARNING" if number < 3 else "ERROR",
                f"{name} failed",
                attempt=number,
                code=error.code().name,
                details=error.details(),
            )
            if error.code() not in RETRY or number == 3:
                raise
            time.sleep(0.3 * number)


def to_row(trade):
    delivery = trade.delivery.ToDatetime(dt.UTC) if trade.HasField("delivery") else None
    return (
        trade.trade_id,
        trade.product,
        trade.counterparty,
        Decimal(trade.price),
        trade.volume,
        trades_pb2.Side.Name(trade.side),
        delivery,
        trade.confirmation,
    )


def look_at(trade):
    """Say what the first trade of a stream looks like, and which of its fields our schema does not have."""
    log("INFO", "first trade", trade=str(trade))
    foreign = sorted({field.field_number for field in UnknownFieldSet(trade)})
    if foreign:
        log("WARNING", "fields that are not in trades.proto", numbers=foreign)


def load(store, stub, metadata):
    def fetch():
        trades, mwh = [], Decimal(0)
        for trade in stub.ListTrades(trades_pb2.Day(day=DAY), metadata=metadata, timeout=5):
            if not trades:
                look_at(trade)
            try:
                trades.append(to_row(trade))
            except Exception:
                log("ERROR", "cannot read trade", number=len(trades) + 1, trade=str(trade)[:300])
                raise
            mwh += Decimal(str(trade.volume))
        return trades, mwh

    trades, mwh = attempt("ListTrades", fetch)
    log("INFO", "trades received", count=len(trades), mwh=mwh)
    with store.transaction(), store.cursor() as cursor:
        for start in range(0, len(trades), CHUNK):
            cursor.executemany(UPSERT, trades[start : start + CHUNK])
            log("INFO", "stored", upto=start + len(trades[start : start + CHUNK]))
        cursor.execute("REFRESH MATERIALIZED VIEW position")
    return len(trades), mwh


def main():
    metadata = (("authorization", f"Bearer {os.environ['MARKET_TOKEN']}"), ("x-member", "stadtwerk-09"))
    log("INFO", "start", day=DAY, grpc=grpc.__version__)
    with (
        psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, application_name="load_trades") as store,
        channel() as link,
    ):
        stub = trades_pb2_grpc.MarketStub(link)
        totals = attempt("Close", lambda: stub.Close(trades_pb2.Day(day=DAY), metadata=metadata, timeout=3))
        log("INFO", "day is closed", trades=totals.trades, mwh=round(totals.volume, 3))
        count, _ = load(store, stub, metadata)
        if count != totals.trades:
            raise RuntimeError(f"the exchange closed the day with {totals.trades} trades, {count} were delivered")
        open_mwh = store.execute("SELECT sum(mwh) FROM position").fetchone()[0]
        log("INFO", "done", trades=count, position_mwh=open_mwh)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        log("CRITICAL", "load_trades failed", error=type(error).__name__)
        traceback.print_exc()
        sys.exit(1)
