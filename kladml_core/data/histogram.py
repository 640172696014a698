"""A histogram of a stream of numbers whose range nobody knows beforehand: bins widen as it grows, counts stay."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.float64]]
_MOST = 128
"""Bins while numbers come in; joined to `SHOWN` or fewer at the end."""
SHOWN = 32
_PRECISION = 2.0**-46
"""A bin is never narrower than this part of the values, so that its number is a whole one in float64."""


class Histogram:
    """Exact counts in bins of one width, a power of two, each beginning at a multiple of it."""

    def __init__(self) -> None:
        self._exponent = 0
        self._first = 0
        """The number of the first bin: it begins at `_first * width`."""
        self._counts: Numbers | None = None
        self._greatest = -math.inf

    def add(self, values: Numbers) -> None:
        """Counts finite values, [n]."""
        if not values.size:
            return
        least, greatest = float(values.min()), float(values.max())
        self._greatest = max(self._greatest, greatest)
        if self._counts is None:
            self._exponent = _exponent(least, greatest)
            self._first = math.floor(math.ldexp(least, -self._exponent))
            self._counts = np.zeros(1)
        narrowest = _least_exponent(max(abs(least), abs(greatest)))
        while self._exponent < narrowest:
            self._join()
        while True:
            low = min(self._first, math.floor(math.ldexp(least, -self._exponent)))
            high = max(self._first + len(self._counts) - 1, math.floor(math.ldexp(greatest, -self._exponent)))
            if high - low < _MOST:
                break
            self._join()
        counts = np.zeros(high - low + 1)
        counts[self._first - low : self._first - low + len(self._counts)] = self._counts
        places = np.floor(np.ldexp(values, -self._exponent)).astype(np.int64) - low
        counts += np.bincount(places, minlength=len(counts))
        self._counts, self._first = counts, low

    def bins(self, *, whole: bool) -> tuple[tuple[int, ...], float, float]:
        """The counts, where the first bin begins and the last one ends; of whole numbers none is narrower than 1."""
        while self._counts is not None and (len(self._counts) > SHOWN or (whole and self._exponent < 0)):
            if len(self._counts) == SHOWN + 1 and self._ends_on_an_edge():
                # The greatest value alone would make all bins twice as wide: it goes into the bin that ends there.
                self._counts = np.append(self._counts[:-2], self._counts[-2:].sum())
            else:
                self._join()
        if self._counts is None:
            return (), 0.0, 0.0
        ends = np.array([self._first, self._first + len(self._counts)], np.float64)
        with np.errstate(over="ignore"):  # the last bin may end beyond the largest number
            low, high = np.ldexp(ends, self._exponent).tolist()
        return tuple(int(count) for count in self._counts), low, high

    def _ends_on_an_edge(self) -> bool:
        """Whether the last bin holds nothing but the greatest value, where the bin begins."""
        assert self._counts is not None
        return math.ldexp(self._greatest, -self._exponent) == self._first + len(self._counts) - 1

    def _join(self) -> None:
        """Makes the bins twice as wide."""
        assert self._counts is not None
        counts = self._counts
        if self._first % 2:
            counts = np.concatenate([np.zeros(1), counts])
        if len(counts) % 2:
            counts = np.concatenate([counts, np.zeros(1)])
        self._counts = counts.reshape(-1, 2).sum(axis=1)
        self._first //= 2
        self._exponent += 1


def _exponent(least: float, greatest: float) -> int:
    """That of a width with which the range takes about 64 bins."""
    at_least = _least_exponent(max(abs(least), abs(greatest)))
    # Halves first: the difference of two large numbers may not be one.
    spread = greatest / 2 - least / 2
    return max(at_least, math.frexp(spread)[1] - 5) if spread > 0 else max(at_least, -8)


def _least_exponent(magnitude: float) -> int:
    return math.frexp(magnitude * _PRECISION)[1] if magnitude > 1e-290 else -1000
