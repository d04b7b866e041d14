"""Examine one dataset's present batch: contract and log to checks, checks to counts. What every quality step begins with."""

from __future__ import annotations

from dataclasses import dataclass

from mendline.config import Config, Dataset
from mendline.contracts import contract_of
from mendline.errors import NotSupported
from mendline.incident import Classification, LogExcerpt
from mendline.quality.checks import CheckBuilder, Checks, build_checks, with_checks
from mendline.quality.expectations import Contract
from mendline.quality.landing import open_landing
from mendline.quality.log_checks import log_checks, named_columns
from mendline.quality.measure import CheckCount, Measurement, measure
from mendline.warehouses.base import Session, Warehouse


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """What the incident's log says of the rows."""

    classification: Classification
    log: LogExcerpt

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the log names, in its order."""
        return named_columns(self.classification)


@dataclass(frozen=True, kw_only=True)
class Examination:
    """One dataset's batch, as it is now. `named` are the landing table's columns that the log names."""

    dataset: Dataset
    checks: Checks
    measurement: Measurement
    named: tuple[str, ...] = ()

    def is_named(self, count: CheckCount) -> bool:
        """Whether the log points at this check: at one of its columns, or at its very condition."""
        return count.check.is_from_log or bool({column.lower() for column in count.check.columns} & set(self.named))

    @property
    def failing(self) -> tuple[CheckCount, ...]:
        """The checks that rows fail: those that the log points at first, then by rows."""
        return tuple(sorted(self.measurement.failing, key=lambda count: not self.is_named(count)))

    @property
    def explains(self) -> bool:
        """Whether the failing rows can be what the log is about.

        They cannot when the log names columns of this very table that are checked, and only other columns' checks fail.
        """
        checked = {column.lower() for check in self.checks.rows for column in check.columns}
        named = set(self.named) & checked
        return bool(self.failing) and (not named or any(self.is_named(count) for count in self.failing))


def examine(
    dataset: Dataset, config: Config, warehouse: Warehouse, session: Session, suspicion: Suspicion | None = None
) -> Examination:
    """Evaluate everything that can be evaluated of the dataset's batch. Reads only.

    Raises: `ConfigError` for a contract that is wrong, `NotSupported` when there is no landing table, `Rejected` and
    `Unavailable` as the warehouse does.
    """
    landing = open_landing(dataset, session, warehouse)
    if landing is None:
        raise NotSupported(
            f"the landing table `{dataset.landing}` is not there", system=warehouse.name, operation="check rows"
        )
    contract = contract_of(dataset, config, warehouse.dialect) or Contract(name=dataset.name, columns=())
    checks = build_checks(dataset, contract, session, landing, config)
    if suspicion is not None:
        builder = CheckBuilder(dataset=dataset, contract=contract, session=session, landing=landing, config=config)
        checks = with_checks(checks, log_checks(suspicion.classification, suspicion.log, builder, checks.rows))
    named = suspicion.columns if suspicion is not None else ()
    return Examination(
        dataset=dataset,
        checks=checks,
        measurement=measure(checks, session),
        named=tuple(name.lower() for name in named if landing.find(name) is not None),
    )
