"""Who gives a command, and whether they are sure."""

from __future__ import annotations

import getpass
import sys

import typer

from mendline.errors import InputError
from mendline.report.escape import clean

NAME_LENGTH = 80


def name_of(by: str | None) -> str:
    """The name that a person gave, or that of the user who types. Raises: `InputError` when there is none."""
    try:
        name = clean(by if by is not None else getpass.getuser()).strip()
    except (KeyError, OSError) as error:
        raise InputError("this user has no name here; say who decides with `--by NAME`") from error
    if not name or len(name) > NAME_LENGTH:
        raise InputError(f"`--by` takes a name of 1 to {NAME_LENGTH} characters")
    return name


def is_sure(question: str, *, is_yes: bool, can_ask: bool) -> bool:
    """Whether the person means it. Raises: `InputError` when there is nobody to ask."""
    if is_yes:
        return True
    if not can_ask or not sys.stdin.isatty():
        raise InputError("there is nobody at a terminal to ask, so nothing was done: look at it, then add `--yes`")
    return typer.confirm(question)
