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
from mendline.schema.shift import find_shift
from mendline.schema.values import overlap
from mendline.schema.view import Reading, output_names, read_view, stub_sql, unflatten
from mendline.schema.widening import Overflow, find_overflows
from mendline.snapshots import batch_sql, profile
from mendline.stores.base import Accommodation, ColumnProfile, Snapshot
from mendline.tools.base import Services
from mendline.warehouses.base import Column, Session, TableSchema, Warehouse
from mendline.warehouses.traits import Traits, traits_of
from mendline.warehouses.types import column_type, family, leaves, logical_type

Columns = tuple[tuple[str, str], ...]
SELDOM = 0.02  # a column with at most so large a share of NULLs counts as one that always has a value
UNTYPED = ("array", "map", "struct", "other")


@dataclass(frozen=True, kw_only=True)
class Examination:
    """One dataset, looked at. No part of it has an effect.

    `landing` is the landing table now (None: gone), `now` its leaves. `expected` are the leaves that the view's own SELECT
    was written for, `origin` where they are known from ("accommodation", "snapshot", "contract", "" for nowhere).
    `base_sql` is the SELECT as the team wrote it, `current_sql` what stands there (None: no such view; then `base_sql` is
    what is remembered of it). `view_columns` is
    what the view gives now, None when it does not bind (`view_error` says why); `expected_columns` what it gave when the
    landing table was as expected. `row_count` counts the current batch. `emptied` are the expected leaves that a landing
    table which keeps every column still has, and that the source no longer fills; `now` is without them. `former_stub` is an empty table over which
    `current_sql` binds, "" when none is known: engines refuse to create a view that does not bind. `additions` are the
    columns that targets lack, `gaps` their NOT NULL columns that get NULLs. A dataset without a view has the landing table's
    columns as `given` and `expected_columns`.
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


def examine(dataset: Dataset, services: Services) -> Examination:
    """Look at one dataset. No effect.

    Raises: `Unavailable` when the warehouse is away, `Rejected` when the batch predicate no longer fits the table,
    `ConfigError` when the contract cannot be read.
    """
    warehouse = services.warehouses[dataset.warehouse]
    snapshots = services.store.snapshots(dataset.name)
    contract = contract_of(dataset, services.config, services.warehouses[dataset.warehouse].dialect)
    with warehouse.reading() as session:
        landing = session.schema(dataset.landing)
        current = session.view_sql(dataset.view) if dataset.view else None
        if landing is None:
            return Examination(dataset=dataset, landing=None, current_sql=current, base_sql=current, contract=contract)
        now = leaves(landing, warehouse.dialect)
        accommodation = services.store.accommodation(dataset.name)
        known = _remembered(accommodation, snapshots) if current is None and dataset.view else current
        kept = _in_force(accommodation, known)
        base = kept.base_sql if kept else known
        reading = read_view(base, dataset.landing, warehouse) if base else None
        shapes = _shapes(kept, snapshots, contract, now, warehouse)
        origin, expected, gave = _expectation(session, warehouse, reading, shapes, landing)
        if dataset.view is None:
            gave = _pairs(unflatten(expected, landing, warehouse).columns)
        given, problem = _view_now(session, current)
        before, usual = history(snapshots)
        emptied = _emptied(session, warehouse, dataset, landing, expected, before)
        now = replace(now, columns=tuple(column for column in now.columns if column.name not in emptied))
        row_count, _ = profile(session, warehouse, dataset, landing, ())
        diff = _diff(expected, now, contract, warehouse)
        lost, added = _candidates(expected, now, kept, snapshots, warehouse)
        _, today = profile(session, warehouse, dataset, landing, added if lost else ())
        renames = find_renames(lost, added, before, {one.column: one for one in today}, usual)
        offered = _pairs(landing.columns) if dataset.view is None else given or ()
        overflows = find_overflows(session, warehouse, dataset, offered)
        additions = find_additions(session, warehouse, dataset, offered, gave, contract)
        gaps = find_gaps(
            session, warehouse, dataset, offered, contract, output_names(base if reading else None, warehouse)
        )
        stub = _former_stub(session, warehouse, dataset, current, [expected, *(shape for _, shape in shapes)], landing)
        beyond = (
            *_beyond_columns(session, warehouse, dataset, landing, snapshots, contract),
            *_document_changes(session, warehouse, dataset, landing, snapshots, reading),
        )
    for rename in renames:
        kind = ChangeKind.NESTED if rename.is_move else ChangeKind.RENAMED
        diff = diff.with_rename(rename.old, rename.new, kind) if rename.is_unique and rename.score >= 0.5 else diff
    diff = diff.also(*beyond)
    return Examination(
        dataset=dataset,
        landing=landing,
        now=now,
        row_count=row_count,
        expected=expected,
        origin=origin,
        base_sql=base,
        current_sql=current,
        reading=reading,
        view_columns=given,
        view_error=problem,
        expected_columns=gave,
        accommodation=kept,
        contract=contract,
        diff=diff,
        renames=renames,
        before=before,
        overflows=overflows,
        former_stub=stub,
        emptied=emptied,
        additions=additions,
        gaps=gaps,
    )


def _pairs(columns: Sequence[Column]) -> Columns:
    return tuple((column.name, column.type) for column in columns)


def _beyond_columns(
    session: Session,
    warehouse: Warehouse,
    dataset: Dataset,
    landing: TableSchema,
    snapshots: Sequence[Snapshot],
    contract: Contract | None,
) -> Iterator[Change]:
    """The changes that names and types do not show: of grain, of traits, and values that stand in another column."""
    latest = snapshots[0] if snapshots else None
    before, _ = history(snapshots[:1])
    grain = find_grain_change(session, warehouse, dataset, landing, contract.key if contract else (), before)
    if grain and contract:
        yield Change(kind=ChangeKind.GRAIN_CHANGED, column=contract.key[0], detail=grain)
    shift = find_shift(session, warehouse, dataset, landing, latest)
    if shift is not None:
        yield Change(kind=ChangeKind.SHIFTED, column=shift.first, detail=str(shift))
    if latest is not None and latest.traits is not None:
        yield from _trait_changes(latest.traits, traits_of(session, warehouse, dataset.landing), latest, landing)


def _document_changes(
    session: Session,
    warehouse: Warehouse,
    dataset: Dataset,
    landing: TableSchema,
    snapshots: Sequence[Snapshot],
    reading: Reading | None,
) -> Iterator[Change]:
    """What is different inside the JSON documents of columns that were there with the last good run."""
    latest = snapshots[0] if snapshots else None
    if latest is None or not any(map(is_path, latest.profiles)):
        return
    source = batch_sql(warehouse, dataset)
    row_count = int(session.rows(f"SELECT count(*) {source}")[0][0])
    for change in compare_documents(latest.profiles, profile_documents(session, warehouse, source, landing, row_count)):
        is_read = reading is None or reading.needs(column_of(change.path))
        kind = ChangeKind.DOCUMENT_BROKEN if change.is_loss and is_read else ChangeKind.DOCUMENT_DIFFERS
        yield Change(kind=kind, column=change.path, detail=change.detail)


def _trait_changes(was: Traits, now: Traits | None, latest: Snapshot, landing: TableSchema) -> Iterator[Change]:
    """What the catalogue says of a column that is there before and after, where it says another thing."""
    both = [name for name in landing.names if name in latest.schema.names]
    for name in both if now is not None else ():
        before, after = was.get(name, ()), (now or {}).get(name, ())
        if before != after:
            old, new = ("; ".join(traits) or "none" for traits in (before, after))
            yield Change(kind=ChangeKind.TRAIT_CHANGED, column=name, old_type=old, new_type=new)


def _remembered(kept: Accommodation | None, snapshots: Sequence[Snapshot]) -> str | None:
    """What a view that is gone was defined by, as it was last seen; None when nobody remembers."""
    latest = snapshots[0] if snapshots else None
    if kept is None:
        return latest.view_sql if latest else None
    is_latest = latest is None or latest.taken_at <= kept.changed_at or latest.view_sql in (None, kept.base_sql)
    return kept.current_sql if is_latest or latest is None else latest.view_sql


def _in_force(kept: Accommodation | None, current: str | None) -> Accommodation | None:
    """What Mendline did to the view; None when the team has redefined it since."""
    return kept if kept is not None and kept.current_sql == current else None


def _shapes(
    kept: Accommodation | None,
    snapshots: Sequence[Snapshot],
    contract: Contract | None,
    now: TableSchema,
    warehouse: Warehouse,
) -> list[tuple[str, tuple[Column, ...]]]:
    """The shapes that the view may have been written for, the most credible first."""
    shapes: list[tuple[str, tuple[Column, ...]]] = []
    if kept is not None:
        shapes.append(("accommodation", _columns([(m["column"], m["type"]) for m in kept.mappings], warehouse)))
    shapes.extend(("snapshot", snapshot.schema.columns) for snapshot in snapshots)
    if contract is not None:
        shapes.append(("contract", _contract_columns(contract, now, warehouse)))
    return shapes


def _columns(pairs: Sequence[tuple[str, str]], warehouse: Warehouse) -> tuple[Column, ...]:
    return tuple(
        Column(
            name=name, type=kind, logical_type=logical_type(kind, warehouse.dialect), is_nullable=True, position=place
        )
        for place, (name, kind) in enumerate(pairs, start=1)
    )


def _contract_columns(contract: Contract, now: TableSchema, warehouse: Warehouse) -> tuple[Column, ...]:
    """The contract's leaves; where the landing table has the column in the same family of types, with its type."""
    there = {column.name.lower(): column for column in now.columns}
    pairs: list[tuple[str, str]] = []
    for column in contract.columns:
        match = there.get(column.name.lower())
        if match is not None and (
            family(match.logical_type) == family(column.logical_type) or column.logical_type in UNTYPED
        ):
            pairs.append((column.name, match.type))
        elif column.logical_type not in UNTYPED:
            pairs.append((column.name, column_type(column.logical_type, warehouse.dialect)))
    return _columns(pairs, warehouse)


def _expectation(
    session: Session,
    warehouse: Warehouse,
    reading: Reading | None,
    shapes: Sequence[tuple[str, tuple[Column, ...]]],
    landing: TableSchema,
) -> tuple[str, tuple[Column, ...], Columns]:
    """The first shape over which the view's own SELECT binds, and what it gives then.

    Without a view the newest shape counts. A shape that the SELECT does not bind to is not the one it was written for (a
    snapshot taken while another shape was accommodated, say).
    """
    if reading is None:
        return (*shapes[0], ()) if shapes else ("", (), ())
    for origin, columns in shapes:
        if not columns:
            continue
        try:
            return origin, columns, session.outputs(reading.over(stub_sql(columns, landing, warehouse)))
        except Rejected:
            continue
    return "", (), ()


def _former_stub(
    session: Session,
    warehouse: Warehouse,
    dataset: Dataset,
    current: str | None,
    shapes: Sequence[tuple[Column, ...]],
    landing: TableSchema,
) -> str:
    reading = read_view(current, dataset.landing, warehouse) if current else None
    for columns in shapes if reading else ():
        stub = stub_sql(columns, landing, warehouse) if columns else ""
        try:
            if stub and reading and session.outputs(reading.over(stub)):
                return stub
        except Rejected:
            continue
    return ""


def _view_now(session: Session, sql: str | None) -> tuple[Columns | None, str]:
    if sql is None:
        return None, ""
    try:
        return session.outputs(sql), ""
    except Rejected as error:
        return None, str(error)


def _diff(
    expected: tuple[Column, ...], now: TableSchema, contract: Contract | None, warehouse: Warehouse
) -> SchemaDiff:
    if not expected:
        return SchemaDiff()
    keys = contract.key if contract else ()
    return compare(TableSchema(table=now.table, columns=expected), now, warehouse.dialect, keys)


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


def _emptied(
    session: Session,
    warehouse: Warehouse,
    dataset: Dataset,
    landing: TableSchema,
    expected: Sequence[Column],
    before: dict[str, ColumnProfile],
) -> tuple[str, ...]:
    """The leaves that always had a value, have none in this batch, and stand beside a column that was not there before.

    A loader that adds the source's new columns to the landing table and drops none leaves a renamed one like this.
    """
    now = leaves(landing, warehouse.dialect)
    known = {column.name.lower() for column in expected}
    if not known or all(column.name.lower() in known for column in now.columns):
        return ()
    always = [
        column.name for column in now.columns if column.name.lower() in known and _was_filled(before.get(column.name))
    ]
    counts = [f"count({leaf_sql(warehouse, landing, name)})" for name in always]
    ((row_count, *filled),) = session.rows(f"SELECT {', '.join(['count(*)', *counts])} {batch_sql(warehouse, dataset)}")
    return tuple(name for name, count in zip(always, filled, strict=True) if row_count and not count)


def _was_filled(before: ColumnProfile | None) -> bool:
    return before is not None and before.row_count > 0 and before.null_count <= SELDOM * before.row_count


def _candidates(
    expected: Sequence[Column],
    now: TableSchema,
    kept: Accommodation | None,
    snapshots: Sequence[Snapshot],
    warehouse: Warehouse,
) -> tuple[list[Column], list[Column]]:
    """The columns that are lost, and those that may hold now what they held."""
    diff = compare(TableSchema(table=now.table, columns=tuple(expected)), now, warehouse.dialect)
    lost_names = {change.column for change in diff.of(ChangeKind.REMOVED)}
    lost = [column for column in expected if column.name in lost_names]
    added_names = {change.column for change in diff.of(ChangeKind.ADDED)} - _older(lost_names, snapshots)
    taken = {mapping["source"] for mapping in kept.mappings if mapping["column"] not in lost_names} if kept else set()
    return lost, [column for column in now.columns if column.name in added_names - taken]


def _older(lost: set[str], snapshots: Sequence[Snapshot]) -> set[str]:
    """Columns that stood beside the lost ones when those were last seen: they cannot be their new names."""
    last = next((snapshot for snapshot in snapshots if lost.intersection(snapshot.schema.names)), None)
    return set(last.schema.names) if last else set()
