"""One followed run: what has been read of its files so far, and what is new since the last look."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import Any

from kladml_core.interfaces.publisher import PublisherInterface
from kladml_core.metrics.columns import CHUNK, Cut, Records, read, visible
from kladml_core.metrics.names import file_name, list_metrics
from kladml_core.metrics.reduce import Series, SeriesBuffer
from kladml_core.runs.events import TERMINAL_KINDS, Event, read_events, resume_cuts
from kladml_core.runs.follow import Point, RunSnapshot
from kladml_core.runs.landmarks import LandmarkBuffer
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import RunStatus, reconcile

EVENTS_KEPT = 10_000
LIST_SECONDS = 1.0
STATUS_SECONDS = 1.0
HOLD_SECONDS = 5.0
"""Longest that an end waits for the state that goes with it; only a full disk keeps that from being written."""
MESSAGES_A_POLL = 500
"""More new steps than this in one look are history: only the newest are published, the rest is in the series."""


class RunTail:
    """Reads a run directory bit by bit. Used by the follower's thread alone.

    Args:
        run: the run.
        publisher: gets the messages.
        curves: keep a reduced series of each metric.
        smoothing: weight of the past in the smoothed curves.
    """

    def __init__(self, run: RunDirectory, publisher: PublisherInterface, *, curves: bool, smoothing: float) -> None:
        self._run = run
        self._reference = run.reference
        self._publisher = publisher
        self._curves = curves
        self._smoothing = smoothing
        self._new_smoothing: float | None = None
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._event_count = 0
        self._landmarks = LandmarkBuffer()
        self._resumes: list[Event] = []
        self._event_offset = 0
        self._offsets: dict[str, int] = {}
        self._cuts: dict[str, list[Cut]] = {}
        self._buffers: dict[str, SeriesBuffer] = {}
        self._series: dict[str, Series] = {}
        self._last: dict[str, Point] = {}
        self._listed = self._status_read = -LIST_SECONDS
        self._status: RunStatus | None = None
        self._told: tuple[Any, ...] | None = None
        self._ended_attempt: int | None = None
        self._held: list[Event] = []
        self._held_since: float | None = None
        self._version = 0
        self._pending: list[tuple[str, dict[str, Any]]] = []

    @property
    def lively(self) -> bool:
        """Whether looking often is worth it: the run is live, or not all of it has been read."""
        return self._status is None or self._status.live

    def set_smoothing(self, smoothing: float) -> None:
        """Takes effect at the next look, which reads the series again."""
        self._new_smoothing = smoothing

    def poll(self) -> RunSnapshot | None:
        """Reads what is new and returns a snapshot, or None when nothing changed.

        Messages wait in `publish_pending`, so that whoever hears of a change finds it in the snapshot.
        """
        changed = self._apply_smoothing()
        # The order matters: the worker writes metrics before events and events before its last state, so reading
        # the other way round never shows an end whose last values are still to come.
        changed |= self._read_status()
        terminal = self._read_events()
        changed |= bool(self._pending) or bool(terminal)
        changed |= self._read_metrics(everything=bool(terminal))
        changed |= self._release(terminal)
        if not changed and self._version:
            return None
        self._version += 1
        return RunSnapshot(
            reference=self._reference,
            status=self._with_newest_step(),
            events=tuple(self._events),
            older_events=self._event_count - len(self._events),
            landmarks=self._landmarks.snapshot(),
            last=dict(self._last),
            series=dict(self._series),
            version=self._version,
        )

    def _with_newest_step(self) -> RunStatus:
        """The status; a live run's state is up to a second old, and its series may be further on already."""
        assert self._status is not None
        newest = max((point.step for point in self._last.values()), default=0)
        if not self._status.live or newest <= self._status.step:
            return self._status
        return replace(self._status, step=newest)

    def publish_pending(self) -> None:
        """Publishes what the last look found; terminal events come last."""
        pending, self._pending = self._pending, []
        for channel, message in pending:
            self._publisher.publish(channel, message)

    def _apply_smoothing(self) -> bool:
        if self._new_smoothing is None:
            return False
        self._smoothing, self._new_smoothing = self._new_smoothing, None
        for metric in list(self._buffers):
            self._forget(metric)
        return True

    def _read_status(self) -> bool:
        now = time.monotonic()
        live = self._status is None or self._status.live
        # A live run's state changes at least once a second; reading it more often shows the first second sooner.
        if now - self._status_read < (STATUS_SECONDS / 4 if live else STATUS_SECONDS):
            return False
        self._status_read = now
        status = reconcile(self._run)
        changed = status != self._status
        self._status = status
        told = (status.word, status.status, status.attempt, None if status.silence else status.reason)
        if told != self._told:
            self._told = told
            message = {"run": self._reference, "status": status.status, "message": status.reason or ""}
            self._pending.append(("status", {**message, "word": status.word}))
        return changed

    def _read_events(self) -> list[Event]:
        """Reads new events; publishes all but terminal ones, which are returned for later."""
        events, self._event_offset = read_events(self._run.events, self._event_offset)
        terminal: list[Event] = []
        for event in events:
            self._keep(event)
            if event["kind"] == "resumed":
                self._resume(event)
            if event["kind"] in TERMINAL_KINDS:
                self._ended_attempt = event.get("attempt")
                terminal.append(event)
            else:
                self._pending.append(("events", {"run": self._reference, **event}))
        lost = self._lost_event()
        if lost is not None:
            self._keep(lost)
            terminal.append(lost)
        return terminal

    def _keep(self, event: Event) -> None:
        self._events.append(event)
        self._event_count += 1
        self._landmarks.take(event)

    def _release(self, terminal: list[Event]) -> bool:
        """Publishes terminal events, but not before the state that follows them: nothing comes after an end."""
        self._held.extend(terminal)
        if not self._held:
            return False
        now = time.monotonic()
        self._held_since = self._held_since or now
        self._status_read = -STATUS_SECONDS
        changed = self._read_status()
        assert self._status is not None
        owed = self._status.live and self._status.attempt == self._held[-1].get("attempt")
        if owed and now - self._held_since < HOLD_SECONDS:
            return changed
        self._pending.extend(("events", {"run": self._reference, **event}) for event in self._held)
        self._held.clear()
        self._held_since = None
        return True

    def _lost_event(self) -> Event | None:
        status = self._status
        if status is None or status.status != "lost" or self._ended_attempt == status.attempt:
            return None
        self._ended_attempt = status.attempt
        sequences = [event.get("seq") for event in self._events]
        return {
            "v": 1,
            "seq": 1 + max((number for number in sequences if isinstance(number, int)), default=0),
            "attempt": status.attempt,
            "time": status.ended or time.time(),
            "kind": "run_lost",
            "step": status.step,
            "epoch": status.epoch,
            "exit_code": 137,
            "reason": status.reason,
            "metrics": {name: point.value for name, point in self._last.items()},
            "resumable": bool((self._run.read_state() or {}).get("last_checkpoint")),
        }

    def _resume(self, event: Event) -> None:
        """Hides the branch that a resume gave up: the series it touches are read again with the new cut."""
        self._resumes.append(event)
        cuts = resume_cuts(self._resumes)
        self._cuts = {metric: [Cut(*cut) for cut in of_metric] for metric, of_metric in cuts.items()}
        for metric in event.get("offsets") or {}:
            if metric in self._offsets:
                self._forget(metric)

    def _forget(self, metric: str) -> None:
        self._offsets.pop(metric, None)
        self._buffers.pop(metric, None)
        self._series.pop(metric, None)
        self._last.pop(metric, None)
        self._listed = -LIST_SECONDS

    def _read_metrics(self, *, everything: bool) -> bool:
        now = time.monotonic()
        if everything or now - self._listed >= LIST_SECONDS or not self._offsets:
            self._listed = now
            for metric in list_metrics(self._run.metrics):
                self._offsets.setdefault(metric, 0)
        fresh: dict[str, Records] = {}
        for metric in self._offsets:
            newest = self._read_series(metric)
            if newest is not None:
                fresh[metric] = newest
        self._pending.extend(self._messages(fresh))
        return bool(fresh)

    def _read_series(self, metric: str) -> Records | None:
        """Reads one series to its end; returns the last chunk's visible records, or None when nothing came."""
        path = self._run.metrics / file_name(metric)
        newest: Records | None = None
        while True:
            start = self._offsets[metric]
            records, self._offsets[metric] = read(path, start, CHUNK)
            if not len(records):
                break
            shown = visible(records, start, self._cuts.get(metric, ()))
            if len(shown):
                newest = shown
                if self._curves:
                    self._buffers.setdefault(metric, SeriesBuffer(self._smoothing)).append(shown)
            if len(records) < CHUNK:
                break
        if newest is None:
            return None
        if self._curves:
            self._series[metric] = self._buffers[metric].snapshot()
        last = newest[-1]
        self._last[metric] = Point(int(last["step"]), float(last["time"]), float(last["value"]))
        return newest

    def _messages(self, fresh: dict[str, Records]) -> list[tuple[str, dict[str, Any]]]:
        """One message a step, oldest first; of a long history only the newest values."""
        if any(len(records) > MESSAGES_A_POLL for records in fresh.values()):
            fresh = {metric: records[-1:] for metric, records in fresh.items()}
        steps: dict[int, dict[str, Any]] = {}
        for metric, records in fresh.items():
            columns = zip(records["step"].tolist(), records["time"].tolist(), records["value"].tolist(), strict=True)
            for step, at, value in columns:
                message = steps.setdefault(step, {"run": self._reference, "step": step, "time": at, "values": {}})
                message["values"][metric] = value
                message["time"] = max(message["time"], at)
        return [("metrics", steps[step]) for step in sorted(steps)]
