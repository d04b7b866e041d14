"""What a dataset's columns and rows must be, as frozen values, whatever file they were read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Metric = Literal["not_null", "missing", "invalid", "duplicate"]
RowKind = Metric | Literal["custom"]
TableKind = Metric | Literal["row_count", "sql"]


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a measured number must be; every comparison that is not None must hold.

    `unit` "percent" means that the number is 100 * failing rows / batch rows.
    """

    equal: float | None = None
    not_equal: float | None = None
    greater: float | None = None
    at_least: float | None = None
    less: float | None = None
    at_most: float | None = None
    between: tuple[float, float] | None = None
    not_between: tuple[float, float] | None = None
    unit: Literal["rows", "percent"] = "rows"

    def accepts(self, value: float) -> bool:
        """Whether the number is as it must be (both ends of a range are inside it)."""
        return all(
            (
                self.equal is None or value == self.equal,
                self.not_equal is None or value != self.not_equal,
                self.greater is None or value > self.greater,
                self.at_least is None or value >= self.at_least,
                self.less is None or value < self.less,
                self.at_most is None or value <= self.at_most,
                self.between is None or self.between[0] <= value <= self.between[1],
                self.not_between is None or not self.not_between[0] <= value <= self.not_between[1],
            )
        )

    @property
    def is_zero(self) -> bool:
        """Whether only zero is accepted, so that every counted row is a bad row."""
        return self.accepts(0) and not self.accepts(1) and not self.accepts(1e-9 if self.unit == "percent" else 1e12)

    def __str__(self) -> str:
        words = {
            "must be": self.equal,
            "must not be": self.not_equal,
            "must be over": self.greater,
            "must be at least": self.at_least,
            "must be under": self.less,
            "must be at most": self.at_most,
            "must be in": self.between,
            "must not be in": self.not_between,
        }
        return " and ".join(f"{word} {value}" for word, value in words.items() if value is not None)


@dataclass(frozen=True, kw_only=True)
class ContractColumn:
    """One column (a dotted path for a leaf of an object), in the contract's order.

    `logical_type` uses the words of `warehouses.base.Column`; an ODCS `integer` without a width is "bigint", a `number`
    without a physical type "double". `physical_type` is the contract's own spelling, None when it has none. Limits are
    text, to be compared in the column's own type. `references` is "dataset.column". `aliases` are the other names under which
    the contract knows it: what it is called in the table, what it was called before.
    """

    name: str
    logical_type: str
    physical_type: str | None = None
    is_required: bool = False
    is_unique: bool = False
    is_primary_key: bool = False
    minimum: str | None = None
    maximum: str | None = None
    is_minimum_exclusive: bool = False
    is_maximum_exclusive: bool = False
    pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    allowed_values: tuple[str, ...] = ()
    references: str | None = None
    description: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RowRule:
    """A rule that every row must satisfy; `expression` (custom rules) is TRUE for a good row."""

    name: str
    kind: RowKind
    columns: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    pattern: str | None = None
    expression: str | None = None


@dataclass(frozen=True, kw_only=True)
class TableRule:
    """A rule about the batch as a whole: no row can be blamed for it.

    `query` (SQL rules) gives one number; `{object}` in it stands for the batch, `{property}` for the column.
    """

    name: str
    kind: TableKind
    bound: Bound
    columns: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    pattern: str | None = None
    query: str | None = None


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What one dataset must be. `is_frozen`: its owner says that no table's columns may change."""

    name: str
    columns: tuple[ContractColumn, ...]
    row_rules: tuple[RowRule, ...] = ()
    table_rules: tuple[TableRule, ...] = ()
    owner: str | None = None
    runbook: str | None = None
    description: str = ""
    is_frozen: bool = False

    def column(self, name: str) -> ContractColumn | None:
        """The column of that name, whatever the case; None when there is none."""
        return next((column for column in self.columns if column.name.lower() == name.lower()), None)

    def known_as(self, name: str) -> ContractColumn | None:
        """The column of that name, else the one that has it among its aliases."""
        wanted = name.lower()
        also = (column for column in self.columns if wanted in {alias.lower() for alias in column.aliases})
        return self.column(name) or next(also, None)

    @property
    def key(self) -> tuple[str, ...]:
        """The primary key's columns, in the contract's order; empty when the contract names none."""
        return tuple(column.name for column in self.columns if column.is_primary_key)
