"""The workspace as it was at one moment: what the screen is drawn from. Made by the census, in a thread."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kladml_core.workspace.run_state import RunState

__all__ = ["Experiment", "Look", "RunState", "runs_of"]
_FEW = 400


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
    archived: frozenset[str] = frozenset()
    """Keys of the projects, families and experiments that are archived."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """Of those that have one, by their keys."""
    indexed: bool = True
    """Whether the index takes up what it does not know yet; its disk may be full."""

    @property
    def busy(self) -> str:
        """How far looking is, while it is not complete."""
        if self.complete:
            return ""
        total = sum(len(one.runs) for one in self.experiments)
        return f"{len(self.states):,} of {total:,} runs read" if total > _FEW else "looking…"

    @property
    def live(self) -> tuple[str, ...]:
        """References of the runs of which more is to come."""
        return tuple(reference for reference, state in self.states.items() if state.live)

    def without_archived(self) -> Look:
        """The same without what is archived and what lies in it; an experiment with a live run is always there."""
        if not self.archived:
            return self
        live = {reference.rpartition("/")[0] for reference in self.live}
        shown = {one.key: one for one in self.experiments if not self._is_hidden(one.key) or one.key in live}
        above = {key.rpartition("/")[0] for key in shown}
        families = tuple(
            (project, family)
            for project, family in self.families
            if f"{project}/{family}" in above or not self._is_hidden(f"{project}/{family}")
        )
        holding = {project for project, _ in families}
        return replace(
            self,
            projects=tuple(name for name in self.projects if name in holding or not self._is_hidden(name)),
            families=families,
            experiments=tuple(shown.values()),
            states={key: state for key, state in self.states.items() if key.rpartition("/")[0] in shown},
        )

    @property
    def left_out(self) -> int:
        """How many projects, families and experiments `without_archived` leaves out."""
        shown = self.without_archived()
        pairs = (
            (self.projects, shown.projects),
            (self.families, shown.families),
            (self.experiments, shown.experiments),
        )
        return sum(len(every) - len(some) for every, some in pairs)

    def _is_hidden(self, key: str) -> bool:
        """Whether it is archived, or something that it lies in."""
        parts = key.split("/")
        return any("/".join(parts[:length]) in self.archived for length in range(1, len(parts) + 1))

    def experiments_in(self, prefix: str) -> tuple[Experiment, ...]:
        """The experiments of a project, a family or of all (""); an experiment's own key gives it alone."""
        if not prefix:
            return self.experiments
        return tuple(one for one in self.experiments if one.key == prefix or one.key.startswith(f"{prefix}/"))


def runs_of(look: Look, prefix: str) -> list[str]:
    """References of the runs below a project, family or experiment, newest first.

    Within one experiment the newest is the one with the highest number; over several, the one that wrote last. All live
    ones come first, in an order of their own: they write all the time and would change places with each look.
    """
    experiments = look.experiments_in(prefix)
    found = [f"{one.key}/{name}" for one in experiments for name in one.runs]
    if len(experiments) > 1:
        states, never = look.states, RunState("", 0.0)

        def newness(reference: str) -> float:
            state = states.get(reference, never)
            return math.inf if state.live else state.changed

        found.sort(key=newness, reverse=True)
    return found
