"""Follows run directories from one thread and publishes what is new; the only reader between a run and a screen."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml_core.runs.landmarks import Landmarks
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import RunStatus

if TYPE_CHECKING:
    from kladml_core.interfaces.publisher import PublisherInterface
    from kladml_core.metrics.reduce import Series
    from kladml_core.runs.tail import RunTail

FOREGROUND_SECONDS = 0.05
BACKGROUND_SECONDS = 1.0


@dataclass(frozen=True)
class Point:
    """The newest value of a metric: optimizer step, unix time, value."""

    step: int
    time: float
    value: float


@dataclass(frozen=True)
class RunSnapshot:
    """Everything a screen shows of a run, frozen at one moment."""

    reference: str
    status: RunStatus
    events: tuple[dict[str, Any], ...]
    """Oldest first; the newest 10,000."""
    older_events: int
    """How many there were before those: they are in events.jsonl alone."""
    landmarks: Landmarks
    """Of all events, however old."""
    last: Mapping[str, Point]
    series: Mapping[str, Series]
    """Empty when the follower keeps no curves."""
    version: int
    """Grows with every change, so that a screen can tell whether to draw."""


class RunFollower:
    """Tails run directories: 20 times a second those on screen, once a second the others.

    Args:
        publisher: gets `metrics`, `events` and `status` messages; `run` in them is the run's reference.
        curves: keep the reduced series of each run for `snapshot`.
        smoothing: weight of the past in the smoothed curves, 0 to 1.
    """

    def __init__(self, publisher: PublisherInterface, *, curves: bool = True, smoothing: float = 0.6) -> None:
        self._publisher = publisher
        self._curves = curves
        self._smoothing = smoothing
        self._lock = threading.Lock()
        self._tails: dict[str, RunTail] = {}
        self._foreground: set[str] = set()
        self._due: dict[str, float] = {}
        self._snapshots: dict[str, RunSnapshot] = {}
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="run-follower", daemon=True)
        self.failures: list[str] = []
        """What went wrong while reading, one text a run; shown to the person, since nothing may go silent."""

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread and waits for it."""
        self._closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def follow(self, run: RunDirectory, *, foreground: bool = True) -> None:
        """Begins to follow a run, or moves it to the foreground or the background."""
        from kladml_core.runs.tail import RunTail  # numpy: not before the first frame of a screen

        reference = run.reference
        with self._lock:
            if reference not in self._tails:
                self._tails[reference] = RunTail(run, self._publisher, curves=self._curves, smoothing=self._smoothing)
            (self._foreground.add if foreground else self._foreground.discard)(reference)
            self._due[reference] = 0.0
        self._wake.set()

    def unfollow(self, reference: str) -> None:
        """Forgets a run and frees its curves."""
        with self._lock:
            self._tails.pop(reference, None)
            self._foreground.discard(reference)
            self._due.pop(reference, None)
            self._snapshots.pop(reference, None)

    def following(self) -> frozenset[str]:
        """References of the runs that are followed."""
        with self._lock:
            return frozenset(self._tails)

    def snapshot(self, reference: str) -> RunSnapshot | None:
        """The newest snapshot of a followed run, or None before its first reading. Never waits for the disk."""
        return self._snapshots.get(reference)

    def set_smoothing(self, smoothing: float) -> None:
        """Changes the smoothing of every followed run; the series are read again in the thread."""
        with self._lock:
            self._smoothing = smoothing
            for reference, tail in self._tails.items():
                tail.set_smoothing(smoothing)
                self._due[reference] = 0.0
        self._wake.set()

    def _work(self) -> None:
        while not self._closed:
            now = time.monotonic()
            with self._lock:
                due = [(name, self._tails[name]) for name, at in self._due.items() if at <= now]
            for reference, tail in due:
                self._poll(reference, tail)
            with self._lock:
                waits = [at - time.monotonic() for at in self._due.values()]
            self._wake.wait(max(0.0, min(waits, default=BACKGROUND_SECONDS)))
            self._wake.clear()

    def _poll(self, reference: str, tail: RunTail) -> None:
        try:
            snapshot = tail.poll()
        except Exception as error:  # one damaged run must not end the following of all the others
            self.failures.append(f"{reference}: {error!r}")
            self._publisher.publish(
                "status", {"run": reference, "status": "damaged", "message": f"it cannot be read: {error!r}"}
            )
            self.unfollow(reference)
            return
        with self._lock:
            if reference not in self._tails:
                return
            if snapshot is not None:
                self._snapshots[reference] = snapshot
            near = reference in self._foreground and tail.lively
            self._due[reference] = time.monotonic() + (FOREGROUND_SECONDS if near else BACKGROUND_SECONDS)
        if snapshot is not None:
            tail.publish_pending()


def read_console(run: RunDirectory, offset: int = 0, limit: int = 65536) -> tuple[bytes, int]:
    """Bytes of console.log from an offset on, and the offset to go on from; empty when there is nothing."""
    return read_bytes(run.console_log, offset, limit)


def read_bytes(path: Path, offset: int, limit: int) -> tuple[bytes, int]:
    """At most `limit` bytes of a file from `offset` on, and the offset after them; a missing file is empty."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(limit)
    except OSError:
        return b"", offset
    return data, offset + len(data)
