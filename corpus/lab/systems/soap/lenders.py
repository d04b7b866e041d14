"""The lenders' GraphQL service: a schema and a list of works, served on loopback."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from graphql import build_schema, graphql_sync

SCHEMA = build_schema(open("lenders.graphql").read())


def works(_info, after, first):
    found = [work for work in json.load(open("works.json")) if work["id"] > after]
    return found[:first]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        result = graphql_sync(SCHEMA, asked["query"], {"works": works}, variable_values=asked.get("variables"))
        body = json.dumps(result.formatted).encode()
        self.send_response(200 if result.data is not None else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", flush=True)
server.serve_forever()
