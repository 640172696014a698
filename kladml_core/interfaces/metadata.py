"""What is known of a workspace: its projects, families, experiments, runs and datasets, whoever keeps it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class MetricRecord:
    """The figures of one metric of a run. Extremes are those of the finite values, None when there is none."""

    last: float
    """What was logged last; may be NaN or infinite."""
    last_step: int
    minimum: float | None
    minimum_step: int | None
    maximum: float | None
    maximum_step: int | None
    count: int
    """How many values there are, those that are not finite included."""
    non_finite: int


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run. Times are unix seconds; None where unknown."""

    reference: str
    """`project/family/experiment/run_0001`: where it lies."""
    uid: str | None
    """Its identity, which stays when it is moved; None where its run.json is damaged."""
    status: str
    """queued, starting, running, stopping, finished, failed, stopped, lost or damaged."""
    created: float | None = None
    started: float | None = None
    """When its newest attempt began."""
    ended: float | None = None
    attempt: int | None = None
    epoch: int = 0
    step: int = 0
    exit_code: int | None = None
    reason: str | None = None
    """Why it ended or stands still; of a damaged one what is wrong with it."""
    metrics: Mapping[str, MetricRecord] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    """The values of its newest attempt's config by dotted key."""
    tags: tuple[str, ...] = ()
    note: str = ""
    star: bool = False
    problem: str = ""
    """Which of its files cannot be read, and why; the rest is told all the same."""


@dataclass(frozen=True)
class DatasetRecord:
    """What a dataset's registration says."""

    name: str
    path: str | None = None
    """The data's file; None where a target makes the data."""
    target: str | None = None
    split: str | None = None
    description: str = ""
    rows: int | None = None
    fingerprint: str | None = None
    problem: str = ""
    """What is wrong with the registration."""


class MetadataInterface(ABC):
    """What is known of one workspace. Reading it changes nothing; names come sorted."""

    @abstractmethod
    def projects(self) -> list[str]:
        """Names of the projects."""

    @abstractmethod
    def families(self, project: str) -> list[str]:
        """Names of a project's families; none where there is no such project."""

    @abstractmethod
    def experiments(self, project: str, family: str) -> list[str]:
        """Names of a family's experiments; none where there is no such family."""

    @abstractmethod
    def runs(self, prefix: str = "") -> list[str]:
        """References of the runs, by project, family and experiment, the newest first within each.

        Args:
            prefix: `project`, `project/family` or `project/family/experiment`; "" for all.
        """

    @abstractmethod
    def run(self, reference: str) -> RunRecord:
        """What is known of one run.

        Raises:
            KeyError: there is no such run.
        """

    @abstractmethod
    def datasets(self) -> list[DatasetRecord]:
        """The registered datasets."""

    def refresh(self) -> None:  # noqa: B027  a backend that looks anew each time has nothing to do here
        """Brings what is known up to date, where it is kept apart from what it tells of."""

    def records(self, prefix: str = "") -> Iterator[RunRecord]:
        """What is known of each run below a prefix, in the order of `runs`; one that goes meanwhile is left out."""
        for reference in self.runs(prefix):
            try:
                yield self.run(reference)
            except KeyError:
                continue

    def close(self) -> None:  # noqa: B027  a backend that holds nothing open has nothing to do here
        """Lets go of what is held open."""
