"""The healthy worlds: a help desk's API, a port's daily files."""

from __future__ import annotations

import json
from typing import Any

from corpus.lab.bench import Bench
from corpus.lab.case import Program
from corpus.lab.services import web


def agents() -> list[dict[str, Any]]:
    return [
        {"agent_id": n, "name": f"Agent {n}", "team": ("billing", "network")[n % 2], "hired_on": f"202{n % 5}-03-01"}
        for n in range(1, 21)
    ]


def tickets(page: int) -> list[dict[str, Any]]:
    return [
        {
            "ticket_id": n,
            "agent_id": n % 20 + 1,
            "subject": f"Request {n}",
            "opened_at": f"2026-05-0{n % 9 + 1}T08:{n % 60:02d}:00Z",
            "minutes": n % 90,
            "refund": f"{n % 40}.50",
        }
        for n in range(page * 100 - 99, page * 100 + 1)
    ]


def answer(name: str, rows: list[dict[str, Any]], pages: int = 1) -> web.Reply:
    return web.Reply(200, {"pages": pages, name: rows})


def desk(bench: Bench) -> None:
    routes: dict[str, list[Any]] = {
        "/agents": [answer("agents", agents())],
        "/tickets": [answer("tickets", tickets(page), 4) for page in range(1, 5)],
    }
    server = web.serve(bench, routes)
    bench.env.update(DESK_URL=server.url, DESK_TOKEN="hd_9f3e0fake77", RUNTIME__REQUEST_TIMEOUT="2")


def booking(number: int) -> dict[str, Any]:
    return {
        "booking_no": f"B{number:05d}",
        "vessel": f"MV Tern {number % 40}",
        "berth": number % 12 + 1,
        "arrives": f"2026-05-{number % 28 + 1:02d}",
        "metres": 80.5 + number % 70,
    }


def port(bench: Bench) -> None:
    for day in range(3):
        rows = [json.dumps(booking(number)) for number in range(day * 150, day * 150 + 150)]
        bench.write(f"bookings/2026-05-0{day + 1}.ndjson", "\n".join(rows) + "\n")
    lines = [f"{n};{9 + n / 2};{'east' if n % 2 else 'west'} quay" for n in range(1, 13)]
    bench.write("berths.csv", "\n".join(["berth;depth_m;quay", *lines]) + "\n")


DESK = Program(name="desk", command=("{python}", "load_tickets.py"), files=("load_tickets.py",), world=desk)
PORT = Program(name="port", command=("{python}", "load_berths.py"), files=("load_berths.py",), world=port)
