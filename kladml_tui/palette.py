"""The palette: every command by its name, the saved views, and the themes."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from kladml_core.errors import KladMLError
from kladml_tui import themes
from kladml_tui.commands import COMMANDS
from kladml_tui.key_names import key_name
from kladml_tui.screens.workbench import Workbench
from kladml_tui.text import notice, one_line

if TYPE_CHECKING:
    from kladml_core.workspace.views import View


class Commands(Provider):
    """The commands that mean something now, then those of the themes."""

    async def startup(self) -> None:
        """Reads the saved views; what is wrong with their file is told."""
        self._views: dict[str, View] = {}
        screen = self.screen
        if isinstance(screen, Workbench) and screen.ready and screen.runs.display:
            from kladml_core.workspace.views import read_views

            try:
                self._views = await asyncio.to_thread(read_views, screen.settings.data)
            except KladMLError as error:
                notice(self.app, error, "error", title="Saved views")

    def _entries(self) -> list[tuple[str, str, partial[Any]]]:
        """Name, help and what to do."""
        found: list[tuple[str, str, partial[Any]]] = []
        screen = self.screen
        if isinstance(screen, Workbench):
            active = {binding.binding.id: binding for binding in screen.active_bindings.values()}
            for command in COMMANDS:
                binding = active.get(command.id)
                if command.palette and binding is not None and binding.enabled:
                    key = key_name(binding.binding.key)
                    found.append(
                        (
                            f"{command.title[0].upper()}{command.title[1:]}  ({key})",
                            command.help,
                            partial(screen.run_action, command.action),
                        )
                    )
            for name, view in self._views.items():
                words = f"view {one_line(name)}"
                what = " ".join(filter(None, (view.filter, f"by {view.sort}" if view.sort else "")))
                found.append((words, one_line(f"Show the runs so: {what}"), partial(screen.show_view, view)))
        for name in sorted(themes.installed(self.app)):
            words = f"theme {one_line(name)}"
            found.append((words, "Use this theme until the app is left.", partial(setattr, self.app, "theme", name)))
        return found

    async def discover(self) -> Hits:
        """Everything, before a letter is typed."""
        for name, help_text, action in self._entries():
            yield DiscoveryHit(Content(name), action, text=name, help=help_text)

    async def search(self, query: str) -> Hits:
        """What matches the letters, in name or help."""
        matcher = self.matcher(query)
        for name, help_text, action in self._entries():
            score = max(matcher.match(name), matcher.match(help_text) * 0.8)
            if score > 0:
                yield Hit(score, Content(name), action, text=name, help=help_text)
