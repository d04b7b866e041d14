"""Forked processes with a pipe each way; loaded by `dagster_host.py`, needs the standard library only."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from typing import IO

STDERR_TAIL_BYTES = 2000
MOST_FILES = 4096


class Child:
    """A forked process and the end of the pipe that its answers arrive on."""

    def __init__(self, work: Callable[[IO[str], IO[str]], None], request_id: int | None = None) -> None:
        self.request_id = request_id
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        here_in, there_out = os.pipe()
        there_in, here_out = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._become(work, there_in, there_out)
        os.close(there_in)
        os.close(there_out)
        self.fd = here_in
        self.requests = os.fdopen(here_out, "w")
        self._buffer = b""

    def _become(self, work: Callable[[IO[str], IO[str]], None], requests: int, answers: int) -> None:
        """Never returns. Nothing of the parent stays open: a child must not keep the parent's pipes alive."""
        status = 1
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            for fd in (1, 2):
                os.dup2(self._output.fileno(), fd)
            keep = sorted((requests, answers))
            for low, high in zip([2, *keep], [*keep, MOST_FILES], strict=True):
                os.closerange(low + 1, high)
            with os.fdopen(requests) as source, os.fdopen(answers, "w") as sink:
                work(source, sink)
            status = 0
        except BrokenPipeError:
            status = 0  # whoever asked is gone; the work is done all the same
        finally:
            sys.stderr.flush()
            os._exit(status)

    def lines(self) -> tuple[list[bytes], bool]:
        """The whole lines that have arrived, and whether the child's end is closed."""
        data = os.read(self.fd, 1 << 16)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return lines, not data

    def end(self) -> str:
        """Wait for a child whose pipe is closed and say how it ended, with the end of what it wrote."""
        os.close(self.fd)
        self.requests.close()
        _, status = os.waitpid(self.pid, 0)
        self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - STDERR_TAIL_BYTES))
        tail = self._output.read().decode("utf-8", "replace").strip()
        self._output.close()
        return f"ended with status {os.waitstatus_to_exitcode(status)}" + (f": {tail}" if tail else "")
