"""`mendline.yaml`, typed: every key, its meaning, its default; every error names its key."""

from __future__ import annotations

import os
import re
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from mendline.errors import ConfigError
from mendline.incident import FailureType

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$")]
UnquotedOff = BeforeValidator(lambda value: "off" if value is False else value)  # YAML reads a bare off as false
Decision = Annotated[Literal["auto", "ask", "suggest", "off"], UnquotedOff]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
ON_OFF = {True: "on", False: "off"}  # YAML reads a bare key `on` as true
ENVIRONMENT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class Section(BaseModel):
    """A block of the file: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


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


class DuckDBWarehouse(Section):
    """A DuckDB file."""

    kind: Literal["duckdb"] = Field(description="The make of the warehouse.")
    path: Path = Field(description="The database file, relative to mendline.yaml.")
    lock_timeout_seconds: float = Field(
        default=60.0, gt=0, description="How long to wait while a pipeline holds the file."
    )


class PostgresWarehouse(Section):
    """A PostgreSQL database; needs `pip install 'mendline[postgres]'`."""

    kind: Literal["postgres"] = Field(description="The make of the warehouse.")
    url: SecretStr = Field(
        description="`postgresql://USER:PASSWORD@HOST:PORT/DATABASE`; use ${VARIABLE} for the password, or leave it to "
        "`~/.pgpass`. Directly to the server, not through a pooler that shares sessions."
    )
    lock_timeout_seconds: float = Field(default=30.0, gt=0, description="How long a write waits for a lock.")
    statement_timeout_seconds: float = Field(default=600.0, gt=0, description="How long one statement may take.")


Warehouse = Annotated[DuckDBWarehouse | PostgresWarehouse, Field(discriminator="kind")]


def _url_parts(url: str, schemes: tuple[str, ...]) -> SplitResult:
    """Take a URL apart; what is wrong is said without the URL, which may hold a secret."""
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or not url.isprintable() or " " in url:
        raise ValueError(f"it must be {' or '.join(f'{scheme}://HOST' for scheme in schemes)}, without blanks")
    return parts


def _is_http(url: SecretStr) -> SecretStr:
    _url_parts(url.get_secret_value(), ("https", "http"))
    return url


def _is_http_proxy(url: SecretStr) -> SecretStr:
    _url_parts(url.get_secret_value(), ("http",))
    return url


def _is_header_value(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not (text.isascii() and text.isprintable() and text == text.strip()):
        raise ValueError(
            "it has a line break, a blank at an end or a letter that is not ASCII; see how the variable is set"
        )
    return value


HttpUrl = Annotated[SecretStr, AfterValidator(_is_http)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
HeaderValue = Annotated[SecretStr, AfterValidator(_is_header_value)]
Host = Annotated[str, Field(pattern=r"^[^\s/@?#\[\]]+$")]


class BasicAuth(Section):
    """A user name and a password, sent to the source's own host alone."""

    kind: Literal["basic"] = Field(description="How the source wants to be told who asks.")
    username: str = Field(pattern=r"^[^:]+$", description="The user's name.")
    password: SecretStr = Field(description="Use ${VARIABLE}.")


class BearerAuth(Section):
    """A token, sent to the source's own host alone."""

    kind: Literal["bearer"] = Field(description="How the source wants to be told who asks.")
    token: HeaderValue = Field(description="Use ${VARIABLE}.")


class NetworkSource(Section):
    """What every source has that is asked over the network."""

    timeout_seconds: float = Field(
        default=10.0, gt=0, le=300, description="How long a probe may take in all, from the name to the last byte."
    )
    status_page: HttpUrl | None = Field(
        default=None,
        description="A page about the source's health, read beside the probe and without credentials: the status.json of an "
        "Atlassian Statuspage (https://HOST/api/v2/status.json), of any other page only whether it answers.",
    )


class TlsSource(NetworkSource):
    """What every source has whose certificate is looked at."""

    ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) to trust for this source beside those of the system, relative to mendline.yaml.",
    )


class HttpSource(TlsSource):
    """A source behind HTTP, for `check_api_status`. Only its own host is asked; a redirect is told, not followed."""

    kind: Literal["http"] = Field(description="The kind of source.")
    url: HttpUrl = Field(
        description="The URL that a healthy source answers by itself, without a redirect (a cheap one; Mendline only sends GET)."
    )
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict, description="Sent with each probe; use ${VARIABLE} for secrets."
    )
    auth: Annotated[BasicAuth | BearerAuth, Field(discriminator="kind")] | None = Field(
        default=None, description="The stage's own credentials, in place of an `Authorization` header."
    )
    expect_content_type: str | None = Field(
        default=None, description="e.g. application/json: another type means the source is not itself."
    )
    proxy: Annotated[SecretStr, AfterValidator(_is_http_proxy)] | None = Field(
        default=None,
        description="http://USER:PASSWORD@HOST:PORT, where the source is only reached through a proxy. The environment's "
        "HTTP_PROXY and its like are not read.",
    )

    @model_validator(mode="after")
    def _one_authorization(self) -> HttpSource:
        in_url = "@" in urlsplit(self.url.get_secret_value()).netloc
        in_headers = any(name.lower() == "authorization" for name in self.headers)
        if in_url + in_headers + (self.auth is not None) > 1:
            raise ValueError(
                "credentials are given twice; keep one of `auth`, an `Authorization` header and those in `url`"
            )
        return self


class TcpSource(TlsSource):
    """A source that is no HTTP (SFTP, FTP, a broker ...): whether its name, its port and its certificate are well."""

    kind: Literal["tcp"] = Field(description="The kind of source.")
    host: Host = Field(description="Its name or address.")
    port: int = Field(ge=1, le=65535, description="Its port.")
    tls: bool = Field(
        default=False, description="Whether the connection begins with TLS; its certificate is then checked."
    )


class DatabaseSource(NetworkSource):
    """A source database: whether it lets Mendline in and answers `SELECT 1`."""

    kind: Literal["database"] = Field(description="The kind of source.")
    url: SecretStr = Field(description="A SQLAlchemy URL; use ${VARIABLE} for secrets.")


class FileSource(Section):
    """Files that a partner or a producer drops."""

    kind: Literal["file"] = Field(description="The kind of source.")
    path: str = Field(description="A path or glob, relative to mendline.yaml.")


Source = Annotated[HttpSource | TcpSource | DatabaseSource | FileSource, Field(discriminator="kind")]


class Quality(Section):
    """How many bad rows may be set aside before a person must look."""

    max_failing_fraction: float = Field(
        default=0.01, ge=0, le=1, description="Distinct failing rows / batch rows, over all checks."
    )
    checks: dict[str, float] = Field(default_factory=dict, description="A tighter bound per check name.")


class Dataset(Section):
    """One dataset: what a source sends and what the stages read of it."""

    name: str = ""  # filled from the key
    pipeline: Name = Field(description="The pipeline that loads and reads it.")
    warehouse: Name = Field(description="The entry of `warehouses` that holds its tables.")
    landing: str = Field(description="schema.table that the extract loads, as the source sends it.")
    view: str | None = Field(
        default=None, description="schema.view, the contract view that stages read and that Mendline may redefine."
    )
    contract: Path | None = Field(default=None, description="The ODCS contract file, relative to mendline.yaml.")
    contract_schema: str | None = Field(
        default=None,
        description="The object in the contract's `schema` list; default: the only one, or the dataset's name.",
    )
    loaded_by: str | None = Field(default=None, description="The stage that loads the landing table.")
    read_by: tuple[str, ...] = Field(
        default=(), description="The stages that read it; default: the direct downstreams of `loaded_by`."
    )
    targets: tuple[str, ...] = Field(
        default=(), description="Tables that stages load from it and that Mendline may widen (additive DDL only)."
    )
    batch: str | None = Field(
        default=None,
        description="A SQL predicate that selects the current batch in a landing table that accumulates; default: the whole "
        "table. One by the latest day in it, `day = (SELECT max(day) FROM ...)`, cannot notice a day without rows.",
    )
    positional: bool | None = Field(
        default=None,
        description="true: values are put into the landing table, or from it into the targets, by position and not by name (CSV "
        "without names, `INSERT ... SELECT *`), so no change of columns is ever made up for. false: always by name. Default: not "
        "known, and looked for in the names and the values.",
    )
    source: Name | None = Field(default=None, description="The entry of `sources` it comes from.")
    quality: Quality = Quality()
    runbook: str | None = Field(default=None, description="A link; default: the contract's.")


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


class Config(Section):
    """The whole of `mendline.yaml`."""

    version: Literal[1] = Field(default=1, description="The version of this format.")
    root: Path = Field(default=Path(), exclude=True)
    state: State = State()
    engines: dict[Name, DagsterEngine]
    pipelines: dict[Name, Pipeline]
    warehouses: dict[Name, Warehouse] = Field(default_factory=dict)
    sources: dict[Name, Source] = Field(default_factory=dict)
    datasets: dict[Name, Dataset] = Field(default_factory=dict)
    policy: Policy = Policy()
    retry: Retry = Retry()
    monitor: Monitor = Monitor()
    notifications: Notifications = Notifications()
    model: Model | None = None
    redaction: Redaction = Redaction()
    playbook: Path | None = Field(default=None, description="A playbook.yaml that replaces the built-in decision tree.")

    def path(self, value: Path | str) -> Path:
        """A path of the file, absolute: relative ones are relative to mendline.yaml."""
        return (self.root / Path(value).expanduser()).resolve()

    @property
    def state_file(self) -> Path:
        """The state database's file, where it is one."""
        return self.path(self.state.directory) / "state.db"

    @property
    def server_url(self) -> str | None:
        """The URL of the state database's server, with its password; None where it is a file."""
        return self.state.database.get_secret_value() if self.state.database else None

    @property
    def state_url(self) -> str:
        """The URL of the state database, as SQLAlchemy reads it."""
        return self.server_url or f"sqlite:///{self.state_file}"

    def pipeline_datasets(self, pipeline: str) -> tuple[Dataset, ...]:
        """The datasets of one pipeline, in the file's order."""
        return tuple(dataset for dataset in self.datasets.values() if dataset.pipeline == pipeline)

    def pipeline_of_job(self, engine: str, job: str) -> str | None:
        """The pipeline that a job of an engine is known by here; None when it is not watched."""
        for name, pipeline in self.pipelines.items():
            if pipeline.engine == engine and (pipeline.job or name) == job:
                return name
        return None

    @model_validator(mode="after")
    def _references(self) -> Config:
        def known(where: str, key: str | None, among: dict[str, Any]) -> None:
            if key is not None and key not in among:
                names = ", ".join(sorted(among)) or "none"
                raise ValueError(f"`{where}` names `{key}`, which is not defined (there are: {names})")

        for name, pipeline in self.pipelines.items():
            known(f"pipelines.{name}.engine", pipeline.engine, self.engines)
            for stage, source in pipeline.stage_sources.items():
                known(f"pipelines.{name}.stage_sources.{stage}", source, self.sources)
        for name, dataset in self.datasets.items():
            known(f"datasets.{name}.pipeline", dataset.pipeline, self.pipelines)
            known(f"datasets.{name}.warehouse", dataset.warehouse, self.warehouses)
            known(f"datasets.{name}.source", dataset.source, self.sources)
        return self


def load_config(path: Path) -> Config:
    """Read `mendline.yaml`, with `${VARIABLE}` and `${VARIABLE:-default}` filled from the environment.

    Raises: `ConfigError` with the file, the key and the next step, for every way in which it can be wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"`{path}` does not exist; give the file with `--config FILE` or write one (see README.md)"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"`{path}` cannot be read: {error}; check the file and its permissions") from error
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"`{path}` is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigError(
            f"`{path}` must be a mapping with the keys `engines`, `pipelines` ...; found {type(raw).__name__}"
        )
    return _validated(_filled(raw, str(path)), path)


def _validated(raw: dict[str, Any], path: Path) -> Config:
    raw = dict(raw, root=path.resolve().parent)
    datasets = raw.get("datasets")
    if isinstance(datasets, dict):
        raw["datasets"] = {
            name: dict(body, name=name) if isinstance(body, dict) else body for name, body in datasets.items()
        }
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(the file)"
        more = f" ({error.error_count() - 1} more like it)" if error.error_count() > 1 else ""
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"`{path}`: key `{key}`: {message}{more}; correct it and run `mendline check`") from error


def _filled(value: Any, where: str) -> Any:
    if isinstance(value, dict):
        return {ON_OFF[key] if isinstance(key, bool) else key: _filled(item, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, where) for item in value]
    if isinstance(value, str):
        return ENVIRONMENT.sub(lambda match: _variable(match, where), value)
    return value


def _variable(match: re.Match[str], where: str) -> str:
    name, default = match.group(1), match.group(2)
    found = os.environ.get(name, default)
    if found is None:
        raise ConfigError(f"`{where}` uses `${{{name}}}`, which is not set in the environment; set it and start again")
    return found
