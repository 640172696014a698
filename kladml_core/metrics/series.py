"""A curve as it stands: an immutable view of one metric, and the piece of it that a chart draws."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kladml_core.metrics.smooth import Average, check_factor, smooth
from kladml_core.metrics.table import Floats, Table

Axis = Literal["step", "time"]

_INT64_MAX = 2**63 - 1
_EXACT = 2**62


class Edge(NamedTuple):
    """The neighbour of a window: where the line comes from or goes to. `position` is below 0 or above 1."""

    position: float
    value: float


@dataclass(frozen=True, eq=False)
class Window:
    """A piece of a curve, reduced to columns of the screen. All arrays have one length, at most the columns asked for.

    Columns without a record are left out; a column whose records are all gaps holds NaN.
    """

    x: Floats
    """Step, or unix time in seconds, of the last record in the column."""
    position: Floats
    """The same, 0 at the lower limit and 1 at the upper one; exact where a float64 no longer holds the step."""
    first: Floats
    low: Floats
    high: Floats
    last: Floats
    mean: Floats
    before: Edge | None
    after: Edge | None
    hidden: int
    """Values of 0 or less inside the window; counted when only positive ones are asked for."""


@dataclass(frozen=True)
class Reading:
    """What a curve says at one place: the record nearest to it, or the piece of a decimated curve."""

    step: int
    time: float
    value: float
    smoothed: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Series:
    """A curve at one moment. It never changes, however the buffer that it was taken from goes on."""

    count: int
    """Records in the curve; each step counts once."""
    first_step: int | None
    first_time: float | None
    first_value: float | None
    last_step: int | None
    last_time: float | None
    last_value: float | None
    """As it was logged: NaN or infinite when it was."""
    min: float | None
    min_step: int | None
    max: float | None
    """Extremes are those of the finite values; None when there is none."""
    max_step: int | None
    non_finite: tuple[int, ...]
    """Steps whose value is NaN or infinite, thinned out when there are very many."""
    non_finite_count: int
    smoothing: float
    stride: int
    """Records merged into one piece; 1 while the curve is kept as it was logged."""
    version: int
    parts: tuple[Table, Table]
    """The closed part, in pieces of `stride` records, and the newest records as they are."""

    @property
    def decimated(self) -> bool:
        """Whether records have been merged, so that zooming in far enough shows pieces and not values."""
        return self.stride > 1

    def with_smoothing(self, smoothing: float) -> Series:
        """Return the same curve under another moving average; see `SeriesBuffer.set_smoothing`.

        Raises:
            ValueError: The factor is below 0, or not below 1.
        """
        if check_factor(smoothing) == self.smoothing:
            return self
        closed, opened = self.parts
        line, average = smooth(closed.mean, smoothing**self.stride)
        newest, _ = smooth(opened.mean, smoothing, Average(average.biased, average.seen * self.stride))
        parts = closed._replace(smooth=line), opened._replace(smooth=newest)
        return replace(self, smoothing=smoothing, parts=parts)

    def limits(self, axis: Axis = "step") -> tuple[float, float] | None:
        """Return the least and the greatest step (exact integers) or time, or None for an empty curve."""
        tables = [part for part in self.parts if part.rows]
        if not tables:
            return None
        if axis == "step":
            return int(tables[0].step_first[0]), int(tables[-1].step_last[-1])
        return float(min(t.time_first.min() for t in tables)), float(max(t.time_last.max() for t in tables))

    def window(
        self,
        low: float,
        high: float,
        columns: int,
        *,
        axis: Axis = "step",
        smoothed: bool = False,
        positive: bool = False,
    ) -> Window:
        """Return the records with low ≤ x ≤ high, in at most `columns` columns of equal width.

        Record x lies in column floor((x - low) / (high - low) · columns), the upper limit in the last one. Least and
        greatest value of each column are exact while the curve is not decimated; afterwards a column may borrow from a
        piece that reaches over its edge, and no value is ever lost.

        Args:
            low, high: Limits, steps or unix seconds; `low` ≤ `high`.
            columns: At least 1.
            axis: What x is.
            smoothed: The moving average instead of the values.
            positive: Leave out values of 0 or less and count them, for a logarithmic axis.

        Raises:
            ValueError: The limits are no numbers or the wrong way round, or there is no column.
        """
        if columns < 1 or not low <= high:
            raise ValueError(f"no such window: {low} to {high} in {columns} columns")
        edges = _edges(low, high, columns, axis)
        pieces, before, after, hidden, clock = [], None, None, 0, -math.inf
        for table in self.parts:
            if not table.rows:
                continue
            x_first, x_last = (table.step_first, table.step_last) if axis == "step" else _clock(table, clock)
            clock = float(x_last[-1])
            bottom, top, first, final, mean = _values(table, smoothed, positive)
            begin = int(np.searchsorted(x_last, _limit(low, axis, up=True), "left"))
            end = max(begin, int(np.searchsorted(x_first, _limit(high, axis, up=False), "right")))
            if begin:
                before = Edge(_position(x_last[begin - 1], low, high), float(final[begin - 1]))
            if end < len(x_last) and after is None:
                after = Edge(_position(x_first[end], low, high), float(first[end]))
            if end > begin:
                if positive:
                    hidden += int(table.positive()[1][begin:end].sum())
                inside: Any = (column[begin:end] for column in (x_last, first, bottom, top, final, mean))
                pieces.append(_reduce(edges, *inside))
        x, first, bottom, top, final, mean = _join(pieces)
        return Window(
            x.astype(np.float64), _positions(x, low, high), first, bottom, top, final, mean, before, after, hidden
        )

    def at(self, x: float, axis: Axis = "step") -> Reading | None:
        """Return the record nearest to a step or a time, or None for an empty curve."""
        best: tuple[float, Reading] | None = None
        for table in self.parts:
            if not table.rows:
                continue
            xs = table.step_last if axis == "step" else table.time_last
            right = min(int(np.searchsorted(xs, _limit(x, axis, up=True), "left")), len(xs) - 1)
            for i in (max(0, right - 1), right):
                distance = abs(xs[i].item() - x)
                if best is None or distance < best[0] or (distance == best[0] and table is self.parts[-1]):
                    row = table.step_last, table.time_last, table.last, table.smooth, table.low, table.high
                    best = distance, Reading(*(column[i].item() for column in row))
        return best[1] if best else None


def _values(table: Table, smoothed: bool, positive: bool) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return low, high, first, last and mean of each piece of the curve that is to be drawn."""
    if smoothed:
        line = np.where(table.smooth > 0, table.smooth, np.nan) if positive else table.smooth
        return line, line, line, line, line
    if positive:
        least, hidden = table.positive()
        if hidden.any():
            columns = table.high, table.first, table.last, table.mean
            high, first, last, mean = (np.where(column > 0, column, np.nan) for column in columns)
            return least, high, first, last, mean
    return table.low, table.high, table.first, table.last, table.mean


def _clock(table: Table, past: float) -> tuple[Floats, Floats]:
    """Return the times of the pieces, never running backwards: a machine's clock may be set, a curve may not turn."""
    last = table.time_last
    if last[0] >= past and bool((last[1:] >= last[:-1]).all()):
        return table.time_first, last
    last = np.maximum(np.maximum.accumulate(last), past)
    return np.minimum(np.maximum.accumulate(table.time_first), last), last


def _edges(low: float, high: float, columns: int, axis: Axis) -> NDArray[Any]:
    """Return the least step or time of each column."""
    width = (high - low) / columns
    if axis == "time":
        edges: NDArray[Any] = low + np.arange(columns) * width
        return edges
    base = math.floor(low)
    if max(abs(low), abs(high)) < _EXACT:
        offsets = np.ceil((low - base) + np.arange(columns) * width)
        return base + offsets.astype(np.int64)
    exact = [base + math.ceil((low - base) + i * width) for i in range(columns)]
    return np.array([min(max(edge, -_INT64_MAX - 1), _INT64_MAX) for edge in exact], np.int64)


def _limit(x: float, axis: Axis, *, up: bool) -> Any:
    """Return a limit in the type of its column, so that searching does not convert the column."""
    if axis == "time":
        return np.float64(x)
    return np.int64(min(max(math.ceil(x) if up else math.floor(x), -_INT64_MAX - 1), _INT64_MAX))


def _position(x: Any, low: float, high: float) -> float:
    """Return where x lies between the limits, 0 to 1; the middle when they are one."""
    return float((x.item() - low) / (high - low)) if high > low else 0.5


def _positions(x: NDArray[Any], low: float, high: float) -> Floats:
    """Return where each x lies between the limits, 0 to 1, without losing the digits of a long step."""
    if not high > low:
        return np.full(len(x), 0.5)
    if x.dtype != np.int64:
        return np.clip((x - low) / (high - low), 0.0, 1.0)
    base = math.floor(low)
    # Unsigned and modulo 2**64, a difference is right even where a signed one would overflow.
    offset = (x.view(np.uint64) - np.uint64(base % 2**64)).astype(np.float64)
    return np.clip((offset - float(low - base)) / float(high - low), 0.0, 1.0)


def _reduce(
    edges: NDArray[Any], x: NDArray[Any], first: Floats, low: Floats, high: Floats, last: Floats, mean: Floats
) -> tuple[NDArray[np.int64], NDArray[Any], Floats, Floats, Floats, Floats, Floats, Floats]:
    """Return number, last x, first, low, high, last, sum and count of the means of each column that has records."""
    starts = np.searchsorted(x, edges, "left")
    starts[0] = 0
    ends = np.append(starts[1:], len(x))
    column = np.flatnonzero(ends > starts)
    begin, final = starts[column], ends[column] - 1
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduceat(mean, begin)
        number = (final - begin + 1).astype(np.float64)
        if np.isnan(total).any():
            gap = np.isnan(mean)
            total = np.add.reduceat(np.where(gap, 0.0, mean), begin)
            number -= np.add.reduceat(gap.astype(np.float64), begin)
    least = np.fmin.reduceat(low, begin)
    greatest = least if high is low and len(begin) == len(x) else np.fmax.reduceat(high, begin)
    return column, x[final], first[begin], least, greatest, last[final], total, number


def _join(pieces: list[Any]) -> tuple[NDArray[Any], Floats, Floats, Floats, Floats, Floats]:
    """Return x, first, low, high, last and mean of the columns of all parts; two parts may share a column."""
    if not pieces:
        empty = np.empty(0)
        return empty, empty, empty, empty, empty, empty
    column, x, first, low, high, last, total, number = (
        pieces[0] if len(pieces) == 1 else (np.concatenate(columns) for columns in zip(*pieces, strict=True))
    )
    if len(pieces) > 1:
        new = np.append(True, column[1:] != column[:-1])
        begin = np.flatnonzero(new)
        final = np.append(begin[1:], len(column)) - 1
        x, first, last = x[final], first[begin], last[final]
        low, high = np.fmin.reduceat(low, begin), np.fmax.reduceat(high, begin)
        with np.errstate(over="ignore"):
            total, number = np.add.reduceat(total, begin), np.add.reduceat(number, begin)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / number
    # A sum of huge values may overflow; the mean never lies outside of the values.
    return x, first, low, high, last, np.clip(mean, low, high)
