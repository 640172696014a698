"""The worker's writer: metrics, events and state of one attempt go into the run directory, and nowhere else."""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from statistics import median
from time import sleep
from time import time as unix_time
from typing import Any

from kladml_core.backends.series_files import SeriesFiles
from kladml_core.interfaces.publisher import PublisherInterface
from kladml_core.runs import memory_kills
from kladml_core.runs.files import overwrite_json, strict_dumps, write_json
from kladml_core.runs.processes import identity
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import trained_seconds

HEARTBEAT_SECONDS = 1.0
TERMINAL_STATUSES = frozenset({"finished", "failed", "stopped"})
_TAIL_BYTES = 1 << 20
_LAST_WRITES = 5
_PACES = 21


class RunLog(PublisherInterface):
    """Writes what one attempt of a run does; the single writer of its events, metrics and state.

    Nothing here raises into training: a write that the disk refuses is counted and told by a `dropped` event
    as soon as the disk takes one again.

    Args:
        run: the run directory; torn records of an earlier attempt are mended when the log is opened.
        attempt: the number of this attempt, already claimed.
        heartbeat: seconds between two writes of state.json while nothing else changes.
    """

    def __init__(self, run: RunDirectory, attempt: int, *, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self.run = run
        self.attempt = attempt
        self.dropped = 0
        """Records and events that could not be written, in all."""
        self._untold = 0
        self._lock = threading.RLock()
        self._events = os.open(run.events, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        self._seq = _mend_events(self._events)
        self._series = SeriesFiles(run.metrics)
        # Not `_lock`, which is held while state.json is forced to the disk: a step does not wait for that. A signal's
        # handler may end the run on the thread that is just logging, so it can be taken twice.
        self._series_lock = threading.RLock()
        self._refused: set[str] = set()
        self._state = self._first_state()
        self._closed = threading.Event()
        self._heartbeat = threading.Thread(target=self._beat, args=(heartbeat,), name="run-log", daemon=True)
        self._heartbeat.start()

    def publish(self, channel: str, message: dict[str, Any]) -> None:
        """Takes `metrics` {step, time, values}, `events` {kind, …} and `status` {status, …}, as any publisher does.

        What is none of these is counted as dropped.
        """
        fields = {key: value for key, value in message.items() if key != "run"}
        if channel == "metrics" and isinstance(fields.get("values"), Mapping) and "step" in fields:
            self.log_metrics(fields["values"], fields["step"], fields.get("time"))
        elif channel == "events" and isinstance(fields.get("kind"), str):
            self.event(fields.pop("kind"), **fields)
        elif channel == "status" and isinstance(fields.get("status"), str):
            known = {"reason": fields.pop("message")} if "message" in fields else {}
            self.status(fields.pop("status"), **{**known, **fields})
        else:
            self._count_drop()

    def log_metrics(self, values: Mapping[str, float], step: int, time: float | None = None) -> None:
        """Appends one record to each metric's series.

        Args:
            values: metric name to value; NaN and the infinities are recorded as they are.
            step: the optimizer step the values belong to.
            time: unix seconds; now when None.
        """
        now = unix_time() if time is None else time
        strange: list[tuple[str, str]] = []
        written = False
        with self._series_lock:
            if self._closed.is_set():
                self._count_drop(len(values))
                return
            for name, value in values.items():
                if name in self._refused:
                    continue
                reason = self._series.append(name, step, now, value)
                if reason is None:
                    written = True
                elif reason.disk:
                    self._count_drop()
                else:
                    self._refused.add(name)
                    strange.append((name, reason.text))
        for name, text in strange:
            self.event("log", level="warning", message=f"metric {name!r} is not recorded: {text}", step=step)
        if written and self._untold:
            self._tell_dropped()

    def event(self, kind: str, *, step: int | None = None, epoch: int | None = None, **fields: Any) -> None:
        """Appends one event; a terminal one (`run_…` but `run_started`) is forced to the disk."""
        terminal = kind in ("run_finished", "run_failed", "run_stopped")
        with self._lock:
            if self._closed.is_set():
                self._count_drop()
                return
            if self._untold and kind != "dropped":
                self._tell_dropped()
            envelope = {"v": 1, "seq": self._seq, "attempt": self.attempt, "time": unix_time(), "kind": kind}
            at = {key: value for key, value in (("step", step), ("epoch", epoch)) if value is not None}
            own = {key: value for key, value in fields.items() if key not in envelope}
            if not self._append_line(strict_dumps({**envelope, **at, **own}), durable=terminal):
                self._count_drop()
                return
            self._seq += 1
        if kind == "resumed":
            self._series.rewind(fields.get("offsets") or {})

    def status(self, status: str, **fields: Any) -> None:
        """Writes state.json now; `finished`, `failed` and `stopped` end the attempt."""
        with self._lock:
            if self._closed.is_set():
                return
            self._state.update(fields, status=status)
            if status in TERMINAL_STATUSES:
                self._state["ended"] = unix_time()
            self._write_state(durable=True, tries=_LAST_WRITES if status in TERMINAL_STATUSES else 1)

    def progress(
        self,
        *,
        epoch: int | None = None,
        step: int | None = None,
        phase: str | None = None,
        total_steps: int | None = None,
        total_epochs: int | None = None,
    ) -> None:
        """Remembers how far training is; the next heartbeat writes it. Costs about a microsecond."""
        state = self._state
        if step is not None:
            state["step"] = step
        if epoch is not None:
            state["epoch"] = epoch
        if phase is not None:
            state["phase"] = phase
        if total_steps is not None:
            state["total_steps"] = total_steps
        if total_epochs is not None:
            state["total_epochs"] = total_epochs
        state["progress_at"] = unix_time()

    def checkpoint(self, info: Mapping[str, Any]) -> None:
        """Remembers the last checkpoint (`name`, `step`) for state.json."""
        with self._lock:
            self._state["last_checkpoint"] = dict(info)
            self._write_state(durable=False)

    def offsets(self) -> dict[str, int]:
        """Bytes in each metric's series file, for the `resumed` event."""
        return self._series.offsets()

    def last_values(self) -> dict[str, float]:
        """The newest value of each metric of this run."""
        return self._series.last_values()

    def close(self) -> None:
        """Writes what is outstanding and closes the files; the status stays as it was last set."""
        with self._series_lock, self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
        self._heartbeat.join()
        with self._lock:
            if self._untold:
                self._tell_dropped()
            self._write_state(durable=True, tries=_LAST_WRITES)
            self._write_summary()
            self._series.close()
            os.close(self._events)

    def _first_state(self) -> dict[str, Any]:
        now = unix_time()
        before = self.run.read_state() or {}
        ours = before if before.get("attempt") == self.attempt else {}
        return {
            "v": 1,
            "status": ours.get("status", "starting"),
            "attempt": self.attempt,
            **identity().to_json(),
            "directory": self.run.inode,
            "phase": "starting",
            "epoch": 0,
            "step": 0,
            "total_steps": None,
            "total_epochs": None,
            "started": ours.get("started", now),
            "ended": None,
            "earlier_seconds": ours.get("earlier_seconds") if ours else trained_seconds(before),
            "progress_at": now,
            "step_seconds": None,
            "heartbeat": now,
            "memory_kills": memory_kills.counters(),
            "console": ours.get("console"),
            "last_checkpoint": before.get("last_checkpoint"),
            "exit_code": None,
            "reason": None,
        }

    def _beat(self, seconds: float) -> None:
        paces: deque[float] = deque(maxlen=_PACES)
        step, progress_at = self._state["step"], self._state["progress_at"]
        while not self._closed.wait(seconds):
            with self._lock:
                now_step, now_at = self._state["step"], self._state["progress_at"]
                if now_step > step:
                    # An observer calls a run stalled by its own pace, so the pace is part of the state.
                    paces.append((now_at - progress_at) / (now_step - step))
                    self._state["step_seconds"] = median(paces)
                    step, progress_at = now_step, now_at
                self._state["memory_kills"] = memory_kills.counters()
                # A heartbeat that a power cut loses costs nothing, so it is not forced to the disk.
                self._write_state(durable=False)
                self._write_summary()

    def _write_state(self, *, durable: bool, tries: int = 1) -> None:
        self._state["heartbeat"] = unix_time()
        # A copy in one step: the training thread changes values in this dictionary without the lock.
        state = dict(self._state)
        for attempt in range(tries):
            try:
                write_json(self.run.state_json, state, durable=durable)
                return
            except OSError:
                # The disk is full or gone: the next heartbeat tries again; a final state is tried a few times.
                if attempt + 1 < tries:
                    sleep(HEARTBEAT_SECONDS / 5)
        if tries > 1:
            # Better how it ended in the old file's space than a run that others take for killed.
            with suppress(OSError):
                overwrite_json(self.run.state_json, state)

    def _write_summary(self) -> None:
        try:
            self._series.write_summary(self.run.summary)
        except OSError:
            self._series.summary_changed = True  # the next heartbeat tries again

    def _append_line(self, line: str, *, durable: bool = False) -> bool:
        data = line.encode() + b"\n"
        before = os.fstat(self._events).st_size
        try:
            written = os.write(self._events, data)
            if durable:
                os.fsync(self._events)
        except OSError:
            written = 0
        if written == len(data):
            return True
        if written:
            os.ftruncate(self._events, before)  # half a line is worse than none; shrinking needs no space
        return False

    def _count_drop(self, count: int = 1) -> None:
        self.dropped += count
        self._untold += count

    def _tell_dropped(self) -> None:
        with self._lock:
            count, self._untold = self._untold, 0
            line = {"v": 1, "seq": self._seq, "attempt": self.attempt, "time": unix_time(), "kind": "dropped"}
            if self._append_line(
                strict_dumps({**line, "count": count, "message": "these records could not be written"})
            ):
                self._seq += 1
            else:
                self._untold = count


def _mend_events(descriptor: int) -> int:
    """Ends a torn last line with a newline; returns the next sequence number."""
    size = os.fstat(descriptor).st_size
    if not size:
        return 1
    if os.pread(descriptor, 1, size - 1) != b"\n":
        try:
            os.write(descriptor, b"\n")
        except OSError:
            pass  # the disk is full: the reader skips the joined line, and writing goes on being tried
    sequences = [0]
    for line in os.pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES)).splitlines():
        try:
            sequences.append(int(json.loads(line)["seq"]))
        except (ValueError, KeyError, TypeError):
            continue  # a torn or damaged line has no number
    return max(sequences) + 1
