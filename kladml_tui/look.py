"""The workspace as it was at one moment: what the screen is drawn from. Made by the census, in a thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Experiment:
    """An experiment and its runs, newest first."""

    project: str
    family: str
    name: str
    directory: Path = field(compare=False)
    runs: tuple[str, ...]

    @property
    def key(self) -> str:
        """`project/family/experiment`."""
        return f"{self.project}/{self.family}/{self.name}"


@dataclass(frozen=True)
class RunState:
    """What is known of a run without opening more than its state."""

    status: str
    changed: float
    """When its state was last written, unix seconds; 0 where there is none."""
    live: bool = False
    """Whether more is to come of it."""
    standstill: str = ""
    """`stalled` or `silent`, of a run that does not get on."""
    place: int | None = None
    """In the queue, of one that waits; 1 is next."""

    @property
    def word(self) -> str:
        """The status as it is shown, see `RunStatus.word`."""
        return self.standstill or self.status

    @property
    def words(self) -> str:
        """The word, with its place in the queue where it waits: `queued #3`."""
        return self.word if self.place is None else f"{self.word} #{self.place}"


@dataclass(frozen=True)
class Look:
    """The workspace as it was at one moment."""

    projects: tuple[str, ...] = ()
    families: tuple[tuple[str, str], ...] = ()
    experiments: tuple[Experiment, ...] = ()
    configs: tuple[Path, ...] = ()
    datasets: tuple[Path, ...] = ()
    states: Mapping[str, RunState] = field(default_factory=dict)
    """By reference; runs that were not looked at yet are missing."""
    complete: bool = False
    """Whether every run has been looked at."""

    @property
    def live(self) -> tuple[str, ...]:
        """References of the runs of which more is to come."""
        return tuple(reference for reference, state in self.states.items() if state.live)

    def experiments_in(self, prefix: str) -> tuple[Experiment, ...]:
        """The experiments of a project, a family or of all (""); an experiment's own key gives it alone."""
        if not prefix:
            return self.experiments
        return tuple(one for one in self.experiments if one.key == prefix or one.key.startswith(f"{prefix}/"))


def runs_of(look: Look, prefix: str) -> list[str]:
    """References of the runs below a project, family or experiment, newest first.

    Within one experiment the newest is the one with the highest number; over several, the one that wrote last.
    """
    experiments = look.experiments_in(prefix)
    found = [f"{one.key}/{name}" for one in experiments for name in one.runs]
    if len(experiments) > 1:
        states, never = look.states, RunState("", 0.0)
        found.sort(key=lambda reference: states.get(reference, never).changed, reverse=True)
    return found
