"""What Mendline asks of a way to tell people."""

from __future__ import annotations

from typing import Protocol

from mendline.incident import OutcomeKind


class Notifier(Protocol):
    """One way to tell people. A plugin is a callable that takes `config.Notifications` and gives a notifier, or None
    when the configuration does not ask for it.
    """

    name: str

    def deliver(self, title: str, markdown: str, outcome: OutcomeKind) -> None:
        """Hand one report over, waiting a bounded time for the other side.

        `title` is one plain line; `markdown` is the report, already redacted and escaped; `outcome` gives the urgency.
        Twice is two messages: whoever calls keeps count.

        Raises: `Unavailable` when trying again may help, `Rejected` when the other side will not take it.
        """
        ...
