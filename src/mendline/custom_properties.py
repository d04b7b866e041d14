"""What a contract says in custom properties, a place that ODCS leaves to whoever reads the contract.

Names are compared without case: `runbook`, `frozen` and, of a column, `previousName`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from open_data_contract_standard.model import CustomProperty

from mendline.errors import ConfigError


def runbook(properties: Sequence[CustomProperty] | None) -> str | None:
    """The link that people are sent to; None when there is none."""
    return next((str(value) for value in _values(properties, "runbook") if value), None)


def is_frozen(properties: Sequence[CustomProperty] | None) -> bool:
    """Whether no table's columns may change: `frozen` is true, and not merely a word."""
    return any(value is True for value in _values(properties, "frozen"))


def previous_names(properties: Sequence[CustomProperty] | None, wrong: Callable[[str], ConfigError]) -> Iterator[str]:
    """What a column was called before: `previousName` is a name or a list of names. Raises what `wrong` makes."""
    for value in _values(properties, "previousname"):
        for name in value if isinstance(value, list) else [value]:
            if name is not None and not isinstance(name, str):
                raise wrong(f"`previousName` must be a name or a list of names, found {name!r}")
            if name:
                yield name


def _values(properties: Sequence[CustomProperty] | None, name: str) -> list[Any]:
    return [item.value for item in properties or [] if (item.property or "").lower() == name]
