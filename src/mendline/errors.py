"""One small tree of errors; the type says what the caller should do.

A message says what failed (named in backticks), what was found against what was expected, and the next step.
Errors carry fields (`system`, `operation`, `run_id`), never secrets.
"""

from __future__ import annotations


class MendlineError(Exception):
    """The root of every error that Mendline raises on purpose."""

    def __init__(
        self,
        message: str,
        *,
        system: str | None = None,
        operation: str | None = None,
        run_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.system = system
        self.operation = operation
        self.run_id = run_id


class ConfigError(MendlineError):
    """A person must edit a file or a command line; exit code 2."""


class InputError(MendlineError):
    """What a person handed in (a file, an id) cannot be used; exit code 2."""


class Unavailable(MendlineError):
    """Transient: the same call may succeed later."""


class Rejected(MendlineError):
    """Permanent: the other side refused (authentication, bad request)."""


class NotSupported(MendlineError):
    """This adapter cannot do it, and never will by retrying."""


class RefusedByPolicy(MendlineError):
    """The policy does not allow this step; a person must decide."""


class NotFixed(MendlineError):
    """A repair was applied and the fault remains."""


class JournalConflict(MendlineError):
    """Another worker holds it, or the code and the journal differ."""


class Superseded(JournalConflict):
    """This worker's incidents have gone to another worker; whatever it still does must have no effect."""


class PluginError(MendlineError):
    """A plugin is missing or broken; start-up stops."""
