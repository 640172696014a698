"""Configs on the workbench: new ones from a template, copies, other names, all checked, one held against a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work

from kladml_core.errors import KladMLError
from kladml_tui.screens.hierarchy_keys import HierarchyKeys
from kladml_tui.screens.repeat_keys import RepeatKeys
from kladml_tui.text import notice
from kladml_tui.widgets.workspace_tree import config_key

if TYPE_CHECKING:
    from kladml_core.config.template import Template
    from kladml_core.runs.rundir import RunDirectory

_HINT = "module:Name or path/to/file.py:Name"
_DATA_HINT = "dataset, file or module:function; empty: `load` by the model"


class ConfigKeys(HierarchyKeys, RepeatKeys):
    """The actions on the config under the tree's cursor, and on all of them."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A copy needs a config; a comparison takes a config too."""
        if action == "duplicate":
            return self.ready and self.config_here is not None
        if action == "diff" and self.ready and self.config_here is not None:
            return True
        return super().check_action(action, parameters)

    @work(group="places", exit_on_error=False)
    async def new_config(self) -> None:
        """Asks for a model and data, and opens what a config of them may be in the editor; saving makes the file."""
        from kladml_core.config.template import template
        from kladml_core.workspace.configs import new_path
        from kladml_tui.screens.form import Field

        root = self.settings.root
        fields = (
            Field("name", "name of the file"),
            Field("model", "model", hint=_HINT),
            Field("data", "data", hint=_DATA_HINT),
        )

        def make(name: str, model: str, data: str) -> tuple[Path, Template]:
            path = new_path(self.settings, name)
            if path.exists():
                raise KladMLError(f"{path.name} is there already", hint="choose another name")
            return path, template(root, model.strip(), data.strip() or None)

        made = await self.fill_in("New config", fields, make)
        if made is not None:
            path, found = made
            if found.open:
                notice(self.app, f"To be filled in: {', '.join(found.open)}", title=path.name, timeout=10)
            self.open_editor(path, draft=found.text)

    @work(group="places", exit_on_error=False)
    async def action_duplicate(self) -> None:
        """Copies the config under another name."""
        from kladml_core.workspace.configs import duplicate, free_name

        config = self.config_here
        if config is not None:
            name = await asyncio.to_thread(free_name, config)
            await self._named_anew("Copy", config, name, lambda name: (duplicate(config, self.settings, name), ""))

    @work(group="places", exit_on_error=False)
    async def rename_config(self, config: Path) -> None:
        """Gives the config another name."""
        from kladml_core.workspace.configs import rename

        await self._named_anew("Rename", config, config.name, lambda name: rename(config, self.settings, name))

    async def _named_anew(self, verb: str, config: Path, name: str, act: Callable[[str], tuple[Path, str]]) -> None:
        from kladml_tui.screens.form import Field

        done = await self.fill_in(f"{verb} {config.name}", (Field("name", "new name", name),), act)
        if done is not None:
            path, told = done
            if told:
                notice(self.app, told, "warning", title=path.name, timeout=12)
            self.nodes.reveal(config_key(path))
            self.action_look()

    @work(group="disk", exit_on_error=False)
    async def action_check_configs(self) -> None:
        """Shows what is wrong with the workspace's configs."""
        from kladml_core.workspace.configs import listing  # with the schema: not before the first frame
        from kladml_tui.screens.found_screen import Problems

        rows = await asyncio.to_thread(listing, self.settings)
        self.app.push_screen(Problems(rows, self.settings.root))

    def action_diff(self) -> None:
        """Shows in what the marked runs differ; on a config, in what it is another than the marked run."""
        if self.config_here is None:
            super().action_diff()
        else:
            self._config_diff(self.config_here)

    @work(group="disk", exit_on_error=False)
    async def _config_diff(self, config: Path) -> None:
        from kladml_core.runs.rundir import RunDirectory  # not needed before the first frame
        from kladml_core.workspace.configs import differences
        from kladml_tui.screens.found_screen import Differences

        marked = list(self.runs.marked)
        run = RunDirectory(self.settings.data / "projects" / marked[-1]) if marked else None
        if run is None:
            run = await asyncio.to_thread(_newest_run, config, self.settings.data)
        if run is None:
            notice(self.app, "It has no run yet. Mark a run with space; d here then holds the config against it.")
            return
        try:
            found = await asyncio.to_thread(differences, config, run, self.settings)
        except KladMLError as error:
            notice(self.app, error, "error", title="Not compared")
            return
        self.app.push_screen(Differences(config.name, run.reference, found))


def _newest_run(config: Path, data: Path) -> RunDirectory | None:
    """The newest run in the experiment in which a config's runs are filed."""
    from kladml_core.workspace.config_places import place_of
    from kladml_core.workspace.places import Place

    names = place_of(config)
    if names is None:
        return None
    place = Place(names)
    runs = list(place.runs(place.folder(data)))
    return max(runs, key=lambda run: int(run.path.name.removeprefix("run_")), default=None)
