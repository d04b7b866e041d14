"""A `Store` in memory: for fast tests, and as the model that the real one is compared with."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from mendline.errors import InputError, JournalConflict
from mendline.incident import Answer, Incident, Outcome, OutcomeKind, Receipt, from_json, to_json
from mendline.stores.base import (
    Accommodation,
    Approval,
    Feedback,
    IncidentRecord,
    Intent,
    KeptLog,
    OpenResult,
    Snapshot,
)
from mendline.stores.sql import SNAPSHOTS_KEPT, utc_now

T = TypeVar("T")


def _kept(value: T) -> T:
    # What comes out of a store has been JSON: tuples inside free data come out as lists, here as there.
    read: T = from_json(type(value), to_json(value))
    return read


class MemoryStore:
    """Dictionaries behind one lock; the same promises as `SqlStore`, but for surviving the process."""

    def __init__(self, *, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self._lock = threading.RLock()
        self._records: dict[str, IncidentRecord] = {}
        self._cursors: dict[str, str] = {}
        self._snapshots: dict[str, list[Snapshot]] = defaultdict(list)
        self._accommodations: dict[str, Accommodation] = {}
        self._intents: dict[str, Intent] = {}
        self._approvals: dict[str, Approval] = {}
        self._logs: dict[tuple[str, str], KeptLog] = {}
        self._claims: dict[str, str] = {}
        self._leases: dict[str, tuple[str, datetime]] = {}
        self._workers: dict[str, datetime] = {}
        self._last_token = 0

    def open_incident(self, incident: Incident) -> OpenResult:
        with self._lock:
            for record in self._records.values():
                if record.incident.fingerprint == incident.fingerprint:
                    return OpenResult(incident=record.incident, created=False)
            opened = _kept(replace(incident, id=str(len(self._records) + 1)))
            self._records[opened.id] = IncidentRecord(incident=opened, phase="opened", updated_at=self._now())
            return OpenResult(incident=opened, created=True)

    def incident(self, incident_id: str) -> IncidentRecord | None:
        with self._lock:
            return self._records.get(incident_id)

    def incidents(
        self, *, open_only: bool = False, since: datetime | None = None, limit: int = 1000
    ) -> tuple[IncidentRecord, ...]:
        with self._lock:
            newest_first = list(reversed(self._records.values()))
        if since is not None:
            newest_first = [record for record in newest_first if record.updated_at >= since]
        if open_only:
            newest_first = [
                record
                for record in newest_first
                if record.outcome is None or record.outcome.kind is OutcomeKind.AWAITING_APPROVAL
            ]
        return tuple(newest_first[:limit])

    def set_phase(self, incident_id: str, phase: str) -> None:
        with self._lock:
            record = self._existing(incident_id)
            if record.phase != phase:
                self._records[incident_id] = replace(record, phase=phase, updated_at=self._now())

    def close_incident(self, incident_id: str, outcome: Outcome, report_markdown: str) -> None:
        outcome = _kept(outcome)
        with self._lock:
            record = self._existing(incident_id)
            if record.outcome != outcome:
                self._records[incident_id] = replace(
                    record, outcome=outcome, report_markdown=report_markdown, updated_at=self._now()
                )

    def add_feedback(self, feedback: Feedback) -> None:
        with self._lock:
            record = self._existing(feedback.incident_id)
            if feedback not in record.feedback:
                self._records[feedback.incident_id] = replace(record, feedback=(*record.feedback, _kept(feedback)))

    def cursor(self, name: str) -> str | None:
        with self._lock:
            return self._cursors.get(name)

    def set_cursor(self, name: str, value: str) -> None:
        with self._lock:
            self._cursors[name] = value

    def move_cursor(self, name: str, before: str | None, after: str) -> bool:
        with self._lock:
            if self._cursors.get(name) != before:
                return False
            self._cursors[name] = after
            return True

    def save_snapshot(self, snapshot: Snapshot) -> None:
        with self._lock:
            kept = self._snapshots[snapshot.dataset]
            if all(other.run_id != snapshot.run_id for other in kept):
                kept.append(_kept(snapshot))
                kept.sort(key=lambda each: each.taken_at)
                del kept[:-SNAPSHOTS_KEPT]

    def snapshots(self, dataset: str, limit: int = SNAPSHOTS_KEPT) -> tuple[Snapshot, ...]:
        with self._lock:
            return tuple(reversed(self._snapshots[dataset]))[:limit]

    def accommodation(self, dataset: str) -> Accommodation | None:
        with self._lock:
            return self._accommodations.get(dataset)

    def save_accommodation(self, accommodation: Accommodation) -> None:
        with self._lock:
            self._accommodations[accommodation.dataset] = _kept(accommodation)

    def delete_accommodation(self, dataset: str) -> None:
        with self._lock:
            self._accommodations.pop(dataset, None)

    def put_intent(self, intent: Intent) -> Intent:
        with self._lock:
            return self._intents.setdefault(intent.key, _kept(intent))

    def put_receipt(self, key: str, receipt: Receipt) -> None:
        with self._lock:
            intent = self._intended(key, "receipt")
            if intent.receipt is None:
                self._intents[key] = replace(intent, receipt=_kept(receipt))

    def mark_undone(self, key: str, at: datetime) -> None:
        with self._lock:
            intent = self._intended(key, "undone_at")
            if intent.undone_at is None:
                self._intents[key] = replace(intent, undone_at=at)

    def intent(self, key: str) -> Intent | None:
        with self._lock:
            return self._intents.get(key)

    def intents(self, incident_id: str) -> tuple[Intent, ...]:
        with self._lock:
            return tuple(intent for intent in self._intents.values() if intent.incident_id == incident_id)

    def put_approval(self, approval: Approval) -> Approval:
        with self._lock:
            return self._approvals.setdefault(approval.key, _kept(approval))

    def answer_approval(self, key: str, answer: Answer) -> Approval:
        with self._lock:
            asked = self._approvals.get(key)
            if asked is None:
                raise JournalConflict(
                    f"`{key}` was never asked, so it cannot be answered; the journal and the code differ"
                )
            if asked.answer is None:
                self._approvals[key] = replace(asked, answer=_kept(answer))
            return self._approvals[key]

    def approvals(self, incident_id: str) -> tuple[Approval, ...]:
        with self._lock:
            return tuple(asked for asked in self._approvals.values() if asked.incident_id == incident_id)

    def keep_log(self, log: KeptLog) -> KeptLog:
        with self._lock:
            return self._logs.setdefault((log.incident_id, log.run_id), _kept(log))

    def kept_logs(self, incident_id: str) -> tuple[KeptLog, ...]:
        with self._lock:
            return tuple(log for (owner, _), log in self._logs.items() if owner == incident_id)

    def claim(self, key: str, owner: str) -> bool:
        with self._lock:
            return self._claims.setdefault(key, owner) == owner

    def lease(self, name: str, owner: str, seconds: float) -> bool:
        with self._lock:
            holder, expires_at = self._leases.get(name, (owner, self._now()))
            if holder != owner and expires_at > self._now():
                return False
            self._leases[name] = (owner, self._now() + timedelta(seconds=seconds))
            return True

    def release(self, name: str, owner: str) -> None:
        with self._lock:
            if name in self._leases and self._leases[name][0] == owner:
                del self._leases[name]

    def next_token(self) -> int:
        with self._lock:
            self._last_token = max(self._last_token + 1, int(self._now().timestamp() * 1e6))
            return self._last_token

    def join_worker(self, name: str) -> None:
        with self._lock:
            self._workers[name] = self._now()

    def beat(self, name: str) -> float | None:
        with self._lock:
            if name not in self._workers:
                return None
            silent_s = (self._now() - self._workers[name]).total_seconds()
            self._workers[name] = self._now()
            return silent_s

    def leave_worker(self, name: str) -> None:
        with self._lock:
            self._workers.pop(name, None)
            self._leases = {lease: held for lease, held in self._leases.items() if held[0] != name}

    def bury_workers(self, silent_s: float) -> tuple[str, ...]:
        with self._lock:
            last = self._now() - timedelta(seconds=silent_s)
            dead = tuple(sorted(name for name, beat_at in self._workers.items() if beat_at <= last))
            for name in dead:
                self.leave_worker(name)
            return dead

    def workers(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(sorted(self._workers))

    def close(self) -> None:
        """Nothing to give back."""

    def _existing(self, incident_id: str) -> IncidentRecord:
        record = self._records.get(incident_id)
        if record is None:
            raise InputError(f"there is no incident `{incident_id}`; `mendline incidents` lists those there are")
        return record

    def _intended(self, key: str, column: str) -> Intent:
        intent = self._intents.get(key)
        if intent is None:
            raise JournalConflict(
                f"`{key}` has no intent in the state database, so its {column} cannot be recorded; "
                "the journal and the code differ"
            )
        return intent
