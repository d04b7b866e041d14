"""`mendline serve` on PostgreSQL beside others of its kind, and after another version of itself."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mendline import app as application
from mendline import durable
from mendline.app import App
from mendline.config import load_config
from mendline.errors import ConfigError
from mendline.incident import OutcomeKind, Plan, Receipt, to_json
from mendline.steps import Steps
from mendline.stores.base import Intent
from mendline.stores.sql import SqlStore
from mendline.surfaces.cli import main
from mendline.testing.values import NOON, an_incident
from mendline.testing.waiting import wait_until

CONFIG = """
state: {{database: "{database}", lost_after_seconds: 3}}
engines: {{engine: {{kind: dagster, dagster_home: nowhere, code: {{module: somewhere}}}}}}
pipelines: {{pipeline: {{engine: engine}}}}
notifications: {{console: false}}
"""
OTHER = """
import sys, threading
from pathlib import Path
from mendline import app
from mendline.config import load_config

def wait_for_ever(incident_id, steps, hands):
    print("holds", flush=True)
    steps.wait("nothing", 600)

app.handle_incident = wait_for_ever
app.App(load_config(Path(sys.argv[1]))).serve(threading.Event())
"""


@pytest.fixture(params=["sqlite", "postgres"])
def config_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return written(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else "")


def written(directory: Path, database: str) -> Path:
    file = directory / "mendline.yaml"
    file.write_text(CONFIG.format(database=database), encoding="utf-8")
    (directory / ".mendline").mkdir(exist_ok=True)
    with closing(SqlStore(load_config(file).state_url)) as store:
        store.open_incident(an_incident("cause"))
    return file


@contextmanager
def serving(config_file: Path) -> Iterator[SqlStore]:
    """The service in this process; its engine is not there, so every incident soon ends with a call for a person."""
    config, stop = load_config(config_file), threading.Event()
    thread = threading.Thread(target=App(config).serve, args=(stop,))
    thread.start()
    store = SqlStore(config.state_url)
    try:
        yield store
    finally:
        store.close()
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def is_closed(store: SqlStore) -> bool:
    record = store.incident("1")
    return record is not None and record.outcome is not None and record.outcome.kind is OutcomeKind.ESCALATED


@contextmanager
def another(config_file: Path) -> Iterator[subprocess.Popen[str]]:
    """Another service, which holds the incident in its hands."""
    command = [sys.executable, "-c", OTHER, str(config_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        yield process
        process.kill()


@pytest.mark.slow
def test_a_service_goes_on_with_what_a_killed_one_left(tmp_path: Path, postgres_url: str) -> None:
    config_file = written(tmp_path, postgres_url)
    with another(config_file) as first:
        first.send_signal(signal.SIGKILL)
        first.wait(30)
        with serving(config_file) as store:
            wait_until(lambda: is_closed(store), 30, "the end of the incident")


@pytest.mark.slow
def test_a_service_that_wakes_too_late_ends_and_says_why(tmp_path: Path, postgres_url: str) -> None:
    config_file = written(tmp_path, postgres_url)
    with another(config_file) as first:
        first.send_signal(signal.SIGSTOP)
        with serving(config_file) as store:
            wait_until(lambda: is_closed(store), 30, "the end of the incident")
            first.send_signal(signal.SIGCONT)
            _, said = first.communicate(timeout=60)
            assert first.returncode == 1
            assert "its incidents have gone to others; start `mendline serve` again" in said
            assert len(store.workers()) == 1
    with closing(SqlStore(postgres_url)) as store:
        assert store.workers() == ()


@pytest.fixture
def left_by_another_version(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    holds = threading.Event()

    def wait_for_ever(_incident_id: str, steps: Steps, _hands: object) -> None:
        holds.set()
        steps.wait("nothing", 600)

    with monkeypatch.context() as patch:
        patch.setattr(durable, "APPLICATION_VERSION", "incident-v0")
        patch.setattr(application, "handle_incident", wait_for_ever)
        with serving(config_file):
            wait_until(holds.is_set, what="the workflow of the other version")
    return config_file


def test_what_another_version_left_stands_still_until_it_is_adopted(
    left_by_another_version: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    options = ["--config", str(left_by_another_version)]
    with serving(left_by_another_version) as store:
        wait_until(lambda: "begun by another version" in caplog.text, what="the warning at the start")
        assert not is_closed(store)
    assert main(["adopt", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "adopted": [],
        "stranded": [{"incident": "1", "version": "incident-v0"}],
    }
    assert main(["adopt", *options]) == 0
    assert "let this one begin it anew with `mendline adopt 1`" in capsys.readouterr().out
    assert main(["adopt", "1", *options]) == 0
    assert "Incident 1 begins anew" in capsys.readouterr().out
    with serving(left_by_another_version) as store:
        wait_until(lambda: is_closed(store), 30, "the end of the incident")
    assert main(["adopt", *options]) == 0
    assert "No incident stands still." in capsys.readouterr().out
    assert main(["adopt", "1", *options]) == 2
    assert "incident `1` does not stand still" in capsys.readouterr().err


def test_an_incident_with_a_repair_in_effect_is_not_begun_anew(
    left_by_another_version: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(SqlStore(load_config(left_by_another_version).state_url)) as store:
        plan = Plan(repair="widen", key="k", summary="widens")
        store.put_intent(Intent(key="k", incident_id="1", repair="widen", plan_json=to_json(plan), intended_at=NOON))
        store.put_receipt("k", Receipt(repair="widen", key="k", applied_at=NOON, summary="did"))
    assert main(["adopt", "--all", "--config", str(left_by_another_version)]) == 2
    assert "take it back with `mendline undo 1`" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("url", ["mysql://ann:s3cret@host/db", "sqlite:///state.db", "s3cret"])
def test_a_state_database_that_is_no_postgres_is_refused_without_showing_it(tmp_path: Path, url: str) -> None:
    file = tmp_path / "mendline.yaml"
    file.write_text(CONFIG.format(database=url), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"`state\.database`.*must be postgresql://") as caught:
        load_config(file)
    assert "s3cret" not in str(caught.value)
