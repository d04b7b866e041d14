"""Standard output as the commands use it."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer
from rich.console import Console

WIDTH_OF_A_FILE = 160


class Screen(Console):
    """A console that leaves a broken pipe to the edge of the program instead of ending it on the spot."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def screen(*, markup: bool = False) -> Console:
    """Standard output with Rich; of a fixed width when it is not a terminal. Text is not read as markup unless asked."""
    width = None if sys.stdout.isatty() else WIDTH_OF_A_FILE
    return Screen(width=width, highlight=False, emoji=False, markup=markup)


def put(text: str) -> None:
    """Print text, at once."""
    typer.echo(text)


def put_json(value: Any, *, indent: int | None = 2) -> None:
    """Print JSON in ASCII: foreign text in it can neither upset a terminal nor an encoding."""
    typer.echo(json.dumps(value, indent=indent))
