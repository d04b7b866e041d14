"""Of two who act for one key, the older token loses: on every make of warehouse, in the transaction of the effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from mendline.errors import Superseded
from mendline.incident import Plan, Receipt
from mendline.ledger import Ledger
from mendline.testing.memory_store import MemoryStore
from mendline.testing.values import NOON
from mendline.warehouses.base import Session, Warehouse
from mendline.warehouses.duckdb import DuckDB
from mendline.warehouses.postgres import Postgres

PLAN = Plan(repair="mark", key="k", summary="marks")
RECEIPT = Receipt(repair="mark", key="k", applied_at=NOON, summary="marked")


class Overtaken(MemoryStore):
    """The state database of a worker that is stopped between taking its token and using it."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    def next_token(self) -> int:
        token = super().next_token()
        self._meanwhile()
        return token


def now() -> datetime:
    return NOON


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    is_file = request.param == "duckdb"
    made: Warehouse = (
        DuckDB("warehouse", tmp_path / "warehouse.duckdb")
        if is_file
        else Postgres("warehouse", request.getfixturevalue("postgres_url"))
    )
    with made.writing() as session:
        session.execute("CREATE TABLE marks (by_whom VARCHAR)")
    yield made
    made.close()


def mark(by_whom: str) -> Callable[[Session], Receipt]:
    def effect(session: Session) -> Receipt:
        session.execute("INSERT INTO marks VALUES (?)", [by_whom])
        return RECEIPT

    return effect


def unmark(session: Session) -> None:
    session.execute("DELETE FROM marks")


def marks(warehouse: Warehouse) -> list[tuple[str, ...]]:
    with warehouse.reading() as session:
        return session.rows("SELECT by_whom FROM marks")


def test_who_was_overtaken_before_its_effect_has_none(warehouse: Warehouse) -> None:
    """Also where the other one decided that nothing should be done."""
    other = Ledger(store=MemoryStore(), now=now)
    late = Ledger(store=Overtaken(lambda: other.raise_fence("k", warehouse)), now=now)
    with pytest.raises(Superseded, match="another worker has taken over `k`"):
        late.in_warehouse(PLAN, "1", warehouse, mark("late"))
    assert marks(warehouse) == []
    other.in_warehouse(PLAN, "1", warehouse, mark("other"))
    assert marks(warehouse) == [("other",)]


def test_who_was_overtaken_before_its_undo_takes_nothing_back(warehouse: Warehouse) -> None:
    """The other one has undone the repair and made it again."""
    other = Ledger(store=MemoryStore(), now=now)
    other.in_warehouse(PLAN, "1", warehouse, mark("first"))

    def undo_and_again() -> None:
        other.undo_in_warehouse(RECEIPT, warehouse, unmark)
        other.in_warehouse(PLAN, "1", warehouse, mark("again"))

    late = Ledger(store=Overtaken(undo_and_again), now=now)
    late.store.put_intent(other.store.intents("1")[0])
    with pytest.raises(Superseded):
        late.undo_in_warehouse(RECEIPT, warehouse, unmark)
    assert marks(warehouse) == [("again",)]


def test_one_key_does_not_fence_another(warehouse: Warehouse) -> None:
    other = Ledger(store=MemoryStore(), now=now)
    own = Ledger(store=Overtaken(lambda: other.raise_fence("another key", warehouse)), now=now)
    assert own.in_warehouse(PLAN, "1", warehouse, mark("own")) == RECEIPT
    assert marks(warehouse) == [("own",)]
