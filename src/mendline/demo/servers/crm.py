"""The CRM: customers behind a REST API with OAuth tokens that expire, pages and a rate limit."""

from __future__ import annotations

import json
import math
import secrets
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mendline.demo.servers.base import ApiServer, json_reply
from mendline.demo.servers.behaviour import Reply, Request


class CrmServer(ApiServer):
    """`POST /oauth/token`, then `GET /v2/customers?page=N&per_page=M[&as_of=DATE]` with the bearer token.

    Without `as_of` the newest snapshot is served. The answer is `{"data": [...], "page": N, "pages": P, "total": T}`.
    """

    name = "crm"

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        super().__init__(folder, settings)
        self.token_lifetime_s: float = settings["token_lifetime_seconds"]
        self._tokens: dict[str, float] = {}
        self._recent: deque[float] = deque()

    def expire_tokens(self) -> None:
        """Make every token issued so far invalid."""
        self._tokens.clear()

    def answer(self, request: Request) -> Reply:
        wait_s = self._too_many()
        if wait_s is not None:
            return json_reply({"error": "rate limit exceeded"}, 429, {"Retry-After": str(math.ceil(wait_s))})
        if (request.method, request.path) == ("POST", "/oauth/token"):
            return self._issue(request.body)
        if (request.method, request.path) != ("GET", "/v2/customers"):
            return json_reply({"error": f"no such resource: {request.path}"}, 404)
        if not self._knows(request.headers.get("authorization", "")):
            return json_reply({"error": "invalid_token", "error_description": "The access token expired"}, 401)
        return self._customers(request.query)

    def _too_many(self) -> float | None:
        now = time.monotonic()
        with self._lock:
            while self._recent and self._recent[0] < now - 1:
                self._recent.popleft()
            if len(self._recent) >= self.settings["requests_per_second"]:
                return self._recent[0] + 1 - now
            self._recent.append(now)
        return None

    def _issue(self, body: bytes) -> Reply:
        given = json.loads(body or b"{}")
        if (given.get("client_id"), given.get("client_secret")) != (
            self.settings["client_id"],
            self.settings["client_secret"],
        ):
            return json_reply({"error": "invalid_client"}, 401)
        token = secrets.token_urlsafe(16)
        self._tokens[token] = time.monotonic() + self.token_lifetime_s
        return json_reply({"access_token": token, "token_type": "Bearer", "expires_in": self.token_lifetime_s})

    def _knows(self, authorization: str) -> bool:
        token = authorization.removeprefix("Bearer ")
        return token == self.settings["monitoring_token"] or self._tokens.get(token, 0) > time.monotonic()

    def _customers(self, query: Mapping[str, str]) -> Reply:
        day = query.get("as_of")
        file = self.folder / f"customers_{day}.parquet" if day else max(self.folder.glob("customers_*.parquet"))
        if not file.exists():
            return json_reply({"error": f"no snapshot of {day}"}, 404)
        number, size = int(query.get("page", "1")), min(int(query.get("per_page", "100")), 10_000)
        page = self.page(file, (number - 1) * size, size)
        pages = max(1, math.ceil(page.total_count / size))
        return json_reply({"data": page.records, "page": number, "pages": pages, "total": page.total_count})
