"""What a durable workflow is written against: its steps, and the place where workflows are registered and started.

`mendline.durable` is the real thing, `mendline.testing.direct_durable` the fake; this file costs nothing to import.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol, TypeVar

from mendline.errors import MendlineError, PluginError
from mendline.incident import from_json, to_json

T = TypeVar("T")
WorkflowFunction = Callable[..., None]


def answer_of(name: str, function: Callable[[], Any], returns: Any) -> str:
    """Call a step's function and write its answer as JSON that is known to read back. For engines of workflows.

    Raises: `MendlineError` and nothing else: a step is where foreign code ends, and what a bug in it raised must be
    journaled and escalated like any other failure, not end the workflow unseen.
    """
    kind = kind_of(returns)
    try:
        answer = function()
        text = to_json(None if returns is None else answer, kind)
        from_json(kind, text)
    except MendlineError:
        raise
    except Exception as error:
        logging.getLogger(__name__).exception("step `%s` failed in an unforeseen way", name)
        raise PluginError(
            f"step `{name}` failed in an unforeseen way: {type(error).__name__}: {error}; "
            "the traceback is in the log of this process",
            operation=name,
        ) from error
    return text


def kind_of(returns: Any) -> Any:
    """The type that `returns` stands for."""
    return type(None) if returns is None else returns


class Steps(Protocol):
    """What a workflow may do that takes effect or time; everything else in its body must be pure.

    After a crash the body runs again from its top, and each finished step answers from the journal. So the body must ask
    for the same steps in the same order, given the same answers.
    """

    @property
    def workflow_id(self) -> str:
        """The id that this workflow was started with."""
        ...

    def run(self, name: str, function: Callable[[], T], returns: Any = None) -> T:
        """Call `function` and journal its answer; answer from the journal when it is there.

        At-least-once: a crash before the answer is journaled repeats the call, so its effects must be idempotent.
        `returns` is the answer's type (as annotations write it), None when its answer is not wanted. It is read
        back from its JSON before it is given, so that the first run and a replay see equal values. At most as many
        steps run at once as there are workers.

        Raises: the `MendlineError` that `function` raised, with its type and fields, and `PluginError` for any other
        exception or for an answer of another type than `returns`; after a replay, too.
        """
        ...

    def sleep(self, seconds: float) -> None:
        """Sleep until `seconds` after the first call; a crash does not begin the time anew. Holds no worker."""
        ...

    def wait(self, topic: str, timeout_s: float) -> Any | None:
        """The oldest value sent on `topic` and not yet taken; None when none came within `timeout_s` of the first call.

        Holds no worker. A value is taken once, also over crashes.
        """
        ...

    def now(self) -> datetime:
        """The time of the first call: journaled, aware, UTC."""
        ...


class Workflows(Protocol):
    """Where workflows are registered and started: `Durable`, or the fake of `mendline.testing`."""

    def workflow(self, name: str) -> Callable[[WorkflowFunction], WorkflowFunction]:
        """Register `function(steps, *arguments)` under a name; before `launch`."""
        ...

    def launch(self) -> None:
        """Begin to work: resume every workflow that has not finished."""
        ...

    def start(self, name: str, workflow_id: str, *arguments: Any) -> None:
        """Start a workflow and return at once; nothing happens when `workflow_id` was ever started.

        `arguments` are JSON values. Raises: `JournalConflict` when the name is not registered, or the id was started
        under another name.
        """
        ...

    def is_finished(self, workflow_id: str) -> bool:
        """Whether a workflow has ended, well or not; False for one that was never started."""
        ...

    def send(self, workflow_id: str, topic: str, value: Any, key: str) -> None:
        """Put a JSON value into a workflow's inbox; a second call with the same `key` changes nothing.

        Works without `launch`, and from another process. Raises: `InputError` when there is no such workflow.
        """
        ...

    def close(self) -> bool:
        """Stop: workflows stay where they are and resume at the next `launch`. Safe to call twice.

        Gives False when a step is still running that did not end in time; it will be repeated at the next launch.
        """
        ...
