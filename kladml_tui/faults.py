"""A fault of our own in a worker is told, never silent and never the end of the app."""

from __future__ import annotations

from typing import Any

from textual.app import App
from textual.worker import Worker, WorkerState

from kladml_tui.text import notice


def tell(app: App[Any], event: Worker.StateChanged) -> None:
    """Shows a notice when a worker ended by an exception."""
    if event.state is WorkerState.ERROR:
        error = event.worker.error
        notice(app, f"{type(error).__name__}: {error}", "error", title=f"This failed: {event.worker.group}")
