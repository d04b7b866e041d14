"""What a source's status page says: an incident that is known there need not be looked for here."""

from __future__ import annotations

import json
from typing import Any

import httpx

from mendline.config import NetworkSource
from mendline.probing.answers import shown
from mendline.probing.deadline import Deadline, Facts, Stopped
from mendline.probing.http import Question

MOST_BYTES = 65_536
INDICATORS = ("none", "minor", "major", "critical", "maintenance")


def read_status_page(source: NetworkSource) -> dict[str, Any]:
    """Read the status page of a source, without credentials, within the source's timeout.

    Gives indicator (one of `INDICATORS`, or "" where the page says nothing that is understood), description, status and
    error ("" when it answers). Source: the status.json of Atlassian Statuspage.
    """
    said: dict[str, Any] = {"indicator": "", "description": "", "status": None, "error": ""}
    if source.status_page is None:
        return said
    facts: Facts = {}
    try:
        url = httpx.URL(source.status_page.get_secret_value()).copy_with(username=None, password=None)
        question = Question(url=url, deadline=Deadline.after(source.timeout_seconds))
        answer = question.ask(facts, MOST_BYTES)
    except Stopped as stop:
        return said | {"error": stop.found}
    except httpx.InvalidURL:
        return said | {"error": "`status_page` is no URL"}
    said["status"] = answer.status
    if answer.status != httpx.codes.OK:
        return said | {"error": f"HTTP {answer.status}"}
    return said | _understood(answer.body)


def _understood(body: bytes) -> dict[str, str]:
    try:
        status = json.loads(body)["status"]
        indicator, description = status["indicator"], status["description"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    if indicator not in INDICATORS or not isinstance(description, str):
        return {}
    return {"indicator": indicator, "description": shown(description)}
