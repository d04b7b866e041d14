"""What Mendline remembers: incidents, cursors, snapshots, attempts' intents, outcomes, feedback."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from mendline.errors import InputError
from mendline.incident import Answer, Incident, Outcome, Plan, Receipt
from mendline.warehouses.base import TableSchema


@dataclass(frozen=True, kw_only=True)
class ColumnProfile:
    """What a column's values looked like in one good batch.

    `column` is a leaf path. Numbers and times are kept as text in `min_value`/`max_value` (None when all NULL).
    `value_hashes` is a bottom-k sketch of the distinct values (the k smallest 64-bit hashes, ascending), so that two
    profiles can be compared for overlap; `top_values` are up to ten (value, count), most frequent first, [] when the column
    looks personal or unique.
    """

    column: str
    type: str
    row_count: int
    null_count: int
    distinct_count: int
    min_value: str | None
    max_value: str | None
    value_hashes: tuple[int, ...] = ()
    top_values: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The schema and profile of one dataset's landing table after one good run; `schema` is flattened to leaves.

    `view_sql` is the contract view's SELECT then, None without a view: some engines drop a view with the table it reads.
    `traits` are the keys, checks, collations and the like of the table's columns; None when they were not looked at.
    """

    dataset: str
    run_id: str
    taken_at: datetime
    schema: TableSchema
    row_count: int
    profiles: tuple[ColumnProfile, ...] = ()
    view_sql: str | None = None
    traits: dict[str, tuple[str, ...]] | None = None


@dataclass(frozen=True, kw_only=True)
class IncidentRecord:
    """One incident with all that is known of it now; `outcome` is None while it is being handled.

    `phase` is the step the workflow is in, for people to watch.
    """

    incident: Incident
    phase: str
    updated_at: datetime
    outcome: Outcome | None = None
    report_markdown: str = ""
    feedback: tuple[Feedback, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """A person's word on one incident; None where the person did not say."""

    incident_id: str
    given_at: datetime
    type_right: bool | None = None
    right_type: str | None = None
    repair: Literal["helped", "harmed"] | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Accommodation:
    """What Mendline has done to one contract view and has not undone.

    `base_sql` is the view's SELECT as the team wrote it; `current_sql` what stands there now. `mappings` is JSON-able and
    documented by the schema migration tool. `incident_id` is the last incident that changed it.
    """

    dataset: str
    view: str
    base_sql: str
    current_sql: str
    mappings: tuple[dict[str, str], ...]
    incident_id: str
    changed_at: datetime


@dataclass(frozen=True, kw_only=True)
class Intent:
    """A plan that is about to be, or was, applied. `receipt` is None until its effect is known to be there."""

    key: str
    incident_id: str
    repair: str
    plan_json: str
    intended_at: datetime
    receipt: Receipt | None = None
    undone_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Approval:
    """The question to a person whether one plan may run; `answer` is None while it waits.

    `digest` names exactly what is shown (`approvals.digest`), `reason` says why policy asks, `stages` would run again.
    """

    key: str
    incident_id: str
    plan: Plan
    digest: str
    reason: str
    stages: tuple[str, ...]
    asked_at: datetime
    expires_at: datetime
    answer: Answer | None = None


@dataclass(frozen=True, kw_only=True)
class KeptLog:
    """The redacted log of one re-run, kept with the incident that it was for.

    `total_count` counts the lines of the whole log. Of these `left_out_count` are missing between the beginning and the end,
    where a line of ours in `lines` says so.
    """

    incident_id: str
    run_id: str
    kept_at: datetime
    lines: tuple[str, ...]
    total_count: int
    left_out_count: int = 0


@dataclass(frozen=True, kw_only=True)
class OpenResult:
    """What opening an incident found: the incident that now stands, and whether this call made it."""

    incident: Incident
    created: bool


class Store(Protocol):
    """The state database. Every call is one transaction; every write may be repeated."""

    def open_incident(self, incident: Incident) -> OpenResult:
        """Insert if no incident has its fingerprint; give the one that stands. Its human id ("1", "2", ...) is assigned here
        (the `id` passed in is ignored).
        """
        ...

    def incident(self, incident_id: str) -> IncidentRecord | None:
        """One incident; None when there is none of that id."""
        ...

    def incidents(
        self, *, open_only: bool = False, since: datetime | None = None, limit: int = 1000
    ) -> tuple[IncidentRecord, ...]:
        """Incidents, newest first; with `since`, only those that have changed at or after that time."""
        ...

    def set_phase(self, incident_id: str, phase: str) -> None:
        """Note the step that an incident is in."""
        ...

    def close_incident(self, incident_id: str, outcome: Outcome, report_markdown: str) -> None:
        """Record the outcome and the report; a second call with the same outcome changes nothing."""
        ...

    def add_feedback(self, feedback: Feedback) -> None:
        """Add a person's word; several on one incident are all kept, the last counts."""
        ...

    def cursor(self, name: str) -> str | None:
        """A mark of the monitor or of a breaker's reset; None when it was never set."""
        ...

    def set_cursor(self, name: str, value: str) -> None: ...

    def move_cursor(self, name: str, before: str | None, after: str) -> bool:
        """Set a cursor that still stands at `before` (None: was never set); False, and nothing done, when it does not."""
        ...

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot; one per (dataset, run): the second call changes nothing. The last 30 per dataset are kept."""
        ...

    def snapshots(self, dataset: str, limit: int = 30) -> tuple[Snapshot, ...]:
        """Snapshots of one dataset, newest first."""
        ...

    def accommodation(self, dataset: str) -> Accommodation | None: ...

    def save_accommodation(self, accommodation: Accommodation) -> None: ...

    def delete_accommodation(self, dataset: str) -> None: ...

    def put_intent(self, intent: Intent) -> Intent:
        """Insert if the key is new; give the intent that stands (with its receipt when it has one)."""
        ...

    def put_receipt(self, key: str, receipt: Receipt) -> None:
        """Record the effect of an intent; the first receipt stays."""
        ...

    def mark_undone(self, key: str, at: datetime) -> None: ...

    def intent(self, key: str) -> Intent | None: ...

    def intents(self, incident_id: str) -> tuple[Intent, ...]:
        """All intents of one incident, oldest first."""
        ...

    def put_approval(self, approval: Approval) -> Approval:
        """Insert if the key is new; give the question that stands (with its answer when it has one)."""
        ...

    def answer_approval(self, key: str, answer: Answer) -> Approval:
        """Answer a question; the first answer stays. Gives the question with the answer that stands.

        Raises: `JournalConflict` when there is no such question.
        """
        ...

    def approvals(self, incident_id: str) -> tuple[Approval, ...]:
        """All questions about one incident, oldest first."""
        ...

    def keep_log(self, log: KeptLog) -> KeptLog:
        """Keep the log of a run with an incident; the first one of that run stays, and is given back."""
        ...

    def kept_logs(self, incident_id: str) -> tuple[KeptLog, ...]:
        """The logs that are kept with one incident, oldest first."""
        ...

    def claim(self, key: str, owner: str) -> bool:
        """Take a key for good, by a unique constraint; True for the first owner (and for the same owner again)."""
        ...

    def lease(self, name: str, owner: str, seconds: float) -> bool:
        """Take or renew a lease until `seconds` from now; False while another owner's has not expired."""
        ...

    def release(self, name: str, owner: str) -> None:
        """Give a lease back; not holding it is fine."""
        ...

    def next_token(self) -> int:
        """A fencing token: greater than every one given before, also by a state database that was deleted since."""
        ...

    def join_worker(self, name: str) -> None:
        """Count a worker among the living; its name must be new."""
        ...

    def beat(self, name: str) -> float | None:
        """Take down a worker's sign of life; the seconds since its last one. None, for good, when it does not live."""
        ...

    def leave_worker(self, name: str) -> None:
        """Count a worker no longer among the living, and give back its leases. Not living is fine."""
        ...

    def bury_workers(self, silent_s: float) -> tuple[str, ...]:
        """Let every worker leave that has given no sign for so long; those are the answer, each to one caller only."""
        ...

    def workers(self) -> tuple[str, ...]:
        """The living workers, in the order of their names."""
        ...

    def close(self) -> None: ...


def existing(store: Store, incident_id: str) -> IncidentRecord:
    """The incident of that number. Raises: `InputError` when there is none."""
    record = store.incident(incident_id)
    if record is None:
        raise InputError(f"there is no incident `{incident_id}`; `mendline incidents` lists them")
    return record
