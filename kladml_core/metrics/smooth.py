"""The debiased exponential moving average of a curve, computed piece by piece as the values arrive.

s₀ = 0, sₖ = f·sₖ₋₁ + (1 - f)·xₖ, drawn as sₖ / (1 - fᵏ). The division undoes the pull of s₀ = 0 on the first values;
it is the bias correction of Kingma & Ba, "Adam: A Method for Stochastic Optimization" (2015), section 3, and what
TensorBoard calls smoothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BLOCK = 32
"""Values averaged by one row of a matrix product; the blocks' ends are joined by the same function, one level up."""
_ROWS = 256
"""Rows of one matrix product: few enough that BLAS starts no threads, which would take cores away from a training."""


class Average(NamedTuple):
    """How far an average has come: enough to go on from the next value."""

    biased: float = 0.0
    """sₖ, not yet divided."""
    seen: int = 0
    """k, the finite values seen."""


def check_factor(factor: float) -> float:
    """Return a smoothing factor, 0 ≤ factor < 1.

    Raises:
        ValueError: It is outside of that range.
    """
    if not 0.0 <= factor < 1.0:
        raise ValueError(f"smoothing has to be at least 0 and less than 1, got {factor}")
    return float(factor)


def smooth(
    values: NDArray[np.float64],
    factor: float,
    start: Average = Average(),  # noqa: B008 (immutable)
) -> tuple[NDArray[np.float64], Average]:
    """Return the average at each value, and the state from which to go on.

    A value that is not finite is a gap: the average there is NaN, and the next one goes on as if it had not been.

    Args:
        values: Shape (n,), in the order of the curve.
        factor: How much of the past is kept, 0 ≤ factor < 1.
        start: Where the values before these left off.
    """
    finite = np.isfinite(values)
    if not finite.all():
        smoothed = np.full(len(values), np.nan)
        smoothed[finite], end = smooth(values[finite], factor, start)
        return smoothed, end
    if not len(values):
        return np.empty(0), start
    if factor == 0.0:
        return values.astype(np.float64, copy=True), Average(float(values[-1]), start.seen + len(values))
    biased = _recurrence(values * (1.0 - factor), factor, start.biased)
    # Beyond this many values f^k is below the rounding of a double, so the powers need not be computed.
    corrected = min(len(values), max(0, int(-40.0 / np.log(factor)) + 1 - start.seen))
    smoothed = biased.copy()
    if corrected:
        counts = np.arange(start.seen + 1, start.seen + corrected + 1, dtype=np.float64)
        smoothed[:corrected] /= 1.0 - factor**counts
    return smoothed, Average(float(biased[-1]), start.seen + len(values))


def _recurrence(values: NDArray[np.float64], factor: float, start: float) -> NDArray[np.float64]:
    """Return yₖ = factor·yₖ₋₁ + valuesₖ with y₀ = start, without a Python loop over the values."""
    count = len(values)
    lower, powers = _weights(min(count, _BLOCK), factor)
    if count <= _BLOCK:
        result: NDArray[np.float64] = lower @ values + start * powers
        return result
    whole = count - count % _BLOCK
    blocks = values[:whole].reshape(-1, _BLOCK)
    blocks = np.concatenate([blocks[row : row + _ROWS] @ lower.T for row in range(0, len(blocks), _ROWS)])
    ends = _recurrence(np.ascontiguousarray(blocks[:, -1]), factor**_BLOCK, start)
    carried = np.concatenate(([start], ends[:-1]))
    blocks += carried[:, None] * powers
    if whole == count:
        return blocks.reshape(-1)
    rest = _recurrence(values[whole:], factor, float(ends[-1]))
    return np.concatenate((blocks.reshape(-1), rest))


@lru_cache(maxsize=256)
def _weights(count: int, factor: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the matrix of fⁱ⁻ʲ for j ≤ i, and fⁱ⁺¹. Kept: many curves ask for the same few."""
    exponents = np.arange(count)
    lower = np.tril(factor ** np.abs(exponents[:, None] - exponents[None, :]).astype(np.float64))
    powers = np.power(factor, exponents + 1.0, dtype=np.float64)
    return lower, powers
