"""A registered dataset: overview, first rows, columns, classes, versions and the runs that use it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.worker import Worker

from kladml_core.errors import KladMLError
from kladml_core.settings import Settings
from kladml_core.workspace.examination import Examination
from kladml_tui import faults
from kladml_tui.commands import DATASET_PAGES
from kladml_tui.dataset_text import STYLES
from kladml_tui.text import notice
from kladml_tui.widgets.dataset_pages import LABEL, DatasetFacts, page
from kladml_tui.widgets.dataset_rows import DatasetRows
from kladml_tui.widgets.text_lines import TextLines

_SETTLE_SECONDS = 0.25
"""How long the cursor must rest on a dataset before its data is read."""


class DatasetBar(Widget):
    """`1 Overview  2 Rows  …`, the one that is open marked."""

    DEFAULT_CSS = "DatasetBar { height: 1; background: $surface; }"
    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__()
        self._open = DATASET_PAGES[0]
        self._mark = ""

    def show(self, open_page: str, mark: str) -> None:
        """Marks the page that is open; `mark` is the dataset's state."""
        if (open_page, mark) != (self._open, self._mark):
            self._open, self._mark = open_page, mark
            self.refresh()

    def _labels(self) -> list[tuple[str, str]]:
        """Page and words of each; the words of the open one alone where there is no room for all."""
        for all_words in (True, False):
            labels = [
                (name, f" {number} {name.capitalize() if all_words or name == self._open else ''}".rstrip() + " ")
                for number, name in enumerate(DATASET_PAGES, 1)
            ]
            if sum(len(text) for _, text in labels) <= self.size.width:
                break
        return labels

    def render(self) -> Content:
        """The line."""
        parts = [(text, "$primary bold" if name == self._open else "$muted") for name, text in self._labels()]
        if self._mark not in ("", "unchanged", "target"):
            parts.append((f"  {self._mark}", STYLES[self._mark]))
        return Content.assemble(*parts)

    def on_click(self, event: events.Click) -> None:
        """Opens the page that was clicked."""
        at = 0
        for name, text in self._labels():
            at += len(text)
            if event.x < at:
                view = self.parent
                if isinstance(view, DatasetView):
                    view.open_page(name)
                return


class DatasetView(Vertical):
    """The pages of one dataset. Threads read; what takes long is given up as soon as another dataset is shown."""

    DEFAULT_CSS = "DatasetView { height: 1fr; }"

    def __init__(self, settings: Settings, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._settings = settings
        self._facts: DatasetFacts | None = None
        self._given_up = threading.Event()
        self._called: Path | None = None
        """The registration whose function is being called at this moment."""
        self.page = DATASET_PAGES[0]
        """The page that is open."""

    def compose(self) -> ComposeResult:
        """A bar over a text or a grid."""
        yield DatasetBar()
        yield TextLines(id="dataset-text")
        yield DatasetRows(id="dataset-rows")

    def on_mount(self) -> None:
        """Nothing is known yet."""
        self.query_one(DatasetRows).display = False

    @property
    def target(self) -> Widget:
        """What takes the keys."""
        return self.query_one(DatasetRows) if self.page == "rows" else self.query_one(TextLines)

    @property
    def plain(self) -> str:
        """The text of the page."""
        return self.query_one(TextLines).plain

    def open_page(self, name: str) -> None:
        """Opens a page; the keys stay with the view where it had them."""
        had = self.has_focus_within
        self.page = name
        self.query_one(DatasetRows).display = name == "rows"
        self.query_one(TextLines).display = name != "rows"
        self._draw()
        if name != "rows":
            self.query_one(TextLines).action_top()
        if had:
            self.screen.set_focus(self.target)

    def show_file(self, file: Path) -> None:
        """Shows the dataset of a registration; what was known of it stays until something else is known."""
        if self._facts is None or self._facts.file != file:
            self._facts = DatasetFacts(file)
            self._draw()
            if self.page != "rows":
                self.query_one(TextLines).action_top()
        self._begin(file, call=False)

    def give_up(self) -> None:
        """Nobody looks at it any more: what takes long ends."""
        self._called = None
        self._given_up.set()

    def look_again(self, *, call: bool = False) -> None:
        """Reads everything anew.

        Args:
            call: call the function of a target too.
        """
        if self._facts is not None:
            self._begin(self._facts.file, call=call)

    def _begin(self, file: Path, *, call: bool) -> None:
        # A change of some other file must not end what a person has asked for.
        if call or self._called != file:
            self._called = file if call else None
            self._given_up.set()
            # Here and not in the worker, which begins later: the one before must not take itself for the newest.
            self._given_up = threading.Event()
            self._read(file, self._given_up, call=call)

    @work(group="dataset", exclusive=True, exit_on_error=False)
    async def _read(self, file: Path, given_up: threading.Event, *, call: bool) -> None:
        try:
            await self._find_out(file, given_up, call=call)
        finally:
            if given_up is self._given_up:
                self._called = None
            given_up.set()

    async def _find_out(self, file: Path, given_up: threading.Event, *, call: bool) -> None:
        from kladml_core.workspace.dataset_look import look
        from kladml_core.workspace.dataset_state import compare
        from kladml_core.workspace.dataset_uses import runs_using
        from kladml_core.workspace.datasets import read_dataset

        root, data = self._settings.root, self._settings.data
        try:
            registration = await asyncio.to_thread(read_dataset, file)
        except KladMLError as error:
            self._tell(DatasetFacts(file, problem=str(error)))
            return
        known = self._facts
        facts = DatasetFacts(file, registration)
        if known is not None and known.registration == registration:
            facts = replace(known, problem="")
        self._tell(facts)
        await asyncio.sleep(_SETTLE_SECONDS)
        state = await asyncio.to_thread(compare, registration, root)
        reads = state.state not in ("gone", "wrong") and (call or not facts.is_target)
        facts = replace(facts, state=state, looking=reads, problem="" if reads or facts.is_target else state.how)
        self._tell(facts)
        if reads:

            def read() -> Examination | None:
                return look(registration, root, call=call, given_up=given_up.is_set)

            try:
                found = await asyncio.to_thread(read)
                facts = replace(facts, found=found, looking=False)
            except KladMLError as error:
                facts = replace(facts, found=None, looking=False, problem=str(error))
            self._tell(facts)
        uses = await asyncio.to_thread(runs_using, data, registration)
        self._tell(replace(facts, uses=tuple(uses)))

    def _tell(self, facts: DatasetFacts) -> None:
        if facts != self._facts:
            self._facts = facts
            self._draw()

    def on_resize(self) -> None:
        """Columns have another width."""
        if self.page != "rows":
            self._draw()

    def _draw(self) -> None:
        facts = self._facts
        if facts is None or not self.is_mounted:
            return
        self.query_one(DatasetBar).show(self.page, facts.state.state if facts.state is not None else "")
        if self.page == "rows" and facts.found is not None:
            self.query_one(DatasetRows).show(facts.found)
            return
        if self.page == "rows":
            self.query_one(DatasetRows).show(None)
            return
        text = self.query_one(TextLines)
        indent = LABEL + 1 if self.page == "overview" else 2
        text.show_lines(tuple(page(self.page, facts, max(20, self.size.width - 3))), indent=indent)

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        faults.tell(self.app, event)

    def on_unmount(self) -> None:
        """Gives up what is being read."""
        self._given_up.set()

    def call_or_check(self) -> None:
        """What K does on the screen: calls a function that makes data, or compares a file anew."""
        facts = self._facts
        if facts is None:
            return
        if facts.is_target:
            notice(self.app, "Calling the function in a process of its own …", timeout=3)
        self.look_again(call=facts.is_target)
