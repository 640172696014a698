"""The config editor: one YAML file, checked as one types; esc leaves typing, then keys save, launch, undo, close."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult
from textual.message import Message
from textual.reactive import reactive
from textual.timer import Timer
from textual.widgets import Footer, TextArea

from kladml_tui.config_check import Check, check
from kladml_tui.resizing import tell_sizes
from kladml_tui.screens.ask import Ask
from kladml_tui.screens.editor_file import FileScreen
from kladml_tui.screens.editor_help import EditorHelp
from kladml_tui.screens.editor_keys import BINDINGS, COMMANDS, WHILE_TYPING
from kladml_tui.text import notice
from kladml_tui.widgets.editor_bar import EditorBar, EditorState
from kladml_tui.widgets.key_line import KeyLine
from kladml_tui.widgets.problem_list import ProblemList
from kladml_tui.widgets.yaml_area import Marks, YamlArea

CHECK_AFTER = 0.15
"""Seconds without a key before the text is checked."""


class ConfigEditor(FileScreen):
    """Edits one config.

    Args:
        path: the file; a missing one is made when it is first saved.
        workspace: where its targets, datasets and paths are looked up; found from the file when None.
        line: where the cursor stands at first, from 1.
        draft: the text of a file that is yet to be made; closed unsaved and unchanged, it leaves nothing behind.
    """

    CSS_PATH = "editor.tcss"
    AUTO_FOCUS = "#text"
    BINDINGS = BINDINGS

    typing: reactive[bool] = reactive(True, init=False)
    """Whether letters are text; otherwise they are commands."""

    @dataclass
    class LaunchRequested(Message):
        """A person wants a run of this config; it is checked and saved."""

        path: Path

    def __init__(self, path: Path, *, workspace: Path | None = None, line: int | None = None, draft: str = "") -> None:
        super().__init__(path, workspace, draft)
        self._first_line = line
        self._check_timer: Timer | None = None
        self.checked_text: str | None = None
        """The text that the problems on the screen belong to; None before the first check."""

    def compose(self) -> ComposeResult:
        """Name and mode, the text, its problems, the key at the cursor, the keys to press."""
        yield EditorBar(id="bar")
        yield YamlArea(id="text")
        yield ProblemList(id="problems")
        yield KeyLine(id="key")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Reads the file; nothing can be typed before it is there."""
        tell_sizes(self)
        self._problem_list.display = False
        self._area.disabled = True
        self._area.complete_with(self._suggest)
        self._show_bar()
        self.read_file()

    @property
    def _problem_list(self) -> ProblemList:
        return self.query_one("#problems", ProblemList)

    # Checking

    @on(TextArea.Changed)
    def _text_changed(self) -> None:
        self._show_bar()
        if self._check_timer is not None:
            self._check_timer.stop()
        self._check_timer = self.set_timer(CHECK_AFTER, self._check_now)

    @work(group="check", exclusive=True, exit_on_error=False)
    async def _check_now(self) -> None:
        await self._checked()

    async def _checked(self) -> Check:
        """Checks the text as it stands and shows what came of it, unless it has changed meanwhile."""
        text = self.text
        checked = await asyncio.to_thread(check, text, self.path, self.workspace or self.path.parent)
        if text == self.text:
            self.checked_text = text
            findings = checked.findings
            self._problem_list.show_findings(findings)
            self._area.mark(Marks.at((finding.line, finding.column) for finding in findings))
            self._key_line.keys_of = checked.keys_of
            self._show_key()
            self._show_bar()
        return checked

    # What is shown

    @property
    def _key_line(self) -> KeyLine:
        return self.query_one("#key", KeyLine)

    @on(TextArea.SelectionChanged)
    def _show_key(self) -> None:
        row, column = self._area.cursor_location
        self._key_line.show(self._area.document.lines, row, column)

    def _suggest(self) -> str:
        row, column = self._area.cursor_location
        return self._key_line.completion(self._area.document.lines, row, column)

    def text_shown(self, *, read: bool = False) -> None:
        """The bar says how the text stands; one that was just read is checked at once."""
        self._show_bar()
        if read:
            if self._first_line is not None:
                row = min(self._first_line, self._area.document.line_count) - 1
                self._area.move_cursor((row, 0), center=True)
                self._first_line = None
            self._check_now()

    def _show_bar(self) -> None:
        if not self.is_mounted:
            return
        saved = ""
        if self._file is None:
            saved = "reading"
        elif self._file.content is None:
            saved = "new"
        elif self.unsaved:
            saved = "unsaved"
        checked = self._key_line.keys_of is not None
        problems = len(self._problem_list.findings) if checked else None
        self.query_one(EditorBar).show(EditorState(self.path, self.typing, saved, problems))

    def watch_typing(self, typing: bool) -> None:
        """Letters become commands, or text again."""
        self._area.read_only = not typing
        self._area.update_suggestion()
        self._show_bar()
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Which keys mean something in this mode."""
        if action in WHILE_TYPING:
            return self.typing
        return not self.typing if action in COMMANDS else True

    # Commands

    def action_leave_typing(self) -> None:
        """Letters become commands."""
        self.typing = False

    def action_type(self) -> None:
        """Letters become text."""
        self.typing = True
        self._area.focus()

    def action_keys(self) -> None:
        """Shows every key that may stand here, or hides them."""
        self._key_line.toggle()

    action_command_keys = action_keys

    @work(group="disk", exit_on_error=False)
    async def action_save(self) -> None:
        """Writes the file."""
        if await self.save_file():
            notice(self.app, f"{self.path.name} saved.")

    action_save_now = action_save

    @work(group="launch", exclusive=True, exit_on_error=False)
    async def action_launch(self) -> None:
        """Checks, saves and asks for a run of this config."""
        if self._file is None:
            return
        findings = (await self._checked()).findings
        if findings:
            first = findings[0]
            notice(self.app, f"{first.place}: {first.message}", "error", title="Not launched")
            self._go_to(0)
            return
        if self.unsaved or self._file.content is None:
            answer = await self.app.push_screen_wait(
                Ask(f"{self.path.name} is not saved.", [("w", "save it and launch")])
            )
            if answer != "w" or not await self.save_file():
                return
        self.post_message(self.LaunchRequested(self.path))

    @work(group="close", exclusive=True, exit_on_error=False)
    async def action_close(self) -> None:
        """Back to the workbench; asks when there is something unsaved."""
        if self.unsaved:
            answers = [("w", "save it and close"), ("d", "close and lose what is typed")]
            answer = await self.app.push_screen_wait(Ask(f"{self.path.name} is not saved.", answers))
            if answer not in ("w", "d") or (answer == "w" and not await self.save_file()):
                return
        self.dismiss(None)

    def action_undo(self) -> None:
        """Takes back the last edits."""
        self._area.undo()

    def action_redo(self) -> None:
        """Makes them again."""
        self._area.redo()

    def action_move(self, direction: str) -> None:
        """One step with the cursor."""
        getattr(self._area, f"action_cursor_{direction}")()

    def action_edge(self, edge: str) -> None:
        """To the first or the last line."""
        self._area.move_cursor((0, 0) if edge == "top" else self._area.document.end)

    def action_problem(self, by: int) -> None:
        """To the next problem, or the previous one."""
        index = self._problem_list.step(by, self._area.cursor_location[0] + 1)
        if index is not None:
            self._go_to(index)

    def action_help_here(self) -> None:
        """The keys of the editor."""
        self.app.push_screen(EditorHelp())

    @on(ProblemList.Chosen)
    def _problem_chosen(self, message: ProblemList.Chosen) -> None:
        self._go_to(message.index)
        self._area.focus()

    def _go_to(self, index: int) -> None:
        finding = self._problem_list.findings[index]
        self._problem_list.highlighted = index
        if finding.line is not None:
            row = min(finding.line, self._area.document.line_count) - 1
            column = min((finding.column or 1) - 1, len(self._area.document.get_line(row)))
            self._area.move_cursor((row, column), center=True)
