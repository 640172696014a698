"""Datasets on the workbench: registered, compared with the disk, removed; and what the tree shows of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import work

from kladml_core.errors import ConfigError, KladMLError
from kladml_tui.commands import DATASET_PAGES, TABS
from kladml_tui.screens.pane_keys import PaneKeys
from kladml_tui.text import notice

if TYPE_CHECKING:
    from kladml_core.settings import Settings
    from kladml_tui.dataset_marks import DatasetMark
    from kladml_tui.look import Look
    from kladml_tui.widgets.dataset_view import DatasetView

MARK_SECONDS = 2.0
"""Between two looks at the files of the datasets; each look asks for their sizes and times alone."""
_ACTIONS = frozenset({"check_dataset", "remove_dataset"})


class DatasetKeys(PaneKeys):
    """The actions."""

    settings: Settings
    look: Look
    action_look: Callable[[], None]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A dataset is removed and checked where the cursor is on it; added there and on its heading."""
        if action == "add_dataset":
            return self.ready and self._among_datasets
        if action in _ACTIONS:
            return self.ready and self.dataset_here is not None
        if action == "tab" and self.ready and self.dataset_here is not None:
            return True
        return super().check_action(action, parameters)

    @property
    def dataset_here(self) -> Path | None:
        """The registration under the cursor of the tree."""
        node = self.nodes.node
        return node.path if node is not None and node.kind == "dataset" else None

    @property
    def _among_datasets(self) -> bool:
        from kladml_tui.widgets.workspace_tree import DATASETS

        node = self.nodes.node
        return node is not None and (node.kind == "dataset" or node.key == DATASETS)

    @property
    def _dataset_view(self) -> DatasetView:
        from kladml_tui.widgets.dataset_view import DatasetView

        return self.preview.query_one(DatasetView)

    def action_tab(self, tab: str) -> None:
        """The page of a dataset with the tab's number, where one is shown."""
        if self.ready and self.dataset_here is not None and not self.runs.display:
            self._dataset_view.open_page(DATASET_PAGES[TABS.index(tab)])
        else:
            super().action_tab(tab)

    # What the tree shows of them

    @work(group="marks", exit_on_error=False)
    async def mark_datasets(self) -> None:
        """Goes on looking whether the datasets are on the disk what was registered; a change is told once."""
        from kladml_tui.dataset_marks import DatasetMarks

        marks = DatasetMarks(self.settings.root)
        before: Mapping[Path, DatasetMark] = {}
        while self.app.is_running:
            now = await asyncio.to_thread(marks.look, self.look.datasets)
            self.nodes.show_marks(now)
            for file, mark in now.items():
                earlier = before.get(file)
                if earlier is None or earlier == mark:
                    continue
                if mark.state == "changed":
                    notice(self.app, f"{file.stem} has changed on the disk.", "warning", title="Dataset")
                if file == self.dataset_here:
                    self._dataset_view.look_again()
            before = now
            await asyncio.sleep(MARK_SECONDS if now else MARK_SECONDS / 8)

    # Actions

    @work(group="dataset", exit_on_error=False)
    async def action_add_dataset(self) -> None:
        """Asks what is to be registered; of the dataset under the cursor its source stands there already."""
        from kladml_core.workspace.dataset_params import parse_params
        from kladml_core.workspace.dataset_register import add
        from kladml_core.workspace.datasets import read_dataset
        from kladml_tui.screens.form import Answers, Field, Form

        file, source, name = self.dataset_here, "", ""
        if file is not None:
            try:
                made = await asyncio.to_thread(read_dataset, file)
                source, name = made.path or made.target or "", file.stem
            except KladMLError:
                name = file.stem
        fields = [
            Field("source", "file, or module:function", source, "files/flowers.csv"),
            Field("name", "name", name, "that of the file or function"),
            Field("split", "split", "", "train, val or test"),
            Field("description", "description", "", "what it is"),
            Field("params", "params", "", "target_column: price, columns: [width, height]"),
        ]

        def check(answers: Answers) -> None:
            if not str(answers["source"]).strip():
                raise ConfigError("a file or a function is needed")
            parse_params(str(answers["params"]))

        words = "Looked through in a process of its own. What is left empty stays as it was registered."
        given = await self.app.push_screen_wait(Form("Register a dataset", fields, check=check, help=words))
        if given is None:
            return
        text = {key: str(value).strip() for key, value in given.items()}
        options: dict[str, Any] = {key: text[key] or None for key in ("name", "split", "description")}
        options["params"] = parse_params(text["params"]) or None
        # Who began at a dataset and kept its name means that one, wherever its next version lies.
        options["update"] = bool(name) and text["name"] == name
        notice(self.app, f"Looking through {text['source']} …", timeout=3)
        try:
            done = await asyncio.to_thread(lambda: add(self.settings.root, text["source"], **options))
        except KladMLError as error:
            notice(self.app, error, "error", title="Not registered", timeout=12)
            return
        made = done.registration
        rows = "" if made.rows is None else f", {made.rows:,} rows"
        notice(self.app, f"{made.file.stem}: {done.what}{rows}.", title="Registered")
        if done.notes:
            notice(self.app, "\n".join(done.notes), "warning", title=made.file.stem, timeout=12)
        self.nodes.reveal(f"dataset:{made.file}")
        self.action_look()
        self._dataset_view.look_again()

    def action_check_dataset(self) -> None:
        """Compares the dataset with the disk, or calls the function that makes it."""
        self._dataset_view.call_or_check()

    @work(group="dataset", exit_on_error=False)
    async def action_remove_dataset(self) -> None:
        """Asks, then moves the registration into the trash."""
        from kladml_core.workspace.dataset_register import remove
        from kladml_core.workspace.dataset_uses import live_uses

        file = self.dataset_here
        if file is None:
            return
        live = await asyncio.to_thread(live_uses, self.settings.data, file.stem)
        warned = f"\n{len(live)} live or waiting {'run uses' if len(live) == 1 else 'runs use'} it." if live else ""
        question = f"Remove {file.stem} from the registry?\n\nIts data stays where it is; b brings it back.{warned}"
        if await self.ask(question, [("X", "remove it")]) != "X":
            return
        try:
            await asyncio.to_thread(lambda: remove(self.settings.root, file.stem, force=True))
        except KladMLError as error:
            notice(self.app, error, "error", title="Not removed")
            return
        notice(self.app, f"{file.stem} is in the trash; b brings it back.", title="Removed")
        self.action_look()
