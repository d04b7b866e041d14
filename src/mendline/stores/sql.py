"""The state database on SQLAlchemy Core: a SQLite file by default, PostgreSQL by the same code."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import URL, Connection, Row, delete, or_, select, update

from mendline.errors import InputError, JournalConflict
from mendline.incident import Answer, Incident, Outcome, OutcomeKind, Receipt, from_json, to_json
from mendline.stores import tables
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
from mendline.stores.connection import Database, common_now, insert_if_absent, insert_or_replace

SNAPSHOTS_KEPT = 30


def utc_now() -> datetime:
    """The time now, aware, in UTC."""
    return datetime.now(UTC)


class SqlStore:
    """A `Store` in one database; threads and processes may share it."""

    def __init__(self, url: str | URL, *, now: Callable[[], datetime] | None = None) -> None:
        self._database = Database(url)
        self._injected_now = now
        self._now = now or utc_now

    def open_incident(self, incident: Incident) -> OpenResult:
        table, counter = tables.incidents, tables.settings
        with self._database.writing() as connection:
            # The counter's row is the lock: two openers of one cause queue here, and ids have no gaps.
            last = connection.execute(
                select(counter.c.number).where(counter.c.name == "last_incident").with_for_update()
            ).scalar_one()
            standing = connection.execute(
                select(table.c.body).where(table.c.fingerprint == incident.fingerprint)
            ).scalar_one_or_none()
            if standing is not None:
                return OpenResult(incident=from_json(Incident, standing), created=False)
            opened = replace(incident, id=str(last + 1))
            connection.execute(update(counter).where(counter.c.name == "last_incident").values(number=last + 1))
            connection.execute(
                table.insert().values(
                    number=last + 1,
                    fingerprint=opened.fingerprint,
                    body=to_json(opened),
                    phase="opened",
                    updated_at=self._now(),
                    report_markdown="",
                )
            )
        return OpenResult(incident=opened, created=True)

    def incident(self, incident_id: str) -> IncidentRecord | None:
        number = _number(incident_id)
        with self._database.reading() as connection:
            row = connection.execute(select(tables.incidents).where(tables.incidents.c.number == number)).one_or_none()
            return None if row is None else _records(connection, [row])[0]

    def incidents(
        self, *, open_only: bool = False, since: datetime | None = None, limit: int = 1000
    ) -> tuple[IncidentRecord, ...]:
        table = tables.incidents
        query = select(table).order_by(table.c.number.desc()).limit(limit)
        if since is not None:
            query = query.where(table.c.updated_at >= since)
        if open_only:
            query = query.where(
                or_(table.c.outcome_kind.is_(None), table.c.outcome_kind == OutcomeKind.AWAITING_APPROVAL.value)
            )
        with self._database.reading() as connection:
            return _records(connection, connection.execute(query).all())

    def set_phase(self, incident_id: str, phase: str) -> None:
        table = tables.incidents
        with self._database.writing() as connection:
            number = _existing(connection, incident_id)
            connection.execute(
                update(table)
                .where(table.c.number == number, table.c.phase != phase)
                .values(phase=phase, updated_at=self._now())
            )

    def close_incident(self, incident_id: str, outcome: Outcome, report_markdown: str) -> None:
        table = tables.incidents
        body = to_json(outcome)
        with self._database.writing() as connection:
            number = _existing(connection, incident_id)
            connection.execute(
                update(table)
                .where(table.c.number == number, or_(table.c.outcome.is_(None), table.c.outcome != body))
                .values(
                    outcome=body,
                    outcome_kind=outcome.kind.value,
                    report_markdown=report_markdown.replace("\x00", "\ufffd"),  # PostgreSQL cannot keep it
                    updated_at=self._now(),
                )
            )

    def add_feedback(self, feedback: Feedback) -> None:
        table, body = tables.feedback, to_json(feedback)
        with self._database.writing() as connection:
            number = _existing(connection, feedback.incident_id)
            same = select(table.c.sequence).where(table.c.incident == number, table.c.body == body)
            if connection.execute(same).first() is None:
                connection.execute(table.insert().values(incident=number, body=body))

    def cursor(self, name: str) -> str | None:
        with self._database.reading() as connection:
            query = select(tables.cursors.c.value).where(tables.cursors.c.name == name)
            return connection.execute(query).scalar_one_or_none()

    def set_cursor(self, name: str, value: str) -> None:
        with self._database.writing() as connection:
            insert_or_replace(connection, tables.cursors, name=name, value=value)

    def move_cursor(self, name: str, before: str | None, after: str) -> bool:
        table = tables.cursors
        with self._database.writing() as connection:
            if before is None:
                return insert_if_absent(connection, table, name=name, value=after)
            moved = connection.execute(
                update(table).where(table.c.name == name, table.c.value == before).values(value=after)
            )
            return moved.rowcount == 1

    def save_snapshot(self, snapshot: Snapshot) -> None:
        table = tables.snapshots
        kept = (
            select(table.c.sequence)
            .where(table.c.dataset == snapshot.dataset)
            .order_by(table.c.taken_at.desc(), table.c.sequence.desc())
            .limit(SNAPSHOTS_KEPT)
        )
        with self._database.writing() as connection:
            insert_if_absent(
                connection,
                table,
                dataset=snapshot.dataset,
                run_id=snapshot.run_id,
                taken_at=snapshot.taken_at,
                body=to_json(snapshot),
            )
            connection.execute(delete(table).where(table.c.dataset == snapshot.dataset, table.c.sequence.not_in(kept)))

    def snapshots(self, dataset: str, limit: int = SNAPSHOTS_KEPT) -> tuple[Snapshot, ...]:
        table = tables.snapshots
        query = (
            select(table.c.body)
            .where(table.c.dataset == dataset)
            .order_by(table.c.taken_at.desc(), table.c.sequence.desc())
            .limit(limit)
        )
        with self._database.reading() as connection:
            return tuple(from_json(Snapshot, body) for body in connection.execute(query).scalars())

    def accommodation(self, dataset: str) -> Accommodation | None:
        query = select(tables.accommodations.c.body).where(tables.accommodations.c.dataset == dataset)
        with self._database.reading() as connection:
            body = connection.execute(query).scalar_one_or_none()
        return None if body is None else from_json(Accommodation, body)

    def save_accommodation(self, accommodation: Accommodation) -> None:
        with self._database.writing() as connection:
            insert_or_replace(
                connection, tables.accommodations, dataset=accommodation.dataset, body=to_json(accommodation)
            )

    def delete_accommodation(self, dataset: str) -> None:
        with self._database.writing() as connection:
            connection.execute(delete(tables.accommodations).where(tables.accommodations.c.dataset == dataset))

    def put_intent(self, intent: Intent) -> Intent:
        with self._database.writing() as connection:
            insert_if_absent(
                connection,
                tables.intents,
                key=intent.key,
                incident_id=intent.incident_id,
                repair=intent.repair,
                plan_json=intent.plan_json,
                intended_at=intent.intended_at,
                receipt=None if intent.receipt is None else to_json(intent.receipt),
                undone_at=intent.undone_at,
            )
            return _intent(connection.execute(select(tables.intents).where(tables.intents.c.key == intent.key)).one())

    def put_receipt(self, key: str, receipt: Receipt) -> None:
        self._fill_in(key, "receipt", to_json(receipt))

    def mark_undone(self, key: str, at: datetime) -> None:
        self._fill_in(key, "undone_at", at)

    def intent(self, key: str) -> Intent | None:
        with self._database.reading() as connection:
            row = connection.execute(select(tables.intents).where(tables.intents.c.key == key)).one_or_none()
        return None if row is None else _intent(row)

    def intents(self, incident_id: str) -> tuple[Intent, ...]:
        table = tables.intents
        query = select(table).where(table.c.incident_id == incident_id).order_by(table.c.sequence)
        with self._database.reading() as connection:
            return tuple(_intent(row) for row in connection.execute(query))

    def put_approval(self, approval: Approval) -> Approval:
        table = tables.approvals
        with self._database.writing() as connection:
            insert_if_absent(
                connection,
                table,
                key=approval.key,
                incident_id=approval.incident_id,
                body=to_json(approval),
                answer=None if approval.answer is None else to_json(approval.answer),
            )
            return _approval(connection.execute(select(table).where(table.c.key == approval.key)).one())

    def answer_approval(self, key: str, answer: Answer) -> Approval:
        table = tables.approvals
        with self._database.writing() as connection:
            connection.execute(
                update(table).where(table.c.key == key, table.c.answer.is_(None)).values(answer=to_json(answer))
            )
            row = connection.execute(select(table).where(table.c.key == key)).one_or_none()
        if row is None:
            raise JournalConflict(f"`{key}` was never asked, so it cannot be answered; the journal and the code differ")
        return _approval(row)

    def approvals(self, incident_id: str) -> tuple[Approval, ...]:
        table = tables.approvals
        query = select(table).where(table.c.incident_id == incident_id).order_by(table.c.sequence)
        with self._database.reading() as connection:
            return tuple(_approval(row) for row in connection.execute(query))

    def keep_log(self, log: KeptLog) -> KeptLog:
        table = tables.logs
        with self._database.writing() as connection:
            insert_if_absent(connection, table, incident_id=log.incident_id, run_id=log.run_id, body=to_json(log))
            query = select(table.c.body).where(table.c.incident_id == log.incident_id, table.c.run_id == log.run_id)
            return from_json(KeptLog, connection.execute(query).scalar_one())

    def kept_logs(self, incident_id: str) -> tuple[KeptLog, ...]:
        table = tables.logs
        query = select(table.c.body).where(table.c.incident_id == incident_id).order_by(table.c.sequence)
        with self._database.reading() as connection:
            return tuple(from_json(KeptLog, body) for body in connection.execute(query).scalars())

    def claim(self, key: str, owner: str) -> bool:
        with self._database.writing() as connection:
            insert_if_absent(connection, tables.claims, key=key, owner=owner)
            query = select(tables.claims.c.owner).where(tables.claims.c.key == key)
            return bool(connection.execute(query).scalar_one() == owner)

    def lease(self, name: str, owner: str, seconds: float) -> bool:
        table = tables.leases
        with self._database.writing() as connection:
            now = self._common_now(connection)
            return insert_or_replace(
                connection,
                table,
                condition=or_(table.c.owner == owner, table.c.expires_at <= now),
                name=name,
                owner=owner,
                expires_at=now + timedelta(seconds=seconds),
            )

    def release(self, name: str, owner: str) -> None:
        with self._database.writing() as connection:
            connection.execute(
                delete(tables.leases).where(tables.leases.c.name == name, tables.leases.c.owner == owner)
            )

    def next_token(self) -> int:
        table = tables.settings
        with self._database.writing() as connection:
            last = connection.execute(
                select(table.c.number).where(table.c.name == "last_token").with_for_update()
            ).scalar_one()
            token = max(last + 1, int(self._common_now(connection).timestamp() * 1e6))
            connection.execute(update(table).where(table.c.name == "last_token").values(number=token))
        return int(token)

    def join_worker(self, name: str) -> None:
        with self._database.writing() as connection:
            connection.execute(tables.workers.insert().values(name=name, beat_at=self._common_now(connection)))

    def beat(self, name: str) -> float | None:
        table = tables.workers
        with self._database.writing(by_anyone=True) as connection:
            last = connection.execute(
                select(table.c.beat_at).where(table.c.name == name).with_for_update(key_share=True)
            ).scalar_one_or_none()
            if last is None:
                return None
            now = self._common_now(connection)
            connection.execute(update(table).where(table.c.name == name).values(beat_at=now))
        return float((now - last).total_seconds())

    def leave_worker(self, name: str) -> None:
        with self._database.writing(by_anyone=True) as connection:
            _bury(connection, [name])

    def bury_workers(self, silent_s: float) -> tuple[str, ...]:
        table = tables.workers
        with self._database.writing() as connection:
            last = self._common_now(connection) - timedelta(seconds=silent_s)
            # Skipped: a worker that was stopped inside a transaction, until the server ends that.
            query = select(table.c.name).where(table.c.beat_at <= last).with_for_update(skip_locked=True)
            return _bury(connection, connection.execute(query).scalars().all())

    def workers(self) -> tuple[str, ...]:
        with self._database.reading() as connection:
            return tuple(connection.execute(select(tables.workers.c.name).order_by(tables.workers.c.name)).scalars())

    def work_as(self, worker: str) -> None:
        """From now on refuse, as `Superseded`, every write of this store once that worker no longer lives."""
        self._database.work_as(worker)

    def close(self) -> None:
        self._database.close()

    def _common_now(self, connection: Connection) -> datetime:
        """The time by the one clock that all who share the database have."""
        return self._injected_now() if self._injected_now else common_now(connection)

    def _fill_in(self, key: str, column: str, value: Any) -> None:
        # The first value stays: what happened cannot be told differently by a repeated call.
        table = tables.intents
        with self._database.writing() as connection:
            known = connection.execute(select(table.c.sequence).where(table.c.key == key)).first()
            if known is None:
                raise JournalConflict(
                    f"`{key}` has no intent in the state database, so its {column} cannot be recorded; "
                    "the journal and the code differ"
                )
            connection.execute(
                update(table).where(table.c.key == key, table.c[column].is_(None)).values({column: value})
            )


def _bury(connection: Connection, names: Sequence[str]) -> tuple[str, ...]:
    connection.execute(delete(tables.leases).where(tables.leases.c.owner.in_(names)))
    gone = connection.execute(
        delete(tables.workers).where(tables.workers.c.name.in_(names)).returning(tables.workers.c.name)
    )
    return tuple(sorted(gone.scalars()))


def _number(incident_id: str) -> int | None:
    # Beyond nine digits it is no id of ours, and may not fit the column.
    is_canonical = incident_id.isascii() and incident_id.isdigit() and not incident_id.startswith("0")
    return int(incident_id) if is_canonical and len(incident_id) <= 9 else None


def _existing(connection: Connection, incident_id: str) -> int:
    number = _number(incident_id)
    query = select(tables.incidents.c.number).where(tables.incidents.c.number == number)
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        raise InputError(f"there is no incident `{incident_id}`; `mendline incidents` lists those there are")
    return int(found)


def _records(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[IncidentRecord, ...]:
    given: dict[int, list[Feedback]] = defaultdict(list)
    if rows:
        numbers = [row.number for row in rows]
        table = tables.feedback
        query = (
            select(table.c.incident, table.c.body)
            .where(table.c.incident.between(min(numbers), max(numbers)))
            .order_by(table.c.sequence)
        )
        for number, body in connection.execute(query):
            given[number].append(from_json(Feedback, body))
    return tuple(_record(row, tuple(given[row.number])) for row in rows)


def _record(row: Row[Any], feedback: tuple[Feedback, ...]) -> IncidentRecord:
    return IncidentRecord(
        incident=from_json(Incident, row.body),
        phase=row.phase,
        updated_at=row.updated_at,
        outcome=None if row.outcome is None else from_json(Outcome, row.outcome),
        report_markdown=row.report_markdown,
        feedback=feedback,
    )


def _intent(row: Row[Any]) -> Intent:
    return Intent(
        key=row.key,
        incident_id=row.incident_id,
        repair=row.repair,
        plan_json=row.plan_json,
        intended_at=row.intended_at,
        receipt=None if row.receipt is None else from_json(Receipt, row.receipt),
        undone_at=row.undone_at,
    )


def _approval(row: Row[Any]) -> Approval:
    asked: Approval = from_json(Approval, row.body)
    return replace(asked, answer=None if row.answer is None else from_json(Answer, row.answer))
