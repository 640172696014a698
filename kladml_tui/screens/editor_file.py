"""A screen that edits one file: reads it, saves it whole, and minds what other programs do to it meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual import work
from textual.message import Message
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from kladml_core.errors import KladMLError
from kladml_tui.config_check import workspace_of
from kladml_tui.edited_file import EditedFile, unhidden
from kladml_tui.screens.ask import Ask
from kladml_tui.text import notice
from kladml_tui.widgets.yaml_area import YamlArea

LOOK_EVERY = 2.0
"""Seconds between looks at what others did to the file."""


class FileScreen(Screen[None]):
    """The part of the editor that deals with the disk; what is on the screen is its heir's.

    Args:
        path: the file; a missing one is made when it is first saved.
        workspace: where it belongs to; found from the file when None.
        draft: the text of a file that is yet to be made.
    """

    @dataclass
    class Saved(Message):
        """The file was written."""

        path: Path

    def __init__(self, path: Path, workspace: Path | None, draft: str = "") -> None:
        super().__init__()
        self.path = path
        self.workspace = workspace
        self._draft = draft
        self._file: EditedFile | None = None
        self._told_of: bytes | None = b""
        self._saving = asyncio.Lock()

    @property
    def unsaved(self) -> bool:
        """Whether the text differs from what was last read or saved."""
        return self._file is not None and self._area.text != self._file.text

    @property
    def text(self) -> str:
        """The text as it stands, as it would be saved but for the kind of line ends."""
        return unhidden(self._area.text)

    @property
    def _area(self) -> YamlArea:
        return self.query_one("#text", YamlArea)

    def on_mount(self) -> None:
        """Looks at the disk from time to time."""
        self.set_interval(LOOK_EVERY, self._look)

    def text_shown(self, *, read: bool = False) -> None:
        """Called when the text or its standing on the disk has changed; `read` when it was read from there."""

    @work(group="disk", exit_on_error=False)
    async def read_file(self) -> None:
        """Shows what is on the disk; leaves the screen where it cannot be edited."""
        try:
            file = await asyncio.to_thread(EditedFile.open, self.path, self._draft)
            if self.workspace is None:
                self.workspace = await asyncio.to_thread(workspace_of, self.path)
        except KladMLError as error:
            notice(self.app, error, "error", title="Not opened")
            if self._file is None:
                self.dismiss(None)
            return
        row, column = self._area.cursor_location
        self._file = file
        self._told_of = file.content
        self._area.show_text(file.text)
        self._area.disabled = False
        self._area.move_cursor((min(row, self._area.document.line_count - 1), column))
        if self.focused is None:
            self._area.focus()
        self.text_shown(read=True)

    async def save_file(self) -> bool:
        """Saves, and asks first where another wrote the file meanwhile; whether it is saved now."""
        file = self._file
        if file is None:
            return False
        async with self._saving:
            if await asyncio.to_thread(file.changed_on_disk):
                answers = [("r", "read it again, losing what is typed here"), ("o", "overwrite it with this text")]
                answer = await self.app.push_screen_wait(
                    Ask(f"{self.path.name} was changed by another program.", answers)
                )
                if answer == "r":
                    self.read_file()
                if answer != "o":
                    return False
            text = self._area.text
            try:
                self._file = await asyncio.to_thread(file.save, text)
            except KladMLError as error:
                notice(self.app, error, "error", title="Not saved")
                return False
            self._told_of = self._file.content
        self.text_shown()
        self.post_message(self.Saved(self.path))
        return True

    @work(group="look", exclusive=True, exit_on_error=False)
    async def _look(self) -> None:
        """Follows a change by another program where nothing is unsaved, tells of it once where something is."""
        file = self._file
        if file is None or self._saving.locked() or not await asyncio.to_thread(file.changed_on_disk):
            return
        try:
            there = await asyncio.to_thread(EditedFile.open, self.path)
        except KladMLError:
            return  # saving will say what is the matter
        if file is not self._file or there.content == self._told_of:
            return
        self._told_of = there.content
        if self.unsaved or there.content is None:
            gone = "was removed" if there.content is None else "was changed"
            notice(self.app, f"{self.path.name} {gone} by another program; this text is kept.", "warning")
        else:
            notice(self.app, f"{self.path.name} was changed by another program and read again.")
            self.read_file()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A fault of our own is told, never silent."""
        if event.state is WorkerState.ERROR:
            error: Any = event.worker.error
            notice(self.app, f"{type(error).__name__}: {error}", "error", title="The editor failed at this")
