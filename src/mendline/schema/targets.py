"""What must be done to the tables that stages load, so that they hold what the stages get: the additive DDL, or a refusal."""

from __future__ import annotations

from mendline.config import Policy
from mendline.schema.additions import Addition, find_additions, new_columns
from mendline.schema.examine import Examination
from mendline.schema.ground import is_positional
from mendline.schema.relaxing import Gap, find_gaps
from mendline.schema.shapes import Columns
from mendline.schema.trial import CannotDecideError
from mendline.schema.view import output_names
from mendline.schema.widening import Overflow, find_overflows
from mendline.warehouses.base import Session, Warehouse

BY_POSITION = "column_count"  # the failure of an INSERT that names no columns


class Targets:
    """The targets of one dataset. `gaps` are all NOT NULL columns that would get NULLs, once `changes` was asked."""

    def __init__(self, seen: Examination, policy: Policy, warehouse: Warehouse, session: Session, subtype: str) -> None:
        self.seen, self.policy, self.warehouse, self.session, self.subtype = seen, policy, warehouse, session, subtype
        self.gaps: tuple[Gap, ...] = ()
        self.notes: list[str] = []

    def changes(
        self, columns: Columns, sql: str | None = None
    ) -> tuple[tuple[Overflow, ...], tuple[Addition, ...], tuple[Gap, ...]]:
        """What to widen, add and relax when the stages get `columns` (from `sql`). Raises where only a person may do it."""
        seen, names = self.seen, output_names(self.seen.base_sql if self.seen.reading else None, self.warehouse)
        overflows = find_overflows(self.session, self.warehouse, seen.dataset, columns, sql)
        for overflow in overflows:
            self._check_widening(overflow)
        add = self._additions(columns)
        self.gaps = find_gaps(self.session, self.warehouse, seen.dataset, columns, seen.contract, names, sql)
        relax = tuple(gap for gap in self.gaps if not gap.obstacle) if self.policy.null_relaxing == "apply" else ()
        self.notes.extend(f"{gap}: it may be NULL from now on" for gap in relax)
        return overflows, add, relax

    def may_pass_on(self, columns: Columns) -> bool:
        """Whether stages may get `columns`: those that were expected, and new ones that the targets can be given."""
        seen = self.seen
        if self.policy.added_columns != "add" or not new_columns(columns, seen.expected_columns, self.warehouse):
            return False
        new = {name.lower() for name, _ in new_columns(columns, seen.expected_columns, self.warehouse)}
        old = tuple(pair for pair in columns if pair[0].lower() not in new)
        if [name for name, _ in old] != [name for name, _ in seen.expected_columns]:
            return False
        is_nested_only = all(
            pair == was or any(path.startswith(f"{pair[0].lower()}.") for path in new)
            for pair, was in zip(old, seen.expected_columns, strict=True)
        )
        return is_nested_only and self._is_copied(columns)

    def _is_copied(self, columns: Columns) -> bool:
        """Whether some target holds every expected column, and so is to hold the new ones."""
        schemas = [self.session.schema(target) for target in self.seen.dataset.targets]
        wanted = {name.lower() for name, _ in self.seen.expected_columns}
        return any(schema is not None and wanted <= {name.lower() for name in schema.names} for schema in schemas)

    def needed(self, gap: Gap) -> str:
        """What a person would have to decide about a NOT NULL column without values."""
        return f"fill `{gap.column}`, or let `{gap.target}` do without it ({gap.obstacle or '`policy.null_relaxing: apply`'})"

    def _check_widening(self, overflow: Overflow) -> None:
        contract = self.seen.contract
        obstacle = overflow.obstacle or ("the contract is frozen" if contract and contract.is_frozen else "")
        if obstacle:
            raise CannotDecideError(
                f"`{overflow.target}.{overflow.column}` is {overflow.type} and cannot hold {overflow.failing_count} "
                f"values of {overflow.wider}, and it cannot be widened: {obstacle}",
                "widen the column by hand",
            )

    def _additions(self, columns: Columns) -> tuple[Addition, ...]:
        if self.policy.added_columns != "add":
            return ()
        seen = self.seen
        found = find_additions(
            self.session, self.warehouse, seen.dataset, columns, seen.expected_columns, seen.contract
        )
        for one in found:
            obstacle = self._by_position() or one.obstacle
            if obstacle:
                raise CannotDecideError(
                    f"the source has added `{one.column}` {one.type}, which `{one.target}` does not have: {obstacle}",
                    f"add the column to `{one.target}` by hand, or leave it out of what its stage reads",
                )
            self.notes.append(self._note(one))
        return found

    def _by_position(self) -> str:
        is_failing = self.subtype == BY_POSITION and self.seen.dataset.positional is not False
        if is_positional(self.seen) or is_failing:
            return "it is loaded by position, so a new column moves the others"
        return ""

    def _note(self, one: Addition) -> str:
        column = self.seen.column_now(one.column)
        strict = column is not None and not column.is_nullable
        return f"`{one.column}` is new" + (", NOT NULL at the source and nullable here" if strict else "")
