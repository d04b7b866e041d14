"""Tells any of the services that Apprise knows, by URL: mail, chat, pagers, webhooks."""

from __future__ import annotations

from collections.abc import Sequence

import apprise

from mendline.config import Notifications
from mendline.errors import ConfigError, Unavailable
from mendline.incident import OutcomeKind

TIMEOUT_S = 20.0


class Apprise:
    """Hands each report to every configured Apprise URL.

    Raises on construction: `ConfigError` for a URL that Apprise does not understand; the URL's secrets are not shown.
    """

    name = "apprise"

    def __init__(self, urls: Sequence[str], *, timeout_s: float = TIMEOUT_S) -> None:
        # In memory: nothing of ours is kept in the home directory of whoever runs us.
        self._apprise = apprise.Apprise(asset=apprise.AppriseAsset(storage_mode="memory", async_mode=False))
        self._timeout_s = timeout_s
        for position, url in enumerate(urls):
            if not self._apprise.add(url):
                scheme = url.split("://", maxsplit=1)[0] if "://" in url else "no scheme"
                raise ConfigError(
                    f"key `notifications.apprise.{position}` is not a URL that Apprise understands (`{scheme}`);"
                    " see https://appriseit.com/services/ for the form"
                )

    def deliver(self, title: str, markdown: str, outcome: OutcomeKind) -> None:
        urgency = {
            OutcomeKind.RESOLVED: apprise.NotifyType.SUCCESS,
            OutcomeKind.RECOVERED: apprise.NotifyType.INFO,
            OutcomeKind.AWAITING_APPROVAL: apprise.NotifyType.WARNING,
            OutcomeKind.ESCALATED: apprise.NotifyType.FAILURE,
        }[outcome]
        result = self._apprise.notify(
            title=title,
            body=markdown,
            notify_type=urgency,
            body_format=apprise.NotifyFormat.MARKDOWN.value,
            timeout=self._timeout_s,
        )
        failed = [f"`{service.name}` ({service.status.name.lower()})" for service in result if not service]
        if failed or not result:
            # Apprise says that a service did not take the message, not why: another try may help.
            raise Unavailable(
                f"{', '.join(failed) or 'no service'} did not take the message; look at the URLs in"
                " `notifications.apprise`",
                system="apprise",
                operation="deliver",
            )


def from_config(notifications: Notifications) -> Apprise | None:
    """Apprise, when `notifications.apprise` has URLs."""
    return Apprise(notifications.apprise) if notifications.apprise else None
