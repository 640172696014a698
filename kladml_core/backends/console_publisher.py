"""Prints a run's messages as plain lines: for logs, pipes and terminals without the cli extra."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from time import monotonic
from typing import Any, TextIO

from kladml_core.interfaces.publisher import PublisherInterface
from kladml_core.runs.event_text import event_clock, event_detail, event_kind, metrics_text
from kladml_core.runs.plain import inert

METRICS_SECONDS = 1.0


class ConsolePublisher(PublisherInterface):
    """Writes one line an event and at most one line of metrics a second.

    Args:
        stream: where to; standard output when None.
        metrics_seconds: least time between two lines of metrics; the newest values are never lost, only late.
    """

    def __init__(self, stream: TextIO | None = None, *, metrics_seconds: float = METRICS_SECONDS) -> None:
        self._stream = stream
        self._every = metrics_seconds
        self._last_line = -metrics_seconds
        self._pending: dict[str, Any] | None = None

    def publish(self, channel: str, message: dict[str, Any]) -> None:
        """Prints the message, or keeps it for the next line of metrics."""
        if channel == "metrics":
            pending = self._pending or {"values": {}}
            self._pending = {**message, "values": {**pending["values"], **message["values"]}}
            if monotonic() - self._last_line >= self._every:
                self.flush()
            return
        self.flush()
        self._line(event_line(message) if channel == "events" else status_line(message))

    def flush(self) -> None:
        """Prints the metrics that have waited for their turn."""
        if self._pending is None:
            return
        message, self._pending = self._pending, None
        self._last_line = monotonic()
        self._line(f"step {message['step']}  {metrics_text(message['values'])}")

    def _line(self, text: str) -> None:
        stream = sys.stdout if self._stream is None else self._stream
        print(text.encode("utf-8", "backslashreplace").decode("utf-8"), file=stream, flush=True)


def status_line(message: Mapping[str, Any]) -> str:
    """`vision/digits/cnn/run_0001 running`, with the message where there is one."""
    more = f": {inert(str(message['message']))}" if message.get("message") else ""
    return f"{inert(str(message.get('run', '')))} {inert(str(message.get('status', '')))}{more}"


def event_line(event: Mapping[str, Any]) -> str:
    """One line for any event: its time, its kind in words, and what it carries."""
    return "  ".join(part for part in (event_clock(event), event_kind(event), event_detail(event)) if part)
