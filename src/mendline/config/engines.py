"""`engines` and `pipelines`: what runs the stages, and what may be repeated of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mendline.config.section import Name, Section
from mendline.incident import FailureType


class CodeLocation(Section):
    """Where the pipeline's code is; exactly one of `python_file` and `module`."""

    python_file: Path | None = Field(default=None, description="A Python file, relative to mendline.yaml.")
    module: str | None = Field(default=None, description="An importable module.")
    attribute: str | None = Field(
        default=None, description="The Definitions, repository or job in it; found by itself when there is only one."
    )
    working_directory: Path | None = Field(
        default=None,
        description="Put on the import path and made the current directory; default: where mendline.yaml is.",
    )

    @model_validator(mode="after")
    def _one_of(self) -> CodeLocation:
        if (self.python_file is None) == (self.module is None):
            raise ValueError("give exactly one of `python_file` and `module`")
        return self


class DagsterEngine(Section):
    """A Dagster instance and the code that its runs execute."""

    kind: Literal["dagster"] = Field(description="The make of the engine.")
    dagster_home: Path = Field(description="The DAGSTER_HOME of the instance, relative to mendline.yaml.")
    code: CodeLocation
    python: Path | None = Field(
        default=None, description="The interpreter that has Dagster and the pipeline's code; default: Mendline's own."
    )
    env: dict[str, str] = Field(
        default_factory=dict, description="Environment variables for re-runs, added to Mendline's own."
    )
    lost_after_seconds: float = Field(
        default=30.0, gt=0, description="A run whose process is gone counts as lost after this silence."
    )
    rerun_timeout_seconds: float = Field(default=3600.0, gt=0, description="The longest that a re-run may take.")


class Adjustment(Section):
    """One number or word of a stage's configuration that `retry_with_backoff` may change, for its re-runs only."""

    stage: str = Field(description="The stage whose failure it answers.")
    path: str = Field(
        pattern=r"^[^.\s]+(\.[^.\s]+)*$",
        description="The dotted place in the engine's run configuration, e.g. `ops.extract_orders.config.page_size`.",
    )
    on: tuple[FailureType, ...] = Field(min_length=1, description="The failure types it is meant for.")
    subtypes: tuple[str, ...] = Field(
        default=(), description="Only for these, e.g. `out_of_memory`, `timeout`; default: all of the types."
    )
    multiply_by: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Each further re-run has the value of the one before times this; a whole number stays one.",
    )
    set_to: bool | int | float | str | None = Field(default=None, description="One other value, instead of a factor.")
    min: float | None = Field(
        default=None, allow_inf_nan=False, description="The least value; needed with a factor below 1."
    )
    max: float | None = Field(
        default=None, allow_inf_nan=False, description="The greatest value; needed with a factor above 1."
    )
    default: int | float | None = Field(
        default=None, description="What the stage uses when the run's configuration does not say; to multiply it."
    )

    @model_validator(mode="after")
    def _is_bounded(self) -> Adjustment:
        if (self.multiply_by is None) == (self.set_to is None):
            raise ValueError("give exactly one of `multiply_by` and `set_to`")
        if self.multiply_by == 1:
            raise ValueError("`multiply_by: 1` changes nothing")
        if self.multiply_by is not None and (self.min if self.multiply_by < 1 else self.max) is None:
            raise ValueError(f"`multiply_by: {self.multiply_by:g}` needs `{'min' if self.multiply_by < 1 else 'max'}`")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"`min` ({self.min:g}) is above `max` ({self.max:g})")
        for name, value in (("set_to", self.set_to), ("default", self.default)):
            if isinstance(value, int | float) and not isinstance(value, bool) and not self.is_within(value):
                raise ValueError(f"`{name}` ({value:g}) is not between `min` and `max`")
        return self

    def is_within(self, value: float) -> bool:
        """Whether a value keeps the bounds."""
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)


class Pipeline(Section):
    """One pipeline (a Dagster job)."""

    engine: Name = Field(description="The entry of `engines` that runs it.")
    job: str | None = Field(
        default=None, description="The job's name in the engine; default: the pipeline's name here."
    )
    runbook: str | None = Field(default=None, description="A link for the report, where no dataset has a nearer one.")
    never_rerun: tuple[str, ...] = Field(
        default=(),
        description="Stages whose effects must not be repeated; a repair that needs one of them is escalated.",
    )
    stage_sources: dict[str, Name] = Field(
        default_factory=dict, description="stage -> entry of `sources`, for stages without a dataset."
    )
    adjustable: tuple[Adjustment, ...] = Field(
        default=(),
        description="What `retry_with_backoff` may change of the run's configuration, step by step, within bounds; default: "
        "nothing.",
    )
