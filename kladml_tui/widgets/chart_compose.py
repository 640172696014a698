"""From a scene to the lines of the terminal: what was drawn last is kept, so that a line that stays costs nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from kladml_core.metrics.raster import NO_COLOUR
from kladml_core.metrics.series import Reading, Series
from kladml_tui.text import one_line
from kladml_tui.widgets import chart_frame, chart_legend
from kladml_tui.widgets.chart_colours import FIRST_CURVE, MUTED
from kladml_tui.widgets.chart_paint import Line, PaintedMark, Picture, Request, paint
from kladml_tui.widgets.chart_scale import duration, epoch_at, number
from kladml_tui.widgets.chart_scene import Curve, Scene
from kladml_tui.widgets.chart_view import Limits

_SMALLEST = (12, 4)


class Composer:
    """Draws scenes, one after the other, of one chart."""

    def __init__(self) -> None:
        self.picture: Picture | None = None
        self._strips: list[Strip] = []
        self._styles: Sequence[Style] = ()
        self._log_y = False
        self._smoothed: dict[int, tuple[Series, Series]] = {}

    def compose(self, scene: Scene, width: int, height: int, styles: Sequence[Style]) -> list[Strip]:
        """Return the lines of the chart, `height` of them, each `width` cells wide.

        A line that looks as it did the last time is the same object.

        Args:
            scene: What to draw.
            width, height: Size in cells.
            styles: See `chart_colours.styles`; another list makes all lines anew.
        """
        data = scene.data_limits()
        if data is None or width < _SMALLEST[0] or height < _SMALLEST[1]:
            self.picture = None
            self._strips = message(scene.nothing if data is None else "", width, height, styles[MUTED])
            return self._strips
        shown = [self._as_viewed(curve, scene) for curve in scene.curves]
        self._smoothed = {id(old): (old, new) for (old, new) in self._smoothed.values() if old in
                          [curve.series for curve in scene.curves]}  # fmt: skip
        request = _request(scene, shown, data, (len(styles) - FIRST_CURVE) // 2)
        above = self._above(scene, shown, data, width)
        previous = self.picture.y if self.picture is not None and self._log_y == scene.view.log_y else None
        picture = paint(request(width, height - len(above), previous))
        if scene.view.log_y and picture.hidden:
            above = self._above(scene, shown, data, width, picture.hidden)
            if height - len(above) != len(picture.chars):
                picture = paint(request(width, height - len(above), previous))
        new = [_text_line(spans, width, styles, ascii_only=scene.drawing == "ascii") for spans in above]
        old = self._strips if styles is self._styles and len(self._strips) == height else []
        for y, strip in enumerate(new[: len(old)]):
            if old[y] == strip:
                new[y] = old[y]
        same = _same_rows(self.picture, picture) if old else np.zeros(len(picture.chars), bool)
        pairs: dict[tuple[int, int], Style] = {}
        for row, is_same in enumerate(same.tolist()):
            new.append(old[len(above) + row] if is_same else _picture_line(picture, row, styles, pairs))
        self.picture, self._strips, self._styles, self._log_y = picture, new, styles, scene.view.log_y
        return new

    def _as_viewed(self, curve: Curve, scene: Scene) -> Curve:
        """Return the curve with the smoothing of the view; worked out once for each snapshot."""
        smoothing = scene.view.smoothing
        if not curve.smoothed or smoothing is None:
            return curve
        if smoothing == 0.0:
            return replace(curve, smoothed=False)
        known = self._smoothed.get(id(curve.series))
        if known is None or known[1].smoothing != smoothing:
            known = curve.series, curve.series.with_smoothing(smoothing)
            self._smoothed[id(curve.series)] = known
        return replace(curve, series=known[1])

    def _above(
        self, scene: Scene, curves: Sequence[Curve], data: Limits, width: int, hidden: int = 0
    ) -> list[list[chart_legend.Span]]:
        newest = data[1]
        entries = [_entry(curve, scene, newest) for curve in curves]
        status = " · ".join(_status(scene, curves, hidden))
        return chart_legend.lines_above(chart_legend.legend(entries, width), status, width)


def message(text: str, width: int, height: int, style: Style) -> list[Strip]:
    """Return an empty chart with one line of text in its middle."""
    return [
        Strip([Segment((text if y == height // 2 else "").center(width)[:width], style)], width) for y in range(height)
    ]


def _request(
    scene: Scene, shown: Sequence[Curve], data: Limits, colours: int
) -> Callable[[int, int, Limits | None], Request]:
    """Return a function that makes the painter's request for a size."""
    lines = [
        Line(curve.series, curve.colour_index % colours, curve.smoothed, curve.marker, curve.raw, curve.band)
        for curve in shown
    ]
    main = shown[0].series
    marks = [PaintedMark(_x_of(mark.step, main, scene), mark.kind, mark.value) for mark in scene.marks]
    for line in lines:
        marks += [PaintedMark(_x_of(step, line.series, scene), "non_finite") for step in line.series.non_finite]

    def request(width: int, height: int, previous: Limits | None) -> Request:
        return Request(lines, marks, scene.view, data, width, height, scene.drawing, scene.epochs, previous)

    return request


def _axis(scene: Scene) -> Literal["step", "time"]:
    return "time" if scene.view.axis == "time" else "step"


def _x_of(step: int, series: Series, scene: Scene) -> float:
    """Return where a step lies on the x axis."""
    if scene.view.axis != "time":
        return step
    reading = series.at(step)
    return math.nan if reading is None else reading.time


def _entry(curve: Curve, scene: Scene, newest: float) -> chart_legend.Entry:
    series, cursor = curve.series, scene.view.cursor
    label = one_line(curve.label)
    if cursor is None:
        late = series.last_step is not None and scene.view.axis != "time" and series.last_step < newest
        note = f"@{series.last_step:,}" if late else ""
        return chart_legend.Entry(label, curve.colour_index, series.last_value, note, curve.marker)
    reading = series.at(cursor, _axis(scene))
    if reading is None:
        return chart_legend.Entry(label, curve.colour_index, None, marker=curve.marker)
    note = _reading_note(reading, curve, scene)
    return chart_legend.Entry(label, curve.colour_index, reading.value, note, curve.marker)


def _reading_note(reading: Reading, curve: Curve, scene: Scene) -> str:
    notes = []
    if curve.band is not None:
        low, high = (
            edge.at(reading.time if scene.view.axis == "time" else reading.step, _axis(scene)) for edge in curve.band
        )
        if low is not None and high is not None:
            notes.append(f"± {number((high.value - low.value) / 2)}")
    if curve.series.decimated and reading.low < reading.high:
        notes.append(f"{number(reading.low)} to {number(reading.high)}")
    if curve.smoothed:
        notes.append(f"~{number(reading.smoothed)}")
    if scene.view.axis != "time" and reading.step != scene.view.cursor:
        notes.append(f"@{reading.step:,}")
    return " ".join(notes)


def _status(scene: Scene, curves: Sequence[Curve], hidden: int) -> list[str]:
    """Return what is to be said of the drawing, the weightiest first."""
    view, parts = scene.view, []
    if view.cursor is not None:
        parts += _at_cursor(scene, curves[0].series)
    gaps = sum(curve.series.non_finite_count for curve in curves)
    if gaps:
        parts.append(f"{gaps:,} non-finite")
    levels = sorted({curve.series.smoothing for curve in curves if curve.smoothed})
    if levels:
        parts.append("smoothing " + ", ".join(f"{level:g}" for level in levels))
    if view.log_y:
        parts.append(f"log y, {hidden:,} ≤ 0 hidden" if hidden else "log y")
    stride = max(curve.series.stride for curve in curves)
    if stride > 1:
        parts.append(f"decimated {stride}:1")
    if view.axis != "step":
        parts.append(f"by {view.axis}")
    if view.fixed is not None or view.span is not None:
        parts.append("zoomed")
    return parts


def _at_cursor(scene: Scene, series: Series) -> list[str]:
    view = scene.view
    reading = series.at(view.cursor or 0, _axis(scene))
    if reading is None or view.cursor is None:
        return []
    step = reading.step if view.axis == "time" else int(view.cursor)
    parts = [f"step {step:,}"]
    if scene.epochs:
        parts.append(f"epoch {epoch_at(step, scene.epochs):.1f}")
    if series.first_time is not None:
        parts.append(duration(round(reading.time - series.first_time, 1)))
    near = [mark for mark in scene.marks if mark.step == reading.step and mark.label]
    return parts + [one_line(mark.label) for mark in near[-1:]]


def _text_line(spans: Sequence[chart_legend.Span], width: int, styles: Sequence[Style], *, ascii_only: bool) -> Strip:
    texts = [(chart_frame.text_to_ascii(text) if ascii_only else text, styles[colour]) for text, colour in spans]
    return Strip([Segment(text, style) for text, style in texts]).adjust_cell_length(width, styles[0])


def _same_rows(old: Picture | None, new: Picture) -> NDArray[np.bool_]:
    if old is None or old.chars.shape != new.chars.shape:
        return np.zeros(len(new.chars), bool)
    same = (old.chars == new.chars) & (old.colours == new.colours) & (old.backgrounds == new.backgrounds)
    rows: NDArray[np.bool_] = same.all(axis=1)
    return rows


def _picture_line(picture: Picture, row: int, styles: Sequence[Style], pairs: dict[tuple[int, int], Style]) -> Strip:
    colours, grounds = picture.colours[row], picture.backgrounds[row]
    changes = np.flatnonzero((colours[1:] != colours[:-1]) | (grounds[1:] != grounds[:-1])) + 1
    bounds = [0, *changes.tolist(), len(colours)]
    text = "".join(picture.chars[row].tolist())
    segments = []
    for begin, end in itertools.pairwise(bounds):
        style = styles[int(colours[begin])]
        if grounds[begin] != NO_COLOUR:
            pair = int(colours[begin]), int(grounds[begin])
            if pair not in pairs:
                pairs[pair] = style + Style(bgcolor=styles[pair[1]].color)
            style = pairs[pair]
        segments.append(Segment(text[begin:end], style))
    return Strip(segments, len(colours))
