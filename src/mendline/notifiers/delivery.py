"""Writes the report of a closed incident and tells people; a message that does not arrive never stops an incident."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mendline import registry
from mendline.config import Notifications
from mendline.errors import MendlineError
from mendline.incident import Incident, LogExcerpt, Outcome
from mendline.notifiers.base import Notifier
from mendline.report.escape import clean, cut, markdown_prose
from mendline.report.markdown import render
from mendline.stores.base import IncidentRecord

LOG = logging.getLogger("mendline.notifiers")


class Delivery:
    """Delivers to every notifier that the configuration asks for (or to `notifiers`, when given).

    Raises on construction: `ConfigError` for settings a notifier cannot use, `PluginError` for a broken plugin.
    """

    def __init__(self, notifications: Notifications, notifiers: Sequence[Notifier] | None = None) -> None:
        self._outcomes = frozenset(notifications.on)
        self._notifiers = tuple(notifiers) if notifiers is not None else _configured(notifications)

    def deliver(self, incident: Incident, log: LogExcerpt, outcome: Outcome) -> str:
        """Render the report, send it if its outcome is one that people want to hear of, and give it back.

        Whoever could not be told is named at the end of the report that is given back, with the reason.
        """
        record = IncidentRecord(incident=incident, phase="closed", updated_at=outcome.ended_at, outcome=outcome)
        report = render(record, log)
        if outcome.kind.value not in self._outcomes:
            return report
        title = f"Incident {incident.id}: {cut(clean(outcome.headline), 200)}"
        failures = [said for notifier in self._notifiers if (said := _tell(notifier, title, report, outcome))]
        return "\n".join([report, *(f"Not delivered: {markdown_prose(said)}" for said in failures)])


def _configured(notifications: Notifications) -> tuple[Notifier, ...]:
    made = (plugin(notifications) for plugin in registry.load_all("notifiers").values())
    return tuple(notifier for notifier in made if notifier is not None)


def _tell(notifier: Notifier, title: str, report: str, outcome: Outcome) -> str:
    """Why the notifier could not deliver; "" when it did."""
    try:
        notifier.deliver(title, report, outcome.kind)
    except MendlineError as error:
        LOG.warning("`%s` did not deliver `%s`: %s", notifier.name, title, error)
        return f"by `{notifier.name}`: {error}"
    except Exception as error:  # a notifier is foreign code, and a terminal may be gone: neither may stop an incident
        LOG.exception("`%s` did not deliver `%s`", notifier.name, title)
        return f"by `{notifier.name}`: {type(error).__name__}: {error}"
    return ""
