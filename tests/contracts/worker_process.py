"""One of several workers on a PostgreSQL: `worker_process.py NAME STATE_URL WAREHOUSE_URL DIRECTORY STOP_AT SIGNAL`.

It works through the open incidents: a step in the state database, an effect in the warehouse through the ledger, the outcome.
At the point STOP_AT of its second incident it sends itself SIGNAL, once. It ends when every incident is closed, with exit
code 3 when it was lost.
"""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from mendline.durable import Durable
from mendline.errors import MendlineError, Superseded, Unavailable
from mendline.incident import OutcomeKind, Plan, Receipt
from mendline.ledger import Ledger
from mendline.steps import Steps
from mendline.stores.sql import SqlStore
from mendline.testing.values import an_outcome
from mendline.warehouses import postgres
from mendline.warehouses.base import Session
from mendline.workers import Pace, Worker

NAME, STATE_URL, WAREHOUSE_URL, DIRECTORY, STOP_AT, SIGNAL = sys.argv[1:]
LOST_AFTER_S = 3.0
LOST = 3

postgres.SETTINGS["idle_in_transaction_session_timeout"] = "1s"  # the same mechanism, sooner
store = SqlStore(STATE_URL)
warehouse = postgres.Postgres("warehouse", WAREHOUSE_URL)
ledger = Ledger(store=store, now=lambda: datetime.now(UTC))
stop = threading.Event()
reached: list[str] = []


def note(text: str) -> None:
    with (Path(DIRECTORY) / "trace.txt").open("a", encoding="utf-8") as file:
        file.write(f"{NAME} {text}\n")


def pass_by(point: str, incident_id: str) -> None:
    """Be stopped or killed here, where the test wants it."""
    if point != STOP_AT:
        return
    reached.append(incident_id)
    if len(reached) == 2:
        note(f"stops {point} {incident_id}")
        # To this thread: sent to the process, another one may take it, and this one runs on for a moment.
        signal.pthread_kill(threading.get_ident(), signal.Signals[SIGNAL])
        note(f"woke {incident_id}")


def apply(incident_id: str) -> str:
    plan = Plan(repair="mark", key=f"mark {incident_id}", summary="marks the incident")
    receipt = Receipt(repair="mark", key=plan.key, applied_at=datetime.now(UTC), summary=NAME)

    def effect(session: Session) -> Receipt:
        pass_by("inside", incident_id)
        session.execute("INSERT INTO effects VALUES (?, ?)", [incident_id, NAME])
        return receipt

    try:
        pass_by("before", incident_id)
        ledger.raise_fence(plan.key, warehouse)
        pass_by("between", incident_id)
        ledger.in_warehouse(plan, incident_id, warehouse, effect)
        pass_by("after", incident_id)
    except MendlineError as error:
        note(f"refused {incident_id} {type(error).__name__}")
        raise
    return NAME


def incident(steps: Steps, incident_id: str) -> None:
    def patiently(name: str, function: object) -> None:
        while True:
            try:
                steps.run(name, function, str)  # type: ignore[arg-type]
            except Unavailable:
                steps.sleep(0.2)
            else:
                return

    def begin() -> str:
        store.set_phase(incident_id, f"begun by {NAME}")
        return NAME

    def close() -> str:
        pass_by("closing", incident_id)
        try:
            store.close_incident(incident_id, an_outcome(OutcomeKind.RESOLVED), f"closed by {NAME}")
        except Superseded:
            note(f"refused {incident_id} Superseded")
            raise
        return NAME

    patiently("begin", begin)
    patiently("apply", lambda: apply(incident_id))
    patiently("close", close)


def are_all_closed() -> bool:
    try:
        return not store.incidents(open_only=True)
    except Unavailable:
        return False


worker = Worker(store, pace=Pace(lost_after_s=LOST_AFTER_S), name=NAME)
worker.join()
store.work_as(NAME)
durable = Durable(Path(DIRECTORY), NAME, url=STATE_URL, lives=worker.lives, workers=2)
durable.workflow("incident")(incident)
durable.launch()
worker.watch(hand_over=lambda: durable.hand_over(store.workers), on_lost=stop.set)
for record in store.incidents():
    if not stop.is_set():
        durable.start("incident", f"incident-{record.incident.id}", record.incident.id)
note("is ready")
while not stop.wait(0.1) and not are_all_closed():
    pass
durable.close()
is_lost = not worker.lives()
worker.leave()
note("ends")
sys.exit(LOST if is_lost else 0)
