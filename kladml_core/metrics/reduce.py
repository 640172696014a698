"""The buffer of one metric: records go in as they are read, immutable snapshots come out, memory stays bounded.

A buffer has two parts. The newest records are kept as they came, few of them, so that a value logged again or a little
late finds its place. The others are closed: columns that only grow at their end, so that a snapshot can be a view of
them while another thread appends. Beyond `RAW_LIMIT` records neighbours are merged; least and greatest are kept.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kladml_core.metrics.columns import CHUNK
from kladml_core.metrics.series import Axis, Edge, Reading, Series, Window
from kladml_core.metrics.smooth import Average, check_factor, smooth
from kladml_core.metrics.table import Floats, Records, Table, finite_or_nan, from_file, halved

__all__ = ["RAW_LIMIT", "Axis", "Edge", "Reading", "Series", "SeriesBuffer", "Window"]

RAW_LIMIT = CHUNK
"""Records kept as they are (8 MiB of a series file)."""
PIECE_LIMIT = 131_072
"""Pieces kept of a longer curve: about 12 MiB."""
_OPEN_LIMIT = 1024
_OPEN_KEPT = 256
_NON_FINITE_LIMIT = 4096


_NOTHING = Records(np.empty(0, np.int64), np.empty(0), np.empty(0))


class SeriesBuffer:
    """One metric of one run. One thread appends; any thread takes snapshots."""

    def __init__(self, smoothing: float = 0.6, *, raw_limit: int = RAW_LIMIT, piece_limit: int = PIECE_LIMIT) -> None:
        self._smoothing = check_factor(smoothing)
        self._raw_limit = raw_limit
        self._piece_limit = max(2, piece_limit)
        self._lock = threading.Lock()
        self._version = 0
        self._clear()

    def _clear(self) -> None:
        self._open = _NOTHING
        self._closed: tuple[NDArray[Any], ...] = ()
        self._length = 0
        self._stride = 1
        self._average = Average()
        self._totals = _Totals()
        self._series: Series | None = None

    def append(self, records: NDArray[np.void]) -> None:
        """Add records (dtype `columns.RECORD`) in the order of the file.

        Records whose time is not a positive number are ignored. A step that is there already gets the newer value;
        once the curve is decimated and the step lies far back, its piece is widened to hold the newer value as well.
        """
        with self._lock:
            for start in range(0, len(records), CHUNK):
                self._add(from_file(records[start : start + CHUNK]))
            self._version += 1
            self._series = None

    def reset(self) -> None:
        """Forget all records, as when a run was resumed and a branch of it is dead."""
        with self._lock:
            self._clear()
            self._version += 1

    def set_smoothing(self, smoothing: float) -> None:
        """Smooth with another factor, 0 ≤ smoothing < 1. On a decimated curve it works on the means of the pieces.

        Raises:
            ValueError: The factor is outside of that range.
        """
        check_factor(smoothing)
        with self._lock:
            if smoothing == self._smoothing:
                return
            self._smoothing = smoothing
            if self._length:
                columns = dict(zip(_fields(self._stride), self._closed, strict=True))
                values = columns["value" if self._stride == 1 else "mean"][: self._length]
                line, average = smooth(values, smoothing**self._stride)
                columns["smooth"] = line
                self._closed = tuple(
                    column if name == "smooth" else column[: self._length] for name, column in columns.items()
                )
                self._average = Average(average.biased, average.seen * self._stride)
            self._version += 1
            self._series = None

    def snapshot(self) -> Series:
        """Return the curve as it is now; the same object until something is appended."""
        with self._lock:
            if self._series is None:
                self._series = self._take()
            return self._series

    def _take(self) -> Series:
        opened = self._open
        clean = finite_or_nan(opened.value)
        line, _ = smooth(clean, self._smoothing, self._average)
        totals = self._totals.including(opened.step, opened.time, clean)
        parts = (self._table(), Table.of_records(opened.step, opened.time, clean, line))
        tables = [part for part in parts if part.rows]
        first, last = (tables[0], tables[-1]) if tables else (None, None)
        return Series(
            count=totals.count,
            first_step=int(first.step_first[0]) if first else None,
            first_time=float(first.time_first[0]) if first else None,
            first_value=float(first.first[0]) if first else None,
            last_step=int(last.step_last[-1]) if last else None,
            last_time=float(last.time_last[-1]) if last else None,
            last_value=(float(opened.value[-1]) if len(opened) else float(last.last[-1])) if last else None,
            min=totals.low,
            min_step=totals.low_step,
            max=totals.high,
            max_step=totals.high_step,
            non_finite=tuple(totals.gaps.tolist()),
            non_finite_count=totals.gap_count,
            smoothing=self._smoothing,
            stride=self._stride,
            version=self._version,
            parts=parts,
        )

    def _table(self) -> Table:
        columns = [column[: self._length] for column in self._closed]
        if not columns:
            columns = [_NOTHING.step, _NOTHING.time, _NOTHING.value, _NOTHING.value]
        return Table.of_records(*columns) if self._stride == 1 else Table(*columns)

    def _add(self, new: Records) -> None:
        if not len(new):
            return
        if self._length:
            late = int(np.searchsorted(new.step, self._closed_end(), "right"))
            if late and self._stride == 1:
                new = self._reopen(int(np.searchsorted(self._closed[0][: self._length], new.step[0]))).merged(new)
            elif late:
                self._widen(new[:late])
                new = new[late:]
        self._open = self._open.merged(new)
        limit = max(_OPEN_LIMIT, 2 * self._stride)
        if len(self._open) > limit:
            kept = min(_OPEN_KEPT, self._raw_limit)
            ready = (len(self._open) - kept) // self._stride * self._stride
            self._close(self._open[:ready])
            self._open = self._open[ready:].copy()

    def _closed_end(self) -> Any:
        return self._closed[0 if self._stride == 1 else 1][self._length - 1]

    def _close(self, records: Records) -> None:
        clean = finite_or_nan(records.value)
        line, self._average = smooth(clean, self._smoothing, self._average)
        self._totals = self._totals.including(records.step, records.time, clean)
        if self._stride == 1:
            self._extend((records.step, records.time, clean, line))
        else:
            table, merged = Table.of_records(records.step, records.time, clean, line), 1
            while merged < self._stride:
                table, merged = halved(table), merged * 2
            self._extend(table)
        while self._length > (self._raw_limit if self._stride == 1 else self._piece_limit):
            table = halved(self._table())
            self._stride *= 2
            while table.rows > self._piece_limit:
                table = halved(table)
                self._stride *= 2
            self._closed, self._length = (), 0
            self._extend(table)

    def _extend(self, columns: Sequence[Any]) -> None:
        """Write behind what is there. Rows below `_length` never change: snapshots look at them."""
        added, length = len(columns[0]), self._length
        if not self._closed or length + added > len(self._closed[0]):
            room = max(2 * length, length + added, _OPEN_LIMIT)
            grown = [np.empty(room, column.dtype) for column in columns]
            for old, new in zip(self._closed, grown, strict=False):
                new[:length] = old[:length]
            self._closed = tuple(grown)
        for column, new in zip(self._closed, columns, strict=True):
            column[length : length + added] = new
        self._length += added

    def _reopen(self, index: int) -> Records:
        """Take back the closed records from an index on, and forget what was known of them."""
        step, time, value, line = (column[: self._length].copy() for column in self._closed)
        taken = Records(step[index:], time[index:], value[index:]).merged(self._open)
        self._open = _NOTHING
        self._closed, self._length = (step[:index], time[:index], value[:index], line[:index]), index
        _, self._average = smooth(value[:index], self._smoothing)
        self._totals = _Totals().including(step[:index], time[:index], value[:index])
        return taken

    def _widen(self, late: Records) -> None:
        table = Table(*(column[: self._length].copy() for column in self._closed))
        where = np.minimum(np.searchsorted(table.step_last, late.step), self._length - 1)
        clean = finite_or_nan(late.value)
        np.fmin.at(table.low, where, clean)
        np.fmax.at(table.high, where, clean)
        np.fmin.at(table.positive_low, where, np.where(clean > 0, clean, np.nan))
        columns: Any = table
        self._closed = tuple(columns)
        count = self._totals.count
        self._totals = self._totals.including(late.step, late.time, clean).counting(count)


@dataclass(frozen=True, eq=False)
class _Totals:
    """What is known of the closed records as a whole."""

    count: int = 0
    low: float | None = None
    low_step: int | None = None
    high: float | None = None
    high_step: int | None = None
    gaps: NDArray[np.int64] = field(default_factory=lambda: _NOTHING.step)
    gap_count: int = 0

    def including(self, step: NDArray[np.int64], time: Floats, value: Floats) -> _Totals:
        """Return the totals with these records, whose gaps are NaN, added."""
        if not len(step):
            return self
        low, low_step, high, high_step = self.low, self.low_step, self.high, self.high_step
        gap = np.isnan(value)
        some = bool(gap.any())
        if not some or not gap.all():
            least = int(np.nanargmin(value) if some else value.argmin())
            greatest = int(np.nanargmax(value) if some else value.argmax())
            if low is None or value[least] < low:
                low, low_step = float(value[least]), int(step[least])
            if high is None or value[greatest] > high:
                high, high_step = float(value[greatest]), int(step[greatest])
        gaps = np.concatenate((self.gaps, step[gap])) if some else self.gaps
        while len(gaps) > _NON_FINITE_LIMIT:
            gaps = gaps[::2]
        return _Totals(
            self.count + len(step), low, low_step, high, high_step, gaps, self.gap_count + int(gap.sum() if some else 0)
        )

    def counting(self, count: int) -> _Totals:
        """Return the same totals with another count."""
        return _Totals(count, self.low, self.low_step, self.high, self.high_step, self.gaps, self.gap_count)


def _fields(stride: int) -> tuple[str, ...]:
    return ("step", "time", "value", "smooth") if stride == 1 else Table._fields
