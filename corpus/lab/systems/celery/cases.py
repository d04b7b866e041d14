"""Celery: a worker with a queue in the file system, chains of tasks that close a rental desk's day."""

from __future__ import annotations

from corpus.lab.bench import Bench
from corpus.lab.case import Case, Prepare, Program, System
from corpus.lab.faults import unreachable
from corpus.lab.services import sqlite
from corpus.lab.services.web import Reply, answers, page, serve

Bookings = list[dict[str, object]]


def _bookings(branch: str) -> Bookings:
    return [
        {"booking": f"{branch[:2].upper()}{n:04d}", "branch": branch, "days": 1 + n % 9, "class": "ABC"[n % 3]}
        for n in range(60)
    ]


def _desk(bench: Bench) -> None:
    routes = {f"/branches/{each}/": [Reply(body=_bookings(each))] for each in ("airport", "centre", "harbour")}
    web = serve(bench, routes)
    bench.env["DESK_API"] = web.url
    bench.write("rates.csv", "class,per_day\nA,31.5\nB,44\nC,68.9\n")
    sqlite.execute(
        bench,
        "ledger.db",
        "CREATE TABLE rental (booking TEXT PRIMARY KEY, branch TEXT, days INTEGER, amount REAL NOT NULL CHECK (amount > 0))",
    )


DESK = Program(
    name="desk",
    command=("bash", "close_day.sh"),
    files=("tasks.py", "desk_day.py", "close_day.sh"),
    world=_desk,
)


def _centre(*replies: Reply) -> Prepare:
    return answers("/branches/centre/", *replies)


def _booking(change: dict[str, object]) -> Prepare:
    bookings = _bookings("centre")
    bookings[33] |= change
    return _centre(Reply(body=bookings))


def _case(name: str, family: str, cause: str, inject: Prepare, trap: str = "", subtype: str = "") -> Case:
    return Case(name=name, family=family, program=DESK, cause=cause, inject=inject, trap=trap, subtype=subtype)


def _car_class_renamed() -> Bookings:
    return [{("category" if k == "class" else k): v for k, v in b.items()} for b in _bookings("centre")]


CASES = (
    _case(
        "desk_api_away",
        "outage",
        "the desk's API is away",
        _centre(page(503)),
        trap="retries by the worker, two processes in one log",
    ),
    _case(
        "desk_api_refuses",
        "refused",
        "nothing listens at the desk's API",
        unreachable("DESK_API"),
    ),
    _case(
        "car_class_renamed",
        "renamed",
        "class is called category",
        _centre(Reply(body=_car_class_renamed())),
        trap="a bare KeyError in another task than the one that fetched",
    ),
    _case(
        "bookings_in_envelope",
        "contract",
        "the bookings lie in an envelope now",
        _centre(Reply(body={"items": _bookings("centre"), "page": 1})),
        trap="an error about string indices",
        subtype="type_changed",
    ),
    _case("booking_posted_twice", "duplicate", "one booking comes twice", _booking({"booking": "CE0032"})),
    _case("days_below_zero", "range", "a booking of minus two days", _booking({"days": -2}), subtype="check_violation"),
)

SYSTEM = System(name="celery", requirements=("celery==5.7.0", "sqlalchemy==2.1.9"), cases=CASES)
