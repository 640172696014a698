"""Where parameters and metrics are tracked: one interface, a SQLite file or an MLflow server behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class TrackerInterface(ABC):
    """An experiment tracker that holds one open run at a time."""

    @abstractmethod
    def start_run(self, experiment_name: str, run_name: str | None = None) -> str:
        """Opens a run and returns its identifier."""

    @abstractmethod
    def log_params(self, params: dict[str, Any]) -> None:
        """Records parameters of the open run."""

    @abstractmethod
    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        """Records one value of a metric; `step` counts optimizer steps."""

    @abstractmethod
    def end_run(self, status: str = "FINISHED") -> None:
        """Closes the open run with a final status."""
