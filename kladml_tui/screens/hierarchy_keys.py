"""Projects, families and experiments on the workbench: made, renamed, described, archived and deleted in the tree."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from textual import work

from kladml_core.errors import KladMLError
from kladml_tui.screens.pane_keys import PaneKeys
from kladml_tui.text import notice
from kladml_tui.widgets.workspace_tree import CONFIGS, PROJECTS, Node, place_key

if TYPE_CHECKING:
    from textual.worker import Worker

    from kladml_core.settings import Settings
    from kladml_core.workspace.hierarchy import Changed
    from kladml_tui.look import Look
    from kladml_tui.screens.form import Field

_ON_PLACE = frozenset({"describe_here", "archive_here", "delete_here"})
_ON_PLACE_OR_CONFIG = frozenset({"new_here", "rename_here"})
_PLACES = ("project", "family", "experiment")
_TOLD = 4
Done = TypeVar("Done")


class HierarchyKeys(PaneKeys):
    """The actions on the branch under the tree's cursor."""

    settings: Settings
    archived_shown = False
    """Whether archived ones are in the tree."""
    look_whole: Look
    """The workspace with all that is archived."""
    show_look: Callable[[Look], None]
    action_look: Callable[[], None]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """They need the tree's cursor on what they are for."""
        if action not in _ON_PLACE | _ON_PLACE_OR_CONFIG:
            return super().check_action(action, parameters)
        if action == "delete_here" and self.pane == "runs":
            return self.run_here is not None
        node = self.nodes.node if self.ready and self.pane == "tree" else None
        if node is None:
            return False
        if action in _ON_PLACE or node.kind in _PLACES:
            return node.kind in _PLACES
        return node.kind == "config" or (action == "new_here" and node.key in (PROJECTS, CONFIGS))

    def new_config(self) -> Worker[None]:
        """Makes a config; the heir's."""
        raise NotImplementedError

    def rename_config(self, config: Path) -> Worker[None]:
        """Renames a config; the heir's."""
        raise NotImplementedError

    def delete_run(self, reference: str) -> Worker[None]:
        """Asks, then moves a run into the trash; the heir's."""
        raise NotImplementedError

    def action_new_here(self) -> None:
        """Makes a project, a family or an experiment where the cursor is; or a config among configs."""
        node = self.nodes.node
        if node is None:
            return
        if node.kind == "config" or node.key == CONFIGS:
            self.new_config()
        else:
            self._new_place(node)

    def action_rename_here(self) -> None:
        """Renames what the cursor is on."""
        node = self.nodes.node
        if node is not None and node.path is not None:
            self.rename_config(node.path)
        elif node is not None:
            self._rename_place(node.prefix or "")

    @work(group="places", exit_on_error=False)
    async def _new_place(self, node: Node) -> None:
        from kladml_core.workspace import hierarchy
        from kladml_tui.screens.form import Field

        prefix = node.prefix or ""
        above = prefix.rpartition("/")[0] if node.kind == "experiment" else prefix
        fields = (
            Field("name", "project, project/family or project/family/experiment", f"{above}/" if above else ""),
            Field("heading", "title", hint="a few words; may stay empty"),
        )

        def make(name: str, title: str) -> Changed:
            return hierarchy.create(self.settings.data, name, title=title or None)

        made = await self.fill_in("New", fields, make)
        if made is not None:
            self._changed(made)

    @work(group="places", exit_on_error=False)
    async def _rename_place(self, old: str) -> None:
        from kladml_core.workspace import hierarchy
        from kladml_core.workspace.config_places import naming
        from kladml_tui.screens.form import Field

        def make(new: str) -> tuple[Changed, list[Path]]:
            configs = naming(self.settings, old)
            return hierarchy.rename(self.settings.data, old, new), configs

        done = await self.fill_in(f"Rename {old}", (Field("name", "new name", old),), make)
        if done is not None:
            changed, configs = done
            self._changed(changed)
            if configs:
                await self._offer_configs(configs, old, changed.place.key)

    async def _offer_configs(self, configs: Sequence[Path], old: str, new: str) -> None:
        from kladml_core.workspace.config_places import rename_in_configs

        names = [path.name for path in configs[:_TOLD]]
        more = f"\n… and {len(configs) - _TOLD} more" if len(configs) > _TOLD else ""
        several = "These configs still name" if len(configs) > 1 else "This config still names"
        question = f"{several} {old}; a run of {'one' if len(configs) > 1 else 'it'} would begin it anew.\n\n"
        answers = [("w", f"write {new} into {'them' if len(configs) > 1 else 'it'}")]
        if await self.ask(question + "\n".join(names) + more, answers) != "w":
            return
        left = await asyncio.to_thread(rename_in_configs, configs, old, new)
        if left:
            notice(self.app, "\n".join(left), "error", title="Not changed")
        self.preview.read_again()

    @work(group="places", exit_on_error=False)
    async def action_describe_here(self) -> None:
        """Changes title and description."""
        from kladml_core.workspace import hierarchy
        from kladml_core.workspace.descriptions import read_description
        from kladml_core.workspace.places import Place
        from kladml_tui.screens.form import Field

        node = self.nodes.node
        if node is None or not node.prefix:
            return
        key, data = node.prefix, self.settings.data
        now = await asyncio.to_thread(read_description, Place.parse(key).file(data))
        if now.problem:
            notice(self.app, now.problem, "error", title="Not readable")
            return
        fields = (
            Field("heading", "title", now.title),
            Field("description", "description", now.description, lines=4),
        )

        def make(title: str, description: str) -> Changed:
            return hierarchy.describe(data, key, title=title, description=description)

        if await self.fill_in(key, fields, make) is not None:
            self.action_look()

    @work(group="places", exit_on_error=False)
    async def action_archive_here(self) -> None:
        """Hides it in the tree, or shows it again."""
        from kladml_core.workspace import hierarchy

        node = self.nodes.node
        if node is None or not node.prefix:
            return
        try:
            changed = await asyncio.to_thread(
                hierarchy.archive, self.settings.data, node.prefix, archived=not node.archived
            )
        except KladMLError as error:
            notice(self.app, error, "error", title="Not archived")
            return
        if node.archived:
            notice(self.app, f"{node.prefix} is shown again.")
        else:
            live = f"\n{changed.warnings[0]} once it has ended." if changed.warnings else ""
            notice(self.app, f"{node.prefix} is archived; z shows archived ones too.{live}", title="Archived")
        self.action_look()

    def action_delete_here(self) -> None:
        """Deletes the branch that the tree's cursor is on, or in the list of runs the run."""
        node = self.nodes.node
        if self.pane == "runs":
            if self.run_here is not None:
                self.delete_run(self.run_here.reference)
        elif node is not None and node.prefix:
            self._delete_place(node)

    @work(group="places", exit_on_error=False)
    async def _delete_place(self, node: Node) -> None:
        """Asks, then moves it with all its runs into the trash."""
        from kladml_core.workspace import hierarchy

        key = node.prefix or ""
        runs = f"with its {node.runs} run{'s' if node.runs > 1 else ''}" if node.runs else "without a run in it"
        question = f"Delete the {node.kind} {key}, {runs}?\n\nIt goes into the trash; b brings it back."
        if await self.ask(question, [("D", "move it into the trash")]) != "D":
            return
        try:
            changed = await asyncio.to_thread(hierarchy.delete, self.settings.data, key)
        except KladMLError as error:
            notice(self.app, error, "error", title="Not deleted")
            return
        notice(self.app, f"{changed.place.key} is in the trash. b brings it back.", title="Deleted", timeout=10)
        self.action_look()

    def action_show_archived(self) -> None:
        """Shows archived ones in the tree too, or hides them."""
        self.archived_shown = not self.archived_shown
        hidden = self.look_whole.left_out
        if self.archived_shown:
            notice(self.app, f"{hidden} archived {'is' if hidden == 1 else 'are'} shown too; z hides them again.")
        else:
            notice(self.app, "Archived ones are hidden.")
        self.show_look(self.look_whole)

    async def fill_in(self, title: str, fields: Sequence[Field], act: Callable[..., Done]) -> Done | None:
        """Has a form filled in until `act` takes what it says, in a thread; None where the person gave up.

        Args:
            title: of the form.
            fields: as they stand at first.
            act: takes the texts of the fields; a KladMLError that it raises is shown in the form.
        """
        from kladml_tui.screens.form import Answers, Form

        done: list[Done] = []

        def take(answers: Answers) -> None:
            done.append(act(*(str(answers[field.name]) for field in fields)))

        given = await self.app.push_screen_wait(Form(title, fields, act=take))
        return done[0] if given is not None else None

    def _changed(self, changed: Changed) -> None:
        """Goes to what was made or renamed, as soon as it is found."""
        if changed.warnings:
            notice(self.app, "\n".join(changed.warnings), "warning", title=changed.place.key, timeout=12)
        self.nodes.reveal(place_key(changed.place.key))
        self.action_look()
