"""Where parameters and metrics are tracked: one interface, a SQLite file or an MLflow server behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kladml_core.interfaces.unsupported import UnsupportedOperation


class Measurement(NamedTuple):
    """One value of a metric."""

    key: str
    value: float
    """May be NaN or infinite."""
    step: int
    """Counts optimizer steps."""
    time: float
    """Unix time in seconds at which it was measured."""


class TrackerInterface(ABC):
    """An experiment tracker that holds one open run at a time.

    The four abstract methods are all that a backend must have. The others are expressed through them, or raise
    `UnsupportedOperation`; who calls them does without, and says so.
    """

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
        """Closes the open run with a final status: FINISHED, FAILED or KILLED."""

    patience: float = 60.0
    """Seconds for which a call waits for a server that is away, in a backend that waits for one."""

    @property
    def refused(self) -> Sequence[str]:
        """What the backend will never take of the open run, or of the last one: a sentence each."""
        return ()

    def set_times(self, started: float | None = None, ended: float | None = None) -> None:  # noqa: B027  now is right
        """Says when the run began that is opened next, and when the open one ended (unix seconds); else it is now."""

    def log_metrics(self, metrics: Sequence[Measurement]) -> None:
        """Records many values, each with its own time where the backend can; through `log_metric` it cannot.

        A backend that has this and `resume_run` stores the same value of the same key, step and time once, however
        often it is sent to the same run.
        """
        for metric in metrics:
            self.log_metric(metric.key, metric.value, metric.step)

    def flush(self) -> None:  # noqa: B027  a backend that stores at once has nothing to do here
        """Returns when everything logged so far is stored; raises where it cannot be."""

    def close(self) -> None:  # noqa: B027  a backend that holds nothing open has nothing to do here
        """Lets the open run go without ending it, and what is pending with it."""

    def resume_run(self, uid: str, experiment_name: str, run_name: str | None = None) -> str:
        """Opens the run that was begun under this `uid`, or begins it, so that sending again makes no second run.

        Raises:
            UnsupportedOperation: the backend cannot find a run again.
        """
        raise UnsupportedOperation(f"{type(self).__name__} cannot find a run again")

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Records tags of the open run.

        Raises:
            UnsupportedOperation: the backend has no tags.
        """
        raise UnsupportedOperation(f"{type(self).__name__} has no tags")

    def log_artifact(self, local_path: str, artifact_path: str | None = None) -> None:
        """Stores a file of the open run, in a folder `artifact_path` where one is given.

        Raises:
            UnsupportedOperation: the backend stores no files.
        """
        raise UnsupportedOperation(f"{type(self).__name__} stores no files")
