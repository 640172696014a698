"""Redrawing a chart of four curves of a million points each when one point comes; run with `python -m`.

Ours is everything from the record to the lines that Textual prints: append, snapshot, windows, raster, strips. The peer
is plotext's build of the same four curves, already reduced to the width of the chart, without anything else.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import plotext
from rich.style import Style

from kladml_core.metrics.columns import RECORD, chunks, visible
from kladml_core.metrics.reduce import SeriesBuffer
from kladml_tui.widgets.chart_compose import Composer
from kladml_tui.widgets.chart_scene import Curve, Scene
from tests.benchmarks.table import Row, measure, show

WIDTH, HEIGHT = 120, 35
POINTS = 1_000_000
LIMIT_MS = 15.0
LOAD_LIMIT_MS = 1000.0


def records(count: int, seed: int) -> np.ndarray:
    """Return a falling, noisy curve as it would be logged."""
    made = np.empty(count, RECORD)
    made["step"] = np.arange(count)
    made["time"] = 1.7e9 + made["step"] * 0.01
    noise = np.random.default_rng(seed).normal(0, 0.05, count)
    made["value"] = np.exp(-made["step"] / (count / 4)) + 0.2 * seed + noise
    return made


class Ours:
    """Train and validation loss, each raw and smoothed: four curves."""

    def __init__(self, points: int) -> None:
        self.buffers = [SeriesBuffer(), SeriesBuffer()]
        for seed, buffer in enumerate(self.buffers):
            buffer.append(records(points, seed))
        self.next_step = points
        self.composer = Composer()
        self.styles = [Style(color=f"color({i})") for i in range(30)]

    def redraw(self) -> None:
        """Append one point to every curve and draw."""
        for buffer in self.buffers:
            point = np.array([(self.next_step, 1.7e9 + self.next_step, np.random.default_rng(self.next_step).random())],
                             RECORD)  # fmt: skip
            buffer.append(visible(point))
        self.next_step += 1
        curves = tuple(Curve(f"loss {i}", buffer.snapshot(), i) for i, buffer in enumerate(self.buffers))
        strips = self.composer.compose(Scene(curves), WIDTH, HEIGHT, self.styles)
        if len(strips) != HEIGHT:
            raise RuntimeError("the chart has not been drawn")


class Plotext:
    """The same four curves, reduced beforehand."""

    def __init__(self, points: int) -> None:
        self.lines = []
        for seed in range(2):
            buffer = SeriesBuffer()
            buffer.append(records(points, seed))
            series = buffer.snapshot()
            for smoothed in (False, True):
                window = series.window(0, points, WIDTH, smoothed=smoothed)
                self.lines.append((window.x.tolist(), window.mean.tolist()))

    def redraw(self) -> None:
        """Build the chart."""
        plotext.clear_figure()
        plotext.theme("clear")
        plotext.limit_size(False, False)
        plotext.plotsize(WIDTH, HEIGHT)
        for x, y in self.lines:
            plotext.plot(x, y, marker="braille")
        plotext.build()


def load(path: Path) -> float:
    """Return the milliseconds of CPU that reading a long series file in chunks takes."""
    start = time.process_time()
    buffer = SeriesBuffer()
    for piece, offset in chunks(path):
        buffer.append(visible(piece, offset))
    buffer.snapshot()
    return (time.process_time() - start) * 1e3


def main() -> int:
    """Print the table; 1 where a limit is broken."""
    ours, raw, peer = Ours(POINTS), Ours(300_000), Plotext(POINTS)
    took, took_raw, peers = measure([ours.redraw, raw.redraw, peer.redraw], 41)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "long.bin"
        records(10 * POINTS, 1).tofile(path)
        loading = min(load(path) for _ in range(3))
    rows = [
        Row("4 curves of 1,000,000 points, 1 appended", took, peers, LIMIT_MS, "plotext, reduced data"),
        Row("4 curves of 300,000 points (not decimated)", took_raw, peers, LIMIT_MS, "plotext, reduced data"),
        Row("10,000,000 points read and reduced", loading, None, LOAD_LIMIT_MS),
    ]
    show(f"Redraw of a {WIDTH}x{HEIGHT} chart, CPU time, median", rows)
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
