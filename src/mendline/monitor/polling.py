"""Asking an engine, again and again, which runs have ended."""

from __future__ import annotations

from collections.abc import Callable

from mendline.engines.base import Engine, FinishedRun
from mendline.stores.base import Store


class Poller:
    """Hands every run that ended in one engine to a callback, at least once, in the engine's order.

    The cursor is kept in the store under `engine:<name>`. It moves only after the callback has returned for every run of a
    poll: after a crash in between, those runs are handed over again, and the callback must know them again.
    """

    def __init__(self, engine: Engine, store: Store, *, on_run: Callable[[FinishedRun], None]) -> None:
        self._engine = engine
        self._store = store
        self._on_run = on_run
        self._name = f"engine:{engine.name}"

    def poll(self) -> tuple[FinishedRun, ...]:
        """Hand over the runs that ended since the last poll; they are the answer too.

        The very first poll of a store hands over nothing: it marks where watching begins. Whatever the callback or the
        engine raises passes through, and the same runs come again.
        """
        cursor = self._store.cursor(self._name)
        runs, following = self._engine.finished_runs(cursor)
        for run in runs:
            self._on_run(run)
        if following != cursor:
            self._store.set_cursor(self._name, following)
        return runs
