"""BigQuery and Cloud Storage on loopback: tables that take loads, queries and streamed rows, buckets that hold objects."""

from __future__ import annotations

import csv
import datetime
import difflib
import io
import json
import re
from dataclasses import dataclass, field
from typing import Any

from corpus.lab.services.rest import Asked
from corpus.lab.services.tables import Answered, Store, Trouble
from corpus.lab.services.web import Reply

PROJECT = "stadtwerk-nord"
PLACE = "europe-west3"
KINDS = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN"}
WORD = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}


def refusal(status: int, reason: str, message: str, **more: str) -> Reply:
    """The error body of Google's JSON services."""
    error = {"message": message, "domain": "global", "reason": reason} | more
    return Reply(status, {"error": {"code": status, "message": message, "errors": [error]}})


@dataclass
class Cloud:
    store: Store = field(default_factory=lambda: Store(("metering", "network")))
    buckets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, Answered] = field(default_factory=dict)

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/token":
            return Reply(200, {"access_token": "ya29.c0AfH6lab", "expires_in": 3599, "token_type": "Bearer"})
        if "/storage/v1/b" in asked.path:
            return self._storage(asked)
        try:
            return self._bigquery(asked)
        except Trouble as trouble:
            return self._wrong(trouble)

    def _wrong(self, trouble: Trouble) -> Reply:
        at = f" at [{trouble.line}:{trouble.column}]"
        if trouble.kind == "table":
            return refusal(
                404, "notFound", f"Not found: Table {PROJECT}:{trouble.name} was not found in location {PLACE}"
            )
        if trouble.kind == "column" and "." in trouble.name:
            table, _, name = trouble.name.partition(".")
            message = f"Name {name} not found inside {table} at [{trouble.line}:{trouble.column + len(table) + 1}]"
        elif trouble.kind == "column":
            near = difflib.get_close_matches(trouble.name, self._names(), 1, 0.5)
            hint = f"; Did you mean {near[0]}?" if near else ""
            message = f"Unrecognized name: {trouble.name}{hint}{at}"
        elif trouble.kind == "null":
            message = f"Required field {trouble.name.split('.')[-1]} cannot be null"
        elif trouble.kind == "syntax":
            message = f'Syntax error: Unexpected "{trouble.name}"{at}'
        else:
            message = f"{trouble.name}{at}"
        return refusal(400, "invalidQuery", message, location="q", locationType="parameter")

    def _names(self) -> list[str]:
        tables = self.store.link.execute(
            "SELECT 'metering.' || name FROM metering.sqlite_master WHERE type = 'table'"
        ).fetchall()
        return [column[0] for (table,) in tables for column in self.store.columns(table)]

    def _bigquery(self, asked: Asked) -> Reply:
        path = asked.path.removeprefix(f"/bigquery/v2/projects/{PROJECT}")
        if asked.method == "POST" and path == "/jobs":
            return self._insert(asked.json())
        if found := re.fullmatch(r"/jobs/([\w-]+)", path):
            return Reply(200, self.jobs[found[1]])
        if found := re.fullmatch(r"/queries/([\w-]+)", path):
            return Reply(200, self._results(found[1]))
        if found := re.fullmatch(r"/datasets/(\w+)/tables/(\w+)/insertAll", path):
            return Reply(200, self._stream(f"{found[1]}.{found[2]}", asked.json()["rows"]))
        if found := re.fullmatch(r"/datasets/(\w+)/tables/(\w+)", path):
            return Reply(200, self._table(found[1], found[2]))
        return refusal(404, "notFound", f"Not found: {asked.path}")

    def _table(self, dataset: str, table: str) -> dict[str, Any]:
        fields = [
            {"name": name, "type": KINDS.get(kind, kind), "mode": "REQUIRED" if needed else "NULLABLE"}
            for name, kind, needed in self.store.columns(f"{dataset}.{table}")
        ]
        rows = self.store.run(f"SELECT COUNT(*) FROM {dataset}.{table}").rows[0][0]
        reference = {"projectId": PROJECT, "datasetId": dataset, "tableId": table}
        return {
            "kind": "bigquery#table",
            "id": f"{PROJECT}:{dataset}.{table}",
            "tableReference": reference,
            "schema": {"fields": fields},
            "numRows": str(rows),
            "type": "TABLE",
            "location": PLACE,
        }

    def _insert(self, job: dict[str, Any]) -> Reply:
        name = job["jobReference"]["jobId"]
        job["jobReference"] |= {"projectId": PROJECT, "location": PLACE}
        job |= {"id": f"{PROJECT}:{PLACE}.{name}", "kind": "bigquery#job", "status": {"state": "DONE"}}
        now = str(int(datetime.datetime.now().timestamp() * 1000))
        job["statistics"] = {"creationTime": now, "startTime": now, "endTime": now}
        if "load" in job["configuration"]:
            self._load(job)
        else:
            self._query(name, job)
        self.jobs[name] = job
        return Reply(200, job)

    def _query(self, name: str, job: dict[str, Any]) -> None:
        sql = re.sub(r"`(?:[\w-]+\.)?(\w+\.\w+)`", r"\1", job["configuration"]["query"]["query"])
        found = self.store.run(sql)
        self.answers[name] = found
        kind = sql.split()[0].upper()
        job["statistics"]["query"] = {"statementType": kind, "totalBytesProcessed": "20971520"}
        if kind != "SELECT":
            job["statistics"]["query"]["numDmlAffectedRows"] = str(max(found.affected, 0))

    def _results(self, name: str) -> dict[str, Any]:
        found = self.answers[name]
        fields = [
            {"name": each, "type": kind, "mode": "NULLABLE"}
            for each, kind in zip(found.names, found.types, strict=True)
        ]
        rows = [{"f": [{"v": None if value is None else str(value)} for value in row]} for row in found.rows]
        reply: dict[str, Any] = {
            "jobComplete": True,
            "totalRows": str(len(rows)),
            "jobReference": {"projectId": PROJECT, "jobId": name, "location": PLACE},
            "schema": {"fields": fields},
        }
        if rows:
            reply["rows"] = rows
        if not fields:
            reply["numDmlAffectedRows"] = str(max(found.affected, 0))
        return reply

    def _load(self, job: dict[str, Any]) -> None:
        load = job["configuration"]["load"]
        into = load["destinationTable"]
        table = f"{into['datasetId']}.{into['tableId']}"
        fields = load["schema"]["fields"]
        if trouble := self._mismatch(table, fields):
            _failed(
                job,
                [
                    {
                        "reason": "invalid",
                        "message": f"Provided Schema does not match Table {PROJECT}:{table}. {trouble}",
                    }
                ],
            )
            return
        rows: list[list[Any]] = []
        for uri in load["sourceUris"]:
            bucket, _, name = uri.removeprefix("gs://").partition("/")
            body = self.buckets.get(bucket, {}).get(name)
            if body is None:
                _failed(job, [{"reason": "notFound", "message": f"Not found: URI {uri}"}])
                return
            read, error = _read(body.decode("utf-8", errors="replace"), fields)
            if error:
                _failed(job, _too_many(uri, len(read) + 1, error))
                return
            rows += read
        self.store.insert(table, rows)
        job["statistics"]["load"] = {"inputFiles": str(len(load["sourceUris"])), "outputRows": str(len(rows))}

    def _mismatch(self, table: str, fields: list[dict[str, Any]]) -> str:
        there = {name: (kind, needed) for name, kind, needed in self.store.columns(table)}
        for each in fields:
            if each["name"] not in there:
                return f"Cannot add fields (field: {each['name']})"
            kind, needed = there.pop(each["name"])
            if KINDS.get(kind, kind) != each["type"]:
                return f"Field {each['name']} has changed type from {KINDS.get(kind, kind)} to {each['type']}"
            if needed != (each.get("mode") == "REQUIRED"):
                modes = ("NULLABLE", "REQUIRED")
                return f"Field {each['name']} has changed mode from {modes[needed]} to {modes[not needed]}"
        lost = next((name for name, (_, needed) in there.items() if needed), "")
        return f"Field {lost} is missing in new schema" if lost else ""

    def _stream(self, table: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        columns = self.store.columns(table)
        errors = []
        for at, row in enumerate(rows):
            if error := _row_error(row["json"], columns):
                errors.append({"index": at, "errors": [error]})
        if not errors:
            self.store.insert(table, [[json.dumps(row["json"].get(name)) for name, _, _ in columns] for row in rows])
            return {"kind": "bigquery#tableDataInsertAllResponse"}
        bad = {each["index"] for each in errors}
        stopped = {"reason": "stopped", "location": "", "debugInfo": "", "message": ""}
        errors += [{"index": at, "errors": [stopped]} for at in range(len(rows)) if at not in bad]
        return {"kind": "bigquery#tableDataInsertAllResponse", "insertErrors": errors}

    def _storage(self, asked: Asked) -> Reply:
        found = re.search(r"/storage/v1/b/([^/]+)(?:/o(?:/(.+))?)?$", asked.path)
        assert found
        bucket, name = found[1], found[2]
        if bucket not in self.buckets:
            return refusal(404, "notFound", "The specified bucket does not exist.")
        held = self.buckets[bucket]
        if asked.path.startswith("/upload"):
            return self._uploaded(bucket, asked)
        if name is None:
            prefix = asked.query.get("prefix", "")
            return Reply(
                200,
                {
                    "kind": "storage#objects",
                    "items": [_object(bucket, n, b) for n, b in sorted(held.items()) if n.startswith(prefix)],
                },
            )
        if name not in held:
            return refusal(404, "notFound", f"No such object: {bucket}/{name}")
        if asked.query.get("alt") == "media":
            return _part(held[name], asked.headers.get("range", ""))
        return Reply(200, _object(bucket, name, held[name]))

    def _uploaded(self, bucket: str, asked: Asked) -> Reply:
        _, about, rest = asked.body.split(b"\r\n\r\n", 2)[0:3]
        name = json.loads(about[: about.rindex(b"}") + 1])["name"]
        body = rest[: rest.rindex(b"\r\n--")]
        self.buckets[bucket][name] = body
        return Reply(200, _object(bucket, name, body))


def _object(bucket: str, name: str, body: bytes) -> dict[str, Any]:
    return {
        "kind": "storage#object",
        "bucket": bucket,
        "name": name,
        "size": str(len(body)),
        "generation": "1795400012",
    }


def _part(body: bytes, wanted: str) -> Reply:
    if not (found := re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)):
        return Reply(200, body, {"Content-Type": "text/csv"})
    first, last = int(found[1]), min(int(found[2] or len(body)), len(body) - 1)
    return Reply(206, body[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(body)}"})


def _failed(job: dict[str, Any], errors: list[dict[str, str]]) -> None:
    job["status"] |= {"errorResult": errors[0], "errors": errors}


def _too_many(uri: str, rows: int, error: str) -> list[dict[str, str]]:
    head = "Error while reading data, error message: "
    giving_up = f"{head}CSV processing encountered too many errors, giving up. Rows: {rows}; errors: 1; max bad: 0; error percent: 0"
    return [
        {"reason": "invalid", "location": uri, "message": giving_up},
        {"reason": "invalid", "location": uri, "message": f"{head}{error} File: {uri}"},
    ]


def _read(text: str, fields: list[dict[str, Any]]) -> tuple[list[list[Any]], str]:
    """Read a CSV as a load job would; gives the rows before the first error, and that error."""
    rows: list[list[Any]] = []
    start = len(text.partition("\n")[0]) + 1
    for number, line in enumerate(text.splitlines()[1:], 2):
        where = f"line_number: {number} byte_offset_to_start_of_line: {start}"
        if line.count('"') % 2:
            return (
                rows,
                f'Error detected while parsing row starting at position: {start}. Error: Missing close quote character (").',
            )
        row, error = _line(next(csv.reader(io.StringIO(line))), fields, where, start)
        if error:
            return rows, error
        rows.append(row)
        start += len(line.encode()) + 1
    return rows, ""


def _line(values: list[str], fields: list[dict[str, Any]], where: str, start: int) -> tuple[list[Any], str]:
    if len(values) > len(fields):
        return (
            [],
            f"Too many values in line. Found {len(values)} column(s) while expected {len(fields)}.; {where} expected_column_number: {len(fields)}",
        )
    row: list[Any] = []
    for at, each in enumerate(fields):
        about = f'column_index: {at} column_name: "{each["name"]}" column_type: {WORD.get(each["type"], each["type"])}'
        if at >= len(values):
            return (
                [],
                f"CSV table references column position {at}, but line contains only {len(values)} columns.; {where} {about}",
            )
        if values[at] == "" and each.get("mode") == "REQUIRED":
            return [], f"Required column value for column index: {at} is missing in row starting at position: {start}"
        try:
            row.append(_value(values[at], each["type"]))
        except ValueError:
            kind = WORD.get(each["type"], each["type"])
            field = f"for field {each['name']} (position {at}) starting at location {start}"
            return [], f"Could not parse '{values[at]}' as {kind} {field}  with message 'Unable to parse'"
    return row, ""


def _value(text: str, kind: str) -> Any:
    if text == "":
        return None
    if kind == "INTEGER":
        return int(text)
    if kind == "FLOAT":
        return float(text)
    if kind == "TIMESTAMP":
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).isoformat(" ")
    return text


def _row_error(row: dict[str, Any], columns: list[tuple[str, str, bool]]) -> dict[str, str] | None:
    known = {name: (kind, needed) for name, kind, needed in columns}
    for name in row:
        if name not in known:
            return _invalid(name, f"no such field: {name}.")
    for name, (kind, needed) in known.items():
        value = row.get(name)
        if value is None:
            if needed:
                return _invalid("", f"Missing required field: Msg_0_CLOUD_QUERY_TABLE.{name}.")
        elif isinstance(value, dict | list):
            return _invalid(
                name,
                "This field: " + name + " is not a record."
                if isinstance(value, dict)
                else f"Array specified for non-repeated field: {name}.",
            )
        elif message := _unconvertible(value, kind):
            return _invalid(name, message)
    return None


def _unconvertible(value: Any, kind: str) -> str:
    if kind == "INT64" and not re.fullmatch(r"-?\d+", str(value)):
        return f"Cannot convert value to integer (bad value): {value}"
    if kind == "FLOAT64" and not re.fullmatch(r"-?\d+(\.\d+)?", str(value)):
        return f"Cannot convert value to floating point (bad value): {value}"
    if kind == "TIMESTAMP" and not re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", str(value)):
        return f"Could not parse '{value}' as a timestamp. Required format is YYYY-MM-DD HH:MM[:SS[.SSSSSS]] or YYYY/MM/DD HH:MM[:SS[.SSSSSS]]"
    return ""


def _invalid(location: str, message: str) -> dict[str, str]:
    return {"reason": "invalid", "location": location, "debugInfo": "", "message": message}
