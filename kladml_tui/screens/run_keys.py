"""What is done with configs and runs on the workbench: train, edit, resume. Threads do the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import work
from textual.app import SuspendNotSupported
from textual.binding import Binding

from kladml_core.errors import KladMLError
from kladml_tui.commands import BY_ID, Scope
from kladml_tui.screens.stop_keys import STOP_ACTIONS, StopKeys
from kladml_tui.text import notice

if TYPE_CHECKING:
    from types import ModuleType

    from kladml_core.runs.rundir import RunDirectory
    from kladml_core.settings import Settings

_ON_CONFIG = frozenset({"train", "edit", "external"})
_ON_RUN = frozenset({"resume", "tab"}) | STOP_ACTIONS
_WARNING_SECONDS = 15.0


class RunKeys(StopKeys):
    """The actions on what is under the cursor."""

    settings: Settings
    reveal_run: Callable[[RunDirectory], None]

    def __init__(self) -> None:
        super().__init__()
        self._copies: dict[Path, RunDirectory] = {}
        """Configs that were opened as copies of a run's."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that mean nothing here are neither shown nor heard."""
        if not self.ready:
            return action not in _ON_CONFIG | _ON_RUN
        if action in _ON_CONFIG:
            return self.config_here is not None
        return self._may(action) if action in _ON_RUN else True

    def _may(self, action: str) -> bool:
        if action in STOP_ACTIONS:
            return self.may_stop(action)
        run = self.run_here
        line = self.runs.line_of(run.reference) if run is not None else None
        if run is None or action == "tab":
            return run is not None
        if line is None:
            return False
        return line.resumable

    @property
    def _acts(self) -> ModuleType:
        from kladml_tui import run_actions  # here and in the next ones: not needed before the first frame

        return run_actions

    # Configs

    def action_train(self) -> None:
        """Checks the config under the cursor and starts a run of it."""
        if self.config_here is not None:
            self.train(self.config_here)

    @work(group="launch", exit_on_error=False)
    async def train(self, config: Path) -> None:
        """Starts a run; a config that is wrong is told once, and the editor is offered."""
        from kladml_tui.screens.changed_data import agreed  # not needed before the first frame

        if not await agreed(self, config, self.settings.root):
            return
        notice(self.app, f"Checking {config.name} …", timeout=2)
        try:
            run = await asyncio.to_thread(self._acts.start, config, self.settings.root, self._copies.get(config))
        except KladMLError as error:
            await self._offer_editor(error, config)
            return
        notice(self.app, f"{run.reference} is starting.", title="Launched")
        await self._tell_warnings(run)
        self.reveal_run(run)
        self.action_look()

    async def _offer_editor(self, error: KladMLError, config: Path) -> None:
        path, line = self._acts.place_of(error, self.settings.root) or (config, None)
        where = f"open {path.name} at line {line}" if line else f"open {path.name}"
        answer = await self.ask(f"Not launched\n\n{error}", [("e", where)])
        if answer == "e":
            self.open_editor(path, line)

    def action_edit(self) -> None:
        """Opens the config under the cursor in the editor."""
        if self.config_here is not None:
            self.open_editor(self.config_here)

    def open_editor(self, path: Path, line: int | None = None, *, draft: str = "") -> None:
        """Opens a config in the editor, at a line where one is given; `draft` is the text of one that is yet to be."""
        from kladml_tui.screens.editor import ConfigEditor  # its syntax highlighting is not needed before

        self.app.push_screen(ConfigEditor(path, workspace=self.settings.root, line=line, draft=draft), self._edited)

    def _edited(self, _: None) -> None:
        self.preview.read_again()
        self.action_look()

    def action_external(self) -> None:
        """Leaves the terminal to $EDITOR."""
        config = self.config_here
        if config is None:
            return
        try:
            editor = self._acts.outside_editor()
            with self.app.suspend():
                self._acts.edit_outside(editor, config)
        except (KladMLError, SuspendNotSupported) as error:
            notice(self.app, error, "error", title="No editor")
        self.preview.read_again()

    # Runs

    @work(group="launch", exit_on_error=False)
    async def action_resume(self) -> None:
        """Starts the run's next attempt."""
        from kladml_tui.screens.changed_data import agreed  # not needed before the first frame

        run = self.run_here
        if run is None:
            return
        if not await agreed(self, run.config, self.settings.root, run):
            return
        if await self._try(lambda run: self._acts.resume(run, self.settings.root), run, "Not resumed"):
            notice(self.app, f"{run.reference} goes on from its newest checkpoint.", title="Resumed")
            await self._tell_warnings(run)
            self.action_look()

    async def _tell_warnings(self, run: RunDirectory) -> None:
        for warning in await asyncio.to_thread(self._acts.warnings_of, run):
            notice(self.app, warning, "warning", title=run.ref.run, timeout=_WARNING_SECONDS)

    async def _try(self, act: Callable[[RunDirectory], Any], run: RunDirectory, title: str) -> Any:
        """What the act returned, or True; False after a notice of what went wrong."""
        try:
            return await asyncio.to_thread(act, run) or True
        except KladMLError as error:
            notice(self.app, error, "error", title=title)
            return False

    # Anything

    def action_copy(self) -> None:
        """Puts the reference or the path on the clipboard of the terminal."""
        config, run = self.config_here, self.run_here
        text = run.reference if run is not None else str(config or "")
        if text:
            self.app.copy_to_clipboard(text)
            notice(self.app, text, title="Copied")

    def action_look(self) -> None:
        """Looks at the workspace again."""
        raise NotImplementedError

    def action_palette(self) -> None:
        """Every command by its name."""
        self.app.action_command_palette()

    async def action_leave(self) -> None:
        """Leaves; runs go on."""
        await self.app.action_quit()

    def action_help(self) -> None:
        """What the keys do here."""
        from kladml_tui.screens.help import Help, keys_now

        here: dict[str, Binding] = {}
        for active in self.active_bindings.values():
            binding = active.binding
            if binding.id is None or binding.id in BY_ID or active.node is self.app:
                continue
            # A binding of several keys is active once for each of them.
            known = here.get(binding.id)
            here[binding.id] = binding if known is None else replace(known, key=f"{known.key},{binding.key}")
        names = {"tree": "the workspace", "runs": "the list of runs"}
        title = names.get(self.pane) or (f"the run's {self.view.tab}" if self.runs.display else self.preview.page)
        kind = self.nodes.node.kind if self.nodes.node is not None else ""
        first: tuple[Scope, ...] = ("config",) if kind == "config" else ("dataset",) if kind == "dataset" else ("run",)
        keys = keys_now(self.settings.ui.keymap)
        self.app.push_screen(Help(title, list(here.values()), keys, first))
