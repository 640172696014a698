"""Prints a run's messages as plain lines: for logs, pipes and terminals without the cli extra."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from time import monotonic
from typing import Any, TextIO

from kladml_core.interfaces.publisher import PublisherInterface
from kladml_core.runs.event_text import event_clock, event_detail, event_kind, metrics_text
from kladml_core.runs.plain import inert

METRICS_SECONDS = 1.0


class ConsolePublisher(PublisherInterface):
    """Writes one line an event and at most one line of metrics a second. Thread-safe.

    Once a second run is heard of, each line begins with the run's reference.

    Args:
        stream: where to; standard output when None.
        metrics_seconds: least time between two lines of metrics; the newest values are never lost, only late.
    """

    def __init__(self, stream: TextIO | None = None, *, metrics_seconds: float = METRICS_SECONDS) -> None:
        self._stream = stream
        self._every = metrics_seconds
        self._last_line = -metrics_seconds
        self._pending: dict[Any, dict[str, Any]] = {}
        self._runs: set[Any] = set()
        self._lock = threading.RLock()
        self.failure: Exception | None = None
        """Why nothing is printed any more: the stream was closed, or nobody reads it."""

    def publish(self, channel: str, message: dict[str, Any]) -> None:
        """Prints the message, or keeps it for the next line of metrics. A stream that fails ends the printing."""
        run = message.get("run")
        with self._lock:
            if run is not None:
                self._runs.add(run)
            if channel == "metrics":
                values = {**self._pending.get(run, {}).get("values", {}), **message.get("values", {})}
                self._pending[run] = {**message, "values": values}
                if monotonic() - self._last_line >= self._every:
                    self.flush()
                return
            self.flush()
            if channel == "status":
                self._line(status_line(message))
            else:
                self._line(self._whose(run) + event_line(message))

    def flush(self) -> None:
        """Prints the metrics that have waited for their turn."""
        with self._lock:
            pending, self._pending = self._pending, {}
            if pending:
                self._last_line = monotonic()
            for run, message in pending.items():
                step = inert(str(message.get("step", "?")))
                self._line(f"{self._whose(run)}step {step}  {metrics_text(message['values'])}")

    def _whose(self, run: Any) -> str:
        return f"{inert(str(run))}  " if run is not None and len(self._runs) > 1 else ""

    def _line(self, text: str) -> None:
        if self.failure is not None:
            return
        stream = sys.stdout if self._stream is None else self._stream
        try:
            print(text.encode("utf-8", "backslashreplace").decode("utf-8"), file=stream, flush=True)
        except (OSError, ValueError) as error:  # nobody reads it any more, the disk is full, or it is closed
            self.failure = error


def status_line(message: Mapping[str, Any]) -> str:
    """`vision/digits/cnn/run_0001 running`, with the message where there is one."""
    more = f": {inert(str(message['message']))}" if message.get("message") else ""
    return f"{inert(str(message.get('run', '')))} {inert(str(message.get('status', '')))}{more}"


def event_line(event: Mapping[str, Any]) -> str:
    """One line for any event: its time, its kind in words, and what it carries."""
    return "  ".join(part for part in (event_clock(event), event_kind(event), event_detail(event)) if part)
