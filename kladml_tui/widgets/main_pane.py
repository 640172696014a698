"""The right side: the list of runs with its filter and the run's view, or a preview. Made after the first frame."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from kladml_core.settings import Settings
from kladml_tui.widgets.in_order import Line
from kladml_tui.widgets.preview import Preview
from kladml_tui.widgets.run_view import RunView
from kladml_tui.widgets.runs_table import RunsTable


class MainPane(Vertical):
    """The widgets; what they show is the screen's business."""

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")

    def __init__(self, settings: Settings, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._settings = settings

    def compose(self) -> ComposeResult:
        """Runs, filter and view, and the preview that stands in their place."""
        yield RunsTable(self._settings.data / "projects", id="runs")
        yield Line(placeholder="status:running val/loss<0.05 tag:baseline word -word; esc clears", id="filter")
        yield Static(id="filter-fault")
        yield RunView(drawing=self._settings.ui.drawing, id="view")
        yield Preview(self._settings, id="preview")

    def show_runs(self, runs: bool) -> None:
        """Shows runs, or the preview."""
        table = self.query_one(RunsTable)
        table.display = self.query_one(RunView).display = runs
        field = self.query_one("#filter", Line)
        field.display = runs and (bool(field.value) or field.has_focus)
        self.query_one(Preview).display = not runs
