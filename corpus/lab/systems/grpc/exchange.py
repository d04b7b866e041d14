"""The power exchange's side: closes the day and streams our trades. What it does is in `exchange.json`."""

import json
import os
import sys
import time
from concurrent import futures

import grpc
import trades_pb2
import trades_pb2_grpc

TOLD = json.load(open("exchange.json"))


def trade(row):
    row = dict(row)
    delivery = row.pop("delivery", None)
    made = trades_pb2.Trade(**row)
    if delivery is not None:
        made.delivery.FromSeconds(delivery)
    return made


class Market(trades_pb2_grpc.MarketServicer):
    calls = 0

    def check(self, context, method):
        Market.calls += 1
        if dict(context.invocation_metadata()).get("authorization") != f"Bearer {TOLD['token']}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token was revoked on 2026-11-21")
        failure = TOLD.get("failures", {}).get(method)
        if failure and Market.calls <= failure.get("calls", 10**6):
            context.abort(grpc.StatusCode[failure["code"]], failure["details"])
        if TOLD.get("slow") == method:
            time.sleep(8)

    def Close(self, request, context):
        self.check(context, "Close")
        return trades_pb2.Totals(**TOLD["totals"])

    def ListTrades(self, request, context):
        self.check(context, "ListTrades")
        for number, row in enumerate(TOLD["trades"]):
            if number == TOLD.get("dies_after"):
                time.sleep(0.3)
                os._exit(1)
            yield trade(row)


options = [("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), options=options)
trades_pb2_grpc.add_MarketServicer_to_server(Market(), server)
if TOLD.get("tls"):
    key, certificate = (open(name, "rb").read() for name in TOLD["tls"])
    server.add_secure_port(f"127.0.0.1:{TOLD['port']}", grpc.ssl_server_credentials([(key, certificate)]))
else:
    server.add_insecure_port(f"127.0.0.1:{TOLD['port']}")
server.start()
print("up", flush=True)
sys.stdin.read()
os._exit(0)
