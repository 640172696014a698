"""The run under the cursor: its line, its tabs and what the open tab shows, live."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widget import Widget
from textual.worker import Worker

from kladml_core.errors import KladMLError
from kladml_core.runs.checkpoint_list import list_checkpoints
from kladml_core.runs.pins import pin
from kladml_core.runs.rundir import RunDirectory
from kladml_tui import faults
from kladml_tui.commands import TABS
from kladml_tui.messages import Chosen
from kladml_tui.run_line import RunLine
from kladml_tui.text import notice
from kladml_tui.widgets.checkpoint_table import CheckpointTable
from kladml_tui.widgets.config_view import ConfigView
from kladml_tui.widgets.console_view import TAIL_BYTES, ConsoleView
from kladml_tui.widgets.curves_page import CurvesPage
from kladml_tui.widgets.event_list import EventList
from kladml_tui.widgets.provenance_view import ProvenanceView, read_provenance
from kladml_tui.widgets.run_header import RunHeader
from kladml_tui.widgets.tab_bar import TabBar

if TYPE_CHECKING:
    from kladml_core.runs.follow import RunSnapshot

CONSOLE_CHUNK = 65536
CONSOLE_SECONDS = 0.25
"""Between two looks at the output of a live run."""
_MAX_CONFIG = 1 << 20


class RunView(Vertical):
    """One run. `show_run` changes it, `show_snapshot` brings it up to date."""

    def __init__(self, *, drawing: str, id: str | None = None) -> None:
        super().__init__(id=id)
        self._drawing = drawing
        self._run: RunDirectory | None = None
        self._live = False
        self._snapshot: RunSnapshot | None = None
        self.tab = TABS[0]
        """The tab that is open."""

    def compose(self) -> ComposeResult:
        """The run's line, the tabs, one page a tab."""
        yield RunHeader(id="run-header")
        yield TabBar(id="tabs")
        yield CurvesPage(drawing=self._drawing, id="page-curves")
        yield EventList(id="page-events")
        yield ConsoleView(id="page-console")
        yield ConfigView(id="page-config")
        yield CheckpointTable(id="page-checkpoints")
        yield ProvenanceView(id="page-provenance")

    def on_mount(self) -> None:
        """Opens the first tab."""
        self._show_page()

    @property
    def target(self) -> Widget | None:
        """What takes the keys in the open tab."""
        page = self.query_one(f"#page-{self.tab}")
        return page.target if isinstance(page, CurvesPage) else page

    def prepare(self) -> None:
        """Makes what needed numpy."""
        self.query_one(CurvesPage).prepare()

    def open_tab(self, tab: str) -> None:
        """Shows another page; the keys go with it when they were in the one before."""
        if tab == self.tab or tab not in TABS:
            return
        near = self.has_focus_within
        self.tab = tab
        self._show_page()
        if near and self.target is not None:
            self.target.focus()

    def show_run(self, run: RunDirectory | None, line: RunLine | None) -> None:
        """Another run is under the cursor; its curves follow with its first snapshot."""
        self._run, self._snapshot = run, None
        self._live = line is not None and line.status.live
        said = "" if run is None else "reading…"
        self.query_one(RunHeader).show(line, said=said)
        self.query_one(CurvesPage).say(said)
        self.query_one("#page-events", EventList).show(())
        self.query_one(TabBar).show(counts={})
        self._read_page()

    def show_line(self, line: RunLine) -> None:
        """The run's line, brought up to date."""
        started = line.status.live and not self._live
        self._live = line.status.live
        self.query_one(RunHeader).show(line)
        if started:
            self._read_page()

    def show_stop(self, reference: str, text: str) -> None:
        """How the stopping of a run stands; an empty text when it is over."""
        self.query_one(RunHeader).show_stop(reference, text)

    def show_snapshot(self, snapshot: RunSnapshot) -> None:
        """What was followed of the run on the screen."""
        self._snapshot = snapshot
        self.query_one("#page-events", EventList).show(snapshot.events, older=snapshot.older_events)
        self.query_one(TabBar).show(counts={"events": f"{len(snapshot.events) + snapshot.older_events:,}"})
        if self.tab == "curves":
            self.query_one(CurvesPage).show(snapshot)

    def checkpoints_changed(self) -> None:
        """A checkpoint of the run was written or removed."""
        if self.tab == "checkpoints":
            self._read_page()

    def tick(self) -> None:
        """A second passed."""
        self.query_one(RunHeader).refresh()

    def mark_near(self, near: bool) -> None:
        """Whether the keys go to this pane."""
        self.query_one(TabBar).show(near=near)

    def _show_page(self) -> None:
        for tab in TABS:
            self.query_one(f"#page-{tab}").display = tab == self.tab
        self.query_one(TabBar).show(tab=self.tab)
        if self.tab == "curves" and self._snapshot is not None:
            self.query_one(CurvesPage).show(self._snapshot)
        self._read_page()

    @on(CheckpointTable.PinWanted)
    def _pin_wanted(self, message: CheckpointTable.PinWanted) -> None:
        self._pin(message.checkpoint, message.pinned)

    @work(group="pin", exit_on_error=False)
    async def _pin(self, checkpoint: str, pinned: bool) -> None:
        run = self._run
        if run is None:
            return
        try:
            await asyncio.to_thread(pin, run, checkpoint, pinned=pinned)
        except KladMLError as error:
            notice(self.app, error, "error", title="Not pinned")
        self.checkpoints_changed()

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        faults.tell(self.app, event)

    @on(Chosen)
    def _event_chosen(self, message: Chosen) -> None:
        events = self.query_one("#page-events", EventList)
        if message.source is events and self._run is not None and (event := events.event(message.key)) is not None:
            from kladml_tui.screens.event_screen import EventScreen  # not needed before the first frame

            message.stop()
            self.app.push_screen(EventScreen(event, self._run))

    # What is read from files, in threads

    @work(group="page", exclusive=True, exit_on_error=False)
    async def _read_page(self) -> None:
        run = self._run
        if run is None:
            return
        if self.tab == "config":
            text = await asyncio.to_thread(_read_config, run)
            self.query_one("#page-config", ConfigView).show_text(text, note="the resolved config of the newest attempt")
        elif self.tab == "checkpoints":
            self.query_one(CheckpointTable).show(await asyncio.to_thread(list_checkpoints, run))
        elif self.tab == "provenance":
            self.query_one(ProvenanceView).show(await asyncio.to_thread(read_provenance, run))
        elif self.tab == "console":
            await self._follow_console(run)

    async def _follow_console(self, run: RunDirectory) -> None:
        view = self.query_one(ConsoleView)
        size = await asyncio.to_thread(_console_size, run)
        offset = max(0, size - TAIL_BYTES)
        view.begin(cut=offset > 0)
        while True:
            # Whether it is live is asked before reading: the last output is then not missed.
            live = self._live
            data, offset = await asyncio.to_thread(_read_console, run, offset)
            if data:
                view.feed(data)
            elif not live:
                return
            if len(data) < CONSOLE_CHUNK:
                await asyncio.sleep(CONSOLE_SECONDS)


def _read_config(run: RunDirectory) -> str:
    try:
        with run.config.open("rb") as file:
            return file.read(_MAX_CONFIG).decode("utf-8", "replace")
    except OSError as error:
        return f"# {run.config}: {error.strerror}"


def _console_size(run: RunDirectory) -> int:
    try:
        return run.console_log.stat().st_size
    except OSError:
        return 0


def _read_console(run: RunDirectory, offset: int) -> tuple[bytes, int]:
    from kladml_core.runs.follow import read_console

    return read_console(run, offset, CONSOLE_CHUNK)
