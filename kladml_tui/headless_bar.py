"""The headless console on a terminal: a progress bar with live metrics, a line an event, and a summary at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from rich.console import Console as RichConsole
from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kladml_core.backends.console_publisher import event_line
from kladml_core.runs.consoles import best_text, ending, output_text, warning_text, watch_hint
from kladml_core.runs.event_text import figure, metrics_text
from kladml_core.runs.plain import inert
from kladml_core.runs.status import RunStatus
from kladml_tui.cli_shared import clock

REFRESH_SECONDS = 0.125
RATE_SECONDS = 20.0
"""The stretch of time over which the pace, and from it the ETA, is measured."""

_STYLES = {
    "checkpoint_saved": "green",
    "new_best": "bold green",
    "run_finished": "bold green",
    "run_stopped": "yellow",
    "stop_requested": "yellow",
    "early_stopping": "yellow",
    "checkpoint_failed": "red",
    "checkpoint_rejected": "red",
    "non_finite": "red",
    "run_failed": "bold red",
    "run_lost": "bold red",
}
# An epoch's end repeats what the bar shows at that moment; an old checkpoint's removal is the rule and no news.
_UNSAID = frozenset({"epoch_finished", "checkpoint_removed"})


class BarConsole:
    """Draws on a terminal; colours follow NO_COLOR, all text of the run is inert."""

    def __init__(self, stream: TextIO) -> None:
        self._console = _Terminal(file=stream, highlight=False, markup=False, emoji=False)
        self._values: dict[str, Any] = {}
        self._status = RunStatus(status="starting")
        self._paces: list[tuple[float, int]] = []
        self._drawn = 0.0
        self._warned: list[str] = []
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()

    def message(self, channel: str, message: Mapping[str, Any]) -> None:
        """Prints an event above the bar; metrics go into the bar."""
        if channel == "metrics":
            self._values.update(message["values"])
        elif channel == "events" and message.get("kind") not in _UNSAID and message.get("message") not in self._warned:
            self._console.print(Text(event_line(message), style=_STYLES.get(str(message.get("kind")), "")))

    def tick(self, status: RunStatus | None) -> None:
        """Draws the bar anew."""
        now = time.monotonic()
        if status is not None:
            self._status = status
            if not self._paces or self._paces[-1][1] != status.step:
                self._paces.append((now, status.step))
            while len(self._paces) > 2 and self._paces[0][0] < now - RATE_SECONDS:
                del self._paces[0]
        if now - self._drawn >= REFRESH_SECONDS:
            self._drawn = now
            self._live.update(self._bar(), refresh=True)

    def say(self, text: str) -> None:
        """Prints a sentence above the bar."""
        self._console.print(Text(inert(text, newlines=True), style="yellow"))

    def warn(self, text: str) -> None:
        """Says it now, and not a second time when its event comes."""
        self._warned.append(text)
        self.say(warning_text(text))

    def detached(self, run: str, status: str, path: Path) -> None:
        """Says how to watch it."""
        self.say(watch_hint(run, status))

    def last_output(self, lines: Sequence[str]) -> None:
        """Says them indented."""
        self.say(output_text(lines))

    def end(self, terminal: Mapping[str, Any] | None) -> None:
        """Takes the bar away and prints the summary."""
        self._live.update(Text(""))
        self._live.stop()
        if terminal is not None:
            self._console.print(self._summary(terminal))

    def _bar(self) -> RenderableType:
        status = self._status
        parts: list[RenderableType] = [Text(inert(f"{status.phase or status.status}"), style="bold", no_wrap=True)]
        if status.total_epochs:
            parts.append(
                Text(f"epoch {min(status.epoch + 1, status.total_epochs)}/{status.total_epochs}", no_wrap=True)
            )
        total = status.total_steps or None
        done = min(status.step, total) if total else status.step
        parts.append(ProgressBar(total=total, completed=done, pulse=total is None, width=None))
        parts.append(Text(f"step {status.step}/{total}" if total else f"step {status.step}", no_wrap=True))
        parts.append(Text(clock(status.seconds), no_wrap=True))
        left = self._seconds_left()
        if left is not None:
            parts.append(Text(f"ETA {clock(left)}", no_wrap=True))
        grid = Table.grid(padding=(0, 1), expand=True)
        for part in parts:
            grid.add_column(ratio=1 if isinstance(part, ProgressBar) else None, no_wrap=True)
        grid.add_row(*parts)
        values = Text(metrics_text(self._values), no_wrap=True, overflow="ellipsis", style="cyan")
        return Group(grid, values)

    def _seconds_left(self) -> float | None:
        status = self._status
        if not status.total_steps or len(self._paces) < 2:
            return None
        (start, first), (end, last) = self._paces[0], self._paces[-1]
        if last <= first or end <= start:
            return None
        since = time.monotonic() - end
        return max(0.0, (status.total_steps - last) * (end - start) / (last - first) - since)

    def _summary(self, terminal: Mapping[str, Any]) -> RenderableType:
        kind = str(terminal.get("kind", ""))
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", no_wrap=True)
        rows.add_column(overflow="fold")
        if terminal.get("run"):
            rows.add_row("run", Text(inert(str(terminal["run"]))))
        if terminal.get("exit_code"):
            rows.add_row("end", Text(ending(terminal), style=_STYLES.get(kind, "")))
        else:
            rows.add_row("end", Text("finished", style=_STYLES.get(kind, "")))
        if terminal.get("seconds") is not None:
            rows.add_row("time", Text(clock(terminal["seconds"])))
        best = best_text(terminal)
        if best:
            rows.add_row("best", Text(best, style="green"))
        metrics = terminal.get("metrics")
        for name, value in sorted(metrics.items()) if isinstance(metrics, Mapping) else ():
            rows.add_row(Text(inert(str(name))), Text(figure(value)))
        title = Text(inert(kind.removeprefix("run_")), style=_STYLES.get(kind, ""))
        return Panel(rows, title=title, title_align="left", border_style=_STYLES.get(kind, ""), expand=False)


class _Terminal(RichConsole):
    """A rich console that tells its caller of a closed pipe instead of leaving the process."""

    def on_broken_pipe(self) -> NoReturn:
        """Raises what rich has caught."""
        raise BrokenPipeError
