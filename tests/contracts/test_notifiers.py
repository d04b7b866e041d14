"""One suite for every notifier, and what delivery promises whichever of them fails."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mendline import registry
from mendline.config import Notifications
from mendline.errors import ConfigError, PluginError, Unavailable
from mendline.incident import (
    Classification,
    Evidence,
    Failure,
    FailureKind,
    FailureType,
    Incident,
    LogExcerpt,
    LogLine,
    Outcome,
    OutcomeKind,
    RunRef,
)
from mendline.notifiers.apprise import Apprise
from mendline.notifiers.base import Notifier
from mendline.notifiers.console import Console
from mendline.notifiers.delivery import Delivery

# Apprise imports a module that Python 3.13 no longer has, and has its own replacement for it.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
REPORT = "# `load` failed\n\n- **Stage:** `load`\n- **Outcome:** escalated, 3 s after the failure\n"


@dataclass
class Received:
    """What a loopback web hook was sent; it answers `status`."""

    url: str = ""
    status: int = 200
    bodies: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def web_hook() -> Iterator[Received]:
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.bodies.append(json.loads(body))
            self.send_response(received.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep the test's output quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received.url = f"json://127.0.0.1:{server.server_address[1]}/hook"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def hook() -> Iterator[Received]:
    with web_hook() as received:
        yield received


@dataclass
class Subject:
    """A notifier under test and a way to see what arrived."""

    notifier: Notifier
    console: io.StringIO
    hook: Received

    def arrived(self) -> str:
        return self.console.getvalue() + "".join(json.dumps(body) for body in self.hook.bodies)


@pytest.fixture(params=sorted(registry.BUILT_IN["notifiers"]))
def subject(request: pytest.FixtureRequest, hook: Received) -> Subject:
    stream = io.StringIO()
    made: dict[str, Notifier] = {"console": Console(stream), "apprise": Apprise([hook.url])}
    return Subject(made[request.param], stream, hook)


@pytest.mark.parametrize("outcome", OutcomeKind)
def test_a_delivered_report_arrives_whole(subject: Subject, outcome: OutcomeKind) -> None:
    subject.notifier.deliver("Incident 7: `load` failed", REPORT, outcome)
    assert "Incident 7: `load` failed" in subject.arrived()
    assert "escalated, 3 s after the failure" in subject.arrived()


def test_hostile_text_arrives_as_text(subject: Subject) -> None:
    subject.notifier.deliver("[bold]x[/bold]", "# [red]a\n\n- `<b>`\n", OutcomeKind.ESCALATED)
    assert "[bold]x[/bold]" in subject.arrived()
    assert "[red]a" in subject.arrived()
    assert "`<b>`" in subject.arrived()


def test_every_notifier_is_made_from_the_configuration_or_not_at_all() -> None:
    nothing = Notifications(console=False)
    everything = Notifications(console=True, apprise=("json://127.0.0.1:9/x",))
    for name, plugin in registry.load_all("notifiers").items():
        assert plugin(nothing) is None
        assert plugin(everything).name == name


def test_apprise_says_how_urgent_it_is(hook: Received) -> None:
    Apprise([hook.url]).deliver("t", REPORT, OutcomeKind.ESCALATED)
    Apprise([hook.url]).deliver("t", REPORT, OutcomeKind.RESOLVED)
    assert [body["type"] for body in hook.bodies] == ["failure", "success"]


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_refused_message_is_an_error_that_names_the_service_but_no_secret(hook: Received, status: int) -> None:
    hook.status = status
    url = hook.url.replace("json://", "json://user:hunter2@")
    with pytest.raises(Unavailable, match="`JSON` \\(failure\\) did not take the message") as caught:
        Apprise([url]).deliver("t", REPORT, OutcomeKind.ESCALATED)
    assert "hunter2" not in str(caught.value)


def test_a_closed_port_is_an_error(hook: Received) -> None:
    with pytest.raises(Unavailable):
        Apprise(["json://127.0.0.1:9/x"]).deliver("t", REPORT, OutcomeKind.ESCALATED)


def test_a_url_that_apprise_does_not_know_stops_start_up_without_showing_it() -> None:
    with pytest.raises(ConfigError, match=r"notifications\.apprise\.1") as caught:
        Apprise(["json://127.0.0.1:9/x", "nonsense://token-abc"])
    assert "token-abc" not in str(caught.value)


def incident() -> Incident:
    run = RunRef(engine="main", pipeline="p", run_id="r")
    failure = Failure(run=run, root_run_id="r", stage="load", kind=FailureKind.STAGE_FAILED, failed_at=AT, message="no")
    return Incident(id="7", fingerprint="f", engine="main", pipeline="p", failures=(failure,), opened_at=AT)


def outcome(kind: OutcomeKind) -> Outcome:
    belief = Classification(
        type=FailureType.UNKNOWN,
        subtype="",
        confidence=0.2,
        evidence=(Evidence(line=1, quote="no"),),
        recommended_next_step="escalate",
    )
    return Outcome(
        kind=kind,
        headline="`load` failed",
        classification=belief,
        findings=(),
        attempts=(),
        recommended="look",
        runbook=None,
        ended_at=AT,
    )


LOG = LogExcerpt(source="log", lines=(LogLine(number=1, text="no"),), total_count=1)


def test_delivery_sends_the_outcomes_that_people_want_to_hear_of_and_gives_back_every_report(hook: Received) -> None:
    delivery = Delivery(Notifications(console=False, apprise=(hook.url,), on=("escalated",)))
    for kind in OutcomeKind:
        assert delivery.deliver(incident(), LOG, outcome(kind)).startswith("# `load` failed\n")
    assert [body["title"] for body in hook.bodies] == ["Incident 7: `load` failed"]


def test_who_could_not_be_told_is_recorded_and_the_others_are_told(hook: Received) -> None:
    with web_hook() as refusing:
        refusing.status = 503
        delivery = Delivery(Notifications(), [Apprise([refusing.url]), Apprise([hook.url])])
        report = delivery.deliver(incident(), LOG, outcome(OutcomeKind.ESCALATED))
    assert "\nNot delivered: by `apprise`: `JSON` (failure) did not take the message" in report
    assert len(hook.bodies) == 1


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, entry: str, body: str) -> None:
    """Put a package with one notifier plugin on the import path, as an installer would."""
    (folder / "stranger.py").write_text(body, encoding="utf-8")
    info = folder / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[mendline.notifiers]\n{entry}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(__import__("sys").modules, "stranger", raising=False)


def test_an_installed_notifier_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
class Notifier:
    name = "stranger"
    told = []
    def deliver(self, title, markdown, outcome):
        self.told.append(title)
def make(notifications):
    return Notifier()
"""
    install(tmp_path, monkeypatch, "stranger = stranger:make", body)
    Delivery(Notifications(console=False)).deliver(incident(), LOG, outcome(OutcomeKind.ESCALATED))
    assert registry.load("notifiers", "stranger")(Notifications()).told == ["Incident 7: `load` failed"]


@pytest.mark.parametrize(
    ("entry", "body", "said"),
    [
        ("stranger = stranger:make", "raise RuntimeError('boom')", "`stranger` among `notifiers`.*RuntimeError: boom"),
        ("stranger = stranger:absent", "", "AttributeError"),
        ("console = stranger:make", "make = None", "`console` among `notifiers` is offered twice"),
    ],
)
def test_a_broken_plugin_stops_start_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, body: str, said: str
) -> None:
    install(tmp_path, monkeypatch, entry, body)
    with pytest.raises(PluginError, match=said):
        Delivery(Notifications(console=False))


def test_an_unknown_plugin_is_named_with_what_there_is() -> None:
    with pytest.raises(PluginError, match="no plugin `pigeon` among `notifiers`; there are apprise, console"):
        registry.load("notifiers", "pigeon")
    with pytest.raises(PluginError, match="no plugin family `birds`"):
        registry.names("birds")
