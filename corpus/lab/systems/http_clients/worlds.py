"""The extractors and the servers they read from."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from corpus.lab.bench import Bench, free_port
from corpus.lab.case import Prepare, Program
from corpus.lab.services.web import Reply, serve

Routes = dict[str, Sequence[Reply | Callable[[str], Reply]]]
Row = dict[str, Any]
TOKEN = {"access_token": "ct_f83kd02mfa7", "scope": "invoices:read", "expires_in": 3600}


def invoice(n: int) -> Row:
    return {
        "invoice_no": f"INV-2026-{n:05d}",
        "patient": {"id": 4000 + n, "name": f"patient {n}"},
        "issued": "2026-03-01T08:15:00Z",
        "amount": f"{n * 7 % 300}.50",
        "payer": ("aok", "private", "tk")[n % 3],
    }


def invoice_page(path: str, change: Callable[[Row], Row] = lambda row: row, last: int = 6) -> Reply:
    number = int(parse_qs(urlsplit(path).query)["page"][0])
    following = f"{{url}}/v2/invoices?page={number + 1}" if number < last else None
    return Reply(200, {"items": [change(invoice(number * 100 + n)) for n in range(20)], "next": following})


def clinic(bench: Bench, **routes: Sequence[Reply | Callable[[str], Reply]]) -> None:
    """Serve invoices; `token` and `invoices` replace what the paths answer."""
    bench.env["CLINIC_SECRET"] = "cs_live_71Hd9qLmZ0"
    known: Routes = {"/oauth/token": [Reply(200, TOKEN)], "/v2/invoices": [invoice_page]}
    given = {"token": "/oauth/token", "invoices": "/v2/invoices"}
    server = serve(bench, {})
    for path, replies in (known | {given[name]: value for name, value in routes.items()}).items():
        server.set(path, *(_linked(reply, server.url) for reply in replies))
    bench.env["CLINIC_API"] = server.url


def _linked(reply: Reply | Callable[[str], Reply], url: str) -> Reply | Callable[[str], Reply]:
    """Put the server's address into the links of a reply that is made per request."""
    if isinstance(reply, Reply):
        return reply
    made = reply

    def answer(path: str) -> Reply:
        given = made(path)
        if b"{url}" not in given.payload:
            return given
        return Reply(given.status, json.loads(given.payload.replace(b"{url}", url.encode())))

    return answer


def position(n: int) -> Row:
    return {
        "mmsi": 211000000 + n,
        "lat": 54 + n / 100,
        "lon": 8 + n / 50,
        "speed_kn": n % 14 + 0.5,
        "heading": n * 7 % 360,
        "seen_at": "2026-03-01T06:00:00+00:00",
    }


def position_page(path: str, change: Callable[[Row], Row] = lambda row: row, last: int = 5) -> Reply:
    query = parse_qs(urlsplit(path).query, keep_blank_values=True)
    number = int(query["cursor"][0] or 0)
    rows = [change(position(number * 30 + n)) for n in range(30)]
    return Reply(200, {"data": rows, "meta": {"next_cursor": str(number + 1) if number < last else None}})


def described(*names: str) -> Reply:
    return Reply(200, {"fields": [{"name": name} for name in names]})


FIELDS = described("mmsi", "lat", "lon", "speed_kn", "heading", "seen_at")


def vessels(bench: Bench, **routes: Sequence[Reply | Callable[[str], Reply]]) -> None:
    """Serve positions; `schema` and `positions` replace what the paths answer."""
    known: Routes = {"/schema": [FIELDS], "/positions": [position_page]}
    known |= {f"/{name}": value for name, value in routes.items()}
    bench.env |= {"FEED_URL": serve(bench, known).url, "FEED_KEY": "vk-3b1c77"}


def packed(rows: Sequence[Row | str]) -> bytes:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    return gzip.compress("\n".join(lines).encode(), mtime=0)


def shelf_rows(piece: int, count: int) -> list[Row | str]:
    return [
        {"shelf": f"S{(piece * 7 + n) % 60:02d}", "signature": f"{piece}-{n}", "title": f"Volume {n} of box {piece}"}
        for n in range(count)
    ]


def archive(
    bench: Bench,
    *,
    manifest: Reply | None = None,
    pieces: dict[int, Sequence[Reply]] | None = None,
    rows: dict[int, Sequence[Row | str]] | None = None,
    count: int = 300,
) -> None:
    """Serve an export of eight pieces; single pieces or their rows may be others."""
    bodies = {n: packed((rows or {}).get(n) or shelf_rows(n, count)) for n in range(8)}
    listed = [{"path": f"/export/piece-{n}.gz", "size": len(body)} for n, body in bodies.items()]
    routes: Routes = {"/export/manifest.json": [manifest or Reply(200, {"day": "2026-03-01", "pieces": listed})]}
    for n, body in bodies.items():
        routes[f"/export/piece-{n}.gz"] = (pieces or {}).get(n) or [
            Reply(200, body, {"Content-Type": "application/gzip"})
        ]
    bench.env["ARCHIVE_URL"] = serve(bench, routes).url


def refused(variable: str) -> Prepare:
    """Let nobody listen where a variable points to."""

    def inject(bench: Bench) -> None:
        bench.env[variable] = f"http://127.0.0.1:{free_port()}"

    return inject


INVOICES = Program(name="clinic", command=("{python}", "pull_invoices.py"), files=("pull_invoices.py",), world=clinic)
POSITIONS = Program(
    name="vessels",
    command=("{python}", "sync_positions.py", "north", "baltic"),
    files=("sync_positions.py",),
    world=vessels,
)
EXPORT = Program(name="archive", command=("sh", "export.sh"), files=("export.sh", "fetch_export.py"), world=archive)
