"""What the workspace holds and which runs are live, looked up on disk: in threads only, the screen gets snapshots."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from kladml_core.runs.files import read_object
from kladml_core.runs.queue_items import places
from kladml_core.runs.rundir import RunDirectory
from kladml_core.runs.status import LIVE, STATUSES, read_status
from kladml_core.workspace.descriptions import Description, read_description
from kladml_core.workspace.places import Place
from kladml_core.workspace.workspace import Workspace
from kladml_tui.look import Experiment, Look, RunState

_PAUSE_EVERY = 200
_PAUSE_SECONDS = 0.002
"""A breath now and then, so that a long look does not take the processor from the screen."""


class Census:
    """Remembers between looks what cannot have changed, so that a later look costs little."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._runs: dict[Path, tuple[int, tuple[str, ...]]] = {}
        self._states: dict[str, RunState] = {}
        self._stamps: dict[str, int] = {}
        self._places: dict[str, int] = {}
        self._descriptions: dict[Path, tuple[tuple[int, int, int], Description]] = {}
        self._titles: dict[str, str] = {}
        self._archived: set[str] = set()
        self.closed = False
        """Set from outside: a look that is going on gives up."""

    def names(self) -> Look:
        """Everything by name; the states are those of earlier looks."""
        workspace = self._workspace
        projects, families, experiments = [], [], []
        self._titles, self._archived = {}, set()
        for project in workspace.projects():
            projects.append(project)
            self._describe(project)
            for family in workspace.families(project):
                families.append((project, family))
                self._describe(project, family)
                for name in workspace.experiments(project, family):
                    self._describe(project, family, name)
                    directory = workspace.data / "projects" / project / family / name
                    runs = self._runs_of(directory, project, family, name)
                    experiments.append(Experiment(project, family, name, directory, runs))
        known = {f"{one.key}/{run}" for one in experiments for run in one.runs}
        if len(known) != len(self._states):
            self._states = {reference: state for reference, state in self._states.items() if reference in known}
        return Look(
            tuple(projects),
            tuple(families),
            tuple(experiments),
            tuple(workspace.configs()),
            tuple(workspace.datasets()),
            self._all_states(),
            complete=len(known) == len(self._states),
            archived=frozenset(self._archived),
            titles=self._titles,
        )

    def states(self, look: Look, *, everything: bool, also: frozenset[str] = frozenset()) -> Look:
        """The same look with the states brought up to date.

        Args:
            look: from `names`.
            everything: look at each run; otherwise at those that are new or live.
            also: references of further runs to look at.
        """
        looked = 0
        for experiment in look.experiments:
            for name in experiment.runs:
                reference = f"{experiment.key}/{name}"
                known = self._states.get(reference)
                if known is not None and not everything and not known.live and reference not in also:
                    continue
                if self.closed:
                    return look
                self._look_at(RunDirectory(experiment.directory / name), reference, known)
                looked += 1
                if looked % _PAUSE_EVERY == 0:
                    time.sleep(_PAUSE_SECONDS)
        self._places = places(self._workspace.data)
        return replace(look, states=self._all_states(), complete=True)

    def _describe(self, *names: str) -> None:
        """Reads the title and the archive flag of a project, a family or an experiment, where they have changed."""
        place = Place(names)
        file = place.file(self._workspace.data)
        try:
            seen = os.stat(file)
        except OSError:
            return
        stamp = (seen.st_mtime_ns, seen.st_ino, seen.st_size)
        known = self._descriptions.get(file)
        if known is None or known[0] != stamp:
            known = self._descriptions[file] = (stamp, read_description(file))
        if known[1].title:
            self._titles[place.key] = known[1].title
        if known[1].archived:
            self._archived.add(place.key)

    def _all_states(self) -> dict[str, RunState]:
        states = dict(self._states)
        for reference, place in self._places.items():
            state = states.get(reference)
            if state is not None and state.status == "queued":
                states[reference] = replace(state, place=place)
        return states

    def _runs_of(self, directory: Path, project: str, family: str, name: str) -> tuple[str, ...]:
        try:
            stamp = directory.stat().st_mtime_ns
        except OSError:
            return ()
        known = self._runs.get(directory)
        # A directory changed within the clock's last tick may change again under the same stamp.
        if known is not None and known[0] == stamp and time.time_ns() - stamp > 2_000_000_000:
            return known[1]
        runs = tuple(run.path.name for run in self._workspace.runs(project, family, name))
        self._runs[directory] = (stamp, runs)
        return runs

    def _look_at(self, run: RunDirectory, reference: str, known: RunState | None) -> None:
        try:
            stamp = os.stat(run.state_json).st_mtime_ns
        except OSError:
            stamp = 0
        if known is not None and not known.live and stamp and stamp == self._stamps.get(reference):
            return
        self._stamps[reference] = stamp
        status, standstill = (read_object(run.state_json) or {}).get("status") if stamp else None, ""
        if status not in STATUSES or status in LIVE:
            found = read_status(run)
            status, standstill = found.status, found.word if found.standstill else ""
        self._states[reference] = RunState(status, stamp / 1e9, status in LIVE, standstill)
