"""A pretended process that dies, or loses sight of a part of its world, at chosen points; and the parts in which it does.

A real kill runs no `finally` and no undo. So once the process is dead, every part refuses whatever is still asked of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from mendline.engines.base import Engine
from mendline.errors import Unavailable
from mendline.steps import Steps
from mendline.stores.base import Store
from mendline.testing.direct_durable import Killed, VirtualClock
from mendline.warehouses.base import Session, Warehouse

Point = tuple[str, ...]
STORE_READS = frozenset(
    {"incident", "incidents", "cursor", "snapshots", "accommodation", "intent", "intents", "approvals"}
)
ANSWER = "answer to a commit"  # a part that may be away: what was done is done, and nobody was told
RECORDS, UNDOES = "INSERT INTO _mendline.ledger", "UPDATE _mendline.ledger"


@dataclass
class Fate:
    """What becomes of a process, point by point, from `begin` on. By default it lives.

    A point is named by the step and by everything that the step has done to the world by then, so that a step which heals
    what an earlier death left has points of its own. `effects` are the ledger's changes that were committed, in order.
    """

    dies: Callable[[Point], bool] = lambda _: False
    misses: Callable[[str, Point], bool] = lambda *_: False  # whether a part, about to be asked at a point, is away
    end: Callable[[], None] = lambda: None  # what else ends the process
    is_dead: bool = False
    effects: list[tuple[str, str]] = field(default_factory=list)
    _path: list[str] = field(default_factory=list)
    _has_begun: bool = False

    def begin(self, end: Callable[[], None] = lambda: None) -> None:
        """A new process."""
        self.is_dead, self.end, self._path, self._has_begun = False, end, [], True

    def turn(self, place: str) -> None:
        """Something begins that is done from its own beginning after a death."""
        self._path = [place]

    def touch(self, part: str) -> None:
        """A part of the world is asked for something."""
        if self.is_dead:
            raise Killed
        if self._has_begun and self.misses(part, tuple(self._path)):
            raise Unavailable(f"the {part} is away", system=part)

    def reach(self, what: str) -> None:
        """The process may die here."""
        if self.is_dead:
            raise Killed
        self._path.append(what)
        if self._has_begun and self.dies(tuple(self._path)):
            self.is_dead = True
            self.end()
            raise Killed


@dataclass
class Everywhere:
    """Die at every point at which no process before has died."""

    points: list[Point] = field(default_factory=list)
    _known: set[Point] = field(default_factory=set)

    def __call__(self, point: Point) -> bool:
        if point in self._known:
            return False
        self._known.add(point)
        self.points.append(point)
        assert len(self.points) < 3000, "it never ends"
        return True


@dataclass
class At:
    """Die at the n-th point that is reached, then n further on, as long as there is a number left."""

    numbers: list[int]
    _count: int = 0

    def __call__(self, point: Point) -> bool:
        self._count += 1
        if not self.numbers or self._count < self.numbers[0]:
            return False
        self.numbers.pop(0)
        self._count = 0
        return True


@dataclass
class Outage:
    """One part is away at the n-th call of every step, for some calls, however often the step is tried; then it is back."""

    part: str
    nth: int
    length: int = 3
    missed_count: int = 0
    _calls: Counter[str] = field(default_factory=Counter)

    def __call__(self, part: str, point: Point) -> bool:
        if part != self.part:
            return False
        step = point[0].partition(" ")[2]
        self._calls[step] += 1
        is_away = self.nth <= self._calls[step] < self.nth + self.length
        self.missed_count += is_away
        return is_away


class MortalClock(VirtualClock):
    """A sleep that may be cut off: before it, in the middle, at its end."""

    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self._fate = fate

    def advance(self, seconds: float) -> None:
        begin = self.now()
        for part in (0.0, seconds / 2, seconds):
            super().advance(part - (self.now() - begin).total_seconds())
            self._fate.reach(f"asleep {part / seconds:.0%}")


class WatchedSteps:
    """`Steps` that tell a fate which step of the journal is carried out."""

    def __init__(self, steps: Steps, fate: Fate, position: Callable[[], int]) -> None:
        self._steps, self._fate, self._position = steps, fate, position

    def __getattr__(self, name: str) -> Any:
        return getattr(self._steps, name)

    def run(self, name: str, function: Callable[[], Any], returns: Any = None) -> Any:
        def watched() -> Any:
            self._fate.turn(f"{self._position()} {name}")
            return function()

        return self._steps.run(name, watched, returns)


class _Mortal:
    """A part of which every call is a touch, and every call that changes something has a point on either side."""

    def __init__(self, inner: Any, part: str, fate: Fate, is_change: Callable[[str], bool]) -> None:
        self._inner, self._part, self._fate, self._is_change = inner, part, fate, is_change

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._call(name, found) if callable(found) else found

    def _call(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self._fate.touch(self._part)
            if not self._is_change(name):
                return function(*arguments, **options)
            self._fate.reach(f"before {self._part}.{name}")
            answer = function(*arguments, **options)
            self._fate.reach(f"after {self._part}.{name}")
            return answer

        return call


def mortal_store(store: Store, fate: Fate) -> Store:
    return cast("Store", _Mortal(store, "store", fate, lambda name: name not in STORE_READS))


def mortal_engine(engine: Engine, fate: Fate) -> Engine:
    return cast("Engine", _Mortal(engine, "engine", fate, lambda name: name == "rerun"))


def mortal_warehouse(warehouse: Warehouse, fate: Fate) -> Warehouse:
    return cast("Warehouse", _MortalWarehouse(warehouse, fate))


class _MortalWarehouse:
    def __init__(self, inner: Warehouse, fate: Fate) -> None:
        self._inner, self._fate = inner, fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        self._fate.touch("warehouse")
        with self._inner.reading() as session:
            yield cast("Session", _Mortal(session, "warehouse", self._fate, lambda _: False))

    @contextmanager
    def writing(self) -> Iterator[Session]:
        self._fate.touch("warehouse")
        with self._inner.writing() as session:
            own = _WritingSession(session, self._fate)
            yield cast("Session", own)
            self._fate.touch("warehouse")  # away before the commit: nothing is done
        self._fate.effects.extend(own.effects)
        self._fate.touch(ANSWER)
        self._fate.reach("after commit")


class _WritingSession:
    """A session with a point before its first statement and after every one: what lies between two is one point."""

    def __init__(self, inner: Session, fate: Fate) -> None:
        self._inner, self._fate = inner, fate
        self.effects: list[tuple[str, str]] = []
        self._has_begun = False

    def __getattr__(self, name: str) -> Any:
        return _Mortal(self._inner, "warehouse", self._fate, lambda _: False).__getattr__(name)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._around(sql, lambda: self._inner.rows(sql, parameters))
        if sql.startswith(UNDOES) and found:
            self.effects.append(("undone", found[0][0]))
        return found

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        if sql.startswith(RECORDS):
            self.effects.append(("done", parameters[0]))
        count: int = self._around(sql, lambda: self._inner.execute(sql, parameters))
        return count

    def lock(self, table: str) -> None:
        self._around(f"LOCK {table}", lambda: self._inner.lock(table))

    def _around(self, sql: str, call: Callable[[], Any]) -> Any:
        self._fate.touch("warehouse")
        if not self._has_begun:
            self._fate.reach("before the first statement")
        self._has_begun = True
        answer = call()
        self._fate.reach(f"after {sql.strip()[:60]}")
        return answer
