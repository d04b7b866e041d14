"""What Mendline writes itself: no secret, no terminal sequence, and no notifier that can stop an incident."""

from __future__ import annotations

import logging
import sys

from mendline.config import Notifications
from mendline.hands import NOTHING_KNOWN
from mendline.incident import OutcomeKind
from mendline.notifiers.delivery import Delivery
from mendline.redaction import Redactor
from mendline.surfaces.service import SafeFormatter
from mendline.testing.values import an_incident, an_outcome


def test_a_traceback_in_our_log_has_no_secret_and_no_terminal_sequence() -> None:
    try:
        raise ValueError("cannot connect to postgresql://loader:hunter2hunter2@db/x \x1b]0;owned\x07\x1b[2J")
    except ValueError:
        record = logging.LogRecord("mendline", logging.ERROR, "f", 1, "it failed", (), sys.exc_info())
    said = SafeFormatter(Redactor()).format(record)
    assert "hunter2" not in said
    assert "\x1b" not in said
    assert "Traceback" in said
    assert len(said.splitlines()) > 3


class Broken:
    name = "broken"

    def deliver(self, title: str, markdown: str, outcome: OutcomeKind) -> None:
        raise BrokenPipeError("nobody reads the terminal any more")


def test_a_notifier_that_breaks_does_not_keep_an_incident_from_its_end() -> None:
    delivery = Delivery(Notifications(on=("escalated",)), [Broken()])
    report = delivery.deliver(an_incident(incident_id="1"), NOTHING_KNOWN.log, an_outcome(OutcomeKind.ESCALATED))
    assert "Not delivered" in report
    assert "BrokenPipeError" in report
