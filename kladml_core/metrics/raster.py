"""Drawing curves into the cells of a terminal: windows of series in, characters and colour numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kladml_core.metrics.series import Window

Style = Literal["braille", "block", "ascii"]
Floats = NDArray[np.float64]

DOTS: dict[Style, tuple[int, int]] = {"braille": (2, 4), "block": (1, 2), "ascii": (1, 1)}
"""Dots of one cell, across and down, of each style of drawing."""
NO_COLOUR = -1
"""The colour number of a cell, or of a background, that nothing is drawn in."""

_BRAILLE = np.array([" ", *(chr(0x2800 + i) for i in range(1, 256))])
_BRAILLE_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_POINT: dict[Style, str] = {"braille": "•", "block": "■", "ascii": "o"}


@dataclass(frozen=True)
class Layer:
    """One curve to draw. Later layers lie over earlier ones, firm ones over faint ones."""

    window: Window
    colour: int
    """The number that its cells get."""
    faint: bool = False
    """Gives way, cell by cell, to every curve that is not."""
    line: bool = False
    """Draw the mean of each column, a thin line, and not all that lies between its extremes."""


@dataclass(frozen=True, eq=False)
class Cells:
    """What to print. All arrays have shape (height, width)."""

    chars: NDArray[np.str_]
    colours: NDArray[np.int64]
    backgrounds: NDArray[np.int64]
    """Differs from NO_COLOUR only where two curves share a cell of the block style."""


def draw(
    layers: Sequence[Layer],
    width: int,
    height: int,
    y_limits: tuple[float, float],
    *,
    log_y: bool = False,
    style: Style = "braille",
) -> Cells:
    """Draw curves; what lies outside of the limits is cut off.

    Args:
        layers: Their windows reach from the left edge of the canvas to the right one; ask each for
            `width * DOTS[style][0]` columns, with `positive=log_y`.
        width, height: Cells of the canvas.
        y_limits: Values at the lower and at the upper edge of the canvas, in that order.
        log_y: Whether y is logarithmic; the limits are then above 0.
        style: Of which characters the curves are made.
    """
    across, down = DOTS[style]
    chars = np.full((height, width), " ")
    colours = np.full((height * (down if style == "block" else 1), width), NO_COLOUR)
    codes = np.zeros((height, width), np.int64)
    firm = np.zeros(colours.shape, bool)
    points: list[tuple[int, int, int]] = []
    for layer in sorted(layers, key=lambda layer: not layer.faint):
        dots, single = _dots(layer, width * across, height * down, y_limits, log_y, style)
        if single is not None:
            points.append((single[0] // down, single[1] // across, layer.colour))
        if style == "braille":
            code = np.einsum("hdwa,da->hw", dots.reshape(height, down, width, across), _BRAILLE_BITS)
            drawn = code > 0
            keep = np.where(firm | np.array(layer.faint), codes, 0)
            codes = np.where(drawn, code | keep, codes)
        else:
            drawn = dots
        colours[drawn] = layer.colour
        if style == "ascii":
            chars[drawn] = "." if layer.faint else "*"
        if not layer.faint:
            firm |= drawn
    backgrounds = np.full((height, width), NO_COLOUR)
    if style == "braille":
        chars = _BRAILLE[codes]
    elif style == "block":
        chars, colours, backgrounds = _blocks(colours)
    for row, column, colour in points:
        chars[row, column], colours[row, column] = _POINT[style], colour
    return Cells(chars, colours, backgrounds)


def fraction(y: Any, limits: tuple[float, float], log_y: bool = False) -> Any:
    """Return where a value, or an array of them, lies between the limits: 0 at the lower one, 1 at the upper one.

    Values that a logarithmic axis cannot show are NaN.
    """
    low, high = limits
    if log_y:
        with np.errstate(invalid="ignore", divide="ignore"):
            y = np.log10(np.where(np.asarray(y) > 0, y, np.nan))
        low, high = float(np.log10(low)), float(np.log10(high))
    # Halved first: the difference of two huge numbers of unlike sign overflows.
    with np.errstate(over="ignore", invalid="ignore"):
        return (np.asarray(y) * 0.5 - low * 0.5) / (high * 0.5 - low * 0.5)


def _dots(
    layer: Layer, width: int, height: int, limits: tuple[float, float], log_y: bool, style: Style
) -> tuple[NDArray[np.bool_], tuple[int, int] | None]:
    """Return the dots of one curve, shape (height, width), and where its only point is if it has one."""
    window = layer.window
    top, bottom, first, last = (
        (1.0 - fraction(values, limits, log_y)) * height - 0.5
        for values in (
            (window.mean, window.mean, window.mean, window.mean)
            if layer.line
            else (window.high, window.low, window.first, window.last)
        )
    )
    column = np.minimum((window.position * width).astype(np.int64), width - 1)
    shown = ~np.isnan(top)
    xs, starts, ends = _with_edges(window, column, first, last, width, height, limits, log_y)
    single = None
    if int(shown.sum()) == 1 and len(xs) == len(column):
        row = float(top[shown][0])
        if -1.0 <= row <= height:
            single = int(np.clip(round(row), 0, height - 1)), int(column[shown][0])
    joined, above, below = _connections(xs, starts, ends, heavy=not layer.faint and style == "braille")
    return _filled(
        np.concatenate((column[shown], joined)),
        np.concatenate((top[shown], above)),
        np.concatenate((bottom[shown], below)),
        width,
        height,
    ), single


def _with_edges(
    window: Window, column: NDArray[np.int64], first: Floats, last: Floats, width: int, height: int,
    limits: tuple[float, float], log_y: bool,
) -> tuple[NDArray[np.int64], Floats, Floats]:  # fmt: skip
    """Return columns, rows where a line into them ends and rows where one out of them begins.

    The neighbours outside of the window come one column outside of the canvas, on the line that they are joined by.
    """
    before, after = window.before, window.after
    left, right = (
        None if edge is None else (edge.position, (1.0 - float(fraction(edge.value, limits, log_y))) * height - 0.5)
        for edge in (before, after)
    )
    inner_left = (float(window.position[0]), float(first[0])) if len(column) else right
    inner_right = (float(window.position[-1]), float(last[-1])) if len(column) else left
    if left is not None and inner_left is not None:
        row = _cut(left, inner_left, -1.0 / width)
        column, first, last = np.append(-1, column), np.append(row, first), np.append(row, last)
    if right is not None and inner_right is not None:
        row = _cut(inner_right, right, 1.0 + 1.0 / width)
        column, first, last = np.append(column, width), np.append(first, row), np.append(last, row)
    return column, first, last


def _cut(a: tuple[float, float], b: tuple[float, float], x: float) -> float:
    """Return the height of the line from a to b at x, or the nearer end's when x is not between them."""
    if not b[0] > a[0]:
        return b[1]
    return a[1] + (b[1] - a[1]) * min(1.0, max(0.0, (x - a[0]) / (b[0] - a[0])))


def _connections(
    x: NDArray[np.int64], starts: Floats, ends: Floats, *, heavy: bool
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Return for each column that a connecting line touches the rows between which it runs there.

    A heavy line takes every row that it touches, so that a steep piece of it is two dots wide.
    """
    if len(x) < 2:
        return np.empty(0, np.int64), np.empty(0), np.empty(0)
    good = ~(np.isnan(ends[:-1]) | np.isnan(starts[1:]))
    x0, x1, y0, y1 = x[:-1][good], x[1:][good], ends[:-1][good], starts[1:][good]
    length = x1 - x0
    touched = length + 1
    which = np.repeat(np.arange(len(x0)), touched)
    step = np.arange(len(which)) - np.repeat(np.cumsum(touched) - touched, touched)
    distance = np.maximum(length[which], 1)
    begin = np.clip((step - 0.5) / distance, 0.0, 1.0)
    end = np.where(length[which] == 0, 1.0, np.clip((step + 0.5) / distance, 0.0, 1.0))
    rise = (y1 - y0)[which]
    a, b = y0[which] + rise * begin, y0[which] + rise * end
    above, below = np.minimum(a, b), np.maximum(a, b)
    if heavy:
        return x0[which] + step, above, below
    # Rows whose middle the line crosses, each in one column only: a line as thin as it can be without a hole.
    top, bottom = np.ceil(above), np.floor(below)
    short = top > bottom
    middle = np.rint((above + below) / 2)
    return x0[which] + step, np.where(short, middle, top), np.where(short, middle, bottom)


def _filled(x: NDArray[np.int64], top: Floats, bottom: Floats, width: int, height: int) -> NDArray[np.bool_]:
    """Return the dots between two rows in each of the columns; rows count from above."""
    seen = (x >= 0) & (x < width) & (bottom >= -1.0) & (top <= height)
    x = x[seen]
    upper = np.clip(np.rint(top[seen]), 0, height - 1).astype(np.int64)
    lower = np.clip(np.rint(bottom[seen]), 0, height - 1).astype(np.int64)
    change = np.zeros((height + 1, width), np.int64)
    np.add.at(change, (upper, x), 1)
    np.add.at(change, (lower + 1, x), -1)
    return np.cumsum(change[:-1], axis=0) > 0


def _blocks(dots: NDArray[np.int64]) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.int64]]:
    """Return characters, colours and backgrounds of cells made of an upper and a lower half."""
    upper, lower = dots[0::2], dots[1::2]
    up, low = upper != NO_COLOUR, lower != NO_COLOUR
    chars = np.array([" ", "▀", "▄", "█"])[up + 2 * low]
    two = up & low & (upper != lower)
    chars[two] = "▀"
    return chars, np.where(up, upper, lower), np.where(two, lower, NO_COLOUR)
