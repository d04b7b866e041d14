"""Asking an engine, again and again, which runs have ended."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from mendline.engines.base import Engine, FinishedRun
from mendline.errors import MendlineError, PluginError, Unavailable
from mendline.stores.base import Store

LOG = logging.getLogger("mendline")
MOST_TRIES = 3  # of a run that is refused for good; one that waits for something that is away is tried for ever


class Poller:
    """Hands every run that ended in one engine to a callback, at least once, in the engine's order.

    The cursor is kept in the store under `engine:<name>`. It moves only after the callback has returned for every run of a
    poll, or has refused it `MOST_TRIES` times: after a crash in between, those runs are handed over again, and the callback
    must know them again; so after a poll of another worker at the same time. A run that cannot be handled does not hold up
    those after it.
    """

    def __init__(self, engine: Engine, store: Store, *, on_run: Callable[[FinishedRun], None]) -> None:
        self.name = engine.name
        self._engine = engine
        self._store = store
        self._on_run = on_run
        self._name = f"engine:{engine.name}"
        self._done: set[tuple[str, str]] = set()  # of the runs after the cursor
        self._refusals: Counter[tuple[str, str]] = Counter()

    def poll(self) -> tuple[FinishedRun, ...]:
        """Hand over the runs that ended since the last poll and were not handled yet; those after the cursor are the answer.

        The very first poll of a store hands over nothing: it marks where watching begins. Raises, after every run was
        handed over: the first `MendlineError` of the callback (`PluginError` for what it never should raise); the runs that
        it could not handle come again. What the engine raises passes through.
        """
        cursor = self._store.cursor(self._name)
        runs, following = self._engine.finished_runs(cursor)
        troubles = [trouble for run in runs if (trouble := self._hand_over(run)) is not None]
        if troubles:
            raise troubles[0]
        if following != cursor:  # and not past where another worker has moved it meanwhile
            self._store.move_cursor(self._name, cursor, following)
        self._done.clear()
        self._refusals.clear()
        return runs

    def _hand_over(self, run: FinishedRun) -> MendlineError | None:
        """Why the run must come again; None when it is handled, or given up."""
        key = (run.run.run_id, run.state.value)
        if key in self._done:
            return None
        trouble: MendlineError
        try:
            self._on_run(run)
        except Unavailable as error:
            return error
        except MendlineError as error:
            trouble = error
        except Exception as error:  # the watch must outlive a bug that one run brings to light
            LOG.exception("run `%s` could not be handled", run.run.run_id)
            trouble = PluginError(f"run `{run.run.run_id}` could not be handled: {type(error).__name__}: {error}")
        else:
            self._done.add(key)
            return None
        self._refusals[key] += 1
        if self._refusals[key] < MOST_TRIES:
            return trouble
        LOG.error("run `%s` is left behind after %d tries: %s", run.run.run_id, MOST_TRIES, trouble)
        self._done.add(key)
        return None
