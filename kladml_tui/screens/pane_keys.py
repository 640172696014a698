"""Going about the workbench: panes, tabs and sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from textual.screen import Screen
from textual.widget import Widget

from kladml_tui.view_state import ViewState

if TYPE_CHECKING:
    from textual.widgets import Input

    from kladml_core.runs.rundir import RunDirectory
    from kladml_tui.widgets.main_pane import MainPane
    from kladml_tui.widgets.preview import Preview
    from kladml_tui.widgets.run_view import RunView
    from kladml_tui.widgets.runs_table import RunsTable
    from kladml_tui.widgets.workspace_tree import WorkspaceTree

NARROW = 110
"""Columns below which the tree is on the screen only while it has the keys."""
SHORT = 32
"""Lines below which the list of runs makes room for the run's view."""
_NARROWEST, _SHORTEST = 16, 3


class PaneKeys(Screen[None]):
    """The actions; the panes themselves are the heir's."""

    remember: Callable[[], None]
    clear_filter: Callable[[], None]

    def __init__(self) -> None:
        super().__init__()
        self.state = ViewState()
        self.ready = False
        """Whether all panes are there: they come after the first frame."""

    @property
    def nodes(self) -> WorkspaceTree:
        """The workspace tree."""
        return cast("WorkspaceTree", self.query_one("#tree"))

    @property
    def main(self) -> MainPane:
        """The right side."""
        return cast("MainPane", self.query_one("#main"))

    @property
    def runs(self) -> RunsTable:
        """The list of runs."""
        return cast("RunsTable", self.query_one("#runs"))

    @property
    def view(self) -> RunView:
        """The run's view."""
        return cast("RunView", self.query_one("#view"))

    @property
    def preview(self) -> Preview:
        """What is shown where there are no runs."""
        return cast("Preview", self.query_one("#preview"))

    @property
    def run_here(self) -> RunDirectory | None:
        """The run under the cursor, when runs are on the screen."""
        return self.runs.current if self.ready and self.runs.display else None

    @property
    def config_here(self) -> Path | None:
        """The config under the cursor of the tree."""
        node = self.nodes.node
        return node.path if node is not None and node.kind == "config" else None

    async def ask(self, question: str, answers: list[tuple[str, str]]) -> str:
        """Asks, and returns the key of the answer."""
        from kladml_tui.screens.ask import Ask

        return await self.app.push_screen_wait(Ask(question, answers))

    @property
    def pane(self) -> str:
        """The pane that has the keys: tree, runs or view."""
        focused = self.focused
        if not self.ready or focused is None or focused is self.nodes:
            return "tree"
        return "runs" if focused is self.runs or focused is self.filter_field else "view"

    @property
    def filter_field(self) -> Input:
        """Where the filter is typed."""
        return cast("Input", self.query_one("#filter"))

    def panes(self) -> dict[str, Widget]:
        """The panes on the screen, from left to right, and what in each takes the keys."""
        panes: dict[str, Widget] = {"tree": self.nodes}
        if not self.ready:
            return panes
        if not self.runs.display:
            return panes | {"view": self.preview.target}
        panes["runs"] = self.runs
        if self.view.target is not None:
            panes["view"] = self.view.target
        return panes

    def go_to_pane(self, pane: str) -> None:
        """Gives a pane the keys; on a narrow screen the tree comes and goes with them."""
        widget = self.panes().get(pane, self.nodes)
        # At once, not by `focus`, which waits: the next key may be here already.
        self.show_tree(widget is self.nodes)
        self.set_focus(widget)

    def show_tree(self, near: bool) -> None:
        """The tree is always on a wide screen, on a narrow one only while it has the keys."""
        self.nodes.display = near or not self.has_class("-narrow")

    def pane_after(self, widget: Widget) -> None:
        """Enter goes on to the pane that shows what was chosen."""
        if widget is self.nodes:
            self.go_to_pane("runs" if self.runs.display else "view")
        elif widget is self.runs:
            self.go_to_pane("view")

    def action_pane(self, by: int) -> None:
        """To the next pane."""
        names = list(self.panes())
        at = names.index(self.pane) if self.pane in names else 0
        self.go_to_pane(names[(at + by) % len(names)])

    def action_back(self) -> None:
        """Out of the filter, or a pane back."""
        if self.ready and (self.focused is self.filter_field or (self.pane == "runs" and self.state.filter)):
            self.clear_filter()
        elif self.pane == "view" and self.runs.display:
            self.go_to_pane("runs")
        else:
            self.go_to_pane("tree")

    def action_tab(self, tab: str) -> None:
        """Opens a tab of the run's view."""
        if not self.ready:
            return
        self.view.open_tab(tab)
        self.refresh_bindings()
        self.remember()

    def action_widen(self, by: int) -> None:
        """Another width of the tree."""
        width = (self.state.tree_width or self.nodes.outer_size.width or 30) + by
        self.state = replace(self.state, tree_width=max(_NARROWEST, min(width, self.app.size.width // 2)))
        self.apply_sizes()

    def action_heighten(self, by: int) -> None:
        """Another height of the list of runs."""
        if not self.ready:
            return
        height = (self.state.runs_height or self.runs.outer_size.height) + by
        self.state = replace(self.state, runs_height=max(_SHORTEST, min(height, self.app.size.height - 12)))
        self.apply_sizes()

    def apply_sizes(self) -> None:
        """Sets the layout that suits the screen, and the sizes that the person chose."""
        width, height = self.app.size
        self.set_class(width < NARROW, "-narrow")
        self.nodes.styles.width = self.state.tree_width or None
        if self.ready:
            self.main.set_class(height < SHORT, "-short")
            self.runs.styles.max_height = self.state.runs_height or None
        self.show_tree(self.pane == "tree")

    def on_resize(self) -> None:
        """Another size may want another layout."""
        self.apply_sizes()
