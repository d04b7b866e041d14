"""The values that flow from step to step; all frozen, all JSON on disk.

Times are aware UTC and end in `_at`; durations carry their unit; counts end in `_count`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


class FailureType(StrEnum):
    """The five causes that the playbook knows."""

    SCHEMA_CHANGE = "SCHEMA_CHANGE"
    DATA_QUALITY = "DATA_QUALITY"
    API_FAILURE = "API_FAILURE"
    RESOURCE = "RESOURCE"
    UNKNOWN = "UNKNOWN"


class OutcomeKind(StrEnum):
    """How an incident ended (`awaiting_approval` is the one that has not)."""

    RESOLVED = "resolved"
    ESCALATED = "escalated"
    RECOVERED = "recovered"
    AWAITING_APPROVAL = "awaiting_approval"


class FailureKind(StrEnum):
    """What the monitor saw."""

    STAGE_FAILED = "stage_failed"
    RUN_FAILED = "run_failed"  # the run failed and no stage says why (code location, configuration)
    RUN_LOST = "run_lost"  # the run's process is gone and nothing recorded its end
    BAD_DATA = "bad_data"  # the stage reported success, a contract check says otherwise


@dataclass(frozen=True, kw_only=True)
class RunRef:
    """One run of one pipeline in one engine."""

    engine: str
    pipeline: str
    run_id: str


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One signal that something went wrong; not yet a cause.

    `stage` is None when the run failed outside any stage. `error_class` and `message` are what the engine recorded
    (the innermost exception), "" when it recorded nothing. `datasets` names datasets already known to be involved
    (filled for `bad_data`). `root_run_id` is the first run of the chain of re-executions that `run` belongs to.
    """

    run: RunRef
    root_run_id: str
    stage: str | None
    kind: FailureKind
    failed_at: datetime
    error_class: str = ""
    message: str = ""
    attempt: int = 1
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One line of a log; `number` is 1-based in the source log and survives every cut and fold."""

    number: int
    text: str


@dataclass(frozen=True, kw_only=True)
class LogExcerpt:
    """The lines of a log that matter, in source order, redacted.

    `total_count` counts the lines of the whole log; `folded_count` those that were left out.
    """

    source: str
    lines: tuple[LogLine, ...]
    total_count: int
    folded_count: int = 0

    @property
    def text(self) -> str:
        """The excerpt as one string, without line numbers."""
        return "\n".join(line.text for line in self.lines)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A verbatim quote: `quote` is a substring of line `line` of the log (or file) named `source`."""

    line: int
    quote: str
    source: str = "log"


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """Another cause that the evidence allows, with its own share of belief."""

    type: FailureType
    confidence: float
    subtype: str = ""


@dataclass(frozen=True, kw_only=True)
class Classification:
    """What a log says about the cause.

    `confidence` is a probability in [0, 1]. `subtype` is a stable snake_case word ("column_missing", "rate_limit",
    "null_violation", ...), "" when nothing finer is known. `alternatives` come most likely first and never repeat `type`.
    `entities` names what the log points at, by kind: "column", "table", "host", "url", "status", "file" -> values in
    order of first mention. `recommended_next_step` is the name of a tool of the playbook.
    """

    type: FailureType
    subtype: str
    confidence: float
    evidence: tuple[Evidence, ...]
    recommended_next_step: str
    alternatives: tuple[Alternative, ...] = ()
    entities: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelAnswer:
    """A model's verdict on a log, checked: every quote stands in the log, the next step is a tool of the type.

    `dropped_count` counts quotes that did not stand in the log.
    """

    type: FailureType
    subtype: str
    confidence: float
    evidence: tuple[Evidence, ...]
    recommended_next_step: str
    dropped_count: int = 0


class FindingVerdict(StrEnum):
    """What a diagnostic says about the hypothesis it was asked about."""

    SUPPORTS = "supports"
    REFUTES = "refutes"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The answer of one diagnostic.

    `summary` is one sentence for the report. `data` is JSON-able and is what repairs read (its keys are documented by the
    tool that writes it). `dataset` is the dataset it is about, None when it is about the stage as a whole.
    """

    tool: str
    verdict: FindingVerdict
    summary: str
    dataset: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ConfigChange:
    """One value that a re-run has instead of the scheduled one, at a dotted place of the engine's run configuration.

    `before` is None where the configuration says nothing.
    """

    stage: str
    path: str
    before: Any
    after: Any

    @property
    def summary(self) -> str:
        """What changes, in short: "page_size 1000 -> 500"."""
        before = "its default" if self.before is None else self.before
        return f"{self.path.rpartition('.')[2]} {before} -> {self.after}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a repair would do, decided and complete; making it has no effect.

    `key` is the idempotency key: the same plan for the same incident always has the same key. `statements` is the exact
    SQL (or calls) in order, shown to people. `parameters` is JSON-able and is all that `apply` needs. `confidence` in
    [0, 1] is the belief that this plan is right (never above the classification's). `moved_row_count` counts the rows of
    data that it moves (a view or a type alone moves none). `rerun_stages` names stages to re-run
    for verification besides the incident's failed ones and their downstreams. `wait_seconds` is how long to sleep (durably)
    before `apply`; `max_attempts` is how often this repair may be tried, 0 for the policy's number. `changes` hold for the
    re-run alone. `evidence` says in sentences why it is held to be safe, or that this cannot be told.
    """

    repair: str
    key: str
    summary: str
    dataset: str | None = None
    statements: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    confidence: float = 1.0
    undo_summary: str = ""
    is_reversible: bool = True
    moved_row_count: int = 0
    rerun_stages: tuple[str, ...] = ()
    wait_seconds: float = 0.0
    max_attempts: int = 0
    changes: tuple[ConfigChange, ...] = ()
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Declined:
    """A repair that will not plan: why, in one sentence, and what a person would have to decide or find."""

    repair: str
    reason: str
    needed: str = ""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The record of an applied plan; `undo` is JSON-able and is all that `undo()` needs."""

    repair: str
    key: str
    applied_at: datetime
    summary: str
    effects: Mapping[str, Any] = field(default_factory=dict)
    undo: Mapping[str, Any] = field(default_factory=dict)


class VerificationState(StrEnum):
    """What the independent checks say after a repair."""

    FIXED = "fixed"
    NOT_FIXED = "not_fixed"
    WORSE = "worse"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of a verification."""

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The judgement on one repair, with every check that led to it."""

    state: VerificationState
    checks: tuple[Check, ...]
    run_id: str | None = None

    @property
    def summary(self) -> str:
        """One sentence: the state and the checks that failed."""
        failed = [check for check in self.checks if not check.passed]
        if not failed:
            return f"{self.state}: all {len(self.checks)} checks passed"
        return f"{self.state}: " + "; ".join(f"{check.name}: {check.detail}" for check in failed)


@dataclass(frozen=True, kw_only=True)
class Incident:
    """One cause, however many failures it made.

    `fingerprint` is unique per cause and run chain: opening the same incident twice is one incident. `failures` are in
    order of time; the first gives stage and failure time to the report.
    """

    id: str
    fingerprint: str
    engine: str
    pipeline: str
    failures: tuple[Failure, ...]
    opened_at: datetime

    @property
    def stages(self) -> tuple[str, ...]:
        """The failed stages, each once, in order of failure."""
        return tuple(dict.fromkeys(f.stage for f in self.failures if f.stage is not None))

    @property
    def run(self) -> RunRef:
        """The run that failed first."""
        return self.failures[0].run


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What is believed of one run of an incident, and why: `believed` from the log alone, `settled` after the evidence."""

    log: LogExcerpt
    believed: Classification
    settled: Classification
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What a model contributed to one diagnosis.

    `answer` is None when it was not asked or could not be heard; `remark` then says why, "" when there was no reason to
    ask. `findings` are those of the diagnostics that it called for, also when it gave no answer in the end.
    """

    answer: ModelAnswer | None = None
    findings: tuple[Finding, ...] = ()
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sentence of a narrative and what it rests on, at least one each.

    `references` are "L12" (line 12 of the log), "F1" (the first finding) and "R1" (the first repair that was considered).
    """

    text: str
    references: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ModelUse:
    """What a model was asked for one incident, and what that cost.

    `cost` is in US dollars by the configured prices, None when none are configured. `remarks` say in one line each what it
    could not be heard on.
    """

    name: str
    request_count: int = 0
    input_token_count: int = 0
    output_token_count: int = 0
    cost: float | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How the question whether a plan may run was answered.

    "expired" (nobody answered in time) and "withdrawn" (the stages passed meanwhile) are Mendline's own words; `by` is ""
    then.
    """

    decision: Literal["approved", "denied", "expired", "withdrawn"]
    by: str
    at: datetime
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One repair that was considered: planned, decided, maybe applied, maybe verified, maybe undone.

    `decision` is the policy's word (`auto`, `ask`, `suggest`, `off`), "declined" when the repair would not plan; `needed` then
    says what a person would have to decide or find. `answer` is
    a person's, None where nobody was asked or nobody has answered yet. `shadowed` is what policy would have said out of
    shadow mode, "" out of it. `kept_log` says how much of the re-run's log is kept, "" when none is. `undone_by` and
    `undone_at` are "" and None when it was Mendline itself that took it back.
    """

    repair: str
    decision: str
    reason: str
    plan: Plan | None = None
    receipt: Receipt | None = None
    verification: Verification | None = None
    undone: bool = False
    undone_by: str = ""
    undone_at: datetime | None = None
    answer: Answer | None = None
    shadowed: str = ""
    kept_log: str = ""
    needed: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one incident was handled, from belief to proof.

    `seconds` maps phase name ("notice", "logs", "classify", "diagnose", "repair", "verify", "report") to seconds spent.
    `headline` says in one sentence what broke, why, what was done and what a person must do. `narrative` is a model's prose,
    () without one; `model` is None when no model is configured.
    """

    kind: OutcomeKind
    headline: str
    classification: Classification
    findings: tuple[Finding, ...]
    attempts: tuple[Attempt, ...]
    recommended: str
    runbook: str | None
    ended_at: datetime
    seconds: Mapping[str, float] = field(default_factory=dict)
    narrative: tuple[Sentence, ...] = ()
    model: ModelUse | None = None


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def to_json(value: Any, kind: Any = None) -> str:
    """Write any value of this module (or a tuple of them, with `kind`) as JSON."""
    return _adapter(kind or type(value)).dump_json(value).decode()


def from_json(kind: type[T] | Any, text: str) -> T:
    """Read back what `to_json` wrote."""
    result: T = _adapter(kind).validate_json(text)
    return result
