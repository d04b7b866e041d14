"""The power company's world: its files, its regulator's server, its nights. Knows the pipeline, not Mendline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb

HERE = Path(__file__).parent
SETUP = """
CREATE SCHEMA lake; CREATE SCHEMA face; CREATE SCHEMA usage; CREATE SCHEMA bills;
CREATE TABLE lake.readings (meter VARCHAR, hour BIGINT, kwh DOUBLE, quality_flag VARCHAR);
CREATE TABLE lake.tariffs (band VARCHAR, cents DOUBLE);
CREATE VIEW face.readings AS SELECT meter, hour, kwh, quality_flag FROM lake.readings;
CREATE VIEW face.tariffs AS SELECT band, cents FROM lake.tariffs;
CREATE TABLE usage.hourly (night VARCHAR NOT NULL, meter VARCHAR NOT NULL, hour BIGINT NOT NULL,
    kwh DOUBLE NOT NULL CHECK (kwh >= 0), quality_flag VARCHAR, PRIMARY KEY (night, meter, hour));
CREATE TABLE usage.priced (night VARCHAR, meter VARCHAR, hour BIGINT, kwh DOUBLE, price DOUBLE);
CREATE TABLE bills.household (night VARCHAR, meter VARCHAR, kwh DOUBLE, price DOUBLE, hours BIGINT, detail VARCHAR);
"""


class Regulator(ThreadingHTTPServer):
    """The tariff service; `unwell_count` requests are still to be answered 503."""

    daemon_threads = True
    unwell_count = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Any = self.server
        if server.unwell_count > 0:
            server.unwell_count -= 1
            self._send(503, {"error": "upstream connect error"})
        elif self.path.startswith("/tariffs"):
            self._send(200, [{"band": "day", "cents": 31.5}, {"band": "night", "cents": 19.25}])
        else:
            self._send(200, {"status": "ok"})

    def _send(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Grid:
    """One world in one directory."""

    def __init__(self, home: Path, regulator: Regulator) -> None:
        self.home, self.regulator = home, regulator
        (home / "gateway").mkdir(parents=True)
        (home / "dagster_home").mkdir()
        (home / "dagster_home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        for name in ("pipeline.py", "mendline.yaml"):
            shutil.copy(HERE / name, home / name)
        shutil.copytree(HERE / "contracts", home / "contracts")
        with duckdb.connect(str(home / "grid.db")) as db:
            db.execute(SETUP)
        self.set(regulator=regulator.url)

    def set(self, **settings: object) -> None:
        path = self.home / "settings.json"
        before = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(before | settings))

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "GRID_HOME": str(self.home),
            "GRID_REGULATOR": self.regulator.url,
            "DAGSTER_HOME": str(self.home / "dagster_home"),
        }

    def readings(self, night: int) -> list[dict[str, Any]]:
        return [
            {
                "meter": f"M-{meter:04d}",
                "hour": hour,
                "kwh": round(0.1 + (meter * 7 + hour * 3 + night) % 50 / 10, 2),
                "quality_flag": "A",
            }
            for meter in range(60)
            for hour in range(24)
        ]

    def deliver(self, night: int, rows: list[dict[str, Any]]) -> None:
        path = self.home / "gateway" / f"night-{night}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.set(night=f"night-{night}")

    def run(self) -> bool:
        """Run the night's job as its scheduler would; True when it succeeded."""
        done = subprocess.run(
            [sys.executable, str(self.home / "pipeline.py")],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    def bills(self, night: int) -> list[tuple[Any, ...]]:
        return self.query(f"SELECT * FROM bills.household WHERE night = 'night-{night}' ORDER BY ALL")

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.home / "grid.db"), read_only=True) as db:
            return db.execute(sql).fetchall()
