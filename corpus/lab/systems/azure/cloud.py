"""Azure on loopback: the sign-in, containers with blobs, tables with entities; JSON and XML as the services answer."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

from corpus.lab.services.rest import Asked
from corpus.lab.services.web import Reply

ACCOUNT = "laiterieouest"
TENANT = "6f1c2b7e-0d43-4a55-9a5c-31b1f0a7d9e2"
WHEN = "Tue, 13 Oct 2026 04:12:55 GMT"
TAIL = "\nRequestId:3f0f8c11-901e-0042-5e7a-3a9d1c000000\nTime:2026-10-13T04:12:55.1180377Z"


def refusal(status: int, code: str, message: str) -> Reply:
    """The blob service's way to say no."""
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{escape(message + TAIL)}</Message></Error>'
    return Reply(status, "\ufeff" + body, {"Content-Type": "application/xml", "x-ms-error-code": code})


def table_refusal(status: int, code: str, message: str) -> Reply:
    """The table service's way to say no."""
    body = {"odata.error": {"code": code, "message": {"lang": "en-US", "value": message + TAIL}}}
    return Reply(status, body, {"Content-Type": "application/json;odata=minimalmetadata", "x-ms-error-code": code})


def sign_in_refusal(code: int, message: str) -> Reply:
    """The sign-in's way to say no."""
    trace = "Trace ID: 0b8f7c1e-2a4b-4c1d-8a57-cf90ab115300 Correlation ID: 5a3c1f6b-61c8-4f1b-b1d7-0a2f9c5d7e11"
    told = f"AADSTS{code}: {message} {trace} Timestamp: 2026-10-13 04:12:55Z"
    return Reply(401, {"error": "invalid_client", "error_description": told, "error_codes": [code]})


@dataclass
class Cloud:
    blobs: dict[str, bytes] = field(default_factory=dict)  # by container/name
    tables: dict[str, dict[tuple[str, str], dict[str, Any]]] = field(default_factory=dict)
    leases: set[str] = field(default_factory=set)
    url: str = ""

    def answer(self, asked: Asked) -> Reply:
        if asked.path.startswith(f"/{TENANT}/"):
            return self._sign_in(asked)
        path = asked.path.removeprefix(f"/{ACCOUNT}/")
        if (
            found := re.fullmatch(r"(\w+)(?:\((.*)\))?", path)
            if "application/json" in asked.headers["accept"]
            else None
        ):
            return self._tables(found[1], found[2] or "", asked)
        if asked.query.get("comp") == "list":
            return self._listing(path, asked.query.get("prefix", ""))
        return self._blob(path, asked)

    def _sign_in(self, asked: Asked) -> Reply:
        base = f"{self.url}/{TENANT}"
        if asked.path.endswith("openid-configuration"):
            return Reply(
                200,
                {
                    "token_endpoint": f"{base}/oauth2/v2.0/token",
                    "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                    "issuer": f"{base}/v2.0",
                },
            )
        return Reply(
            200,
            {"token_type": "Bearer", "expires_in": 3599, "access_token": "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.e30."},
        )

    def _listing(self, container: str, prefix: str) -> Reply:
        names = [name.partition("/")[2] for name in sorted(self.blobs) if name.startswith(f"{container}/{prefix}")]
        blobs = "".join(
            f"<Blob><Name>{name}</Name><Properties><Content-Length>{len(self.blobs[f'{container}/{name}'])}</Content-Length>"
            f"<Last-Modified>{WHEN}</Last-Modified><BlobType>BlockBlob</BlobType></Properties></Blob>"
            for name in names
        )
        head = f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="{container}">'
        return Reply(
            200, f"{head}<Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>", {"Content-Type": "application/xml"}
        )

    def _blob(self, name: str, asked: Asked) -> Reply:
        if asked.query.get("comp") == "lease":
            return self._lease(name, asked)
        if asked.method == "PUT":
            return self._put(name, asked)
        if name not in self.blobs:
            return refusal(404, "BlobNotFound", "The specified blob does not exist.")
        body = self.blobs[name]
        about = self._about(name)
        if not (found := re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("x-ms-range", ""))):
            return Reply(200, body, about)
        first, last = int(found[1]), min(int(found[2] or len(body)), len(body) - 1)
        return Reply(206, body[first : last + 1], about | {"Content-Range": f"bytes {first}-{last}/{len(body)}"})

    def _about(self, name: str) -> dict[str, str]:
        tag = hashlib.sha256(self.blobs[name]).hexdigest()[:15].upper()
        return {
            "ETag": f'"0x{tag}"',
            "Last-Modified": WHEN,
            "x-ms-blob-type": "BlockBlob",
            "Content-Type": "application/octet-stream",
            "x-ms-request-id": "3f0f8c11-901e-0042-5e7a-3a9d1c000000",
        }

    def _lease(self, name: str, asked: Asked) -> Reply:
        if asked.headers.get("x-ms-lease-action") == "release":
            self.leases.discard(name)
            return Reply(200, b"", self._about(name))
        if name in self.leases:
            return refusal(409, "LeaseAlreadyPresent", "There is already a lease present.")
        self.leases.add(name)
        return Reply(201, b"", self._about(name) | {"x-ms-lease-id": "9d7b1a42-5b0c-4a0e-8a67-2f0cbb0a71d5"})

    def _put(self, name: str, asked: Asked) -> Reply:
        if asked.headers.get("if-none-match") == "*" and name in self.blobs:
            return refusal(409, "BlobAlreadyExists", "The specified blob already exists.")
        wanted = asked.headers.get("if-match")
        if wanted and (name not in self.blobs or self._about(name)["ETag"] != wanted):
            return refusal(
                412, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met."
            )
        self.blobs[name] = asked.body
        return Reply(201, b"", self._about(name))

    def _tables(self, table: str, key: str, asked: Asked) -> Reply:
        if table not in self.tables:
            return table_refusal(404, "TableNotFound", "The table specified does not exist.")
        entities = self.tables[table]
        if asked.method == "POST":
            return self._insert(entities, asked.json())
        if found := re.fullmatch(r"PartitionKey='(.*)',RowKey='(.*)'", key):
            entity = entities.get((found[1], found[2]))
            if entity is None:
                return table_refusal(404, "ResourceNotFound", "The specified resource does not exist.")
            return Reply(200, {"odata.metadata": f"{self.url}/$metadata#{table}/@Element"} | entity)
        return Reply(200, {"odata.metadata": f"{self.url}/$metadata#{table}", "value": list(entities.values())})

    def _insert(self, entities: dict[tuple[str, str], dict[str, Any]], entity: dict[str, Any]) -> Reply:
        row = entity["RowKey"]
        if re.search(r"[/\\#?]", row):
            return table_refusal(400, "OutOfRangeInput", f"The 'RowKey' parameter of value '{row}' is out of range.")
        if max(len(str(value)) for value in entity.values()) > 32_768:
            return table_refusal(
                400, "PropertyValueTooLarge", "The property value exceeds the maximum allowed size (64KB)."
            )
        if (entity["PartitionKey"], row) in entities:
            return table_refusal(409, "EntityAlreadyExists", "The specified entity already exists.")
        entities[entity["PartitionKey"], row] = entity
        return Reply(
            204,
            b"",
            {"ETag": "W/\"datetime'2026-10-13T04%3A12%3A55.1180377Z'\"", "Preference-Applied": "return-no-content"},
        )


def as_json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
