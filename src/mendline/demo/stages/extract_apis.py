"""Extracts over HTTP: the CRM's customers and the carrier's shipments."""

from __future__ import annotations

from typing import Any

import httpx

from mendline.demo.stages.context import StageContext
from mendline.demo.stages.landing import inferred_json, land, write_lines

USER_AGENT = "retail-pipeline/1.0"


def extract_customers(context: StageContext) -> int:
    """Land a full snapshot of the CRM's customers, page by page; a token that expired on the way is renewed once."""
    settings = context.settings["crm"]
    with _client(context, settings["url"]) as client, context.spool("customers") as spool:
        token = _token(client, settings)
        page, pages = 1, 1
        while page <= pages:
            query = {"page": page, "per_page": settings["page_size"], "as_of": context.day.isoformat()}
            answer = client.get("/v2/customers", params=query, headers={"Authorization": f"Bearer {token}"})
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                context.log.warning("the CRM refused the token on page %d, asking for a new one", page)
                token = _token(client, settings)
                answer = client.get("/v2/customers", params=query, headers={"Authorization": f"Bearer {token}"})
            body = _json(context, answer)
            pages = body["pages"]
            count = write_lines(spool, body["data"])
            context.log.info("customers page %d of %d: %d records", page, pages, count)
            page += 1
        return land(context, "customers", inferred_json(spool))


def extract_shipments(context: StageContext) -> int:
    """Land the day's shipments, following the cursor to its end."""
    settings = context.settings["carrier"]
    headers = {"X-Api-Key": settings["api_key"]}
    with _client(context, settings["url"]) as client, context.spool("shipments") as spool:
        cursor: str | None = ""
        while cursor is not None:
            query = {"date": context.day.isoformat(), "limit": settings["page_size"]}
            if cursor:
                query["cursor"] = cursor
            body = _json(context, client.get("/shipments", params=query, headers=headers))
            count = write_lines(spool, body["shipments"])
            context.log.info("shipments from cursor %s: %d records", cursor or "(start)", count)
            cursor = body["next"]
        return land(context, "shipments", inferred_json(spool))


def _client(context: StageContext, base_url: str) -> httpx.Client:
    timeout_s = float(context.settings["http"]["timeout_seconds"])
    return httpx.Client(base_url=base_url, timeout=timeout_s, headers={"User-Agent": USER_AGENT}, trust_env=False)


def _token(client: httpx.Client, settings: dict[str, Any]) -> str:
    answer = client.post(
        "/oauth/token", json={"client_id": settings["client_id"], "client_secret": settings["client_secret"]}
    )
    return str(answer.raise_for_status().json()["access_token"])


def _json(context: StageContext, answer: httpx.Response) -> dict[str, Any]:
    kind = answer.headers.get("content-type", "without content type")
    context.log.debug("%s %s: %s, %d bytes", answer.status_code, answer.url, kind, len(answer.content))
    body = answer.raise_for_status().json()
    assert isinstance(body, dict)
    return body
