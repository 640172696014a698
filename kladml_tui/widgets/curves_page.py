"""The curves of a run: which group of metrics, the chart, and the newest events where there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from kladml_tui.text import one_line, shorten
from kladml_tui.text import width as cells_of
from kladml_tui.widgets.event_list import EventList

if TYPE_CHECKING:
    from kladml_core.runs.follow import RunSnapshot
    from kladml_tui.widgets.chart import Chart

EVENTS_SHOWN = 6
_ROOM_FOR_EVENTS = 20
"""Least height of the page at which events stand under the chart."""


class CurvesPage(Vertical):
    """The page. The chart is made once numpy is loaded, which is after the first frame."""

    BINDINGS = [
        Binding("v", "group(1)", "curves", id="curves.next", tooltip="Show the next metrics."),
        Binding("V", "group(-1)", "Curves back", show=False, id="curves.previous", tooltip="Show the metrics before."),
    ]

    def __init__(self, *, drawing: str, id: str | None = None) -> None:
        super().__init__(id=id)
        self._drawing = drawing
        self._chart: Chart | None = None
        self._snapshot: RunSnapshot | None = None
        self._group = "loss"
        self._groups: dict[str, list[str]] = {}

    def compose(self) -> ComposeResult:
        """The groups, room for the chart, the newest events."""
        yield Static(id="groups")
        yield Static(id="chart-place")
        recent = EventList(id="recent", cursor=False, limit=EVENTS_SHOWN)
        recent.can_focus = False
        yield recent

    @property
    def target(self) -> Widget | None:
        """What takes the keys."""
        return self._chart

    def prepare(self) -> None:
        """Makes the chart. Called once numpy has been loaded in a thread."""
        from kladml_tui.widgets.chart import Chart

        drawing: Any = self._drawing
        self._chart = Chart(drawing=drawing, id="chart")
        self.query_one("#chart-place").display = False
        self.mount(self._chart, after="#chart-place")
        self._draw()

    def say(self, text: str) -> None:
        """Says what is the matter while there is no curve."""
        self._snapshot = None
        self._groups = {}
        self._say_above(Content.styled(f" {one_line(text)}", "$muted"))
        self.query_one("#recent", EventList).show(())
        if self._chart is not None:
            self._chart.show(())

    def show(self, snapshot: RunSnapshot) -> None:
        """Shows a run as it is now."""
        self._snapshot = snapshot
        self._draw()

    def action_group(self, by: int) -> None:
        """Goes on to other metrics."""
        names = list(self._groups)
        if names:
            at = names.index(self._group) if self._group in names else 0
            self._group = names[(at + by) % len(names)]
            self._draw()

    def on_resize(self) -> None:
        """Events only where the chart has room enough; as many groups as there is room for."""
        self.query_one("#recent").display = self.size.height >= _ROOM_FOR_EVENTS
        self._show_groups()

    def on_show(self) -> None:
        """While it was hidden it had no width to write the groups in."""
        self._show_groups()

    def _draw(self) -> None:
        snapshot = self._snapshot
        if snapshot is None or self._chart is None:
            return
        from kladml_tui.widgets import curve_group

        if set(snapshot.series) != {name for names in self._groups.values() for name in names}:
            self._groups = curve_group.groups(snapshot.series)
        group = self._group if self._group in self._groups else next(iter(self._groups), "")
        names = self._groups.get(group, [])
        self._chart.show(
            curve_group.curves(names, snapshot.series),
            curve_group.marks(snapshot.landmarks, names),
            snapshot.landmarks.epochs,
            ended=not snapshot.status.live,
        )
        self.query_one("#recent", EventList).show(snapshot.events)
        self._show_groups()

    def _show_groups(self) -> None:
        if self._snapshot is not None and self._chart is not None and self.size.width:
            self._say_above(self._group_line(self.size.width))

    def _say_above(self, line: Content) -> None:
        # An update, be it with the same text, would have the whole screen laid out anew with each value that comes.
        groups = self.query_one("#groups", Static)
        if groups.content != line:
            groups.update(line, layout=False)

    def _why_nothing(self) -> tuple[str, str]:
        """What to say in the curves' place, and its colour."""
        status = self._snapshot.status if self._snapshot is not None else None
        if status is None or status.live:
            return "no values yet", "$muted"
        told = f"{status.status}: {status.why}" if status.why else f"{status.status} without a value"
        return told, f"$state-{status.status}"

    def _group_line(self, width: int) -> Content:
        """The groups; where not all fit, which of how many is chosen, and then from the start or from that one."""
        names = list(self._groups)
        if not names:
            words, style = self._why_nothing()
            return Content.styled(shorten(f" {words}", width), style)
        chosen = names.index(self._group) if self._group in names else 0
        parts: list[tuple[str, str]] = []
        first = 0
        if sum(cells_of(name) + 2 for name in names) > width:
            count = f" {chosen + 1}/{len(names)} "
            parts.append((count, "$accent"))
            upto = len(count) + sum(cells_of(name) + 2 for name in names[: chosen + 1])
            first = chosen if upto > width else 0
        for index, name in enumerate(names[first:], first):
            style = "$foreground bold underline" if index == chosen else "$muted"
            parts += [(" ", ""), (one_line(name), style), (" ", "")]
        return Content.assemble(*parts).truncate(width, ellipsis=True)
