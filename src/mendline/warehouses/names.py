"""Dotted table names: taken apart, and quoted for an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mendline.warehouses.base import Warehouse


def name_parts(dotted: str) -> tuple[str, ...]:
    """Take `schema.table` apart; a part in double quotes may itself hold dots (`raw."My.Table"`)."""
    parts: list[str] = []
    current, quoted, index = "", False, 0
    while index < len(dotted):
        character = dotted[index]
        if character == '"' and quoted and dotted[index + 1 : index + 2] == '"':
            current, index = current + '"', index + 1
        elif character == '"':
            quoted = not quoted
        elif character == "." and not quoted:
            parts.append(current)
            current = ""
        else:
            current += character
        index += 1
    return (*parts, current)


def relation(warehouse: Warehouse, dotted: str) -> str:
    """Quote a dotted table or view name for `warehouse`, part by part."""
    return ".".join(warehouse.quote(part) for part in name_parts(dotted))


def with_suffix(dotted: str, suffix: str) -> str:
    """The dotted name whose last part ends in `suffix` (`raw."My T"` + `__old` is `raw."My T__old"`)."""
    return f'{dotted[:-1]}{suffix}"' if dotted.endswith('"') else dotted + suffix
