"""What the app says of its own accord about runs: that one ended, stands still, or gives values that are no numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kladml_tui.text import Severity, notice

if TYPE_CHECKING:
    from textual.app import App

    from kladml_core.runs.follow import RunSnapshot
    from kladml_tui.look import RunState
    from kladml_tui.monitor import Batch

BELL_SECONDS = 1.0
"""The bell rings at most this often: a queue of runs that fail at once is one noise, not fifty."""
SMALL_SECONDS = 3.0
"""How long a notice stays on a screen on which it covers a good part of the chart."""
_SMALL_ROWS = 30
_WORDS: dict[str, tuple[str, Severity]] = {
    "run_finished": ("finished", "information"),
    "run_stopped": ("stopped", "information"),
    "run_failed": ("failed", "error"),
    "run_lost": ("was lost", "error"),
    "non_finite": ("is not finite", "warning"),
    "run_stalled": ("stands still", "warning"),
}
_ENDS = frozenset({"run_finished", "run_stopped", "run_failed", "run_lost"})


class News:
    """Says each piece of news once, and rings where kladml.yaml wants it."""

    def __init__(self, app: App[Any], *, bell: bool) -> None:
        self._app = app
        self._bell = bell
        self._rang = -BELL_SECONDS
        self._opened = time.time()
        self._said: set[tuple[str, Any, str]] = set()

    def take(self, batch: Batch, states: Mapping[str, RunState], snapshot: Callable[[str], RunSnapshot | None]) -> None:
        """Tells what is new in a batch. What happened before the app was opened is no news."""
        for event in batch.news:
            known, seen = states.get(event["run"]), snapshot(event["run"])
            of_now = seen is None or seen.status.attempt == event.get("attempt", seen.status.attempt)
            ended = event["kind"] in _ENDS
            live = known is not None and known.live
            if of_now and (live if ended else event.get("time", 0.0) >= self._opened):
                self._say(event)

    def _say(self, event: Mapping[str, Any]) -> None:
        mark = (event["run"], event.get("attempt"), event["kind"])
        if event["kind"] == "non_finite" and mark in self._said:
            return
        self._said.add(mark)
        word, severity = _WORDS[event["kind"]]
        reason = f": {event['reason']}" if event.get("reason") else ""
        small = SMALL_SECONDS if self._app.size.height < _SMALL_ROWS else None
        notice(self._app, f"{event['run']} {word}{reason}", severity, title=f"Run {word}", timeout=small)
        if self._bell:
            self._ring(event)

    def _ring(self, event: Mapping[str, Any]) -> None:
        from kladml_core.runs.notices import is_news  # not needed before the first frame

        if is_news(event) and time.monotonic() - self._rang >= BELL_SECONDS:
            self._rang = time.monotonic()
            self._app.bell()
