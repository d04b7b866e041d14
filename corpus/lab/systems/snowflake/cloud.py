"""Snowflake on loopback: sessions, statements, a stage that is a folder, and loads from it; errors as the service words them."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.lab.services.rest import Asked
from corpus.lab.services.tables import Answered, Store, Trouble
from corpus.lab.services.web import Reply

DATABASE = "LOYALTY"
INSERTED = 0x3100
SELECTED = 0x1000
CONTINUE = (
    "If you would like to continue loading when an error is encountered, use other values such as 'SKIP_FILE' or "
    "'CONTINUE' for the ON_ERROR option. For more information on loading options, please run 'info loading_data' in a SQL client."
)
_numbers = itertools.count(0x11)


@dataclass
class Refused(Exception):
    code: str
    state: str
    message: str


def query_id() -> str:
    return f"01b9c2e4-0206-8f1a-0000-4a5d{next(_numbers):08x}"


def refusal(code: str, state: str, message: str) -> Reply:
    """The body of a statement that failed; the status of HTTP is well."""
    data = {
        "internalError": False,
        "errorCode": code,
        "age": 0,
        "sqlState": state,
        "queryId": query_id(),
        "line": -1,
        "pos": -1,
    }
    return Reply(
        200,
        {"data": data | {"type": "COMPILATION"}, "code": code, "message": message, "success": False, "headers": None},
    )


def login_refusal(code: str, message: str) -> Reply:
    return Reply(
        200,
        {
            "data": {"nextAction": "RETRY_LOGIN", "authnMethod": "USERNAME_PASSWORD"},
            "code": code,
            "message": message,
            "success": False,
            "headers": None,
        },
    )


@dataclass
class Cloud:
    stage: Path
    store: Store = field(default_factory=lambda: Store(("LANDING", "CORE")))
    warehouse: str = ""

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/session/v1/login-request":
            return self._login(asked)
        if asked.path == "/queries/v1/query-request":
            try:
                return self._statement(asked.json()["sqlText"].strip().rstrip(";"))
            except Trouble as trouble:
                return refusal(*_worded(trouble))
            except Refused as refused:
                return refusal(refused.code, refused.state, refused.message)
        return Reply(200, {"data": None, "code": None, "message": None, "success": True})

    def _login(self, asked: Asked) -> Reply:
        self.warehouse = asked.query.get("warehouse", "")
        held = {
            "databaseName": DATABASE,
            "schemaName": "CORE",
            "warehouseName": self.warehouse or None,
            "roleName": "ACCRUAL_ETL",
        }
        data = {
            "masterToken": "ver:3-hint:1029384-lab-master",
            "token": "ver:3-hint:1029384-lab",
            "validityInSeconds": 3600,
            "masterValidityInSeconds": 14400,
            "displayUserName": "ETL_ACCRUAL",
            "serverVersion": "9.31.2",
            "sessionId": 4099217,
            "parameters": [{"name": "CLIENT_TELEMETRY_ENABLED", "value": False}],
            "sessionInfo": held,
        }
        return Reply(200, {"data": data, "code": None, "message": None, "success": True})

    def _statement(self, sql: str) -> Reply:
        word = sql.split(maxsplit=1)[0].upper()
        if word == "PUT":
            return self._put(sql)
        if not self.warehouse:
            text = "No active warehouse selected in the current session.  Select an active warehouse with the 'use warehouse' command.\n"
            raise Refused("000606", "57P03", text)
        if word == "COPY":
            return _rows(self._copy(sql), 0x3900)
        if word in ("BEGIN", "COMMIT", "ROLLBACK", "ALTER"):
            return _rows(Answered(("status",), ("STRING",), [("Statement executed successfully.",)], 0), 0x4000)
        found = self.store.run(sql)
        if word != "SELECT":
            found = Answered(
                (f"number of rows {word.lower().rstrip('e')}ed",), ("INTEGER",), [(found.affected,)], found.affected
            )
        return _rows(found, SELECTED if word == "SELECT" else INSERTED)

    def _put(self, sql: str) -> Reply:
        found = re.match(r"PUT\s+'?file://([^\s']+)'?\s+@(\S+)", sql, re.IGNORECASE)
        assert found
        folder = self.stage / found[2].lower()
        folder.mkdir(parents=True, exist_ok=True)
        data = {
            "command": "UPLOAD",
            "src_locations": [found[1]],
            "parallel": 2,
            "autoCompress": True,
            "sourceCompression": "auto_detect",
            "overwrite": True,
            "stageInfo": {"locationType": "LOCAL_FS", "location": str(folder), "creds": {}},
            "queryId": query_id(),
        }
        return Reply(200, {"data": data, "code": None, "message": None, "success": True})

    def _copy(self, sql: str) -> Answered:
        found = re.match(r"COPY\s+INTO\s+(\S+)\s+FROM\s+@(\S+)", sql, re.IGNORECASE)
        assert found
        columns = self.store.columns(found[1])
        told = []
        for path in sorted((self.stage / found[2].lower()).glob("*.csv.gz")):
            rows = _read(path, found[1].split(".")[1], columns)
            self.store.insert(found[1], rows)
            told.append((f"{found[2].lower()}/{path.name}", "LOADED", len(rows), len(rows), 1, 0))
        names = ("file", "status", "rows_parsed", "rows_loaded", "error_limit", "errors_seen")
        return Answered(names, ("STRING", "STRING", *["INTEGER"] * 4), told, len(told))


def _rows(found: Answered, statement: int) -> Reply:
    kinds = {"INTEGER": "fixed", "FLOAT": "real", "STRING": "text"}
    about = {"length": 16777216, "byteLength": 16777216, "precision": 38, "scale": 0, "nullable": True}
    types = [
        {"name": name if name.startswith("number of rows") else name.upper(), "type": kinds[kind]} | about
        for name, kind in zip(found.names, found.types, strict=True)
    ]
    rows = [[None if value is None else str(value) for value in row] for row in found.rows]
    data = {
        "parameters": [],
        "rowtype": types,
        "rowset": rows,
        "total": len(rows),
        "returned": len(rows),
        "queryId": query_id(),
        "queryResultFormat": "json",
        "statementTypeId": statement,
        "finalDatabaseName": DATABASE,
        "finalSchemaName": "CORE",
    }
    return Reply(200, {"data": data, "code": None, "message": None, "success": True})


def _worded(trouble: Trouble) -> tuple[str, str, str]:
    head = "SQL compilation error:"
    name = trouble.name.upper()
    if trouble.kind == "table":
        return "002003", "42S02", f"{head}\nObject '{DATABASE}.{name}' does not exist or not authorized."
    if trouble.kind == "column":
        return (
            "000904",
            "42000",
            f"{head} error line {trouble.line} at position {trouble.column - 1}\ninvalid identifier '{name}'",
        )
    if trouble.kind == "null":
        return "100072", "22000", "NULL result in a non-nullable column"
    if trouble.kind == "syntax":
        return (
            "001003",
            "42000",
            f"{head}\nsyntax error line {trouble.line} at position {trouble.column - 1} unexpected '{trouble.name}'.",
        )
    return "002020", "21S01", f"{head}\n{trouble.name}"


def _read(path: Path, table: str, columns: list[tuple[str, str, bool]]) -> list[list[Any]]:
    """Read a staged file as a load would; the first error refuses the statement."""
    name = f"{path.parent.name}/{path.name}"
    rows = []
    for number, raw in enumerate(gzip.decompress(path.read_bytes()).split(b"\n")[1:], 2):
        if not raw:
            continue
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            shown = raw[error.start : error.start + 3].hex(" ").upper().replace(" ", "0x")
            raise _at(
                name,
                number,
                1,
                table,
                columns[0][0],
                1,
                ("100144", "22000", f"Invalid UTF8 detected in string '0x{shown}'"),
            ) from error
        rows.append(_row(line, name, number, table, columns))
    return rows


def _row(line: str, name: str, number: int, table: str, columns: list[tuple[str, str, bool]]) -> list[Any]:
    values = next(csv.reader(io.StringIO(line)))
    if len(values) != len(columns):
        text = (
            f"Number of columns in file ({len(values)}) does not match that of the corresponding table ({len(columns)}), "
            "use file format option error_on_column_count_mismatch=false to ignore this error"
        )
        raise _at(name, number, 1, table, columns[-1][0], len(columns), ("100080", "22000", text))
    row, place = [], 1
    for at, (value, (column, kind, needed)) in enumerate(zip(values, columns, strict=True), 1):
        if trouble := _unfit(value, kind, needed=needed):
            raise _at(name, number, place, table, column, at, trouble)
        row.append(None if value == "" else int(value) if kind.startswith("NUMBER") else value)
        place += len(value) + 1
    return row


def _unfit(value: str, kind: str, *, needed: bool) -> tuple[str, str, str] | None:
    if value == "":
        return ("100072", "22000", "NULL result in a non-nullable column") if needed else None
    if kind.startswith("NUMBER") and not re.fullmatch(r"-?\d+", value):
        return "100038", "22018", f"Numeric value '{value}' is not recognized"
    if kind == "DATE" and not _is_date(value):
        return "100040", "22007", f"Date '{value}' is not recognized"
    if (most := re.fullmatch(r"VARCHAR\((\d+)\)", kind)) and len(value) > int(most[1]):
        return "100078", "22000", f"String '{value}' is too long and would be truncated"
    return None


def _is_date(value: str) -> bool:
    try:
        datetime.date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _at(name: str, line: int, place: int, table: str, column: str, at: int, trouble: tuple[str, str, str]) -> Refused:
    code, state, message = trouble
    where = f'File \'{name}\', line {line}, character {place}\n  Row {line - 1}, column "{table}"["{column}":{at}]'
    return Refused(code, state, f"{message}\n  {where}\n  {CONTINUE}")
