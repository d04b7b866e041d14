"""The carrier: shipments as nested JSON behind a cursor API with a key."""

from __future__ import annotations

from mendline.demo.servers.base import ApiServer, json_reply
from mendline.demo.servers.behaviour import Reply, Request


class CarrierServer(ApiServer):
    """`GET /shipments?date=DATE[&cursor=C][&limit=N]` with `X-Api-Key`.

    The answer is `{"shipments": [...], "next": "cursor" | null}`.
    """

    name = "carrier"

    def answer(self, request: Request) -> Reply:
        if (request.method, request.path) != ("GET", "/shipments"):
            return json_reply({"message": f"no such resource: {request.path}"}, 404)
        if request.headers.get("x-api-key") != self.settings["api_key"]:
            return json_reply({"message": "unknown key"}, 401)
        file = self.folder / f"shipments_{request.query.get('date')}.parquet"
        if not file.exists():
            return json_reply({"message": f"nothing for {request.query.get('date')}"}, 404)
        start, size = int(request.query.get("cursor", "0")), min(int(request.query.get("limit", "10000")), 20_000)
        page = self.page(file, start, size)
        more = start + size < page.total_count
        return json_reply({"shipments": page.records, "next": str(start + size) if more else None})
