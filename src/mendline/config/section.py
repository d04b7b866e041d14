"""What every block of `mendline.yaml` is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$")]


UnquotedOff = BeforeValidator(lambda value: "off" if value is False else value)  # YAML reads a bare off as false


class Section(BaseModel):
    """A block of the file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
