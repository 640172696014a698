"""Where training writes: the run's log, or nothing at all in a notebook and on every rank but the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class RunWriter(Protocol):
    """What the trainer asks of `backends.run_log.RunLog`."""

    def log_metrics(self, values: Mapping[str, float], step: int, time: float | None = None) -> None:
        """Appends one record to each metric's series."""

    def event(self, kind: str, *, step: int | None = None, epoch: int | None = None, **fields: Any) -> None:
        """Appends one event."""

    def status(self, status: str, **fields: Any) -> None:
        """Writes state.json now."""

    def progress(
        self,
        *,
        epoch: int | None = None,
        step: int | None = None,
        phase: str | None = None,
        total_steps: int | None = None,
        total_epochs: int | None = None,
    ) -> None:
        """Remembers how far training is."""

    def checkpoint(self, info: Mapping[str, Any]) -> None:
        """Remembers the last checkpoint."""

    def offsets(self) -> dict[str, int]:
        """Bytes in each metric's series file."""


class NoWriter:
    """Writes nothing."""

    def log_metrics(self, values: Mapping[str, float], step: int, time: float | None = None) -> None:
        """Nothing."""

    def event(self, kind: str, *, step: int | None = None, epoch: int | None = None, **fields: Any) -> None:
        """Nothing."""

    def status(self, status: str, **fields: Any) -> None:
        """Nothing."""

    def progress(self, **_: Any) -> None:
        """Nothing."""

    def checkpoint(self, info: Mapping[str, Any]) -> None:
        """Nothing."""

    def offsets(self) -> dict[str, int]:
        """No series."""
        return {}
