"""Composing a chart: frame, curves, marks and cursor become one grid of characters and colour numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kladml_core.metrics import raster
from kladml_core.metrics.series import Series, Window
from kladml_tui.widgets import chart_frame, chart_scale
from kladml_tui.widgets.chart_colours import (
    AXIS,
    BEST,
    BLANK,
    CHECKPOINT,
    CURSOR,
    FIRST_CURVE,
    GRID,
    MUTED,
    NON_FINITE,
    RESUME,
)
from kladml_tui.widgets.chart_view import Limits, View, y_limits

Kind = Literal["checkpoint", "best", "resume", "non_finite"]
_GLYPHS: dict[Kind, tuple[str, int]] = {
    "checkpoint": ("◇", CHECKPOINT),
    "best": ("◆", BEST),
    "resume": ("↻", RESUME),
    "non_finite": ("×", NON_FINITE),
}
_WEIGHT: tuple[Kind, ...] = ("checkpoint", "resume", "best", "non_finite")
_MARKERS_A_CURVE = 6
_MARKERS_IN_ALL = 96
_EMPTY_NUMBERS = frozenset((BLANK, GRID))


@dataclass(frozen=True)
class Line:
    """A curve as it is drawn: what is shown, in which colour, smoothed or not."""

    series: Series
    colour: int
    smoothed: bool
    marker: str = ""
    raw: bool = True
    band: tuple[Series, Series] | None = None


@dataclass(frozen=True)
class PaintedMark:
    """A mark at a step: where on x it stands and, for one that belongs to a value, the value."""

    x: float
    kind: Kind
    value: float | None = None


@dataclass(frozen=True, eq=False)
class Picture:
    """The drawn chart without its legend: shape (height, width)."""

    chars: NDArray[np.str_]
    colours: NDArray[np.int64]
    backgrounds: NDArray[np.int64]
    frame: chart_frame.Frame
    x: Limits
    y: Limits
    hidden: int
    """Values of 0 or less that a logarithmic axis does not show."""


@dataclass(frozen=True)
class Request:
    """All that a picture depends on."""

    lines: Sequence[Line]
    marks: Sequence[PaintedMark]
    view: View
    data: Limits
    """Least and greatest x of all curves."""
    width: int
    height: int
    style: raster.Style = "braille"
    epochs: chart_scale.Epochs = ()
    previous_y: Limits | None = None


def paint(request: Request) -> Picture:
    """Draw the chart."""
    view, width = request.view, request.width
    rows = max(1, request.height - chart_frame.AXIS_ROWS)
    x = view.limits(request.data)
    axis: Any = "time" if view.axis == "time" else "step"
    across = raster.DOTS[request.style][0]

    # How wide the numbers of y are is known once the values in view are, and these once the columns are: the widest
    # canvas is close enough to find the least and the greatest value.
    y = y_limits(_range(request, x, axis, width * across), request.previous_y, view.log_y)
    y_ticks = tuple((at, f"{label} ") for at, label in chart_scale.y_ticks(y, rows, view.log_y))
    columns = chart_frame.canvas_columns(width, y_ticks)
    frame = chart_frame.build(width, request.height, y_ticks, tuple(_x_ticks(request, x, columns)), view.axis)
    chars, colours = frame.chars.copy(), _frame_colours(frame)
    backgrounds = np.full(chars.shape, raster.NO_COLOUR)

    faint, firm, hidden = _layers(request, x, axis, columns * across)
    cells = raster.draw(faint + firm, columns, rows, y, log_y=view.log_y, style=request.style)
    canvas = np.s_[:rows, frame.left :]
    drawn = cells.colours != raster.NO_COLOUR
    chars[canvas][drawn] = cells.chars[drawn]
    colours[canvas][drawn] = cells.colours[drawn]
    backgrounds[canvas][drawn] = cells.backgrounds[drawn]

    sheet = _Sheet(chars, colours, frame, x, y, view.log_y)
    _put_markers(request, sheet, firm)
    _mark(request, sheet)
    _draw_cursor(request, sheet)
    if request.style == "ascii":
        chars = chart_frame.to_ascii(chars)
    return Picture(chars, colours, backgrounds, frame, x, y, hidden)


def _range(request: Request, x: Limits, axis: Any, columns: int) -> Limits | None:
    """Return the least and the greatest value in view."""
    low, high = np.inf, -np.inf
    every = [series for line in request.lines for series in (line.series, *(line.band or ()))]
    for series in every:
        whole = x[0] <= request.data[0] and x[1] >= request.data[1]
        if whole and series.min is not None and series.max is not None and (series.min > 0 or not request.view.log_y):
            low, high = min(low, series.min), max(high, series.max)
            continue
        window = series.window(*x, columns, axis=axis, positive=request.view.log_y)
        if not np.isnan(window.low).all():
            low, high = min(low, float(np.nanmin(window.low))), max(high, float(np.nanmax(window.high)))
    return (low, high) if low <= high else None


def _layers(request: Request, x: Limits, axis: Any, columns: int) -> tuple[list[raster.Layer], list[raster.Layer], int]:
    """Return what lies behind the curves, the curves (one a line, in their order), and how many values a logarithmic
    axis hides."""
    log_y, hidden = request.view.log_y, 0
    faint, firm = [], []
    for line in request.lines:
        colour = FIRST_CURVE + 2 * line.colour
        smoothed = line.smoothed and line.series.count > 1
        if line.band is not None:
            low, high = (edge.window(*x, columns, axis=axis, positive=log_y) for edge in line.band)
            if len(low.low) == len(high.high):
                faint.append(raster.Layer(replace(low, high=high.high), colour + 1, faint=True))
        if smoothed and not line.raw:
            average = line.series.window(*x, columns, axis=axis, smoothed=True, positive=log_y)
            hidden += average.hidden
            firm.append(raster.Layer(average, colour, line=True))
            continue
        raw: Window = line.series.window(*x, columns, axis=axis, positive=log_y)
        hidden += raw.hidden
        if not smoothed:
            firm.append(raster.Layer(raw, colour))
            continue
        faint.append(raster.Layer(raw, colour + 1, faint=True))
        average = line.series.window(*x, columns, axis=axis, smoothed=True, positive=log_y)
        firm.append(raster.Layer(average, colour, line=True))
    return faint, firm, hidden


def _put_markers(request: Request, sheet: _Sheet, firm: Sequence[raster.Layer]) -> None:
    """Put each curve's own character on it, at places of its own so that curves that lie together stay readable."""
    marked = [index for index, line in enumerate(request.lines) if line.marker]
    if not marked:
        return
    places = min(_MARKERS_A_CURVE, max(1, _MARKERS_IN_ALL // len(marked)))
    for number, index in enumerate(marked):
        line, window = request.lines[index], firm[index].window
        known = np.flatnonzero(~np.isnan(window.mean))
        wanted = (np.arange(places) + (number + 1) / (len(marked) + 1)) / places
        for at in np.unique(
            known[np.abs(window.position[known][:, None] - wanted).argmin(axis=0)] if len(known) else known
        ):
            x = sheet.x[0] + float(window.position[at]) * (sheet.x[1] - sheet.x[0])
            sheet.point(x, float(window.mean[at]), line.marker, FIRST_CURVE + 2 * line.colour)


def _x_ticks(request: Request, x: Limits, columns: int) -> chart_scale.Ticks:
    if request.view.axis == "time":
        return chart_scale.time_ticks(x, request.data[0], columns)
    if request.view.axis == "epoch":
        return chart_scale.epoch_ticks(x, request.epochs, columns)
    return chart_scale.step_ticks(x, columns)


def _frame_colours(frame: chart_frame.Frame) -> NDArray[np.int64]:
    colours = np.full(frame.chars.shape, AXIS)
    canvas = np.s_[: frame.rows, frame.left :]
    colours[canvas] = np.where(frame.chars[canvas] == " ", BLANK, GRID)
    colours[: frame.rows, : max(0, frame.left - 1)] = MUTED
    colours[frame.rows + 1 :] = MUTED
    return colours


@dataclass(frozen=True, eq=False)
class _Sheet:
    """What marks are put on: the picture so far and where its axes lie."""

    chars: NDArray[np.str_]
    colours: NDArray[np.int64]
    frame: chart_frame.Frame
    x: Limits
    y: Limits
    log_y: bool

    def column(self, x: float) -> int | None:
        """Return the column of the sheet that x lies in, None when it is out of view."""
        low, high = self.x
        if not low <= x <= high or not high > low:
            return None
        return self.frame.left + min(self.frame.columns - 1, int((x - low) / (high - low) * self.frame.columns))

    def rule(self, column: int, glyph: str, colour: int) -> None:
        """Draw a vertical line behind the curves."""
        for row in range(self.frame.rows):
            if int(self.colours[row, column]) in _EMPTY_NUMBERS:
                self.chars[row, column], self.colours[row, column] = glyph, colour

    def point(self, x: float, value: float, glyph: str, colour: int, label: str = "") -> None:
        """Draw one point, its label beside it where nothing else is."""
        column, height = self.column(x), float(raster.fraction(value, self.y, self.log_y))
        if column is None or not 0.0 <= height <= 1.0:
            return
        row = min(self.frame.rows - 1, int((1.0 - height) * self.frame.rows))
        self.chars[row, column], self.colours[row, column] = glyph, colour
        begin, end = column + 1, column + 1 + len(label)
        if not label or end > self.chars.shape[1]:
            return
        for nearby in range(row, max(-1, row - 4), -1):
            if set(self.colours[nearby, begin:end].tolist()) <= _EMPTY_NUMBERS:
                self.chars[nearby, begin:end], self.colours[nearby, begin:end] = list(label), colour
                return


def _mark(request: Request, sheet: _Sheet) -> None:
    """Put the marks on the x axis, the weightiest last; a resume also as a line, the newest best value on its curve."""
    newest_best: PaintedMark | None = None
    for mark in sorted(request.marks, key=lambda mark: (_WEIGHT.index(mark.kind), mark.x)):
        column = sheet.column(mark.x)
        if column is None:
            continue
        glyph, colour = _GLYPHS[mark.kind]
        sheet.chars[sheet.frame.rows, column], sheet.colours[sheet.frame.rows, column] = glyph, colour
        if mark.kind == "resume":
            sheet.rule(column, "┊", RESUME)
        if mark.kind == "best" and mark.value is not None:
            newest_best = mark
    if newest_best is not None and newest_best.value is not None:
        sheet.point(newest_best.x, newest_best.value, "◆", BEST, " best")


def _draw_cursor(request: Request, sheet: _Sheet) -> None:
    cursor = request.view.cursor
    column = None if cursor is None else sheet.column(cursor)
    if cursor is None or column is None:
        return
    sheet.rule(column, "│", CURSOR)
    axis: Any = "time" if request.view.axis == "time" else "step"
    for line in request.lines:
        reading = line.series.at(cursor, axis)
        if reading is not None:
            value = reading.smoothed if line.smoothed else reading.value
            x = reading.time if axis == "time" else reading.step
            sheet.point(x, value, "●", FIRST_CURVE + 2 * line.colour)
