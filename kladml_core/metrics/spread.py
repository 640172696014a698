"""Mean and spread of curves: repetitions of one training, which differ in their seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kladml_core.metrics.columns import RECORD
from kladml_core.metrics.reduce import Series, SeriesBuffer
from kladml_core.metrics.table import Floats

PLACES = 1024
"""Steps at which the spread of longer curves is worked out; a screen has fewer columns."""


@dataclass(frozen=True, eq=False)
class SpreadCurve:
    """The mean of some curves, and what lies a standard deviation below and above it."""

    mean: Series
    low: Series
    high: Series
    count: int
    """Curves that it is of."""


def spread_curve(curves: Sequence[Series]) -> SpreadCurve | None:
    """Works out mean ± standard deviation (of a sample: over n - 1; 0 where n is 1).

    At each step only those curves count that reach there with a finite value; between its records a curve is taken to
    run straight. The steps are those of the curves, thinned out where there are more than `PLACES`.

    Args:
        curves: the repetitions; empty ones are left out.

    Returns:
        None where no curve has a record.
    """
    tracks = [_track(curve) for curve in curves if curve.count]
    if not tracks:
        return None
    steps = np.unique(np.concatenate([step for step, _, _ in tracks]))
    if len(steps) > PLACES:
        steps = steps[np.unique(np.linspace(0, len(steps) - 1, PLACES).round().astype(np.int64))]
    inner = _mean_and_deviation(tracks, steps)
    # The edges also between the steps, so that a band is a band where values are few.
    between = np.linspace(steps[0], steps[-1], PLACES).astype(np.int64)
    edges = np.unique(np.concatenate((steps.astype(np.int64), between)))
    time, mean, deviation = _mean_and_deviation(tracks, edges)
    low, high = (_series(edges, time, line) for line in (mean - deviation, mean + deviation))
    return SpreadCurve(_series(steps, *inner[:2]), low, high, len(tracks))


def _mean_and_deviation(
    tracks: Sequence[tuple[Floats, Floats, Floats]], steps: NDArray[Any]
) -> tuple[Floats, Floats, Floats]:
    """Times, means and deviations at these steps."""
    values = np.array([_at(steps, step, value) for step, _, value in tracks])
    times = np.array([_at(steps, step, time) for step, time, _ in tracks])
    known = np.isfinite(values)
    count = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean = np.where(known, values, 0.0).sum(axis=0) / count
        squares = np.where(known, values - mean, 0.0) ** 2
        deviation = np.sqrt(squares.sum(axis=0) / np.maximum(count - 1, 1))
        time = np.nansum(times, axis=0) / np.maximum(np.isfinite(times).sum(axis=0), 1)
    return time, mean, deviation


def _track(curve: Series) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Steps, times and values of a curve; of a decimated one the ends of its pieces and their means."""
    parts = [part for part in curve.parts if part.rows]
    columns = ([part.step_last for part in parts], [part.time_last for part in parts], [part.mean for part in parts])
    step, time, value = (np.concatenate(column).astype(np.float64) for column in columns)
    return step, time, value


def _at(steps: NDArray[np.int64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.interp(steps.astype(np.float64), x, y, left=np.nan, right=np.nan)


def _series(steps: NDArray[np.int64], time: NDArray[np.float64], values: NDArray[np.float64]) -> Series:
    records = np.zeros(len(steps), RECORD)
    records["step"], records["time"], records["value"] = steps, np.maximum(time, 1e-9), values
    buffer = SeriesBuffer()
    buffer.append(records)
    return buffer.snapshot()
