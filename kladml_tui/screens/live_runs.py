"""What was read and followed of runs, carried to the list and to the run's view."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import on, work
from textual.timer import Timer

from kladml_tui.messages import RowsWanted
from kladml_tui.screens.view_keys import ViewKeys

if TYPE_CHECKING:
    from kladml_tui.look import RunState
    from kladml_tui.monitor import Batch, Monitor
    from kladml_tui.news import News
    from kladml_tui.run_line import RunLine
    from kladml_tui.run_store import RunStore

SETTLE_SECONDS = 0.12
"""How long the cursor must rest on a run before its curves are read."""


class LiveRuns(ViewKeys):
    """The list shows the newest of the runs in sight, the run's view that of the run under the cursor."""

    monitor: Monitor
    count_live: Callable[[], None]
    _news: News

    def __init__(self) -> None:
        super().__init__()
        self._shown: str | None = None
        self._settling: Timer | None = None

    def run_changed(self) -> None:
        """The cursor of the list may be on another run: the run's view follows it."""
        run = self.runs.current
        reference = run.reference if run is not None else None
        self.refresh_bindings()
        if reference == self._shown:
            return
        self._shown = reference
        self.view.show_run(run, self.runs.line_of(reference or ""))
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(SETTLE_SECONDS, self._settled)

    def _settled(self) -> None:
        from kladml_tui.run_line import from_snapshot  # not needed before the first frame

        run = self.runs.current
        self.monitor.show(run)
        if run is not None and (snapshot := self.monitor.snapshot(run.reference)) is not None:
            self.view.show_snapshot(snapshot)
            self._show_lines([from_snapshot(snapshot, self.runs.line_of(run.reference))])
        self.remember()

    @on(RowsWanted)
    def _rows_wanted(self, message: RowsWanted) -> None:
        self._read_rows(message.references)

    @work(group="rows", exit_on_error=False)
    async def _read_rows(self, references: tuple[str, ...]) -> None:
        store, states, params = self.store, self.look.states, self.columns_ask_params
        self._show_lines(await asyncio.to_thread(_read_lines, store, references, states, params))

    def read_again(self, reference: str) -> None:
        """What is written on a run has changed."""
        self._read_rows((reference,))
        self.choose()

    def _show_lines(self, lines: list[RunLine]) -> None:
        from kladml_tui.run_line import from_snapshot

        # What is followed is newer than what was read, but for what only the files tell.
        lines = [
            line if (snapshot := self.monitor.snapshot(line.reference)) is None else from_snapshot(snapshot, line)
            for line in lines
        ]
        self.runs.show_lines(lines)
        for line in lines:
            if line.reference == self._shown:
                self.view.show_line(line)
                self.refresh_bindings()

    def drain(self) -> None:
        """Shows what was followed since the last time."""
        from kladml_tui.run_line import from_snapshot

        # The timers go on while the widgets are taken down.
        batch = self.monitor.drain() if self.app.is_running else None
        if batch is None:
            return
        lines = []
        for reference in batch.changed:
            snapshot = self.monitor.snapshot(reference)
            if snapshot is None:
                continue
            known = self.runs.line_of(reference)
            lines.append(from_snapshot(snapshot, known))
            if reference == self._shown:
                self.view.show_snapshot(snapshot)
        self._show_lines(lines)
        if self._shown in batch.checkpoints:
            self.view.checkpoints_changed()
        in_sight = self.app.screen is self and self.view.is_on_screen
        self._news.take(batch, self.look.states, self.monitor.snapshot, self._shown if in_sight else None)
        self._take_statuses(batch)

    def _take_statuses(self, batch: Batch) -> None:
        if not batch.statuses:
            return
        from kladml_core.runs.status import LIVE  # not needed before the first frame

        states = dict(self.look.states)
        for message in batch.statuses:
            known = states.get(message["run"])
            if known is not None:
                status, word = message["status"], message.get("word", message["status"])
                states[message["run"]] = replace(
                    known, status=status, live=status in LIVE, standstill=word if word != status else ""
                )
        if states != self.look.states:
            self.look = replace(self.look, states=states)
            self.nodes.show(self.look)
            self.count_live()


def _read_lines(
    store: RunStore, references: tuple[str, ...], states: Mapping[str, RunState], params: bool
) -> list[RunLine]:
    from kladml_tui.run_line import from_row

    return [from_row(row) for row in store.read(references, states, params=params)]
