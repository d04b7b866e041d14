"""What a person sees of the demo: live progress on a terminal, plain lines elsewhere, then the table and the totals."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mendline.demo.story import Moment, Story, Told
from mendline.demo.totals import Totals

LINES_KEPT = 12
REFRESH_PER_SECOND = 5


class Screen:
    """Shows moments as they come; safe to call from several threads."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._playing: dict[str, tuple[Story, str]] = {}
        self._past: deque[str] = deque(maxlen=LINES_KEPT)
        self._progress = Progress(
            TextColumn("faults"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._task = self._progress.add_task("faults", total=None)

    @contextmanager
    def showing(self, fault_count: int) -> Iterator[None]:
        """Keep the live part on the terminal for as long as the block lasts."""
        self._progress.update(self._task, total=fault_count)
        if not self.console.is_terminal:
            yield
            return
        live = Live(
            get_renderable=self._picture, console=self.console, refresh_per_second=REFRESH_PER_SECOND, transient=True
        )
        with live:
            self._live = live
            yield
            self._live = None

    def note(self, text: str) -> None:
        """Say one line that belongs to no fault."""
        with self._lock:
            self._line(text)

    def begin(self, story: Story) -> None:
        """Show a story, and how far its runs are, until it is told."""
        with self._lock:
            self._playing[story.fault.name] = (story, story.fault.summary)

    def moment(self, moment: Moment) -> None:
        """Show what is going on in one fault's story."""
        with self._lock:
            story, _earlier = self._playing[moment.fault]
            self._playing[moment.fault] = (story, moment.text)
            self._line(f"{moment.fault}: {moment.text}")

    def told(self, told: Told) -> None:
        """Show how one story ended."""
        with self._lock:
            self._playing.pop(told.fault.name, None)
            verdict = "wrong" if told.is_wrong else "as expected"
            harm = ", HARMED" if told.is_harmed else ""
            self._progress.advance(self._task)
            self._line(f"{told.fault.name}: ended {told.outcome} after {told.seconds:.1f} s, {verdict}{harm}")

    def finish(self, told: Sequence[Told], totals: Totals) -> None:
        """Show the table of all faults, what was wrong in full, and one line of totals."""
        self.console.print(_table(told))
        for item in told:
            for line in (*item.complaints, *(f"HARM: {difference}" for difference in item.differences)):
                self.console.print(Text(f"{item.fault.name}: {line}"))
        style = "bold red" if totals.wrong or totals.harmed else "bold green"
        self.console.print(
            Text(
                f"{totals.resolved} of {totals.remediable} remediable faults resolved without a human, "
                f"{totals.escalated} escalated, {totals.wrong} wrong, {totals.harmed} harmed ({totals.faults} faults)",
                style=style,
            )
        )

    def _line(self, text: str) -> None:
        if self._live is None:
            self.console.print(Text(text))
            return
        self._past.append(text)

    def _picture(self) -> Group:
        playing = [
            Text.assemble((name, "cyan"), f"  {text}  ", (story.progress(), "dim"))
            for name, (story, text) in list(self._playing.items())
        ]
        return Group(*(Text(line, style="dim") for line in list(self._past)), Text(), *playing, self._progress)


def _table(told: Sequence[Told]) -> Table:
    table = Table(title="What was expected and what happened", title_justify="left")
    for heading in ("fault", "expected type", "found type", "expected outcome", "outcome"):
        table.add_column(heading, overflow="fold")
    table.add_column("seconds", justify="right")
    table.add_column("warehouse")
    for item in told:
        fault = item.fault
        table.add_row(
            fault.name,
            fault.expected_type.value if fault.expected_type else "-",
            item.found_type or "-",
            " or ".join(fault.expected_outcomes),
            Text(item.outcome, style="red" if item.is_wrong else "green"),
            f"{item.seconds:.1f}",
            Text("harmed" if item.is_harmed else "right", style="red" if item.is_harmed else "green"),
        )
    return table
