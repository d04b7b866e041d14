"""`policy`: what may be done unasked."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from mendline.config.section import Section, UnquotedOff
from mendline.incident import FailureType

Decision = Annotated[Literal["auto", "ask", "suggest", "off"], UnquotedOff]


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Rule(Section):
    """One line of policy; the first rule that matches decides."""

    action: str = Field(default="*", description="A repair's name, or * for all.")
    type: FailureType | Literal["*"] = Field(
        default="*",
        description="A failure type, or * for all; but only a rule that names RESOURCE or UNKNOWN lets anything be done for it.",
    )
    pipeline: str = Field(default="*", description="A pipeline's name, or * for all.")
    dataset: str = Field(default="*", description="A dataset's name, or * for all.")
    min_confidence: float = Field(
        default=0.0, ge=0, le=1, description="The rule matches only a plan at least this sure."
    )
    decision: Decision = Field(
        description="`auto` acts; `ask` waits for `mendline approve ID`; `suggest` puts the plan into the report; `off` "
        "does neither."
    )


class ChangeWindow(Section):
    """Days and hours in which Mendline may act without asking."""

    days: tuple[Weekday, ...] = Field(
        default=("mon", "tue", "wed", "thu", "fri", "sat", "sun"), description="The days on which it begins."
    )
    begins: time = Field(default=time(0), description="HH:MM.")
    ends: time = Field(
        default=time(0),
        description="HH:MM, no longer in it. Not after `begins`: it ends on the next day, after 24 hours at the latest.",
    )
    time_zone: str = Field(default="UTC", description="An IANA name, such as `Europe/Zurich`.")

    @field_validator("begins", "ends", mode="before")
    @classmethod
    def _clock_time(cls, value: Any) -> Any:
        # YAML reads an unquoted 22:30 as the number 22 * 60 + 30 (but not 0:30), and pydantic a number as seconds.
        if isinstance(value, int) and 60 <= value <= 24 * 60:
            return time(value // 60 % 24, value % 60)
        if isinstance(value, time):
            return value
        if not isinstance(value, str) or not re.fullmatch(r"\d\d?:\d\d", value):
            raise ValueError(f"`{value}` is no time of day; write it like `08:30`")
        return "00:00" if value == "24:00" else value.rjust(5, "0")

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            _ = name == "UTC" or ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"there is no time zone `{name}`; write it like `Europe/Zurich` or `UTC`") from error
        return name


class Breaker(Section):
    """When a kind of repair, or all repair of a stage, must ask although a rule says `auto`."""

    failures: int = Field(
        default=5,
        ge=1,
        description="Incidents of one pipeline in which one repair did not verify or harmed; from so many on, it asks.",
    )
    days: float = Field(default=7.0, gt=0, description="How long such an incident counts.")
    stage_failures: int = Field(
        default=10, ge=1, description="A stage that failed more often than this within 7 days is not repaired unasked."
    )


class Policy(Section):
    """What Mendline may do by itself. Default-deny: what no rule names is only suggested.

    Whatever the rules say: a plan that drops, truncates, or touches credentials or permissions is only suggested.
    """

    rules: tuple[Rule, ...] = Field(
        default=(),
        description="In order; the first that matches decides. A less sure plan is never allowed more than a surer one "
        "would be.",
    )
    default: Annotated[Literal["suggest", "off"], UnquotedOff] = Field(
        default="suggest", description="What happens where no rule matches."
    )
    shadow: bool = Field(
        default=False,
        description="Plan and record what would have been done, and touch nothing: `auto` and `ask` become `suggest`.",
    )
    max_attempts: int = Field(default=3, ge=1, description="Repairs tried per incident before a person is called.")
    max_per_day: int = Field(
        default=20,
        ge=0,
        description="Repairs of one kind per pipeline and UTC day that may be done unasked; `auto` then becomes `ask`.",
    )
    change_windows: tuple[ChangeWindow, ...] = Field(
        default=(), description="Outside all of them `auto` becomes `ask`. Default: always open."
    )
    breaker: Breaker = Breaker()
    approvers: tuple[str, ...] = Field(
        default=(),
        description="The names that may answer (`mendline approve --by NAME`); default: anybody. Names are recorded, not "
        "proven: who can write the state directory can use any.",
    )
    approval_expires_hours: float = Field(
        default=24.0, gt=0, description="How long a plan waits for an answer before it is left to a person."
    )
    inferred_renames: Literal["apply", "propose"] = Field(
        default="propose", description="Whether a rename found from the data may be applied."
    )
    min_rename_score: float = Field(
        default=0.8, ge=0, le=1, description="How alike two columns must be, by name and by values."
    )
    added_columns: Literal["add", "leave_out"] = Field(
        default="leave_out",
        description="What becomes of a column that the source has added. `leave_out`: a stage that reads the contract view goes on "
        "without it. `add`: the `targets` that have all other columns get it too, nullable and at the end.",
    )
    null_relaxing: Literal["apply", "propose"] = Field(
        default="propose",
        description="Whether a target's NOT NULL may be dropped where NULLs appear in a column that the contract calls optional "
        "(never a key, never a number). Else rows are set aside, within `quality.max_failing_fraction`.",
    )
