"""Watch the data of stages that reported success: every dataset's batch against its contract."""

from __future__ import annotations

from dataclasses import dataclass

from mendline.config import Dataset
from mendline.quality.examine import examine
from mendline.tools.base import Services


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One check of one dataset that does not hold.

    `failing_count` and `fraction` (of the batch) are those of the rows that fail it; for a rule about the batch as a whole
    the count is 0 and the fraction 0.0. `sentence` is one line for the incident's log.
    """

    dataset: str
    check: str
    failing_count: int
    fraction: float
    sentence: str
    is_about_batch: bool = False


def watch(dataset: Dataset, services: Services) -> tuple[Violation, ...]:
    """Evaluate the contract's checks on the dataset's landing table as it is now; what does not hold, most rows first.

    Empty when everything holds, and for a dataset without a contract. Reads only; the same world gives the same answer.
    What cannot be evaluated (a column that is gone) is no violation here: the schema's watch sees it.

    Raises: `ConfigError` for a wrong contract, `NotSupported` without a landing table, `Rejected`, `Unavailable`.
    """
    if dataset.contract is None:
        return ()
    warehouse = services.warehouses[dataset.warehouse]
    with warehouse.reading() as session:
        measured = examine(dataset, services.config, warehouse, session).measurement
    total = measured.batch_count
    rows = tuple(
        Violation(
            dataset=dataset.name,
            check=count.check.name,
            failing_count=count.failing_count,
            fraction=count.failing_count / total,
            sentence=f"{count.failing_count} of {total} rows of {dataset.landing} violate the contract's {count.check.name}",
        )
        for count in measured.failing
    )
    tables = tuple(
        Violation(
            dataset=dataset.name,
            check=result.rule.name,
            failing_count=0,
            fraction=0.0,
            sentence=f"{dataset.landing} violates the contract's {result.rule.name}: it {result.detail}",
            is_about_batch=True,
        )
        for result in measured.failed_tables
    )
    return rows + tables
