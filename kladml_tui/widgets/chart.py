"""The chart: curves of runs over step, epoch or time, with marks, zoom and a cursor. Fed with immutable snapshots."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events, work
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from kladml_tui.widgets import chart_colours
from kladml_tui.widgets.chart_scale import Epochs
from kladml_tui.widgets.chart_scene import Curve, Drawing, Mark, MarkKind, Scene
from kladml_tui.widgets.chart_view import SMOOTHING_LEVELS, View, XAxis

if TYPE_CHECKING:
    from kladml_tui.widgets.chart_compose import Composer

__all__ = ["Chart", "Curve", "Drawing", "Mark", "MarkKind", "View"]

_SHORTEST_PAUSE = 1 / 6
_A_FRAME = 1 / 60
MANY_CURVES = 12
"""More are drawn in a thread: two hundred take some tenths of a second, in which keys are not to wait."""


class Chart(Widget, can_focus=True):
    """Draws curves. `show` may be called as often as one likes: it draws at most six times a second."""

    DEFAULT_CSS = Path(__file__).with_suffix(".tcss").read_text(encoding="utf-8")
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "zoom(0.5)", "Zoom in", id="chart.zoom_in", key_display="+"),
        Binding("minus", "zoom(2.0)", "Zoom out", id="chart.zoom_out", key_display="-"),
        Binding("left", "pan(-0.25)", "Earlier", id="chart.pan_left", show=False),
        Binding("right", "pan(0.25)", "Later", id="chart.pan_right", show=False),
        Binding("left_square_bracket", "cursor(-1)", "Cursor left", id="chart.cursor_left", key_display="["),
        Binding("right_square_bracket", "cursor(1)", "Cursor right", id="chart.cursor_right", key_display="]"),
        Binding("left_curly_bracket", "cursor(-10)", "Cursor far left", id="chart.cursor_far_left", show=False),
        Binding("right_curly_bracket", "cursor(10)", "Cursor far right", id="chart.cursor_far_right", show=False),
        Binding("l", "log_y", "Log y", id="chart.log_y"),
        Binding("m", "smoothing", "Smoothing", id="chart.smoothing"),
        Binding("x", "x_axis", "Step, epoch or time", id="chart.x_axis"),
        Binding("0", "reset", "Show all", id="chart.reset"),
    ]

    def __init__(
        self,
        *,
        drawing: Drawing = "braille",
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """Make an empty chart; `drawing` says of which characters curves are made."""
        super().__init__(name=name, id=id, classes=classes)
        self._scene = Scene(drawing=drawing)
        self._composer: Composer | None = None
        self._trouble = ""
        self._strips: list[Strip] = []
        self._drawn_size = Size(0, 0)
        self._is_stale = True
        self._palette: list[Style] = []
        self._next_draw = 0.0
        self._waiting: Timer | None = None
        self._composing = self._again = False

    def show(
        self, curves: Sequence[Curve], marks: Sequence[Mark] = (), epochs: Epochs = (), *, ended: bool = False
    ) -> None:
        """Show these curves and marks from now on.

        Args:
            curves: Later ones are drawn over earlier ones.
            marks: Non-finite values of the curves are marked without being named here.
            epochs: (step at its end, number) of each finished epoch, rising; with them x can be the epoch.
            ended: Nothing more will come: where there is no value now, there will be none.
        """
        view = self._scene.view
        if view.axis == "epoch" and not epochs:
            view = replace(view, axis="step")
        scene = replace(self._scene, curves=tuple(curves), marks=tuple(marks), epochs=tuple(epochs), view=view)
        scene = replace(scene, nothing="no values" if ended else Scene.nothing)
        if scene.shows_the_same_as(self._scene):
            return
        self._scene = scene
        wait = self._next_draw - monotonic()
        if wait <= 0:
            self._draw()
        elif self._waiting is None and self.is_attached:
            self._waiting = self.set_timer(wait, self._draw)

    async def settled(self) -> None:
        """Return once no drawing is being made or due."""
        while self._composing or self._waiting is not None:
            await asyncio.sleep(_A_FRAME)

    @property
    def view(self) -> View:
        """How the chart is looked at; may be kept and set again."""
        return self._scene.view

    @view.setter
    def view(self, view: View) -> None:
        self._scene = replace(self._scene, view=view)
        self._draw()

    @property
    def drawing(self) -> Drawing:
        """Of which characters curves are made."""
        return self._scene.drawing

    @drawing.setter
    def drawing(self, drawing: Drawing) -> None:
        self._scene = replace(self._scene, drawing=drawing)
        self._draw()

    def action_zoom(self, factor: float) -> None:
        """Show `factor` times as much of the curves."""
        if data := self._scene.data_limits():
            self.view = self.view.zoomed(factor, data)

    def action_pan(self, share: float) -> None:
        """Move along by a share of what is in view."""
        if data := self._scene.data_limits():
            self.view = self.view.panned(share, data)

    def action_cursor(self, cells: int) -> None:
        """Move the cursor; the legend then reads what the curves say there."""
        if data := self._scene.data_limits():
            columns = self._canvas()[1]
            moved = self.view.with_cursor_moved(cells, columns, data)
            low, high = moved.limits(data)
            near = self._scene.nearest_record(moved.cursor or 0, (high - low) / columns)
            # Onto a record where there is one, but never back to where the cursor was.
            if near is not None and (self.view.cursor is None or (near - self.view.cursor) * cells > 0):
                moved = replace(moved, cursor=near)
            self.view = moved

    def action_log_y(self) -> None:
        """Change between a linear and a logarithmic y axis."""
        self.view = replace(self.view, log_y=not self.view.log_y)

    def action_smoothing(self) -> None:
        """Go on to the next smoothing."""
        own = next((curve.series.smoothing for curve in self._scene.curves if curve.smoothed), SMOOTHING_LEVELS[0])
        levels = (own, *(level for level in SMOOTHING_LEVELS if level != own))
        now = own if self.view.smoothing is None else self.view.smoothing
        following = levels[(levels.index(now) + 1) % len(levels)] if now in levels else own
        self.view = replace(self.view, smoothing=None if following == own else following)

    def action_x_axis(self) -> None:
        """Go on to the next x axis; zoom and cursor are given up where the unit changes."""
        axes: list[XAxis] = ["step", "epoch", "time"] if self._scene.epochs else ["step", "time"]
        axis = axes[(axes.index(self.view.axis) + 1) % len(axes)]
        view = replace(self.view, axis=axis)
        if "time" in (axis, self.view.axis):
            view = replace(view, span=None, fixed=None, cursor=None)
        self.view = view

    def action_reset(self) -> None:
        """Show everything, without a cursor."""
        self.view = replace(self.view, span=None, fixed=None, cursor=None)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse points."""
        data, offset = self._scene.data_limits(), event.get_content_offset(self)
        left, columns = self._canvas()
        if data is None or offset is None or not 0 <= offset.x - left < columns:
            return
        low, high = self.view.limits(data)
        x = low + (high - low) * (offset.x - left + 0.5) / columns
        self.view = replace(self.view, cursor=x if self.view.axis == "time" else int(x))

    def _canvas(self) -> tuple[int, int]:
        """Return the first column of the curves and how many there are."""
        picture = self._composer.picture if self._composer else None
        return (picture.frame.left, picture.frame.columns) if picture else (0, max(1, self.size.width))

    def on_mount(self) -> None:
        """Load what draws once the first frame is on the screen."""
        self.call_after_refresh(lambda: self.run_worker(self._load(), exit_on_error=False))

    async def _load(self) -> None:
        try:
            self._composer = await asyncio.to_thread(_new_composer)
        except ImportError as error:
            self._trouble = f"the chart cannot be drawn: {error}"
        self._draw()

    def on_show(self) -> None:
        """Catch up with what came while the chart was out of sight."""
        self._draw()

    def notify_style_update(self) -> None:
        """Take the colours anew: the theme may have changed."""
        self._palette = []
        self._is_stale = True
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """Return one line of the drawn chart."""
        if self._is_stale or self._drawn_size != self.size:
            self._remake()
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, self.rich_style)

    def _draw(self) -> None:
        """Draw now, and refresh the lines that came out different. Out of sight, only remember to."""
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None
        self._is_stale = True
        if not self.is_attached or not self.is_on_screen:
            return
        self._next_draw = monotonic() + _SHORTEST_PAUSE
        before, size = self._strips, self._drawn_size
        self._remake()
        if size != self._drawn_size or len(before) != len(self._strips):
            self.refresh()
            return
        left, top, width = self.gutter.left, self.gutter.top, self.size.width
        changed = [y for y, strip in enumerate(self._strips) if strip is not before[y]]
        if changed:
            self.refresh(*(Region(left, top + y, width, 1) for y in changed))

    def _remake(self) -> None:
        self._is_stale, self._drawn_size = False, self.size
        if not self._palette:
            self._palette = chart_colours.styles(self.app, self.background_colors[1], self.styles.color)
        width, height = self.size
        if self._composer is not None and (self._composing or len(self._scene.curves) > MANY_CURVES):
            self._compose_aside()
        elif self._composer is not None:
            self._strips = self._composer.compose(self._scene, width, height, self._palette)
        else:
            text = Segment(self._trouble.center(width)[:width], self._palette[chart_colours.MUTED])
            middle, blank = Strip([text], width), Strip.blank(width, self._palette[0])
            self._strips = [middle if y == height // 2 else blank for y in range(height)]

    @work(exit_on_error=False)
    async def _compose_aside(self) -> None:
        """Draw what takes long in a thread, one drawing at a time, and put it on the screen when it is made."""
        if self._composing:
            self._again = True
            return
        assert self._composer is not None
        self._composing = True
        try:
            self._again = True
            while self._again:
                self._again = False
                asked = self._scene, *self.size, self._palette
                strips = await asyncio.to_thread(self._composer.compose, *asked)
                self._strips = strips
                self.refresh()
        finally:
            self._composing = False


def _new_composer() -> Composer:
    """Import what draws, numpy and plotext with it, and return a drawer."""
    from kladml_tui.widgets.chart_compose import Composer

    import_module("plotext")  # which is otherwise first needed in the middle of a drawing
    return Composer()
