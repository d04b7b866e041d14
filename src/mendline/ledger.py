"""Exactly-once effects: intent, effect and record, and a look at the world when a crash came between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mendline.errors import Superseded
from mendline.incident import Plan, Receipt, from_json, to_json
from mendline.stores.base import Intent, Store
from mendline.warehouses.base import Session, Warehouse

CREATE_LEDGER = """
CREATE TABLE IF NOT EXISTS {table} (
    key VARCHAR PRIMARY KEY, incident_id VARCHAR NOT NULL, repair VARCHAR NOT NULL,
    recorded_at TIMESTAMP NOT NULL, receipt VARCHAR NOT NULL, undone_at TIMESTAMP
)"""

CREATE_FENCES = "CREATE TABLE IF NOT EXISTS {table} (key VARCHAR PRIMARY KEY, token BIGINT NOT NULL)"


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The journal of effects, in the state database and, for effects on data, in the warehouse beside them."""

    store: Store
    now: Callable[[], datetime]

    def in_warehouse(
        self, plan: Plan, incident_id: str, warehouse: Warehouse, effect: Callable[[Session], Receipt]
    ) -> Receipt:
        """Run `effect` and record its receipt in one warehouse transaction; a key already recorded is not run again.

        A key whose effect was undone counts as not recorded: what is not there may be made again.

        1. the intent is written to the state database; 2. effect and record commit together; 3. the receipt is copied to
        the state database. A crash after 2 is healed on the next call, by the warehouse's own record.

        Raises: `Superseded`, with nothing done, when another worker has raised the fence for this key meanwhile.
        """
        self._intend(plan, incident_id)
        token = self.store.next_token()
        with warehouse.writing() as session:
            _pass_fence(session, warehouse, plan.key, token)
            receipt = self._recorded(session, warehouse, plan.key)
            if receipt is None:
                receipt = effect(session)
                session.execute(
                    f"INSERT INTO {warehouse.ledger_table} VALUES (?, ?, ?, ?, ?, NULL) ON CONFLICT (key) DO UPDATE SET"
                    " incident_id = excluded.incident_id, recorded_at = excluded.recorded_at,"
                    " receipt = excluded.receipt, undone_at = NULL",
                    [plan.key, incident_id, plan.repair, receipt.applied_at.replace(tzinfo=None), to_json(receipt)],
                )
        self.store.put_receipt(plan.key, receipt)
        return receipt

    def undo_in_warehouse(self, receipt: Receipt, warehouse: Warehouse, effect: Callable[[Session], None]) -> None:
        """Run the inverse `effect` and mark the key undone in one transaction; a key already undone is not run again."""
        at, token = self.now(), self.store.next_token()
        with warehouse.writing() as session:
            _pass_fence(session, warehouse, receipt.key, token)
            self._recorded(session, warehouse, receipt.key)
            marked = session.rows(
                f"UPDATE {warehouse.ledger_table} SET undone_at = ? WHERE key = ? AND undone_at IS NULL RETURNING key",
                [at.replace(tzinfo=None), receipt.key],
            )
            if marked:
                effect(session)
        self.store.mark_undone(receipt.key, at)

    def raise_fence(self, key: str, warehouse: Warehouse) -> None:
        """Shut out whoever began an effect of this key before and has not committed it: a stopped worker may wake up.

        What it did commit is in the ledger, and found there.
        """
        token = self.store.next_token()
        with warehouse.writing() as session:
            _pass_fence(session, warehouse, key, token)

    def outside(
        self, plan: Plan, incident_id: str, *, is_done: Callable[[], Receipt | None], effect: Callable[[], Receipt]
    ) -> Receipt:
        """Run an effect that has no transaction with us (an engine's run): look first, then act, then record.

        `is_done` reads the world and gives the receipt of an effect that is already there. `effect` must itself refuse the
        second of two equal keys (a caller-chosen run id), since a crash may come between effect and record.
        """
        intent = self._intend(plan, incident_id)
        receipt = intent.receipt or is_done() or effect()
        self.store.put_receipt(plan.key, receipt)
        return receipt

    def recall(self, intent: Intent, warehouse: Warehouse) -> Intent:
        """The intent as the warehouse's own record has it, which a crash may have kept from the state database.

        What was missing there is copied. An intent that the warehouse does not know is given back as it is.
        """
        with warehouse.reading() as session:
            if session.schema(warehouse.ledger_table) is None:
                return intent
            query = f"SELECT receipt, undone_at FROM {warehouse.ledger_table} WHERE key = ?"
            rows = session.rows(query, [intent.key])
        if not rows:
            return intent
        receipt: Receipt = from_json(Receipt, rows[0][0])
        undone_at = None if rows[0][1] is None else rows[0][1].replace(tzinfo=UTC)
        self.store.put_receipt(intent.key, receipt)
        if undone_at is not None:
            self.store.mark_undone(intent.key, undone_at)
        return replace(intent, receipt=receipt, undone_at=undone_at)

    def _intend(self, plan: Plan, incident_id: str) -> Intent:
        return self.store.put_intent(
            Intent(
                key=plan.key,
                incident_id=incident_id,
                repair=plan.repair,
                plan_json=to_json(plan),
                intended_at=self.now(),
            )
        )

    def _recorded(self, session: Session, warehouse: Warehouse, key: str) -> Receipt | None:
        if session.schema(warehouse.ledger_table) is None:  # a role that may not create needs them only to be there
            schema = warehouse.ledger_table.split(".", maxsplit=1)[0]
            session.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            session.execute(CREATE_LEDGER.format(table=warehouse.ledger_table))
        query = f"SELECT receipt FROM {warehouse.ledger_table} WHERE key = ? AND undone_at IS NULL"
        rows = session.rows(query, [key])
        return from_json(Receipt, rows[0][0]) if rows else None


def _schema(warehouse: Warehouse) -> str:
    return warehouse.ledger_table.split(".", maxsplit=1)[0]


def _pass_fence(session: Session, warehouse: Warehouse, key: str, token: int) -> None:
    """Leave a fencing token beside the effect, in its transaction; of two who act for one key, the older one loses."""
    table = f"{_schema(warehouse)}.fences"
    session.execute(f"CREATE SCHEMA IF NOT EXISTS {_schema(warehouse)}")
    session.execute(CREATE_FENCES.format(table=table))
    passed = session.rows(
        f"INSERT INTO {table} AS held VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET token = excluded.token"
        " WHERE held.token < excluded.token RETURNING token",
        [key, token],
    )
    if not passed:
        raise Superseded(f"another worker has taken over `{key}` meanwhile; nothing was done", operation="apply")


def plan_key(*parts: object) -> str:
    """An idempotency key: the parts as compact JSON, readable in the ledger."""
    return json.dumps(parts, separators=(",", ":"), default=str)
