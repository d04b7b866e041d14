"""How Mendline itself runs: its state, its watch, its patience, whom it tells, which model it asks, what it hides."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from mendline.config.section import Section


class Retry(Section):
    """Exponential backoff with full jitter; `Retry-After` is honoured up to `max_wait_seconds`."""

    base_seconds: float = Field(default=30.0, gt=0, description="The first wait is at most twice this.")
    max_wait_seconds: float = Field(default=900.0, gt=0, description="The longest single wait.")
    max_attempts: int = Field(default=5, ge=1, description="Waits per incident before a person is called.")
    max_total_seconds: float = Field(default=3600.0, gt=0, description="All waits of one incident together.")


class Monitor(Section):
    """How the monitor watches."""

    poll_seconds: float = Field(default=5.0, gt=0, description="The pause between two looks at an engine.")
    look_back_hours: float = Field(
        default=24.0, ge=0, description="At start, a pipeline whose last run failed within so many hours is taken on."
    )
    watch_quality: bool = Field(
        default=True, description="Check the contracts of every dataset after each successful run."
    )


class Notifications(Section):
    """Who is told, besides the console."""

    console: bool = Field(default=True, description="Print each report where `mendline serve` runs.")
    apprise: tuple[str, ...] = Field(default=(), description="Apprise URLs; use ${VARIABLE} for secrets.")
    on: tuple[Literal["resolved", "escalated", "recovered", "awaiting_approval"], ...] = Field(
        default=("escalated", "awaiting_approval"),
        description="The outcomes that are sent out (the console shows all).",
    )


class State(Section):
    """Where Mendline keeps its own record."""

    directory: Path = Field(
        default=Path(".mendline"),
        description="Holds the state database and the workflow journal, relative to mendline.yaml.",
    )
    database: SecretStr | None = Field(
        default=None,
        description="postgresql://USER:PASSWORD@HOST/DATABASE keeps both in PostgreSQL instead, where any number of "
        "`mendline serve` may share them; use ${VARIABLE} for secrets.",
    )
    lost_after_seconds: float = Field(
        default=15.0,
        gt=0,
        description="A `mendline serve` on PostgreSQL that gave no sign of life for so long is dead, and its incidents go to the "
        "others.",
    )
    metrics_port: int | None = Field(default=None, description="Serve Prometheus metrics on this loopback port.")

    @field_validator("database")
    @classmethod
    def _is_postgres(cls, url: SecretStr | None) -> SecretStr | None:
        given = url.get_secret_value() if url else ""
        if given and not given.startswith(("postgresql://", "postgresql+psycopg://")):
            raise ValueError("it must be postgresql://USER:PASSWORD@HOST/DATABASE; leave it out to use a SQLite file")
        return url


class Prices(Section):
    """What the provider charges, in US dollars per million tokens."""

    input: float = Field(ge=0, description="What is sent.")
    output: float = Field(ge=0, description="What comes back.")


class Model(Section):
    """A language model that is asked where the rules are unsure. Leave the section out and none is asked."""

    id: str = Field(
        pattern=r"^[a-z0-9-]+:.+$",
        description="provider:model, such as `anthropic:claude-sonnet-5`, `openai:gpt-6` or `ollama:qwen3`. The provider's "
        "client is an extra: `pip install 'mendline[anthropic]'`, `[openai]`, `[ollama]`.",
    )
    base_url: str | None = Field(
        default=None,
        description="Where the API is, when not at the provider's own address (a gateway, a local server).",
    )
    api_key: SecretStr | None = Field(
        default=None, description="Use ${VARIABLE}; default: the variable that the provider's client reads by itself."
    )
    ask_below: float = Field(
        default=0.95,
        ge=0,
        le=1,
        description="Asked when the rules are less sure than this, or say UNKNOWN. A strong model is right more often than "
        "the rules are wherever they are less sure than 0.95; a weak one should be asked less.",
    )
    narrate: Literal["never", "escalated", "always"] = Field(
        default="escalated", description="Which incidents' reports get a narrative."
    )
    max_steps: int = Field(default=12, ge=1, description="Requests to the model per incident.")
    max_answer_tokens: int = Field(default=2000, ge=1, description="The longest single answer, thinking included.")
    max_tokens: int = Field(default=60_000, ge=1, description="Tokens per incident, sent and received together.")
    max_seconds: float = Field(default=60.0, gt=0, description="The longest that one question may take, all its steps.")
    prices: Prices | None = Field(
        default=None, description="Needed for the two limits in money, and to report the cost."
    )
    max_cost_per_incident: float | None = Field(default=None, gt=0, description="US dollars; default: no such limit.")
    max_cost_per_day: float | None = Field(
        default=None, gt=0, description="US dollars per UTC day, all incidents together."
    )

    @model_validator(mode="after")
    def _priced(self) -> Model:
        if self.prices is None and (self.max_cost_per_incident or self.max_cost_per_day):
            raise ValueError("a limit in money needs `prices`")
        return self


class Redaction(Section):
    """What is taken out of every log, report and prompt beside the secrets and personal data that are always taken out."""

    patterns: tuple[str, ...] = Field(
        default=(),
        description="Regular expressions; what one matches (or its group `secret`) becomes `[secret:custom]`.",
    )

    @field_validator("patterns")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                found = re.compile(pattern)
            except re.error as error:
                raise ValueError(f"`{pattern}` is not a regular expression: {error}") from error
            if found.search(""):
                raise ValueError(f"`{pattern}` matches an empty text; write what the secret looks like")
        return patterns
