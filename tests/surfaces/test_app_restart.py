"""No incident stays open for ever, whatever happened to its workflow or to the files beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mendline import app as application
from mendline.app import App
from mendline.config import load_config
from mendline.errors import Unavailable
from mendline.hands import Hands
from mendline.incident import OutcomeKind
from mendline.stores.sql import SqlStore
from mendline.testing.values import an_incident
from mendline.testing.waiting import wait_until

CONFIG = """
engines: {engine: {kind: dagster, dagster_home: nowhere, code: {module: somewhere}}}
pipelines: {pipeline: {engine: engine}}
notifications: {console: false}
"""


@contextmanager
def serving(directory: Path) -> Iterator[SqlStore]:
    """The service in this process; its engine is not there, so nothing is watched and every log is out of reach."""
    (directory / "mendline.yaml").write_text(CONFIG, encoding="utf-8")
    made, stop = App(load_config(directory / "mendline.yaml")), threading.Event()
    thread = threading.Thread(target=made.serve, args=(stop,))
    thread.start()
    store = SqlStore(f"sqlite:///{directory / '.mendline' / 'state.db'}")
    try:
        yield store
    finally:
        store.close()
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def opened(directory: Path, fingerprint: str = "cause") -> None:
    (directory / ".mendline").mkdir(exist_ok=True)
    store = SqlStore(f"sqlite:///{directory / '.mendline' / 'state.db'}")
    store.open_incident(replace(an_incident(fingerprint)))
    store.close()


def is_closed(store: SqlStore) -> bool:
    record = store.incident("1")
    return record is not None and record.outcome is not None and record.outcome.kind is OutcomeKind.ESCALATED


def test_an_incident_whose_workflow_ended_with_an_error_is_closed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path)
    failed = threading.Event()

    def broken(*_: object) -> None:
        failed.set()
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(application, "handle_incident", broken)
        patch.setattr(Hands, "give_up", broken)
        with serving(tmp_path):
            wait_until(failed.is_set, what="the workflow to fail")
    with serving(tmp_path) as store:
        wait_until(lambda: is_closed(store), what="the incident to be closed")


def test_an_incident_is_handled_also_when_only_the_state_database_was_deleted(tmp_path: Path) -> None:
    opened(tmp_path, "of the first life")
    with serving(tmp_path) as store:
        wait_until(lambda: is_closed(store), what="the first incident to be closed")
    for file in (tmp_path / ".mendline").glob("state.db*"):
        file.unlink()
    opened(tmp_path, "of the second life")
    with serving(tmp_path) as store:
        wait_until(lambda: is_closed(store), what="the second incident to be closed")
