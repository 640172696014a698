"""What part of a chart is looked at: zoom and pan as a value, limits that stay put while a run goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from kladml_tui.widgets.chart_scale import nice_step, positive

XAxis = Literal["step", "epoch", "time"]
Limits = tuple[float, float]

SMOOTHING_LEVELS = (0.6, 0.9, 0.98, 0.0)
"""What the smoothing key goes through, after what the curve came with."""
_NARROWEST: dict[XAxis, float] = {"step": 4, "epoch": 4, "time": 0.05}
_KEEP_ABOVE = 0.6
_FROM_ZERO = 0.4
"""A y axis whose least value is below this share of the greatest begins at 0: a falling loss moves it seldom."""


@dataclass(frozen=True)
class View:
    """How a person looks at a chart. A step is an exact integer, a time is in unix seconds."""

    axis: XAxis = "step"
    log_y: bool = False
    smoothing: float | None = None
    """None is what each curve came with, 0 is none."""
    span: float | None = None
    """How much is shown, with its end at the newest point; None is all of it."""
    fixed: Limits | None = None
    """What is shown when it is not the newest."""
    cursor: float | None = None
    """Step or time that is read out."""

    def limits(self, data: Limits) -> Limits:
        """Return the limits of x for data that reach from one value to another. Growing data change them seldom."""
        if self.fixed is not None:
            return self.fixed
        low, high = _roomy(data, self.axis)
        if self.span is None or self.span >= high - low:
            return low, high
        quantum = self.span / 16
        if self.axis != "time":
            quantum = max(1, int(quantum))
            end = -(-int(data[1]) // int(quantum)) * int(quantum)
            return end - int(self.span), end
        end_time = low + math.ceil((data[1] - low) / quantum) * quantum
        return end_time - self.span, end_time

    def zoomed(self, factor: float, data: Limits) -> View:
        """Return the view with `factor` times as much of the curve in it, about the cursor or the newest point."""
        low, high = self.limits(data)
        span = max(_NARROWEST[self.axis], (high - low) * factor)
        full_low, full_high = _roomy(data, self.axis)
        if span >= full_high - full_low:
            return replace(self, span=None, fixed=None)
        following = self.fixed is None
        if self.cursor is not None and low <= self.cursor <= high:
            anchor, following = self.cursor, False
        else:
            anchor = high if following else low + (high - low) / 2
        if following:
            return replace(self, span=span, fixed=None)
        return self._at(anchor - (anchor - low) * span / (high - low), span, data)

    def panned(self, share: float, data: Limits) -> View:
        """Return the view moved along by a share of its width; at the newest point it follows again."""
        low, high = self.limits(data)
        full_low, full_high = _roomy(data, self.axis)
        if (low, high) == (full_low, full_high):
            return self
        return self._at(low + (high - low) * share, high - low, data)

    def _at(self, low: float, span: float, data: Limits) -> View:
        full_low, full_high = _roomy(data, self.axis)
        if low + span >= full_high:
            return replace(self, span=span, fixed=None)
        low = max(full_low, low)
        if self.axis != "time":
            return replace(self, span=None, fixed=(int(low), int(low) + max(1, int(span))))
        return replace(self, span=None, fixed=(low, low + span))

    def with_cursor_moved(self, cells: int, width: int, data: Limits) -> View:
        """Return the view with its cursor moved along by cells; the first move sets it at the newest point."""
        low, high = self.limits(data)
        if self.cursor is None or not low <= self.cursor <= high:
            return replace(self, cursor=min(max(data[1], low), high))
        cell = (high - low) / max(1, width)
        moved = self.cursor + cells * cell
        if self.axis != "time":
            moved = self.cursor + int(math.copysign(max(1, round(abs(cells * cell))), cells))
        return replace(self, cursor=min(max(moved, low), high))


def _roomy(data: Limits, axis: XAxis) -> Limits:
    """Return limits around all data: from 0 where that is near, up to a round number beyond the newest."""
    low, high = data
    if axis == "time":
        quantum = nice_step(max(high - low, 1.0), 24)
        return low, low + max(1, math.ceil((high - low) / quantum)) * quantum
    low, high = int(low), int(high)
    if low == high:
        return low - 1, high + 1
    if 0 < low <= (high - low) // 4:
        low = 0
    quantum = max(1, int(nice_step(max(high - low, 1), 24)))
    return low, max(low + 1, -(-high // quantum) * quantum)


def y_limits(data: Limits | None, previous: Limits | None, log_y: bool) -> Limits:
    """Return the limits of y around the values in view; the previous ones as long as they fit well.

    Args:
        data: Least and greatest value in view, None when there is none.
        previous: The limits of the last drawing, of the same kind of axis.
        log_y: Whether the axis is logarithmic; `data` is then above 0.
    """
    if data is None:
        return previous or ((0.1, 1.0) if log_y else (0.0, 1.0))
    low, high = data
    if previous is not None and previous[0] <= low and high <= previous[1]:
        a, b, c, d = (math.log10(positive(y)) if log_y else y for y in (low, high, *previous))
        if b - a >= _KEEP_ABOVE * (d - c) > 0:
            return previous
    return _logarithmic(low, high) if log_y else _linear(low, high)


def _linear(low: float, high: float) -> Limits:
    if not math.isfinite(high - low):
        return low, high
    if high - low <= abs(high) * 1e-12:
        middle = low
        room = abs(middle) * 0.1
        if room < 1e-300:
            room = 1.0 if middle == 0.0 else 1e-300
        low, high = middle - room, middle + room
        return max(low, -1.7e308), min(high, 1.7e308)
    if 0 < low < _FROM_ZERO * high:
        low = 0.0
    step = nice_step(high - low, 5) / 2
    bottom, top = math.floor(low / step) * step, math.ceil(high / step) * step
    return (bottom if bottom <= low else low), (top if math.isfinite(top) and top >= high else high)


def _logarithmic(low: float, high: float) -> Limits:
    low, high = positive(low), positive(high)
    decades = math.log10(high) - math.log10(low)
    if decades < 1e-9:
        return positive(low / 2), min(high * 2, 1.7e308)
    return positive(_rounded(low, -1)), min(_rounded(high, 1), 1.7e308)


def _rounded(value: float, direction: int) -> float:
    """Return the next one of 1, 2, 3, 5, 7 times a power of ten, downwards or upwards."""
    exponent = math.floor(math.log10(value))
    steps = [m * 10.0**e for e in (exponent - 1, exponent, exponent + 1) if e < 308 for m in (1, 2, 3, 5, 7)]
    fitting = [step for step in steps if (step <= value if direction < 0 else step >= value) and step > 0]
    if not fitting:
        return value
    return max(fitting) if direction < 0 else min(fitting)
