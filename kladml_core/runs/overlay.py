"""The curves of one metric of many runs: read bit by bit in any thread, in a memory that does not grow with the files.

Times count from each run's first record, so that runs of different days lie over one another.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kladml_core.metrics.columns import CHUNK, Cut, read, visible
from kladml_core.metrics.names import file_name, list_metrics
from kladml_core.metrics.reduce import PIECE_LIMIT, Series, SeriesBuffer
from kladml_core.runs.events import Event, read_events, resume_cuts
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import read_status

PIECES = 400_000
"""Pieces kept of all curves together: about 80 MiB."""
_FEWEST_PIECES = 2048
ENDED_SECONDS = 5.0
"""Between two looks at a run that has ended: it may be resumed."""
SMOOTHING = 0.6


@dataclass(frozen=True)
class RunCurve:
    """One run in an overlay."""

    run: RunDirectory
    series: Series | None
    """None where the run has no value of the metric."""
    live: bool


class Overlay:
    """Follows one metric of some runs. One thread calls `read`; what it returns may be kept and drawn anywhere.

    Args:
        runs: at least one.
        metric: its name.
    """

    def __init__(self, runs: Sequence[RunDirectory], metric: str) -> None:
        pieces = max(_FEWEST_PIECES, min(PIECE_LIMIT, PIECES // max(1, len(runs))))
        self.metric = metric
        self._stopped = False
        self._tails = [_Tail(run, metric, pieces) for run in runs]

    def read(self) -> tuple[RunCurve, ...]:
        """Reads all that is new, and returns the curves in the order of the runs."""
        for _ in self.reading():
            pass
        return self.curves

    def reading(self) -> Iterator[int]:
        """Reads all that is new, and yields after each run how many were looked at: there may be enough to draw."""
        for number, tail in enumerate(self._tails, 1):
            if self._stopped:
                return
            tail.poll()
            yield number

    def stop(self) -> None:
        """Has a reading that goes on in another thread end with the run that it is at."""
        self._stopped = True

    @property
    def curves(self) -> tuple[RunCurve, ...]:
        """As they are now; a curve to which nothing came is the same object."""
        return tuple(RunCurve(tail.run, tail.series, tail.live) for tail in self._tails)


def metrics_of(runs: Sequence[RunDirectory]) -> dict[str, int]:
    """The metrics that any of the runs has logged, each with how many runs have; the most common ones first."""
    counts: dict[str, int] = {}
    for run in runs:
        for metric in list_metrics(run.metrics):
            counts[metric] = counts.get(metric, 0) + 1
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


class _Tail:
    """One series file."""

    def __init__(self, run: RunDirectory, metric: str, pieces: int) -> None:
        self.run = run
        self.live = False
        self.series: Series | None = None
        self._metric = metric
        self._pieces = pieces
        self._path = run.metrics / file_name(metric)
        self._due = 0.0
        self._event_offset = 0
        self._resumes: list[Event] = []
        self._cuts: tuple[Cut, ...] = ()
        self._start_over()

    def _start_over(self) -> None:
        self._buffer = SeriesBuffer(SMOOTHING, raw_limit=4 * self._pieces, piece_limit=self._pieces)
        self._offset = 0
        self._began: float | None = None

    def poll(self) -> None:
        if time.monotonic() < self._due:
            return
        # Before the series: what a run writes before its last state is then read in this look.
        self.live = read_status(self.run).live
        self._due = 0.0 if self.live else time.monotonic() + ENDED_SECONDS
        self._read_resumes()
        changed = False
        while True:
            start = self._offset
            records, self._offset = read(self._path, start, CHUNK)
            shown = visible(records, start, self._cuts)
            if len(shown):
                changed = True
                self._buffer.append(self._from_its_beginning(shown))
            if len(records) < CHUNK:
                break
        if changed:
            self.series = self._buffer.snapshot()

    def _read_resumes(self) -> None:
        """Of a run that was resumed, learns which records belong to a branch that was given up."""
        if not self._event_offset and not self.run.attempt_dir(2).exists():
            return
        events, self._event_offset = read_events(self.run.events, self._event_offset)
        new = [event for event in events if event["kind"] == "resumed"]
        if not new:
            return
        self._resumes += new
        cuts = tuple(Cut(*cut) for cut in resume_cuts(self._resumes).get(self._metric, ()))
        if cuts != self._cuts:
            self._cuts, self.series = cuts, None
            self._start_over()

    def _from_its_beginning(self, records: np.ndarray) -> np.ndarray:
        moved = records.copy()
        if self._began is None:
            self._began = float(records["time"][0])
        # A clock that was set back must not make a time that counts as none.
        moved["time"] = np.maximum(moved["time"] - self._began, 0.0) + _FIRST_SECOND
        return moved


_FIRST_SECOND = 1.0
"""A time of 0 would count as no record."""
