"""What the app says of its own accord about runs: that one ended, stands still, or gives values that are no numbers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
SMALL_ROWS = 30
"""Below so many lines a screen is small."""
MOST_AT_ONCE = 3
"""Of more news at one time only the number is told: the list of runs says the rest."""
_WORDS: dict[str, tuple[str, Severity]] = {
    "run_finished": ("finished", "information"),
    "run_stopped": ("stopped", "information"),
    "run_failed": ("failed", "error"),
    "run_lost": ("was lost", "error"),
    "non_finite": ("is not finite", "warning"),
    "run_stalled": ("stands still", "warning"),
}
_ENDS = frozenset({"run_finished", "run_stopped", "run_failed", "run_lost"})
_RANKS: tuple[Severity, ...] = ("error", "warning", "information")


class News:
    """Says each piece of news once, and rings where kladml.yaml wants it."""

    def __init__(self, app: App[Any], *, bell: bool) -> None:
        self._app = app
        self._bell = bell
        self._rang = -BELL_SECONDS
        self._opened = time.time()
        self._said: set[tuple[Any, ...]] = set()

    def take(
        self,
        batch: Batch,
        states: Mapping[str, RunState],
        snapshot: Callable[[str], RunSnapshot | None],
        shown: str | None,
    ) -> None:
        """Tells what is new in a batch. What happened before the app was opened is no news.

        Args:
            batch: what was followed.
            states: what was known of each run before.
            snapshot: the newest of a run.
            shown: the run that the person looks at, which tells its news itself; it rings all the same.
        """
        if not batch.news:
            return
        from kladml_core.runs.notices import is_news  # not needed before the first frame

        told = [event for event in batch.news if self._is_new(event, states, snapshot(event["run"]))]
        self._tell([event for event in told if event["run"] != shown])
        if self._bell and any(map(is_news, told)) and time.monotonic() - self._rang >= BELL_SECONDS:
            self._rang = time.monotonic()
            self._app.bell()

    def _is_new(self, event: Mapping[str, Any], states: Mapping[str, RunState], seen: RunSnapshot | None) -> bool:
        if seen is not None and seen.status.attempt != event.get("attempt", seen.status.attempt):
            return False
        mark = (event["run"], event.get("attempt"))
        if event["kind"] in _ENDS:
            known, told = states.get(event["run"]), (*mark, "end") in self._said
            self._said.add((*mark, "end"))
            # The list of runs may have come to know of the end before its event was read.
            late = not told and event.get("time", 0.0) >= self._opened
            return known is not None and (known.live or late)
        if event.get("time", 0.0) < self._opened or (event["kind"] == "non_finite" and mark in self._said):
            return False
        if event["kind"] == "non_finite":
            self._said.add(mark)  # a run that skips such steps would say it over and over
        return True

    def _tell(self, events: Sequence[Mapping[str, Any]]) -> None:
        short = SMALL_SECONDS if self._app.size.height < SMALL_ROWS else None
        if len(events) > MOST_AT_ONCE:
            counts = Counter(_WORDS[event["kind"]] for event in events)
            severity = min((severity for _, severity in counts), key=_RANKS.index)
            text = ", ".join(f"{count} × {word}" for (word, _), count in counts.items())
            notice(self._app, text, severity, title=f"{len(events)} runs", timeout=short)
            return
        for event in events:
            word, severity = _WORDS[event["kind"]]
            reason = f": {event['reason']}" if event.get("reason") else ""
            title = "" if short else f"Run {word}"
            notice(self._app, f"{event['run']} {word}{reason}", severity, title=title, timeout=short)
