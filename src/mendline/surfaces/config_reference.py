"""Write `docs/reference/configuration.md` from the configuration's own types, so that it cannot disagree with them."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from types import UnionType
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mendline.config import Config

HEAD = """# mendline.yaml

Generated from `src/mendline/config/` (`make docs`). Unknown keys are errors. `${VARIABLE}` and `${VARIABLE:-default}` are
filled from the environment. Paths are relative to the file.
"""
HIDDEN = {"root", "name"}


def reference() -> str:
    """The whole page: one section per block of the file, in the file's order; one line per key."""
    return HEAD + "".join(_section("mendline.yaml", "", Config, set()))


def _section(title: str, prefix: str, model: type[BaseModel], seen: set[type]) -> Iterator[str]:
    if model in seen:
        return
    seen.add(model)
    about = " ".join((model.__doc__ or "").split())
    yield f"\n## {title}\n\n{about}\n\n| key | type | default | meaning |\n|---|---|---|---|\n"
    inner: list[tuple[str, str, type[BaseModel]]] = []
    for key, field in model.model_fields.items():
        if key in HIDDEN:
            continue
        yield f"| `{key}` | {_type(field.annotation)} | {_default(field)} | {field.description or _about(field)} |\n"
        for part in _models(field.annotation):
            is_mapping = typing.get_origin(field.annotation) is dict
            inner.append((f"{prefix}{key}.NAME" if is_mapping else f"{prefix}{key}", part.__name__, part))
    for path, name, part in inner:
        yield from _section(f"{path} ({name})", f"{path}.", part, seen)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)


def _about(field: FieldInfo) -> str:
    parts = list(_models(field.annotation))
    return " ".join((parts[0].__doc__ or "").split()) if parts else ""


def _type(annotation: Any) -> str:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(parts[0])
    if origin is typing.Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (typing.Union, UnionType):
        return " or ".join(dict.fromkeys(_type(part) for part in parts if part is not type(None)))
    if origin is dict:
        return f"name: {_type(parts[1])}"
    if origin is tuple:
        return f"list of {_type(parts[0])}"
    names = {
        "str": "text",
        "float": "number",
        "int": "whole number",
        "bool": "true or false",
        "Path": "path",
        "SecretStr": "text",
    }
    name = getattr(annotation, "__name__", str(annotation))
    return names.get(name, name)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.default if field.default is not PydanticUndefined else None
    if value is None or isinstance(value, BaseModel) or value in ((), ""):
        return "-"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    print(reference(), end="")  # noqa: T201 (a generator's output)
