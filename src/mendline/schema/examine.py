"""Everything that is known about one dataset's shape: now, as its view expects it, and what differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from mendline.config import Dataset
from mendline.contracts import Contract, contract_of
from mendline.errors import Rejected
from mendline.schema.additions import Addition, find_additions
from mendline.schema.diff import Change, ChangeKind, SchemaDiff, compare
from mendline.schema.documents import column_of, compare_documents, is_path, profile_documents
from mendline.schema.grain import find_grain_change
from mendline.schema.paths import leaf_sql
from mendline.schema.relaxing import Gap, find_gaps
from mendline.schema.renames import Rename, find_renames
from mendline.schema.shapes import Columns, expectation, former_stub, in_force, remembered_sql, shapes_of
from mendline.schema.shift import find_shift
from mendline.schema.values import overlap
from mendline.schema.view import Reading, output_names, read_view, unflatten
from mendline.schema.widening import Overflow, find_overflows
from mendline.snapshots import batch_sql, profile
from mendline.stores.base import Accommodation, ColumnProfile, Snapshot
from mendline.tools.base import Services
from mendline.warehouses.base import Column, Session, TableSchema, Warehouse
from mendline.warehouses.traits import Traits, traits_of
from mendline.warehouses.types import leaves

SELDOM = 0.02  # a column with at most so large a share of NULLs counts as one that always has a value
PROBABLE = 0.5  # the score from which a candidate counts as the new name in the diff


@dataclass(frozen=True, kw_only=True)
class Examination:
    """One dataset, looked at. No part of it has an effect.

    `landing` is the landing table now (None: gone), `now` its leaves. `expected` are the leaves that the view's own SELECT
    was written for, `origin` where they are known from ("accommodation", "snapshot", "contract", "" for nowhere).
    `base_sql` is the SELECT as the team wrote it, `current_sql` what stands there (None: no such view; then `base_sql` is
    what is remembered of it). `view_columns` is what the view gives now, None when it does not bind (`view_error` says why);
    `expected_columns` what it gave when the landing table was as expected. `row_count` counts the current batch. `emptied`
    are the expected leaves that a landing table which keeps every column still has, and that the source no longer fills;
    `now` is without them. `former_stub` is an empty table over which `current_sql` binds, "" when none is known: engines
    refuse to create a view that does not bind. `additions` are the columns that targets lack, `gaps` their NOT NULL columns
    that get NULLs. A dataset without a view has the landing table's columns as `given` and `expected_columns`.
    """

    dataset: Dataset
    landing: TableSchema | None
    now: TableSchema | None = None
    row_count: int = 0
    expected: tuple[Column, ...] = ()
    origin: str = ""
    base_sql: str | None = None
    current_sql: str | None = None
    reading: Reading | None = None
    view_columns: Columns | None = None
    view_error: str = ""
    expected_columns: Columns = ()
    accommodation: Accommodation | None = None
    contract: Contract | None = None
    diff: SchemaDiff = field(default_factory=SchemaDiff)
    renames: tuple[Rename, ...] = ()
    before: dict[str, ColumnProfile] = field(default_factory=dict)
    overflows: tuple[Overflow, ...] = ()
    former_stub: str = ""
    emptied: tuple[str, ...] = ()
    additions: tuple[Addition, ...] = ()
    gaps: tuple[Gap, ...] = ()

    @property
    def given(self) -> Columns:
        """What the stages get now: the view's columns, or the landing table's where there is no view."""
        if self.dataset.view is None:
            return _pairs(self.landing.columns) if self.landing else ()
        return self.view_columns or ()

    @property
    def needed(self) -> tuple[Column, ...]:
        """The expected leaves that the view may read, in order."""
        if self.reading is None:
            return self.expected
        return tuple(column for column in self.expected if self.reading.needs(column.name))

    @property
    def is_view_gone(self) -> bool:
        """Whether the view was there and is not any more: some engines drop it with the table that it reads."""
        return self.current_sql is None and self.base_sql is not None

    @property
    def is_as_expected(self) -> bool:
        """Whether the view binds and gives the columns that it should, in order."""
        return self.view_columns is not None and self.view_columns == self.expected_columns

    def column_now(self, name: str) -> Column | None:
        """The leaf of that name (any case) in the landing table now."""
        columns = self.now.columns if self.now else ()
        return next((column for column in columns if column.name.lower() == name.lower()), None)

    def rename_of(self, name: str) -> Rename | None:
        """The best candidate for a lost column; None when there is none."""
        return next((rename for rename in self.renames if rename.old == name), None)


@dataclass(frozen=True, kw_only=True)
class _Look:
    """An open session on one dataset, and what is remembered and agreed of it; `now` are the landing table's leaves."""

    session: Session
    warehouse: Warehouse
    dataset: Dataset
    landing: TableSchema
    now: TableSchema
    contract: Contract | None
    snapshots: Sequence[Snapshot]

    @property
    def place(self) -> tuple[Session, Warehouse, Dataset]:
        """Where to measure."""
        return self.session, self.warehouse, self.dataset

    def without(self, names: Sequence[str]) -> _Look:
        """The same, as if the landing table did not have these leaves."""
        columns = tuple(column for column in self.now.columns if column.name not in names)
        return replace(self, now=replace(self.now, columns=columns))


def examine(dataset: Dataset, services: Services) -> Examination:
    """Look at one dataset. No effect.

    Raises: `Unavailable` when the warehouse is away, `Rejected` when the batch predicate no longer fits the table,
    `ConfigError` when the contract cannot be read.
    """
    warehouse = services.warehouses[dataset.warehouse]
    snapshots = services.store.snapshots(dataset.name)
    contract = contract_of(dataset, services.config, warehouse.dialect)
    with warehouse.reading() as session:
        landing = session.schema(dataset.landing)
        current = session.view_sql(dataset.view) if dataset.view else None
        if landing is None:
            return Examination(dataset=dataset, landing=None, current_sql=current, base_sql=current, contract=contract)
        look = _Look(
            session=session,
            warehouse=warehouse,
            dataset=dataset,
            landing=landing,
            now=leaves(landing, warehouse.dialect),
            contract=contract,
            snapshots=snapshots,
        )
        seen = _with_view(look, current, services.store.accommodation(dataset.name))
        emptied = _emptied(look, seen.expected)
        look = look.without(emptied)
        seen = _with_batch(look, replace(seen, emptied=emptied))
        return _with_changes(look, _with_targets(look, seen))


def _with_view(look: _Look, current: str | None, kept: Accommodation | None) -> Examination:
    """The view: what stands there, the shape it was written for, what it gives now and what it gave then."""
    session, warehouse, dataset = look.place
    known = remembered_sql(kept, look.snapshots) if current is None and dataset.view else current
    kept = in_force(kept, known)
    base = kept.base_sql if kept else known
    reading = read_view(base, dataset.landing, warehouse) if base else None
    shapes = list(shapes_of(kept, look.snapshots, look.contract, look.now, warehouse))
    origin, expected, gave = expectation(session, warehouse, reading, shapes, look.landing)
    if dataset.view is None:
        gave = _pairs(unflatten(expected, look.landing, warehouse).columns)
    given, problem = _view_now(session, current)
    standing = read_view(current, dataset.landing, warehouse) if current else None
    candidates = [expected, *(columns for _, columns in shapes)]
    return Examination(
        dataset=dataset,
        landing=look.landing,
        expected=expected,
        origin=origin,
        base_sql=base,
        current_sql=current,
        reading=reading,
        view_columns=given,
        view_error=problem,
        expected_columns=gave,
        accommodation=kept,
        contract=look.contract,
        former_stub=former_stub(session, warehouse, standing, candidates, look.landing),
    )


def _view_now(session: Session, sql: str | None) -> tuple[Columns | None, str]:
    if sql is None:
        return None, ""
    try:
        return session.outputs(sql), ""
    except Rejected as error:
        return None, str(error)


def _pairs(columns: Sequence[Column]) -> Columns:
    return tuple((column.name, column.type) for column in columns)


def _emptied(look: _Look, expected: Sequence[Column]) -> tuple[str, ...]:
    """The leaves that always had a value, have none in this batch, and stand beside a column that was not there before.

    A loader that adds the source's new columns to the landing table and drops none leaves a renamed one like this.
    """
    session, warehouse, dataset = look.place
    known = {column.name.lower() for column in expected}
    there = [column.name for column in look.now.columns]
    if not known or all(name.lower() in known for name in there):
        return ()
    before, _ = history(look.snapshots)
    always = [name for name in there if name.lower() in known and _was_filled(before.get(name))]
    counts = [f"count({leaf_sql(warehouse, look.landing, name)})" for name in always]
    ((row_count, *filled),) = session.rows(f"SELECT {', '.join(['count(*)', *counts])} {batch_sql(warehouse, dataset)}")
    return tuple(name for name, count in zip(always, filled, strict=True) if row_count and not count)


def _was_filled(before: ColumnProfile | None) -> bool:
    return before is not None and before.row_count > 0 and before.null_count <= SELDOM * before.row_count


def _with_batch(look: _Look, seen: Examination) -> Examination:
    row_count, _ = profile(*look.place, look.landing, ())
    before, _ = history(look.snapshots)
    return replace(seen, now=look.now, row_count=row_count, before=before)


def _with_targets(look: _Look, seen: Examination) -> Examination:
    """What the targets cannot hold, lack, and insist on, of what the stages get now."""
    names = output_names(seen.base_sql if seen.reading else None, look.warehouse)
    return replace(
        seen,
        overflows=find_overflows(*look.place, seen.given),
        additions=find_additions(*look.place, seen.given, seen.expected_columns, look.contract),
        gaps=find_gaps(*look.place, seen.given, look.contract, names),
    )


def _with_changes(look: _Look, seen: Examination) -> Examination:
    """What is different, with the renames that the data speaks for."""
    renames = _renames(look, seen)
    diff = _diff(look, seen.expected)
    for rename in renames:
        kind = ChangeKind.NESTED if rename.is_move else ChangeKind.RENAMED
        if rename.is_unique and rename.score >= PROBABLE:
            diff = diff.with_rename(rename.old, rename.new, kind)
    diff = diff.also(*_beyond_columns(look), *_document_changes(look, seen.reading))
    return replace(seen, diff=diff, renames=renames)


def _diff(look: _Look, expected: tuple[Column, ...]) -> SchemaDiff:
    if not expected:
        return SchemaDiff()
    keys = look.contract.key if look.contract else ()
    return compare(replace(look.now, columns=expected), look.now, look.warehouse.dialect, keys)


def _renames(look: _Look, seen: Examination) -> tuple[Rename, ...]:
    lost, added = _candidates(look, seen)
    _, today = profile(*look.place, look.landing, added if lost else ())
    before, usual = history(look.snapshots)
    return find_renames(lost, added, before, {one.column: one for one in today}, usual)


def _candidates(look: _Look, seen: Examination) -> tuple[list[Column], list[Column]]:
    """The columns that are lost, and those that may hold now what they held."""
    diff = compare(replace(look.now, columns=seen.expected), look.now, look.warehouse.dialect)
    lost = {change.column for change in diff.of(ChangeKind.REMOVED)}
    added = {change.column for change in diff.of(ChangeKind.ADDED)} - _older(lost, look.snapshots)
    kept = seen.accommodation
    taken = {mapping["source"] for mapping in kept.mappings if mapping["column"] not in lost} if kept else set()
    return (
        [column for column in seen.expected if column.name in lost],
        [column for column in look.now.columns if column.name in added - taken],
    )


def _older(lost: set[str], snapshots: Sequence[Snapshot]) -> set[str]:
    """Columns that stood beside the lost ones when those were last seen: they cannot be their new names."""
    last = next((snapshot for snapshot in snapshots if lost.intersection(snapshot.schema.names)), None)
    return set(last.schema.names) if last else set()


def _beyond_columns(look: _Look) -> Iterator[Change]:
    """The changes that names and types do not show: of grain, of traits, and values that stand in another column."""
    latest = look.snapshots[0] if look.snapshots else None
    before, _ = history(look.snapshots[:1])
    key = look.contract.key if look.contract else ()
    grain = find_grain_change(*look.place, look.landing, key, before)
    if grain:
        yield Change(kind=ChangeKind.GRAIN_CHANGED, column=key[0], detail=grain)
    shift = find_shift(*look.place, look.landing, latest)
    if shift is not None:
        yield Change(kind=ChangeKind.SHIFTED, column=shift.first, detail=str(shift))
    if latest is not None and latest.traits is not None:
        now = traits_of(look.session, look.warehouse, look.dataset.landing)
        yield from _trait_changes(latest.traits, now, latest, look.landing)


def _trait_changes(was: Traits, now: Traits | None, latest: Snapshot, landing: TableSchema) -> Iterator[Change]:
    """What the catalogue says of a column that is there before and after, where it says another thing."""
    both = [name for name in landing.names if name in latest.schema.names]
    for name in both if now is not None else ():
        before, after = was.get(name, ()), (now or {}).get(name, ())
        if before != after:
            old, new = ("; ".join(traits) or "none" for traits in (before, after))
            yield Change(kind=ChangeKind.TRAIT_CHANGED, column=name, old_type=old, new_type=new)


def _document_changes(look: _Look, reading: Reading | None) -> Iterator[Change]:
    """What is different inside the JSON documents of columns that were there with the last good run."""
    latest = look.snapshots[0] if look.snapshots else None
    if latest is None or not any(map(is_path, latest.profiles)):
        return
    source = batch_sql(look.warehouse, look.dataset)
    row_count = int(look.session.rows(f"SELECT count(*) {source}")[0][0])
    documents = profile_documents(look.session, look.warehouse, source, look.landing, row_count)
    for change in compare_documents(latest.profiles, documents):
        is_read = reading is None or reading.needs(column_of(change.path))
        kind = ChangeKind.DOCUMENT_BROKEN if change.is_loss and is_read else ChangeKind.DOCUMENT_DIFFERS
        yield Change(kind=kind, column=change.path, detail=change.detail)


def history(snapshots: Sequence[Snapshot]) -> tuple[dict[str, ColumnProfile], dict[str, float]]:
    """Every column's last good profile, and how much of its values came again from one good batch to the next."""
    profiles: dict[str, list[ColumnProfile]] = {}
    for snapshot in snapshots:
        for one in snapshot.profiles:
            profiles.setdefault(one.column, []).append(one)
    usual: dict[str, float] = {}
    for name, kept in profiles.items():
        shared = overlap(kept[0], kept[1]) if len(kept) > 1 else None
        if shared is not None:
            usual[name] = shared
    return {name: kept[0] for name, kept in profiles.items()}, usual
