"""The queue of this machine over the workbench: what runs by way of it, what waits and in which order, what failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static
from textual.worker import Worker

from kladml_core.errors import KladMLError
from kladml_core.runs import queue
from kladml_core.runs.processes import host_name
from kladml_core.runs.queue_list import Entry, entries, is_paused
from kladml_core.settings import Settings
from kladml_tui import faults
from kladml_tui.messages import Chosen, Moved
from kladml_tui.run_actions import BY
from kladml_tui.text import notice, one_line
from kladml_tui.widgets.key_bar import KeyBar
from kladml_tui.widgets.queue_table import QueueTable

if TYPE_CHECKING:
    from kladml_tui.screens.ask import Ask

LOOK_SECONDS = 1.0

_KEYS: list[BindingType] = [
    Binding("K", "move(-1)", "Sooner", tooltip="Have it start one place sooner.", id="queue.sooner"),
    Binding("J", "move(1)", "Later", tooltip="Have it start one place later.", id="queue.later"),
    Binding("x", "remove", "Remove", tooltip="Take it out of the queue; asks you first.", id="queue.remove"),
    Binding("r", "retry", "Try again", tooltip="Have what failed wait again.", id="queue.retry"),
    Binding("p", "pause", "Pause/run", tooltip="Start nothing more, or go on.", id="queue.pause"),
    Binding("escape,q,Q", "close", "Close", key_display="q", id="queue.close"),
]


@dataclass(frozen=True)
class _Seen:
    """The queue at one moment."""

    entries: tuple[Entry, ...]
    paused: bool


class QueueScreen(Screen[str]):
    """The queue; dismissed with the reference of the run to go to, or an empty string.

    Args:
        settings: those of the workspace.
    """

    CSS_PATH = "queue_screen.tcss"
    BINDINGS = _KEYS
    AUTO_FOCUS = "#queue"

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._seen = _Seen((), False)

    def compose(self) -> ComposeResult:
        """A line on it all, the table, the keys."""
        yield Static(id="summary")
        yield QueueTable(id="queue")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Looks at once and then every second."""
        self._look()
        self.set_interval(LOOK_SECONDS, self._look)

    @property
    def table(self) -> QueueTable:
        """The rows."""
        return self.query_one(QueueTable)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what waits is moved, only what failed is tried again, and others' items are left alone."""
        if action not in ("move", "remove", "retry"):
            return True
        entry = self.table.current if self.is_mounted else None
        if entry is None or not entry.item.mine:
            return False
        failed = entry.state == "failed"
        return {"move": entry.place is not None, "remove": entry.place is not None or failed, "retry": failed}[action]

    @work(group="look", exclusive=True, exit_on_error=False)
    async def _look(self) -> None:
        self._show(await asyncio.to_thread(_read, self._settings))

    def _show(self, seen: _Seen) -> None:
        self._seen = seen
        self.table.show(seen.entries)
        waiting = sum(entry.place is not None for entry in seen.entries)
        failed = sum(entry.state == "failed" for entry in seen.entries)
        parts: list[tuple[str, str]] = [(f" Queue of {one_line(host_name())}", "$primary bold")]
        if not seen.entries:
            parts.append(("   It is empty: T on a config puts one in.", "$muted"))
        else:
            running = len(seen.entries) - waiting - failed
            parts.append((f"   {running} running · {waiting} waiting · {failed} failed", ""))
        if seen.paused:
            parts.append(("   paused: p goes on", "$warning"))
        self.query_one("#summary", Static).update(Content.assemble(*parts))
        self.refresh_bindings()

    @on(Moved)
    def _moved(self) -> None:
        self.refresh_bindings()

    @on(Chosen)
    def _chosen(self) -> None:
        entry = self.table.current
        if entry is not None:
            self.dismiss(entry.reference)

    def action_close(self) -> None:
        """Back to the workbench."""
        self.dismiss("")

    @work(group="queue", exit_on_error=False)
    async def action_move(self, places: int) -> None:
        """Has what the cursor is on start sooner or later."""
        entry = self.table.current
        if entry is not None and entry.place is not None:
            place = entry.place + places
            await self._do(lambda: queue.move(self._settings.data, entry, place), "Not moved")

    @work(group="queue", exit_on_error=False)
    async def action_remove(self) -> None:
        """Asks, then takes it out."""
        entry = self.table.current
        if entry is None:
            return
        then = "It stops before it began." if entry.place is not None else "The run stays as it is."
        if await self.app.push_screen_wait(_question(entry, then)) == "x":
            await self._do(lambda: queue.remove(self._settings.data, entry), "Not removed")

    @work(group="queue", exit_on_error=False)
    async def action_retry(self) -> None:
        """Has what failed wait again."""
        entry = self.table.current
        if entry is not None:
            await self._do(lambda: queue.retry(entry, workspace=self._settings.root, by=BY), "Not tried again")

    @work(group="queue", exit_on_error=False)
    async def action_pause(self) -> None:
        """Pauses the queue, or ends its pause."""
        if self._seen.paused:
            await self._do(lambda: queue.proceed(self._settings), "It does not go on")
        else:
            await self._do(lambda: queue.pause(self._settings.data), "Not paused")

    async def _do(self, act: Callable[[], object], title: str) -> None:
        try:
            await asyncio.to_thread(act)
        except KladMLError as error:
            notice(self.app, error, "error", title=title)
        self._look()

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        faults.tell(self.app, event)


def _question(entry: Entry, then: str) -> Ask:
    from kladml_tui.screens.ask import Ask

    return Ask(f"Take {entry.reference} out of the queue?\n\n{then}", [("x", "take it out")])


def _read(settings: Settings) -> _Seen:
    return _Seen(entries(settings.data), is_paused(settings.data))
