"""Casts tried on the whole batch before anything is decided: what fails is counted, what cannot be trusted is refused."""

from __future__ import annotations

from dataclasses import dataclass

from mendline.schema.casts import failing_sql, present_sql, refuses
from mendline.schema.examine import Examination
from mendline.schema.paths import leaf_sql
from mendline.snapshots import batch_sql
from mendline.warehouses.base import Column, Session, TableSchema, Warehouse

ASK = "ask the source's owner what the values mean now"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why no migration is decided, and what a person would have to decide or find."""

    reason: str
    needed: str = ""


class CannotDecideError(Exception):
    """Ends a decision; carries the refusal."""

    def __init__(self, reason: str, needed: str = "") -> None:
        super().__init__(reason)
        self.refusal = Refusal(reason=reason, needed=needed)


@dataclass(frozen=True, kw_only=True)
class SetAside:
    """Rows whose value of one column does not cast: `predicate` is TRUE for them in the landing table."""

    column: str
    predicate: str
    count: int


class Trial:
    """Tries casts on the present batch, and keeps the rows that would have to be set aside for them."""

    def __init__(self, seen: Examination, landing: TableSchema, warehouse: Warehouse, session: Session) -> None:
        self.seen, self.landing, self.warehouse, self.session = seen, landing, warehouse, session
        self.set_aside: list[SetAside] = []

    def _expression(self, now: Column, *, is_all_null: bool = False) -> str:
        sql = str(leaf_sql(self.warehouse, self.landing, now.name))
        return present_sql(self.warehouse, now, sql, is_all_null=is_all_null)

    def filled(self, now: Column) -> int:
        sql = leaf_sql(self.warehouse, self.landing, now.name)
        return int(self.session.rows(f"SELECT count({sql}) {batch_sql(self.warehouse, self.seen.dataset)}")[0][0])

    def failing(self, expected: Column, now: Column) -> int:
        predicate = failing_sql(self.warehouse, now, expected, self._expression(now))
        source = batch_sql(self.warehouse, self.seen.dataset)
        return int(self.session.rows(f"SELECT count(*) FILTER (WHERE {predicate}) {source}")[0][0])

    def check_cast(self, expected: Column, now: Column, *, is_key: bool) -> None:
        """Try the cast on the batch; note the rows to set aside. Raises when it cannot be trusted."""
        if self.filled(now) == 0:
            return
        reason = refuses(now, expected, self.seen.before.get(expected.name))
        if reason:
            raise CannotDecideError(f"`{expected.name}` was {expected.type} and is {now.type}: {reason}", ASK)
        if now.logical_type == "json":
            raise CannotDecideError(f"`{expected.name}` was {expected.type} and is JSON with values now", ASK)
        failing = self.failing(expected, now)
        if failing:
            predicate = failing_sql(self.warehouse, now, expected, self._expression(now))
            self.set_aside.append(SetAside(column=expected.name, predicate=predicate, count=failing))
        if is_key:
            self._check_key_cast(expected, now)

    def _check_key_cast(self, expected: Column, now: Column) -> None:
        sql = self._expression(now)
        cast = self.warehouse.safe_cast(sql, expected.type)
        query = f"SELECT count(DISTINCT {sql}), count(DISTINCT {cast}) {batch_sql(self.warehouse, self.seen.dataset)}"
        ((apart, together),) = self.session.rows(query)
        if apart != together:
            raise CannotDecideError(
                f"the key `{expected.name}` has {apart} values as {now.type} and {together} as {expected.type}: "
                f"the cast would change the grain",
                ASK,
            )

    def check_set_aside(self) -> None:
        if not self.set_aside:
            return
        predicate = " OR ".join(one.predicate for one in self.set_aside)
        source = batch_sql(self.warehouse, self.seen.dataset)
        rows = int(self.session.rows(f"SELECT count(*) FILTER (WHERE {predicate}) {source}")[0][0])
        limit = self.seen.dataset.quality.max_failing_fraction
        names = ", ".join(f"`{one.column}` ({one.count})" for one in self.set_aside)
        if rows > limit * self.seen.row_count or rows == self.seen.row_count:
            raise CannotDecideError(
                f"{rows} of {self.seen.row_count} rows do not cast: {names}; "
                f"`quality.max_failing_fraction` allows {limit:.2%}",
                "correct the values at the source, or say how they must be read",
            )
