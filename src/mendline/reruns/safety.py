"""May a stage be run again? Facts in, a verdict with its evidence out; whoever cannot tell says so.

To repeat a stage is safe when its failed run has written nothing, or when what it writes takes the place of what was there.
Which of the two holds is read from the data: what every good run left, and what is there now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from mendline.stores.base import ColumnProfile, Snapshot

SKETCH_SIZE = 64  # a shorter sketch has every distinct value
NEARLY_UNIQUE = 0.9
ENOUGH = 16  # values that a sample must have before it speaks for the whole
EMPTIED = 0.75  # a table that has lost so much of its rows was not appended to


class Safety(StrEnum):
    """Whether repeating a stage does harm; the worst comes last."""

    SAFE = "safe"
    UNSURE = "unsure"
    UNSAFE = "unsafe"


class Mode(StrEnum):
    """What the good runs have done to what was there before them."""

    REPLACES = "replaces"
    APPENDS = "appends"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Landing:
    """One table that a stage to be repeated loads.

    `history` has the snapshots of good runs, newest first; `now` is what the table holds, None when it is not there.
    Of a table `in_batches`, both are about its current batch alone. `unique_key` are columns of the source's own that the
    database keeps unique, () when there are none.
    """

    dataset: str
    table: str
    stage: str
    in_batches: bool
    history: tuple[Snapshot, ...]
    now: Snapshot | None
    unique_key: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that speaks for or against repeating some stages.

    `unknown_stages` have begun, and nobody knows what they write. `try_count` is how often they were run in this chain,
    `engine_retry_count` how often the engine itself tried again within one run. `later_run` has ended since, "" when none
    has; `twins` are runs under way that load the same.
    """

    landings: tuple[Landing, ...] = ()
    unknown_stages: tuple[str, ...] = ()
    try_count: int = 1
    engine_retry_count: int = 0
    later_run: str = ""
    twins: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The verdict, what it rests on, worst first, and what a person must do where it is not safe."""

    safety: Safety
    evidence: tuple[str, ...]
    needed: str = ""


def judge(facts: Facts) -> Judgement:
    """The worst that holds for any of the stages; never better than what is known."""
    parts = sorted(_parts(facts), key=lambda part: list(Safety).index(part.safety), reverse=True)
    tries = f"tried {facts.try_count} times so far" if facts.try_count > 1 else "tried once so far"
    if facts.engine_retry_count:
        tries += f" (and {facts.engine_retry_count} more by the engine itself)"
    twins = (f"run `{run}` that loads the same is under way" for run in facts.twins)
    evidence = (*(sentence for part in parts for sentence in part.evidence), tries, *twins)
    needed = next((part.needed for part in parts if part.needed), "")
    return Judgement(safety=parts[0].safety if parts else Safety.SAFE, evidence=evidence, needed=needed)


def _parts(facts: Facts) -> Iterator[Judgement]:
    yield from map(judge_landing, facts.landings)
    for stage in facts.unknown_stages:
        yield _unsure(f"what `{stage}` has written cannot be told: no dataset names it in `loaded_by`")
    if facts.later_run:
        yield _unsure(f"run `{facts.later_run}` has ended since, and what it loaded may be newer")


def judge_landing(landing: Landing) -> Judgement:
    """Whether what the failed run has left in one table bears that its stage runs again."""
    table, now = f"`{landing.table}`", landing.now
    before = landing.history[0] if landing.history else None
    if now is None:
        return _safe(f"{table} is not there: nothing was written")
    if now.row_count == 0:
        return _safe(f"{table} holds no row{' of this batch' if landing.in_batches else ''}")
    if before is not None and is_same(before, now):
        return _safe(f"{table} is as the last good run left it ({now.row_count:,} rows): nothing was written")
    if landing.unique_key:
        return _safe(f"{table} keeps {', '.join(landing.unique_key)} unique: no row can come twice")
    if before is None:
        return _unsure(f"{table} holds {now.row_count:,} rows, and no good run is known to compare with")
    return _of_batch(landing, before, now) if landing.in_batches else _of_whole(landing, before, now)


def _of_batch(landing: Landing, before: Snapshot, now: Snapshot) -> Judgement:
    """The table accumulates, so what the stage writes again would stand beside what is there."""
    return _unsafe(
        f"{now.row_count:,} rows of this batch are in `{landing.table}` already (the last good one had"
        f" {before.row_count:,}), the table accumulates, and nothing shows that a second load would replace them",
        f"this batch taken out of `{landing.table}`, or a `{landing.stage}` that replaces it, before the stage runs again",
    )


def _of_whole(landing: Landing, before: Snapshot, now: Snapshot) -> Judgement:
    table, rows = f"`{landing.table}`", f"{now.row_count:,} rows, {before.row_count:,} after the last good run"
    mode = observed_mode(landing.history)
    if mode is Mode.REPLACES:
        return _safe(f"{table} is replaced as a whole by each load, as the good runs show ({rows})")
    if is_replaced(before, now):
        return _safe(f"{table} was replaced as a whole ({rows}; none of the old ones is left)")
    if mode is Mode.UNKNOWN and now.row_count <= EMPTIED * before.row_count:
        return _safe(f"{table} was emptied and is half loaded ({rows}): a load begins anew")
    if is_kept(before, now) and now.row_count > before.row_count:
        added = now.row_count - before.row_count
        return _unsafe(
            f"the failed run has added {added:,} rows to {table} ({rows}, and all of those are kept): a repeat would add"
            " them again",
            f"the {added:,} rows taken out of {table}, or a `{landing.stage}` that does not add them twice, before it runs again",
        )
    return _unsure(f"the failed run has changed {table} ({rows}), and whether a repeat replaces that cannot be told")


def observed_mode(history: Sequence[Snapshot]) -> Mode:
    """What good runs did to the rows of the run before, as far as all of them agree."""
    pairs = [(older, newer) for newer, older in pairwise(history)]
    replaced = any(is_replaced(older, newer) for older, newer in pairs)
    added = any(is_kept(older, newer) and newer.row_count > older.row_count for older, newer in pairs)
    if replaced == added:
        return Mode.UNKNOWN
    return Mode.REPLACES if replaced else Mode.APPENDS


def is_same(before: Snapshot, now: Snapshot) -> bool:
    """Whether nothing tells two states of a table apart."""
    return before.row_count == now.row_count and {*map(_look, before.profiles)} == {*map(_look, now.profiles)}


def is_kept(before: Snapshot, now: Snapshot) -> bool:
    """Whether every value that is known of before may still be there. Rows that were only added to are always kept."""
    if now.row_count < before.row_count:
        return False
    return all(not _gone(old, new) for old, new in _common(before, now))


def is_replaced(before: Snapshot, now: Snapshot) -> bool:
    """Whether a column that every row fills shows that none of the old rows is left as it was."""
    return any(_is_all_gone(old, new) for old, new in _common(before, now))


def _is_all_gone(old: ColumnProfile, new: ColumnProfile) -> bool:
    known = _known(old, new)
    speaks = len(known) >= ENOUGH or (bool(known) and len(known) == len(old.value_hashes))
    represents = len(old.value_hashes) < SKETCH_SIZE or old.distinct_count >= NEARLY_UNIQUE * old.row_count
    # The limits must have moved too: hashes alone would also differ if they were made in another way.
    has_moved = old.min_value != new.min_value and old.max_value != new.max_value
    return old.null_count == 0 and speaks and represents and has_moved and _gone(old, new) == known


def _gone(old: ColumnProfile, new: ColumnProfile) -> set[int]:
    return _known(old, new) - set(new.value_hashes)


def _known(old: ColumnProfile, new: ColumnProfile) -> set[int]:
    """The old hashes that must be in the new sketch if their values are still there: it keeps the smallest ones only."""
    if len(new.value_hashes) < SKETCH_SIZE:
        return set(old.value_hashes)
    return {value for value in old.value_hashes if value <= max(new.value_hashes)}


def _common(before: Snapshot, now: Snapshot) -> Iterator[tuple[ColumnProfile, ColumnProfile]]:
    there = {(profile.column, profile.type): profile for profile in now.profiles}
    for old in before.profiles:
        if new := there.get((old.column, old.type)):
            yield old, new


def _look(profile: ColumnProfile) -> tuple[object, ...]:
    return (
        profile.column,
        profile.type,
        profile.null_count,
        profile.min_value,
        profile.max_value,
        tuple(profile.value_hashes),
    )


def _safe(sentence: str) -> Judgement:
    return Judgement(safety=Safety.SAFE, evidence=(sentence,))


def _unsure(sentence: str) -> Judgement:
    return Judgement(safety=Safety.UNSURE, evidence=(sentence,))


def _unsafe(sentence: str, needed: str) -> Judgement:
    return Judgement(safety=Safety.UNSAFE, evidence=(sentence,), needed=needed)
