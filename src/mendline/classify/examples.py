"""Logs whose cause is known, and the choice of those that are most like the one at hand."""

from __future__ import annotations

from dataclasses import dataclass

from mendline.incident import FailureType


@dataclass(frozen=True, kw_only=True)
class Example:
    """A log (or the part of it that matters) with its true cause; `subtype` may be ""."""

    type: FailureType
    subtype: str
    text: str
