"""The columns of a curve: records as they were logged, and pieces made by merging neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Records:
    """Records in columns, sorted by step, each step once; values as they were logged."""

    step: NDArray[np.int64]
    time: Floats
    value: Floats

    def __len__(self) -> int:
        return len(self.step)

    def __getitem__(self, where: slice) -> Records:
        return Records(self.step[where], self.time[where], self.value[where])

    def copy(self) -> Records:
        """Return the same records without the long arrays of which they are a slice."""
        return Records(self.step.copy(), self.time.copy(), self.value.copy())

    def merged(self, newer: Records) -> Records:
        """Return both, sorted by step; the newer value of a step wins."""
        if not len(self) or not len(newer):
            return newer if not len(self) else self
        pairs = (self.step, newer.step), (self.time, newer.time), (self.value, newer.value)
        columns: Any = (np.concatenate(pair) for pair in pairs)
        return in_order(*columns)


class Table(NamedTuple):
    """A curve in pieces of one or more records, as columns of equal length sorted by step. A gap is NaN."""

    step_first: NDArray[np.int64]
    step_last: NDArray[np.int64]
    time_first: Floats
    time_last: Floats
    first: Floats
    """The first value of the piece."""
    low: Floats
    high: Floats
    last: Floats
    smooth: Floats
    """The moving average at the end of the piece."""
    mean: Floats
    positive_low: Floats
    """The least value above 0, see `positive`."""
    hidden: NDArray[np.int64] | None
    """How many values are 0 or less: what a logarithmic axis hides. None where the pieces are single records."""

    @classmethod
    def of_records(cls, step: NDArray[np.int64], time: Floats, value: Floats, smooth: Floats) -> Table:
        """Return the table whose pieces are single records; `value` has NaN where it is not finite."""
        return cls(step, step, time, time, value, value, value, value, smooth, value, value, None)

    @property
    def rows(self) -> int:
        """How many pieces there are."""
        return len(self.step_first)

    def positive(self) -> tuple[Floats, NDArray[np.int64]]:
        """Return the least value above 0 of each piece, NaN where there is none, and how many are 0 or less."""
        if self.hidden is not None:
            return self.positive_low, self.hidden
        return np.where(self.low > 0, self.low, np.nan), (self.low <= 0).astype(np.int64)


def finite_or_nan(value: Floats) -> Floats:
    """Return the values with NaN in place of the infinite ones."""
    finite = np.isfinite(value)
    return value if finite.all() else np.where(finite, value, np.nan)


def from_file(records: NDArray[np.void]) -> Records:
    """Return the records of a series file that count; those whose time is not a positive number do not."""
    columns: list[Any] = [np.ascontiguousarray(records[name]) for name in ("step", "time", "value")]
    alive = (columns[1] > 0) & (columns[1] < np.inf)
    if not alive.all():
        columns = [column[alive] for column in columns]
    return in_order(*columns)


def in_order(step: NDArray[np.int64], time: Floats, value: Floats) -> Records:
    """Return records sorted by step, of each step the last one."""
    if bool((step[1:] > step[:-1]).all()):
        return Records(step, time, value)
    order = np.argsort(step, kind="stable")
    ordered = step[order]
    order = order[np.append(ordered[1:] != ordered[:-1], True)]
    return Records(step[order], time[order], value[order])


def halved(table: Table) -> Table:
    """Return the table with neighbouring pieces merged in pairs; an odd one at the end stays as it is."""
    pairs = table.rows // 2 * 2
    columns: Any = table
    even: Any = (None if column is None else column[0:pairs:2] for column in columns)
    odd: Any = (None if column is None else column[1:pairs:2] for column in columns)
    a, b = Table(*even), Table(*odd)
    (low_a, hidden_a), (low_b, hidden_b) = a.positive(), b.positive()
    with np.errstate(invalid="ignore"):
        mean = 0.5 * a.mean + 0.5 * b.mean
    if np.isnan(mean).any():
        mean = np.where(np.isnan(a.mean), b.mean, np.where(np.isnan(b.mean), a.mean, mean))
    line = np.where(np.isnan(b.smooth), a.smooth, b.smooth) if np.isnan(b.smooth).any() else b.smooth
    merged = Table(
        a.step_first, b.step_last, a.time_first, b.time_last, a.first, np.fmin(a.low, b.low), np.fmax(a.high, b.high),
        b.last, line, mean, np.fmin(low_a, low_b), hidden_a + hidden_b,
    )  # fmt: skip
    if pairs == table.rows:
        return merged
    low, hidden = table.positive()
    columns = zip(merged, (*table[:-2], low, hidden), strict=True)
    return Table(*(np.concatenate((column, rest[pairs:])) for column, rest in columns))
