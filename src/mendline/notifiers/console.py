"""Tells the terminal that `mendline serve` runs in."""

from __future__ import annotations

import sys
from typing import TextIO

import rich.console
from rich.markdown import Markdown
from rich.text import Text

from mendline.config import Notifications
from mendline.incident import OutcomeKind


class Console:
    """Writes the report to standard output (or `stream`), laid out when that is a terminal."""

    name = "console"

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def deliver(self, title: str, markdown: str, outcome: OutcomeKind) -> None:
        # Looked up at each call: a surface may have put another stream in place since.
        console = rich.console.Console(file=self._stream or sys.stdout, soft_wrap=True)
        console.rule(Text(f"{outcome.value}: {title}"))
        console.print(Markdown(markdown) if console.is_terminal else Text(markdown))


def from_config(notifications: Notifications) -> Console | None:
    """The console, unless `notifications.console` is false."""
    return Console() if notifications.console else None
