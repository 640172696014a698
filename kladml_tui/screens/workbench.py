"""The main screen: tree, runs, the run's view. It carries what is selected and what is live to the widgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.events import DescendantFocus
from textual.worker import Worker

from kladml_core.settings import Settings
from kladml_tui import faults
from kladml_tui.commands import bindings
from kladml_tui.look import Look, runs_of
from kladml_tui.messages import Chosen, Moved, TabWanted
from kladml_tui.news import News
from kladml_tui.resizing import tell_sizes
from kladml_tui.screens.config_keys import ConfigKeys
from kladml_tui.screens.dataset_keys import DatasetKeys
from kladml_tui.screens.live_runs import LiveRuns
from kladml_tui.screens.note_keys import NoteKeys
from kladml_tui.screens.notices_keys import NoticesKeys
from kladml_tui.screens.prune_keys import PruneKeys
from kladml_tui.screens.queue_keys import QueueKeys
from kladml_tui.view_state import ViewState
from kladml_tui.widgets.key_bar import KeyBar
from kladml_tui.widgets.status_line import StatusLine
from kladml_tui.widgets.workspace_tree import PROJECTS, Node, WorkspaceTree, experiment_key, place

if TYPE_CHECKING:
    from kladml_core.runs.rundir import RunDirectory
    from kladml_tui.monitor import Monitor
    from kladml_tui.run_store import Choice
    from kladml_tui.widgets.main_pane import MainPane

_COUNTED = ("running", "stalled", "silent", "starting", "stopping", "queued")


class Workbench(DatasetKeys, NoteKeys, LiveRuns, NoticesKeys, PruneKeys, QueueKeys, ConfigKeys):
    """The screen.

    Args:
        settings: those of the workspace that is shown.
        monitor: where live runs come from.
        look_again: called when the files may have changed.
    """

    AUTO_FOCUS = "#tree"
    BINDINGS = bindings("config", "place", "dataset", "run", "workbench")

    def __init__(self, settings: Settings, monitor: Monitor, look_again: Callable[[], None]) -> None:
        super().__init__()
        self.settings = settings
        self.monitor = monitor
        self.look = Look()
        self.look_whole = self.look
        self.action_look = look_again
        self._wanted_run = ""
        self._launched = False
        self._wanted_pane = ""

    def compose(self) -> ComposeResult:
        """What the first frame shows; the right side follows."""
        yield StatusLine(self.settings.name, id="status")
        with Horizontal(id="body"):
            yield WorkspaceTree(id="tree")
        yield KeyBar(id="keys")

    async def fill(self, main: MainPane, state: ViewState) -> None:
        """Puts the right side in its place and restores where the person was."""
        self.state = state
        self._news = News(self.app, bell=self.settings.notices.bell)
        self._wanted_run = state.run
        self._wanted_pane = state.pane
        tell_sizes(self)
        await self.query_one("#body").mount(main)
        self.ready = True
        self.nodes.restore(state.open, state.node)
        self.begin_views()
        self.view.open_tab(state.tab)
        main.show_runs(False)
        self.apply_sizes()
        self.set_interval(1.0, self._tick)
        self.mark_datasets()

    # The panes

    @property
    def status(self) -> StatusLine:
        """The top line."""
        return self.query_one("#status", StatusLine)

    def _show_runs_side(self, runs: bool) -> None:
        self.main.show_runs(runs)

    # The workspace

    def show_look(self, look: Look) -> None:
        """The workspace was looked at."""
        self.look_whole = look
        look = look if self.archived_shown else look.without_archived()
        before, self.look = self.look, look
        if look != before:
            self.nodes.show(look)
            self.keep_marks(look)
            self.count_live()
            self._show_node(again=True)

    def count_live(self) -> None:
        """Says in the top line how many runs are live."""
        counts = dict.fromkeys(_COUNTED, 0)
        for reference in self.look.live:
            counts[self.look.states[reference].word] += 1
        shown = tuple((name, number) for name, number in counts.items() if number)
        self.status.show(counts=shown, busy=self.look.busy)

    @on(Moved)
    def _moved(self, message: Moved) -> None:
        if not self.ready:
            return
        if message.source is self.nodes:
            self._show_node()
        elif message.source is self.runs:
            self.run_changed()

    @on(Chosen)
    def _chosen(self, message: Chosen) -> None:
        self.pane_after(message.source)

    def _show_node(self, *, again: bool = False) -> None:
        """Shows what the tree's cursor is on; `again` when it is the same and may have changed."""
        node = self.nodes.node
        self.status.show(place=place(node, self.settings.root))
        self.refresh_bindings()
        if node is None:
            return
        if node.prefix is not None:
            self._show_runs(node)
        elif node.path is None:
            self._show_runs_side(False)
            title = "" if node.key == PROJECTS else f"{'' if node.branch else 'No '}{node.label}"
            self.preview.show_welcome(title, len(self.look.configs))
        elif not again:
            self._show_runs_side(False)
            self.preview.show_node(node)
        self.remember()

    def _show_runs(self, node: Node) -> None:
        prefix = node.prefix or ""
        runs = runs_of(self.look, prefix)
        self._show_runs_side(bool(runs))
        if not runs:
            self.preview.show_welcome(f"No run in {prefix} yet" if prefix else "", len(self.look.configs))
            return
        if self._asked:
            self.runs.expect()
        self.runs.show(prefix, runs, self.look.states)
        self.choose()
        self._go_to_wanted()
        self.run_changed()

    def chosen(self, chosen: Choice) -> None:
        """Other runs are shown: the one that is waited for may be among them."""
        self._go_to_wanted()
        self.run_changed()

    def _go_to_wanted(self) -> None:
        if self._wanted_run and self.runs.move_to(self._wanted_run):
            self._wanted_run = ""
            if self._launched and self.has_class("-narrow"):
                self.go_to_pane("runs")
            self._launched = False
            self._restore_pane()

    def reveal_run(self, run: RunDirectory) -> None:
        """Goes to a run that was just started, as soon as it is found."""
        self._wanted_run = run.reference
        self._launched = True
        key = experiment_key(run.reference)
        self.nodes.reveal(key)
        if self.nodes.node is not None and self.nodes.node.key == key:
            self._show_node(again=True)  # the cursor was there already, and tells of no move

    def prepare(self) -> None:
        """Numpy is there: makes the chart, and follows what is on the screen."""
        self.view.prepare()
        self.monitor.begin()
        self._restore_pane()

    def _restore_pane(self) -> None:
        """Gives the keys to the pane that had them, once it is there; on a narrow screen this hides the tree."""
        if self._wanted_pane in self.panes():
            # Who has gone to another pane meanwhile stays there.
            if self.pane == "tree":
                self.go_to_pane(self._wanted_pane)
            self._wanted_pane = ""

    def _tick(self) -> None:
        if self.app.is_running:
            self.runs.tick()
            self.view.tick()

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        faults.tell(self.app, event)

    # Where the person is

    @on(DescendantFocus)
    def _focus_moved(self) -> None:
        pane = self.pane
        self.show_tree(pane == "tree")
        if not self.ready:
            return
        self.main.set_class(pane == "view", "-view")
        self.view.mark_near(pane == "view")
        self.remember()

    @on(TabWanted)
    def _tab_wanted(self, message: TabWanted) -> None:
        self.action_tab(message.tab)

    def remember(self) -> None:
        """Keeps where the person is, for the next time."""
        node = self.nodes.node
        if node is not None and self.ready:
            self.state = replace(
                self.state,
                node=node.key,
                run=self._wanted_run or self._shown or self.state.run,
                tab=self.view.tab,
                open=self.nodes.open_branches,
                pane=self._wanted_pane or self.pane,
            )
