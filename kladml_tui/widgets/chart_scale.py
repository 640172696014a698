"""Ticks and numbers of a chart's axes: round values, short labels."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence

Ticks = list[tuple[float, str]]
"""Where on the axis (0 to 1) and what is written there."""
Epochs = Sequence[tuple[int, int]]
"""(step at which an epoch ended, its number), rising."""

_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_TINY = 5e-324


def positive(value: float) -> float:
    """Return a value that has a logarithm: itself, or the least positive number."""
    return max(value, _TINY)


def nice_step(span: float, count: int) -> float:
    """Return a round step, 1, 2 or 5 times a power of ten, that divides a span into about `count` parts."""
    raw = span / max(1, count)
    if not 1e-300 < raw < 1e300:
        return raw or 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    return next((m * power for m in (1, 2, 5) if m * power >= raw * 0.75), 10 * power)


def y_ticks(limits: tuple[float, float], rows: int, log_y: bool) -> Ticks:
    """Return the ticks of an axis that is `rows` cells high, labels of equal width."""
    count = max(2, min(8, rows // 3))
    low, high = limits
    values = _log_values(low, high, count) if log_y else _linear_values(low, high, count)
    labels = _labels(values)
    width = max((len(label) for label in labels), default=0)
    return [
        (fraction_of(value, limits, log_y), label.rjust(width)) for value, label in zip(values, labels, strict=True)
    ]


def fraction_of(value: float, limits: tuple[float, float], log_y: bool = False) -> float:
    """Return where a value lies on an axis, 0 at its beginning and 1 at its end."""
    low, high = limits
    if log_y:
        value, low, high = (math.log10(positive(number)) for number in (value, low, high))
    return (value / 2 - low / 2) / (high / 2 - low / 2)


def _linear_values(low: float, high: float, count: int) -> list[float]:
    if not math.isfinite(high - low):
        return [low, 0.0, high]
    step = nice_step(high - low, count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last - first > 4 * count:
        return [low, high]
    return sorted({k * step for k in range(first, last + 1)})


def _log_values(low: float, high: float, count: int) -> list[float]:
    first, last = math.log10(positive(low)), math.log10(positive(high))
    if last - first < 0.8:
        return [value for value in _linear_values(low, high, count) if value > 0]
    decades = range(math.ceil(first - 1e-9), math.floor(last + 1e-9) + 1)
    if last - first < 2.2:
        factors = (1, 2, 5) if count >= 5 else (1, 3) if count >= 4 else (1,)
        values = [m * 10.0**k for k in range(math.floor(first), decades.stop) for m in factors]
        return [value for value in values if low * 0.999 <= value <= high * 1.001]
    every = max(1, math.ceil(len(decades) / count))
    return [10.0**k for k in decades if k % every == 0]


def _labels(values: Sequence[float]) -> list[str]:
    """Return numbers as short as they can be while they still differ, all written in one way."""
    greatest = max((abs(value) for value in values), default=0.0)
    steps = [b - a for a, b in itertools.pairwise(values)]
    least = min((step for step in steps if step > 0), default=greatest or 1.0)
    spread = max(steps, default=0.0) > 1.5 * least
    if spread and greatest < 1e5 and min(values) >= 1e-4:
        return [f"{value:.4f}".rstrip("0").rstrip(".") for value in values]
    if greatest >= 1e5 or 0 < greatest < 1e-2 or least < 1e-4:
        digits = 0
        while digits < 6 and len({f"{value:.{digits}e}" for value in values}) < len(set(values)):
            digits += 1
        return ["0" if value == 0 else short_exponent(f"{value:.{digits}e}") for value in values]
    decimals = max(0, -math.floor(math.log10(least) + 1e-9)) if least > 0 else 0
    return [f"{value:.{decimals}f}" for value in values]


def short_exponent(text: str) -> str:
    """Return 1e-05 as 1e-5 and 1e+300 as 1e300."""
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else text


def number(value: float | None) -> str:
    """Return a value as it is read out: four significant digits, NaN and infinity by name."""
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return short_exponent(f"{value:.3e}")
    text = f"{value:.4g}"
    return text if "e" not in text else f"{value:.0f}"


def step_ticks(limits: tuple[float, float], width: int) -> Ticks:
    """Return the ticks of an axis of steps that is `width` cells wide."""
    low, high = math.ceil(limits[0]), math.floor(limits[1])
    for count in range(max(2, width // 14), 0, -1):
        step = max(1, int(nice_step(max(1, high - low), count)))
        values = list(range(-(-low // step) * step, high + 1, step))
        labels = _step_labels(values, step)
        longest = max((len(label) for label in labels), default=0)
        if len(values) < 2 or (longest + 2) * (high - low) <= step * width:
            break
    return [(_exact_fraction(v, limits), label) for v, label in zip(values, labels, strict=True)]


def _step_labels(values: Sequence[int], step: int) -> list[str]:
    greatest = max((abs(value) for value in values), default=0)
    for unit, letter in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if greatest >= 10 * unit or (greatest >= unit > 1000):
            decimals = next((d for d in (0, 1) if step * 10**d % unit == 0), None)
            if decimals is not None:
                return [f"{_exactly(value, unit, decimals)}{letter}" if value else "0" for value in values]
    return [f"{value:,}" for value in values]


def _exactly(value: int, unit: int, decimals: int) -> str:
    """A whole number of units and at most one decimal, exact where a float has no digits left for it."""
    whole, rest = divmod(abs(value) * 10**decimals // unit, 10**decimals)
    return f"{'-' if value < 0 else ''}{whole}{f'.{rest}' if decimals else ''}"


def _exact_fraction(value: int, limits: tuple[float, float]) -> float:
    return (value - limits[0]) / (limits[1] - limits[0]) if limits[1] > limits[0] else 0.5


def time_ticks(limits: tuple[float, float], origin: float, width: int) -> Ticks:
    """Return the ticks of an axis of time, counted from `origin`, that is `width` cells wide."""
    low, high = limits[0] - origin, limits[1] - origin
    raw = (high - low) / max(1, width // 11)
    step: float = next((s for s in _SECONDS if s >= raw), 0)
    if raw < 1:
        step = nice_step(high - low, max(1, width // 11))
    elif not step:
        step = 86400 * nice_step(raw / 86400, 1)
    values = [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    return [((value - low) / (high - low), duration(value)) for value in values[:50]]


def duration(seconds: float) -> str:
    """Return a time span in its two greatest units: 0.5s, 42s, 2m11s, 1h05m, 3d4h."""
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.3g}s"
    whole = round(seconds)
    days, hours, minutes, rest = whole // 86400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    if days:
        return f"{days}d{hours}h" if hours else f"{days}d"
    if hours:
        return f"{hours}h{minutes:02d}m" if minutes else f"{hours}h"
    if minutes:
        return f"{minutes}m{rest:02d}s" if rest else f"{minutes}m"
    return f"{rest}s"


def epoch_ticks(limits: tuple[float, float], epochs: Epochs, width: int) -> Ticks:
    """Return the ticks of an axis of steps that is labelled with the epochs that ended there."""
    ends = [(0, 0), *epochs]
    inside = [epoch for step, epoch in ends if limits[0] <= step <= limits[1]]
    if not inside:
        return []
    first, last = inside[0], inside[-1]
    every = max(1, round(nice_step(max(1, last - first), max(1, width // 9))))
    wanted = range(-(-first // every) * every, last + 1, every)
    return [(_exact_fraction(_end_of(epoch, ends), limits), str(epoch)) for epoch in wanted]


def _end_of(epoch: int, ends: Sequence[tuple[int, int]]) -> int:
    """Return the step at an epoch's end; of one that is not among the ends, where it must have been."""
    index = bisect.bisect_left(ends, epoch, key=lambda end: end[1])
    right, after = ends[index]
    if after == epoch:
        return right
    left, before = ends[index - 1]
    return left + round((right - left) * (epoch - before) / (after - before))


def epoch_at(step: float, epochs: Epochs) -> float:
    """Return the epoch, with its fraction, in which a step lies."""
    ends = [(0, 0), *epochs]
    index = min(max(1, bisect.bisect_left([end for end, _ in ends], step)), len(ends) - 1)
    if not index:
        return 0.0
    (left, before), (right, after) = ends[index - 1], ends[index]
    return before + (after - before) * (step - left) / max(1, right - left)
