"""The frame of a chart: axes, ticks and grid, drawn by plotext and kept until they change."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

TickRow = tuple[tuple[float, str], ...]

AXIS_ROWS = 2
"""Rows below the canvas: the axis and its numbers."""
_NAMED_FROM = 30
_ASCII = str.maketrans("┤├┼┬┴│└─┊…×◆◇↻•●━–·■▲▼○□△▽◉◈★◐◧", "+++++|`-:~x*o>oo=-,#AVOQDY@%$&K") | {
    ord("≤"): "<=",
    ord("∞"): "inf",
}


@dataclass(frozen=True, eq=False)
class Frame:
    """A drawn frame. The canvas is what lies right of `left` and above the last two rows."""

    chars: NDArray[np.str_]
    left: int
    columns: int
    rows: int


def canvas_columns(width: int, y_ticks: TickRow) -> int:
    """Return the cells that are left for the curves once the numbers of the y axis are written."""
    return width - 1 - max((len(label) for _, label in y_ticks), default=0)


@lru_cache(maxsize=16)
def build(width: int, height: int, y_ticks: TickRow, x_ticks: TickRow, name: str) -> Frame:
    """Draw a frame of `width` by `height` cells; ticks are (0 to 1 along the axis, label), `name` is what x is."""
    import plotext

    rows, columns = height - AXIS_ROWS, canvas_columns(width, y_ticks)
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limit_size(False, False)  # to the terminal, which may be none at all
    plotext.plotsize(width, height)
    # plotext lays out cells and no values: what a cell stands for is decided by the raster alone.
    plotext.xlim(0, max(1, columns - 1))
    plotext.ylim(0, max(1, rows - 1))
    # The name of the axis stands in the corner; a number that would lie there gives way, its tick stays.
    free = columns - len(name) - 1 if columns > _NAMED_FROM else columns
    labels = [label if _cell(at, columns) + (len(label) + 1) // 2 < free else "" for at, label in x_ticks]
    plotext.xticks([_cell(at, columns) for at, _ in x_ticks], labels if free < columns else [t for _, t in x_ticks])
    plotext.yticks([_cell(at, rows) for at, _ in y_ticks], [label for _, label in y_ticks])
    plotext.xaxes(True, False)
    plotext.yaxes(True, False)
    plotext.grid(True, False)
    plotext.scatter([-5], [-5], marker=" ")  # without data there would be no axes
    lines: Any = plotext.uncolorize(plotext.build()).split("\n")
    chars = np.full((height, width), " ")
    for row, line in enumerate(lines[:height]):
        chars[row, : min(width, len(line))] = list(line[:width])
    left = width - columns
    numbers = chars[height - 1]
    if len(name) + 3 < width and (numbers[-len(name) - 2 :] == " ").all():
        numbers[-len(name) :] = list(name)
    return Frame(chars, left, columns, rows)


def _cell(at: float, cells: int) -> int:
    return min(cells - 1, max(0, int(at * cells)))


def to_ascii(chars: NDArray[np.str_]) -> NDArray[np.str_]:
    """Return the same picture without any character beyond ASCII."""
    return np.array([list("".join(row).translate(_ASCII)) for row in chars])


def text_to_ascii(text: str) -> str:
    """Return a line of the legend without our own characters beyond ASCII."""
    return text.translate(_ASCII)
