"""Checks on rows: SQL conditions that are TRUE for a failing row, and never NULL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import sqlglot
from sqlglot import exp

from mendline.config import Config, Dataset
from mendline.errors import Rejected
from mendline.quality.expectations import Contract, ContractColumn, RowRule, TableRule
from mendline.quality.landing import Landing, Place, open_landing
from mendline.warehouses.base import Session
from mendline.warehouses.types import column_type, is_widening

NUMBERS = ("integer", "bigint", "decimal", "double")
SCALARS = ("boolean", "date", "timestamp", "timestamptz", "time", "uuid", *NUMBERS)
# Among which types values may be cast one by one; any other pair is a change of schema, not of rows.
KINDRED = (frozenset({"boolean", *NUMBERS}), frozenset({"date", "timestamp", "timestamptz"}))
# What a cast can neither refuse nor change: no check is needed. (from, to), families without their digits.
SURE = {
    ("integer", "bigint"),
    ("integer", "double"),
    ("bigint", "double"),
    ("decimal", "double"),
    ("date", "timestamp"),
    ("date", "timestamptz"),
    ("timestamp", "timestamptz"),
    ("timestamptz", "timestamp"),
}


@dataclass(frozen=True, kw_only=True)
class RowCheck:
    """One check on rows. `failing_sql` is TRUE or FALSE for each row of the landing table, never NULL.

    `columns` are contract columns; `kind` is one of not_null, missing, unique, conflict, range, pattern, allowed_values,
    length, type_castable, foreign_key, custom. A `conflict` cannot be decided: which row of a key is right is a person's
    matter. `is_from_log` marks a check that no contract has and that the failing constraint in the log gave.
    """

    name: str
    kind: str
    columns: tuple[str, ...]
    failing_sql: str
    is_from_log: bool = False

    @property
    def is_decidable(self) -> bool:
        """Whether a failing row is known to be the bad one."""
        return self.kind != "conflict"


Maker = Callable[[], Iterator[RowCheck]]


@dataclass(frozen=True, kw_only=True)
class Checks:
    """All that can be checked of one landing table now; `notes` say what could not, and why."""

    landing: Landing
    rows: tuple[RowCheck, ...]
    tables: tuple[TableRule, ...]
    key: tuple[Place, ...]
    notes: tuple[str, ...] = ()

    @property
    def failing_sql(self) -> str:
        """TRUE for a row of the batch that any decidable check finds bad."""
        conditions = [check.failing_sql for check in self.rows if check.is_decidable]
        return f"({self.landing.where}) AND ({' OR '.join(conditions) or 'FALSE'})"


class NotApplicable(Exception):
    """This check says nothing about this landing table; the text says why."""


def build_checks(dataset: Dataset, contract: Contract, session: Session, landing: Landing, config: Config) -> Checks:
    """Turn a contract into checks on the landing table as it is now. Reads the catalogue only.

    Names are stable: `not_null:amount`, `unique:a,b`, or the name that the contract gives.
    """
    builder = CheckBuilder(dataset=dataset, contract=contract, session=session, landing=landing, config=config)
    rows: dict[str, RowCheck] = {}
    notes: dict[str, None] = {}
    for make in builder.makers():
        try:
            for check in make():
                if all(known.failing_sql != check.failing_sql for known in rows.values()):
                    rows.setdefault(check.name, check)
        except NotApplicable as reason:
            notes.setdefault(str(reason))
    key = [landing.find(column) for column in contract.key]
    return Checks(
        landing=landing,
        rows=tuple(rows.values()),
        tables=contract.table_rules,
        key=tuple(place for place in key if place is not None) if None not in key else (),
        notes=tuple(notes),
    )


def with_checks(checks: Checks, more: Sequence[RowCheck]) -> Checks:
    """The same checks and some more."""
    return replace(checks, rows=(*checks.rows, *more))


def text(value: str) -> str:
    """A SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def family(logical_type: str) -> str:
    """A logical type without its digits."""
    return logical_type.split("(", maxsplit=1)[0]


@dataclass(frozen=True, kw_only=True)
class CheckBuilder:
    """Makes the checks of one dataset; each maker yields its checks or raises `NotApplicable`."""

    dataset: Dataset
    contract: Contract
    session: Session
    landing: Landing
    config: Config

    def makers(self) -> Iterator[Maker]:
        """One maker per expectation, so that one that does not apply does not hide the others."""
        for column in self.contract.columns:
            yield from self._column_makers(column)
        for columns in self._unique_groups():
            yield partial(self.unique, columns)
        for rule in self.contract.row_rules:
            yield partial(self.rule, rule)

    def _column_makers(self, column: ContractColumn) -> Iterator[Maker]:
        if column.is_required:
            yield partial(self.not_null, column.name)
        if family(column.logical_type) in SCALARS:
            yield partial(self.castable, column)
        if column.minimum is not None or column.maximum is not None:
            yield partial(self.limits, column)
        if column.pattern is not None:
            yield partial(self.pattern, column.name, column.pattern)
        if column.allowed_values:
            yield partial(self.allowed, column.name, column.allowed_values)
        if column.min_length is not None or column.max_length is not None:
            yield partial(self.length, column)
        if column.references is not None:
            yield partial(self.foreign_key, column)

    def _unique_groups(self) -> tuple[tuple[str, ...], ...]:
        groups = [self.contract.key] if self.contract.key else []
        groups += [(column.name,) for column in self.contract.columns if column.is_unique]
        return tuple(dict.fromkeys(groups))

    def place(self, column: str) -> Place:
        """Where a column is. Raises: `NotApplicable` when the landing table does not have it: a matter of its schema."""
        found = self.landing.find(column)
        if found is None:
            raise NotApplicable(f"`{self.dataset.landing}` has no column `{column}`, so its checks do not apply")
        return found

    def typed(self, column: str) -> str:
        """The column's value in the contract's type: NULL where it does not cast."""
        place, wanted = self.place(column), self.contract.column(column)
        if wanted is None or family(wanted.logical_type) not in SCALARS:
            return place.sql
        if place.logical_type == wanted.logical_type or _both_numbers(place.logical_type, wanted.logical_type):
            return place.sql
        if not _is_kindred(place.logical_type, wanted.logical_type):
            raise NotApplicable(_other_family(self.dataset, place, wanted))
        return self.landing.warehouse.safe_cast(place.sql, wanted.logical_type)

    def as_text(self, column: str) -> str:
        return f"CAST({self.place(column).sql} AS VARCHAR)"

    def check(self, kind: str, columns: Sequence[str], condition: str, name: str = "") -> RowCheck:
        """A check whose condition counts only where it is TRUE."""
        return RowCheck(
            name=name or f"{kind}:{','.join(columns)}",
            kind=kind,
            columns=tuple(columns),
            failing_sql=f"COALESCE(({condition}), FALSE)",
        )

    def not_null(self, column: str) -> Iterator[RowCheck]:
        yield self.check("not_null", [column], f"{self.place(column).sql} IS NULL")

    def held_type(self, column: ContractColumn) -> str:
        """The type that values must have: the contract's, or the wider one that every target has by now.

        A target that was widened for its source holds what the contract's type does not: such a value is no bad one.
        """
        dialect = self.landing.warehouse.dialect
        schemas = [schema for target in self.dataset.targets if (schema := self.session.schema(target)) is not None]
        held = [found for schema in schemas if (found := schema.column(column.name)) is not None]
        own = column_type(column.logical_type, dialect)
        is_wider = bool(held) and all(is_widening(own, found.type, dialect) for found in held)
        return held[0].logical_type if is_wider else column.logical_type

    def castable(self, column: ContractColumn, *, is_strict: bool = False) -> Iterator[RowCheck]:
        """A value that is there and is not of the contract's type; a fraction is no integer.

        A blank text in a column that may be empty is how text files write NULL: it fails only when `is_strict`.
        """
        place = self.place(column.name)
        column = replace(column, logical_type=self.held_type(column))
        if (
            place.logical_type == column.logical_type
            or (family(place.logical_type), family(column.logical_type)) in SURE
        ):
            return
        if not _is_kindred(place.logical_type, column.logical_type):
            raise NotApplicable(_other_family(self.dataset, place, column))
        cast = self.landing.warehouse.safe_cast
        condition = f"{place.sql} IS NOT NULL AND {cast(place.sql, column.logical_type)} IS NULL"
        if place.logical_type == "string" and not column.is_required and not is_strict:
            condition = f"{condition} AND trim({place.sql}) <> ''"
        if column.logical_type in ("integer", "bigint") and family(place.logical_type) in (
            "double",
            "decimal",
            "string",
        ):
            whole = f"{cast(place.sql, column.logical_type)} <> {cast(place.sql, 'double')}"
            condition = f"({condition}) OR COALESCE({whole}, FALSE)"
        yield self.check("type_castable", [column.name], condition)

    def limits(self, column: ContractColumn) -> Iterator[RowCheck]:
        value, cast = self.typed(column.name), self.landing.warehouse.safe_cast
        numeric = family(column.logical_type) in NUMBERS
        bounds = (
            (column.minimum, "<=" if column.is_minimum_exclusive else "<"),
            (column.maximum, ">=" if column.is_maximum_exclusive else ">"),
        )
        # A limit may be finer than the column's own type (0.5 for an integer).
        of = "decimal(38,9)" if numeric and column.logical_type != "double" else column.logical_type
        conditions = [f"{value} {sign} {cast(text(limit), of)}" for limit, sign in bounds if limit is not None]
        yield self.check("range", [column.name], " OR ".join(conditions))

    def pattern(self, column: str, pattern: str, name: str = "") -> Iterator[RowCheck]:
        found = self.landing.warehouse.idiom.matches(self.as_text(column), pattern)
        yield self.check("pattern", [column], f"NOT {found}", name)

    def allowed(self, column: str, values: Sequence[str], name: str = "") -> Iterator[RowCheck]:
        wanted = self.contract.column(column)
        if wanted is not None and family(wanted.logical_type) in NUMBERS:
            cast = self.landing.warehouse.safe_cast
            value, listed = cast(self.place(column).sql, "double"), [cast(text(value), "double") for value in values]
        else:
            value, listed = self.as_text(column), [text(value) for value in values]
        yield self.check("allowed_values", [column], f"{value} NOT IN ({', '.join(listed)})", name)

    def length(self, column: ContractColumn) -> Iterator[RowCheck]:
        size = f"length({self.as_text(column.name)})"
        bounds = ((column.min_length, "<"), (column.max_length, ">"))
        conditions = [f"{size} {sign} {limit}" for limit, sign in bounds if limit is not None]
        yield self.check("length", [column.name], " OR ".join(conditions))

    def unique(self, columns: tuple[str, ...], name: str = "") -> Iterator[RowCheck]:
        """Exact copies: all but one fail. Rows that share a key and differ elsewhere: a conflict, every one of them.

        As in SQL, a key with a NULL in it equals no other. Keys are compared as values of the contract's type ('07' is 7).
        """
        place = self.landing
        obstacle = self.session.obstacle_to_moving(self.dataset.landing)
        if obstacle:
            raise NotApplicable(f"{obstacle}: copies of a row cannot be told apart")
        address = self.session.address(self.dataset.landing)
        keys = [self._key_value(column) for column in columns]
        key = keys[0] if len(keys) == 1 else f"({', '.join(keys)})"
        batch = f"FROM {place.table} WHERE {place.where} AND " + " AND ".join(f"{part} IS NOT NULL" for part in keys)
        repeated = f"{key} IN (SELECT {', '.join(keys)} {batch} GROUP BY {', '.join(keys)} HAVING count(*) > 1)"
        payload = ", ".join(dict.fromkeys([*(self.place(column).sql for column in columns), *place.payload]))
        copies = f"row_number() OVER (PARTITION BY {payload} ORDER BY {address})"
        named = name.removeprefix("unique:") or ",".join(columns)
        yield self.check(
            "unique",
            columns,
            f"{address} IN (SELECT address FROM (SELECT {address} AS address, {copies} AS copy {batch} AND {repeated})"
            " AS copies WHERE copy > 1)",
            f"unique:{named}",
        )
        differing = f"HAVING count(DISTINCT ROW({payload})) > 1"
        conflict = f"SELECT {', '.join(keys)} {batch} AND {repeated} GROUP BY {', '.join(keys)} {differing}"
        yield self.check("conflict", columns, f"{key} IN ({conflict})", f"conflict:{named}")

    def _key_value(self, column: str) -> str:
        place, value = self.place(column), self.typed(column)
        return place.sql if value == place.sql else f"COALESCE(CAST({value} AS VARCHAR), {self.as_text(column)})"

    def foreign_key(self, column: ContractColumn) -> Iterator[RowCheck]:
        """A value that the other dataset does not have. An empty or missing other dataset is that dataset's own fault."""
        name, _, other_column = (column.references or "").partition(".")
        relation, place = self._referenced(name, other_column)
        if not self.session.rows(f"SELECT 1 FROM {relation} WHERE {place.sql} IS NOT NULL LIMIT 1"):
            raise NotApplicable(f"`{column.name}` refers to `{name}`, which is empty: look there first")
        mine = self.place(column.name)
        value, other = mine.sql, place.sql
        if mine.logical_type != place.logical_type:
            kind = column.logical_type if family(column.logical_type) in SCALARS else "string"
            cast = self.landing.warehouse.safe_cast
            value, other = cast(value, kind), cast(other, kind)
        known = f"SELECT {other} FROM {relation} WHERE {other} IS NOT NULL"
        yield self.check("foreign_key", [column.name], f"{value} IS NOT NULL AND {value} NOT IN ({known})")

    def _referenced(self, name: str, column: str) -> tuple[str, Place]:
        dataset = _dataset_named(self.config, self.dataset, name)
        if dataset is None or dataset.warehouse != self.dataset.warehouse:
            raise NotApplicable(f"the foreign key to `{name}` names no dataset of the same warehouse")
        warehouse = self.landing.warehouse
        for table in filter(None, (dataset.view, dataset.landing)):
            try:
                plain = dataset.model_copy(update={"landing": table, "view": None, "batch": None})
                other = open_landing(plain, self.session, warehouse)
            except Rejected:  # a view that no longer binds
                other = None
            place = other.find(column) if other is not None else None
            if other is not None and place is not None:
                return other.table, place
        raise NotApplicable(f"the foreign key to `{name}.{column}` leads nowhere: there is no such column now")

    def rule(self, rule: RowRule) -> Iterator[RowCheck]:
        """A rule of the contract's `quality` list."""
        column = rule.columns[0] if rule.columns else ""
        if rule.kind == "custom":
            yield self.custom(rule)
        elif rule.kind == "duplicate":
            yield from self.unique(rule.columns, "" if rule.name.startswith("duplicate:") else rule.name)
        elif rule.kind == "invalid" and rule.values:
            yield from self.allowed(column, rule.values, rule.name)
        elif rule.kind == "invalid":
            yield from self.pattern(column, rule.pattern or "", rule.name)
        else:
            absent = f"{self.place(column).sql} IS NULL"
            listed = ", ".join(text(value) for value in rule.values)
            condition = f"{absent} OR {self.as_text(column)} IN ({listed})" if listed else absent
            yield self.check(rule.kind, [column], condition, rule.name)

    def custom(self, rule: RowRule) -> RowCheck:
        """A condition of the contract's own; like a CHECK constraint it fails where it is FALSE, not where it is NULL."""
        tree = sqlglot.parse_one(rule.expression or "", dialect=self.landing.warehouse.dialect)
        columns = [node for node in tree.find_all(exp.Column) if node.find_ancestor(exp.Select) is None]
        names = tuple(dict.fromkeys(".".join(part.name for part in node.parts) for node in columns))
        for node in columns:
            typed = sqlglot.parse_one(
                self.typed(".".join(part.name for part in node.parts)), dialect=self.landing.warehouse.dialect
            )
            if node is tree:
                tree = typed
            else:
                node.replace(typed)
        condition = tree.sql(dialect=self.landing.warehouse.dialect)
        return self.check("custom", names or rule.columns, f"NOT ({condition})", rule.name)


def from_log(check: RowCheck) -> RowCheck:
    """The same check, marked as one that the log gave."""
    return replace(check, is_from_log=True)


def _is_kindred(landed: str, wanted: str) -> bool:
    return landed in ("string", "json") or any({family(landed), family(wanted)} <= kin for kin in KINDRED)


def _other_family(dataset: Dataset, place: Place, wanted: ContractColumn) -> str:
    return (
        f"`{dataset.landing}` has `{place.path}` as {place.logical_type}, the contract as {wanted.logical_type}: "
        "a matter of its schema, so its values are not checked"
    )


def _both_numbers(one: str, other: str) -> bool:
    return family(one) in NUMBERS and family(other) in NUMBERS


def _dataset_named(config: Config, near: Dataset, name: str) -> Dataset | None:
    """The dataset of that name, or of that contract object, or of that landing table; of the same pipeline only."""
    among = config.pipeline_datasets(near.pipeline)
    for matches in (
        [other for other in among if other.name.lower() == name.lower()],
        [other for other in among if (other.contract_schema or "").lower() == name.lower()],
        [other for other in among if other.landing.split(".")[-1].strip('"').lower() == name.lower()],
    ):
        if len(matches) == 1:
            return matches[0]
    return None
