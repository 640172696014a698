"""What the right side shows where there are no runs: a config, a dataset, or what to do next."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget
from textual.worker import Worker

from kladml_core.settings import Settings
from kladml_tui import faults
from kladml_tui.widgets.config_view import ConfigView
from kladml_tui.widgets.dataset_view import DatasetView
from kladml_tui.widgets.welcome import Welcome
from kladml_tui.widgets.workspace_tree import Node, place

_PAGES = ("config", "dataset", "welcome")
_MAX_CONFIG = 1 << 20


class Preview(Vertical):
    """One of three pages. Files are read in threads."""

    def __init__(self, settings: Settings, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._settings = settings
        self._node: Node | None = None
        self.page = "welcome"
        """The page that is shown."""

    def compose(self) -> ComposeResult:
        """The pages."""
        yield ConfigView(id="config")
        yield DatasetView(self._settings, id="dataset")
        yield Welcome(id="welcome")

    def on_mount(self) -> None:
        """Nothing is known yet."""
        self._open("")

    @property
    def target(self) -> Widget:
        """What takes the keys."""
        if self.page == "dataset":
            return self.query_one(DatasetView).target
        return self.query_one(f"#{self.page or 'welcome'}")

    def show_node(self, node: Node) -> None:
        """Shows the config or the dataset of a row."""
        self._node = node
        self._read(node)

    def read_again(self) -> None:
        """The file may have been edited."""
        if self._node is not None and self.page != "welcome":
            self._read(self._node)

    def show_welcome(self, title: str, configs: int) -> None:
        """Says what to do next, in a workspace with so many configs."""
        self._node = None
        settings = self._settings
        page = self.query_one(Welcome)
        page.show(title or "No run in this workspace yet", settings, configs)
        self._open("welcome")

    def _open(self, page: str) -> None:
        self.page = page
        for name in _PAGES:
            self.query_one(f"#{name}").display = name == page
        if page != "dataset":
            self.query_one(DatasetView).give_up()

    @work(group="file", exclusive=True, exit_on_error=False)
    async def _read(self, node: Node) -> None:
        path = node.path
        if path is None:
            return
        if node.kind == "dataset":
            self._open(node.kind)
            self.query_one(DatasetView).show_file(path)
        else:
            text = await asyncio.to_thread(_read_text, path)
            self._open(node.kind)  # before the text: a hidden page has no width to fold it to
            self.query_one(ConfigView).show_text(text, note=place(node, self._settings.root))
        self._open(node.kind)

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        faults.tell(self.app, event)


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_CONFIG).decode("utf-8", "replace")
    except OSError as error:
        return f"# it cannot be read: {error.strerror}"
