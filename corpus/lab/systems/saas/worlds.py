"""Stripe, Salesforce and Google Sheets on loopback: small worlds that answer in the words that the services document."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from corpus.lab.services.rest import Asked
from corpus.lab.services.web import Reply

Record = dict[str, Any]
PAGE = 100


def stripe_refusal(status: int, kind: str, message: str, **more: str) -> Reply:
    """The error body of Stripe's API."""
    headers = {"Request-Id": "req_8fKq2TzNwYb1Lm", "Stripe-Version": "2026-09-30.clover"}
    return Reply(status, {"error": {"message": message, "type": kind} | more}, headers)


def salesforce_refusal(status: int, code: str, message: str) -> Reply:
    return Reply(status, [{"message": message, "errorCode": code}])


def google_refusal(status: int, state: str, message: str) -> Reply:
    return Reply(status, {"error": {"code": status, "message": message, "status": state}})


@dataclass
class Stripe:
    """Lists by path (`/v1/charges`), newest first, given in pages after `starting_after`."""

    lists: dict[str, list[Record]]

    def answer(self, asked: Asked) -> Reply:
        if asked.path not in self.lists:
            return stripe_refusal(
                404, "invalid_request_error", f"Unrecognized request URL ({asked.method}: {asked.path})."
            )
        records = self.lists[asked.path]
        after = asked.query.get("starting_after")
        start = next((n + 1 for n, each in enumerate(records) if each["id"] == after), 0)
        size = int(asked.query.get("limit", 10))
        page = {
            "object": "list",
            "url": asked.path,
            "has_more": start + size < len(records),
            "data": records[start : start + size],
        }
        return Reply(200, page, {"Request-Id": f"req_{start:014}"})


@dataclass
class Salesforce:
    """Objects by name with their fields and records; queries are answered without their conditions."""

    objects: dict[str, list[Record]]
    queries: dict[str, tuple[list[str], list[Record]]] = field(default_factory=dict)

    def answer(self, asked: Asked) -> Reply:
        path = re.sub(r"^/services(/data/v[\d.]+)?", "", asked.path)
        if path == "/oauth2/token":
            return Reply(200, {"access_token": "00D5g000004kT!AQEAQPv7", "token_type": "Bearer", "scope": "api"})
        if path.startswith("/query/"):
            return self._query(asked, path)
        if path.startswith("/jobs/query"):
            return self._job(asked, path)
        if asked.method == "POST":
            return Reply(201, {"id": "a0X5g00000KfTzEAK", "success": True, "errors": []})
        return Reply(204)

    def _query(self, asked: Asked, path: str) -> Reply:
        if "q" in asked.query:
            key, start = f"01g5g{len(self.queries):05}", 0
            refused = self._open(key, asked.query["q"])
            if refused:
                return refused
        else:
            key, _, offset = path.removeprefix("/query/").partition("-")
            start = int(offset)
        _, records = self.queries[key]
        done = start + PAGE >= len(records)
        more = {} if done else {"nextRecordsUrl": f"/services/data/v59.0/query/{key}-{start + PAGE}"}
        return Reply(200, {"totalSize": len(records), "done": done, "records": records[start : start + PAGE]} | more)

    def _open(self, key: str, soql: str) -> Reply | None:
        named = re.fullmatch(r"SELECT (.+?) FROM (\w+)(?: WHERE .*)?", soql)
        if named is None:
            return salesforce_refusal(400, "MALFORMED_QUERY", f"unexpected token: '{soql[:20]}'")
        fields, name = named[1].split(", "), named[2]
        if name not in self.objects:
            return salesforce_refusal(400, "INVALID_TYPE", _unsupported(soql, name))
        records = self.objects[name]
        missing = next((each for each in fields if each not in records[0]), None)
        if missing:
            return salesforce_refusal(400, "INVALID_FIELD", _no_column(soql, name, missing))
        kind = {"type": name, "url": f"/services/data/v59.0/sobjects/{name}"}
        self.queries[key] = fields, [{"attributes": kind} | {f: each[f] for f in fields} for each in records]
        return None

    def _job(self, asked: Asked, path: str) -> Reply:
        key = "7505g00000JmQpAAK"
        if asked.method == "POST":
            refused = self._open(key, asked.json()["query"])
            return refused or Reply(
                200, {"id": key, "operation": "query", "state": "UploadComplete", "apiVersion": 59.0}
            )
        if not path.endswith("/results"):
            return Reply(200, {"id": key, "operation": "query", "state": "JobComplete", "apiVersion": 59.0})
        fields, records = self.queries[key]
        start, most = int(asked.query.get("locator", 0)), int(asked.query["maxRecords"])
        part = records[start : start + most]
        locator = str(start + most) if start + most < len(records) else "null"
        headers = {"Sforce-Locator": locator, "Sforce-NumberOfRecords": str(len(part)), "Content-Type": "text/csv"}
        return Reply(200, _csv(fields, part), headers)


def _csv(fields: Sequence[str], records: Sequence[Record]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([fields, *([each[f] for f in fields] for each in records)])
    return out.getvalue().encode()


def _marked(soql: str, word: str) -> str:
    """The part of a query around the word that is refused, as the service shows it."""
    at = soql.index(word)
    return f"\n{soql[max(0, at - 30) : at + 30]}\n{' ' * min(at, 30)}^\nERROR at Row:1:Column:{at + 1}\n"


def _unsupported(soql: str, name: str) -> str:
    return (
        f"{_marked(soql, name)}sObject type '{name}' is not supported. If you are attempting to use a custom object, be sure to "
        "append the '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names."
    )


def _no_column(soql: str, name: str, missing: str) -> str:
    return (
        f"{_marked(soql, missing)}No such column '{missing}' on entity '{name}'. If you are attempting to use a custom field, be "
        "sure to append the '__c' after the custom field name. Please reference your WSDL or the describe call for the "
        "appropriate names."
    )


@dataclass
class Sheets:
    """One spreadsheet: tabs by name, each with its rows of text."""

    tabs: dict[str, list[list[str]]]

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/token":
            return Reply(200, {"access_token": "ya29.c.c0AY_VpZh1", "expires_in": 3599, "token_type": "Bearer"})
        wanted = asked.path.split("/values/")[1].removesuffix(":append")
        tab = wanted.partition("!")[0]
        if tab not in self.tabs:
            return google_refusal(400, "INVALID_ARGUMENT", f"Unable to parse range: {wanted}")
        if asked.method == "POST":
            return Reply(200, {"spreadsheetId": "1kQ", "tableRange": f"{tab}!A1:D9", "updates": {"updatedRows": 1}})
        rows = [self._filled(row) for row in self.tabs[tab]]
        values = {"values": rows} if rows else {}
        return Reply(200, {"range": f"{tab}!A1:H{len(rows)}", "majorDimension": "ROWS"} | values)

    @staticmethod
    def _filled(row: list[str]) -> list[str]:
        """The API leaves out the empty cells at the end of a row."""
        while row and not row[-1]:
            row = row[:-1]
        return row
