"""How the workflow journal writes values and errors: JSON, never pickle.

An error is an object with the single key "$error"; a `MendlineError` is read back as its own type with its fields, any
other exception as `RuntimeError`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mendline.errors import MendlineError

FORMAT = "mendline_json_1"


def write(data: Any) -> str:
    """Write a JSON value or an exception."""
    if isinstance(data, BaseException):
        data = {"$error": _described(data)}
    return json.dumps(data, separators=(",", ":"))


def read(text: str) -> Any:
    """Read back what `write` wrote; an exception is given, not raised."""
    data = json.loads(text)
    if isinstance(data, dict) and data.keys() == {"$error"}:
        return _rebuilt(data["$error"])
    return data


def _described(error: BaseException) -> dict[str, Any]:
    fields = {
        name: value
        for name, value in vars(error).items()
        if value is None or isinstance(value, str | int | float | bool)
    }
    return {"type": type(error).__name__, "message": str(error), "fields": fields}


def _rebuilt(described: dict[str, Any]) -> Exception:
    name, message = described["type"], described["message"]
    kind = next((kind for kind in _family(MendlineError) if kind.__name__ == name), None)
    if kind is None:
        return RuntimeError(f"{name}: {message}")
    error = kind.__new__(kind, message)  # fields are set below; a subclass may have another constructor
    vars(error).update(described["fields"])
    return error


def _family(kind: type[MendlineError]) -> Iterator[type[MendlineError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _family(child)
