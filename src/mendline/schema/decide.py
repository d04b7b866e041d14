"""What must be done so that the view gives again what its readers expect; or why that cannot be decided here."""

from __future__ import annotations

from dataclasses import dataclass, field

from mendline.config import Policy
from mendline.errors import Rejected
from mendline.schema.additions import Addition
from mendline.schema.diff import ADDITIVE, ChangeKind, normalised
from mendline.schema.examine import Examination
from mendline.schema.grain import count_keys
from mendline.schema.ground import check_ground
from mendline.schema.paths import leaf_sql, outermost
from mendline.schema.relaxing import Gap
from mendline.schema.renames import Rename
from mendline.schema.shapes import Columns
from mendline.schema.targets import Targets
from mendline.schema.trial import ASK, CannotDecideError, Refusal, SetAside, Trial
from mendline.schema.view import Mapping, Restoration, output_names
from mendline.schema.widening import Overflow
from mendline.snapshots import batch_sql
from mendline.warehouses.base import Column, Session, Warehouse
from mendline.warehouses.types import fields, is_narrowing, is_widening, leaves, same_type

DOUBTFUL = 0.5  # a rename at least this likely forbids taking the column as simply gone
KEY_WORDS = frozenset({"id", "key", "code", "no", "number", "uuid", "ref", "sku"})


@dataclass(frozen=True, kw_only=True)
class Desired:
    """The state that should be, computed from scratch.

    `sql` is the view's SELECT, "" where there is no view; `columns` what stages get then. `mappings` is empty when the team's
    own SELECT will do. `widen`, `add` and `relax` are for the targets.
    """

    sql: str
    columns: Columns
    mappings: tuple[Mapping, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    widen: tuple[Overflow, ...] = ()
    add: tuple[Addition, ...] = ()
    relax: tuple[Gap, ...] = ()
    renames: tuple[Rename, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)


def decide(seen: Examination, policy: Policy, warehouse: Warehouse, subtype: str = "") -> Desired | Refusal:
    """Decide the desired state of the dataset's view (and targets). No effect; the same world gives the same answer.

    `subtype` is what the failure was taken for.

    1. every leaf that the view needs is mapped to a column of today, or to nothing when it is optional; 2. every cast is
    tried on the whole batch; 3. the SELECT is put together and must bind and give exactly what it gave before.

    Raises: `Unavailable` when the warehouse is away.
    """
    try:
        check_ground(seen)
        with warehouse.reading() as session:
            targets = Targets(seen, policy, warehouse, session, subtype)
            if seen.dataset.view is None:
                return _without_view(seen, targets)
            return _Decision(seen, policy, warehouse, session, targets).desired()
    except CannotDecideError as error:
        return error.refusal


def _without_view(seen: Examination, targets: Targets) -> Desired:
    """Only tables may be changed, and only by what takes nothing from them: what the stages get stays what has landed."""
    lossy = [change for change in seen.diff.changes if change.kind not in ADDITIVE]
    widen, add, relax = targets.changes(seen.given)
    if lossy or not (widen or add or relax):
        raise CannotDecideError(
            f"dataset `{seen.dataset.name}` has no contract view, so there is nothing that may be redefined",
            f"set `datasets.{seen.dataset.name}.view`, or change the stage that reads `{seen.dataset.landing}`",
        )
    return Desired(sql="", columns=seen.given, widen=widen, add=add, relax=relax, notes=tuple(targets.notes))


class _Decision:
    def __init__(
        self, seen: Examination, policy: Policy, warehouse: Warehouse, session: Session, targets: Targets
    ) -> None:
        assert seen.landing is not None  # checked before
        assert seen.reading is not None
        self.seen, self.policy, self.warehouse, self.session = seen, policy, warehouse, session
        self.landing, self.reading = seen.landing, seen.reading
        self.targets = targets
        self.trial = Trial(seen, self.landing, warehouse, session)
        self.renames: list[Rename] = []
        self.notes: list[str] = []
        self.is_told = False  # the contract itself named a column's new name

    def desired(self) -> Desired:
        mappings = tuple(self._mapping(column) for column in self.seen.needed)
        self.trial.check_set_aside()
        sql, columns = self._select(mappings)
        widen, add, relax = self.targets.changes(columns, sql)
        self._check_gone(mappings, relax)
        self._check_columns(columns, widen)
        return Desired(
            sql=sql,
            columns=columns,
            mappings=() if sql == self.seen.base_sql else mappings,
            set_aside=tuple(self.trial.set_aside),
            widen=widen,
            add=add,
            relax=relax,
            renames=tuple(self.renames),
            notes=(*self.notes, *self.targets.notes),
        )

    def _check_gone(self, mappings: tuple[Mapping, ...], relax: tuple[Gap, ...]) -> None:
        """A column that is gone reads NULL: no target may insist on a value of it."""
        gone = {mapping.column.lower() for mapping in mappings if mapping.kind == "default"}
        names = output_names(self.seen.base_sql, self.warehouse)
        for gap in self.targets.gaps:
            behind = names.get(gap.column.lower(), gap.column).lower()
            if behind in gone and gap not in relax:
                raise CannotDecideError(
                    f"`{behind}` is gone, and `{gap.target}.{gap.column}` is NOT NULL", self.targets.needed(gap)
                )

    def _mapping(self, expected: Column) -> Mapping:
        now = self.seen.column_now(expected.name)
        self._check_nesting(expected, now)
        if now is not None and not self._goes_on_elsewhere(expected.name, now):
            return self._same_name(expected, now)
        source, kind = self._source_of(expected)
        if source is None:
            self.notes.append(f"`{expected.name}` is gone and optional: NULL")
            return Mapping(column=expected.name, type=expected.type, kind="default", source="")
        if kind == "cast" or not same_type(expected.type, source.type, self.warehouse.dialect):
            self.trial.check_cast(expected, source, is_key=self._is_key(expected.name))
        return Mapping(column=expected.name, type=expected.type, kind="alias", source=source.name)

    def _check_nesting(self, expected: Column, now: Column | None) -> None:
        """What changed inside a struct, or became one, is for a person. Source: table of change kinds, row "Nested field"."""
        name, dialect = expected.name, self.warehouse.dialect
        top = next((column for column in self.landing.columns if column.name.lower() == name.lower()), None)
        if now is None and top is not None and fields(top.type, dialect):
            raise CannotDecideError(f"`{name}` was a value and is a struct now", ASK)
        is_leaf = outermost(self.landing, name).lower() != name.lower()
        if not is_leaf or now is None or same_type(expected.type, now.type, dialect):
            return
        if not (is_widening(expected.type, now.type, dialect) or is_narrowing(expected.type, now.type, dialect)):
            raise CannotDecideError(f"`{name}`, inside a struct, was {expected.type} and is {now.type}", ASK)

    def _same_name(self, expected: Column, now: Column) -> Mapping:
        if same_type(expected.type, now.type, self.warehouse.dialect):
            return Mapping(column=expected.name, type=expected.type, kind="same", source=now.name)
        if is_widening(expected.type, now.type, self.warehouse.dialect) and self.trial.failing(expected, now):
            self.notes.append(f"`{expected.name}` is {now.type} now and needs it: passed on as it is")
            return Mapping(column=expected.name, type=now.type, kind="wide", source=now.name)
        self.trial.check_cast(expected, now, is_key=self._is_key(expected.name))
        self.notes.append(f"`{expected.name}` is {now.type} now: cast to {expected.type}")
        return Mapping(column=expected.name, type=expected.type, kind="cast", source=now.name)

    def _source_of(self, expected: Column) -> tuple[Column | None, str]:
        """The column that holds what `expected` held, None when it is gone and may be."""
        known = self._known_alias(expected.name)
        if known is not None:
            self.notes.append(f"`{expected.name}` comes from `{known.name}`, as it did before")
            return known, "alias"
        spelt = [
            column
            for column in self.seen.now.columns  # type: ignore[union-attr]  # the landing table is there
            if normalised(column.name) == normalised(expected.name)
        ]
        if len(spelt) == 1:
            self.notes.append(f"`{expected.name}` is spelt `{spelt[0].name}` now")
            return spelt[0], "alias"
        if len(spelt) > 1:
            raise CannotDecideError(
                f"`{expected.name}` is gone, and several columns are spelt almost like it",
                f"say which of them is `{expected.name}` now",
            )
        rename = self.seen.rename_of(expected.name)
        named = self._named_by_contract(expected, rename)
        if named is not None:
            self.is_told = True
            self.notes.append(f"`{expected.name}` is `{named.name}` now, as the contract says")
            return named, "alias"
        if rename is not None and self._may_rename(expected, rename):
            self.renames.append(rename)
            self.notes.append(rename.describe())
            return self.seen.column_now(rename.new), "alias"
        self._check_may_be_gone(expected, rename)
        return None, "default"

    def _named_by_contract(self, expected: Column, rename: Rename | None) -> Column | None:
        """The new column that the contract gives another name of `expected` to. Raises where only a person may take it."""
        contract = self.seen.contract
        told = contract.known_as(expected.name) if contract else None
        names = {name.lower() for name in (told.name, *told.aliases)} if told else set()
        found = [column for column in self._new_columns() if column.name.lower() in names]
        if not found:
            return None
        shown = ", ".join(f"`{column.name}`" for column in found)
        told_by = f"the contract says that `{expected.name}` is {shown} now"
        confirm = f"confirm it by aliasing {shown} in `{self.seen.dataset.view}`"
        if len(found) > 1:
            raise CannotDecideError(told_by, f"say which column is `{expected.name}` now")
        if self._is_key(expected.name) or (told is not None and told.is_primary_key):
            raise CannotDecideError(f"{told_by}, and it is a key", confirm)
        if rename is not None and rename.is_unique and rename.score >= DOUBTFUL and rename.new != found[0].name:
            raise CannotDecideError(f"{told_by}, but the values speak for another: {rename.describe()}", confirm)
        return found[0]

    def _new_columns(self) -> list[Column]:
        """The columns that were not there when the view was last good."""
        moved = (ChangeKind.RENAMED, ChangeKind.NESTED)
        names = {change.column for change in self.seen.diff.of(ChangeKind.ADDED)}
        names |= {str(change.now) for change in self.seen.diff.of(*moved)}
        return [column for column in (self.seen.now.columns if self.seen.now else ()) if column.name in names]

    def _known_alias(self, name: str) -> Column | None:
        kept = self.seen.accommodation
        for mapping in kept.mappings if kept else ():
            if mapping["column"] == name and mapping["kind"] == "alias":
                return self.seen.column_now(mapping["source"])
        return None

    def _goes_on_elsewhere(self, name: str, now: Column) -> bool:
        """Whether the column is still there for the older rows only, and an alias in force gives the newer ones."""
        known = self._known_alias(name)
        if known is None or known.name.lower() == name.lower():
            return False
        return self.seen.dataset.batch is not None or self.trial.filled(now) == 0

    def _may_rename(self, expected: Column, rename: Rename) -> bool:
        """Whether the candidate may be taken. Raises when only a person may take it."""
        if rename.score < DOUBTFUL or rename.against:
            return False
        if self._is_key(expected.name) and not self._keeps_grain(expected.name, rename.new):
            raise CannotDecideError(
                f"the key column `{expected.name}` changed: {rename.describe()}; the rows are not one per key with it",
                f"confirm that `{rename.new}` is the key now, and change the view `{self.seen.dataset.view}`",
            )
        if not rename.is_unique:
            raise CannotDecideError(
                f"`{expected.name}` is gone and the candidates are too close: {rename.describe()}; {rename.runner_up}",
                f"say which column is `{expected.name}` now",
            )
        confirm = f"confirm it by aliasing `{rename.new}` in `{self.seen.dataset.view}`"
        if rename.score < self.policy.min_rename_score:
            raise CannotDecideError(
                f"{rename.describe()}, under `policy.min_rename_score` {self.policy.min_rename_score:g}", confirm
            )
        if self.policy.inferred_renames != "apply":
            raise CannotDecideError(f"{rename.describe()}; `policy.inferred_renames` is `propose`", confirm)
        return True

    def _check_may_be_gone(self, expected: Column, rename: Rename | None) -> None:
        name = expected.name
        column = self.seen.contract.known_as(name) if self.seen.contract else None
        candidate = f"; nearest: {rename.describe()}" if rename is not None else ""
        needed = "ask the source's owner where the column went, or change the contract"
        if rename is not None and rename.score >= DOUBTFUL:
            raise CannotDecideError(f"`{name}` is gone and may have been renamed{candidate}", needed)
        if "." in name and self.warehouse.idiom.has_structs:
            raise CannotDecideError(f"`{name}`, inside a struct, is gone{candidate}", needed)
        if self._is_key(name):
            raise CannotDecideError(f"the key column `{name}` is gone{candidate}", needed)
        if column is None:
            raise CannotDecideError(f"`{name}` is gone and no contract says that it is optional{candidate}", needed)
        if column.is_required or column.is_unique:
            raise CannotDecideError(f"the required column `{name}` is gone{candidate}", needed)

    def _is_key(self, name: str) -> bool:
        if self.seen.contract is not None and self.seen.contract.key:
            return name.lower() in {key.lower() for key in self.seen.contract.key}
        before = self.seen.before.get(name)
        words = set(name.lower().replace(".", "_").split("_"))
        return bool(
            before is not None
            and before.row_count > 1
            and before.null_count == 0
            and before.distinct_count >= 0.98 * before.row_count
            and words & KEY_WORDS
        )

    def _keeps_grain(self, old: str, new: str) -> bool:
        """Whether the batch still has one row per key, none without one, when `new` stands for `old` in the key."""
        contract = self.seen.contract
        names = contract.key if contract is not None and contract.key else (old,)
        columns = [self.seen.column_now(new if name.lower() == old.lower() else name) for name in names]
        if any(column is None for column in columns):
            return False
        key = [str(leaf_sql(self.warehouse, self.landing, column.name)) for column in columns if column is not None]
        row_count, key_count = count_keys(self.session, key, batch_sql(self.warehouse, self.seen.dataset))
        return row_count == key_count

    def _select(self, mappings: tuple[Mapping, ...]) -> tuple[str, Columns]:
        """The team's own SELECT if it will do, else the accommodated one, tolerant of both shapes where that binds."""
        own = str(self.seen.base_sql)
        if all(mapping.kind in ("same", "wide") for mapping in mappings):
            columns = self._bound(own)
            if columns is not None and (
                columns == self.seen.expected_columns or _has(mappings, "wide") or self.targets.may_pass_on(columns)
            ):
                return own, columns
        part = Restoration(
            warehouse=self.warehouse, landing=self.seen.dataset.landing, now=self.landing, mappings=mappings
        )
        # What a column of that name still holds, for older rows, only the tolerant form gives.
        there = {name.lower() for name in leaves(self.landing, self.warehouse.dialect).names}
        is_split = any(one.kind in ("alias", "default") and one.column.lower() in there for one in mappings)
        # A rename that the contract announced meets old batches that are still under way: both shapes must be read.
        for is_tolerant in (True,) if is_split or self.is_told else (True, False):
            sql = self.reading.over(part.sql(is_tolerant=is_tolerant))
            columns = self._bound(sql)
            if columns is not None:
                return sql, columns
        raise CannotDecideError(
            f"no SELECT was found that gives `{self.seen.dataset.view}` its columns over the new shape",
            "change the view by hand",
        )

    def _bound(self, sql: str) -> Columns | None:
        try:
            return self.session.outputs(sql)
        except Rejected:
            return None

    def _check_columns(self, columns: Columns, widen: tuple[Overflow, ...]) -> None:
        """The output must be what it was, but for columns that are wider and whose targets are widened too, and new ones."""
        wider = {overflow.column.lower(): overflow.wider for overflow in widen}
        if self.targets.may_pass_on(columns):
            return
        for given, before in zip(columns, self.seen.expected_columns, strict=False):
            if given == before:
                continue
            if given[0] == before[0] and wider.get(given[0].lower()) == given[1]:
                continue
            what = f"`{given[0]}` {given[1]} where `{before[0]}` {before[1]} was"
            if given[0] == before[0] and is_widening(before[1], given[1], self.warehouse.dialect):
                raise CannotDecideError(
                    f"the view would give {what}, with values that need it, and no configured target can be widened for it",
                    f"list the tables that must hold it in `datasets.{self.seen.dataset.name}.targets`",
                )
            raise CannotDecideError(f"the view would give {what}", "change the view by hand")
        if len(columns) != len(self.seen.expected_columns):
            raise CannotDecideError("the view would give another number of columns", "change the view by hand")


def _has(mappings: tuple[Mapping, ...], kind: str) -> bool:
    return any(mapping.kind == kind for mapping in mappings)
