"""Which projects, families, experiments and runs there are, by name: a directory is listed when it changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kladml_core.runs.ref import RUN_NAME

_SETTLED_NS = 2_000_000_000
"""A directory that was changed less than this ago may change again without another time stamp."""


@dataclass(frozen=True)
class Tree:
    """The names in a workspace at one moment, sorted."""

    projects: tuple[str, ...] = ()
    families: tuple[tuple[str, str], ...] = ()
    experiments: tuple[tuple[str, str, str, tuple[str, ...]], ...] = ()
    """project, family, experiment, and the names of its runs: the newest first, then what is none and seems to be."""

    @cached_property
    def references(self) -> tuple[str, ...]:
        """Every run's."""
        return tuple(f"{p}/{f}/{e}/{run}" for p, f, e, runs in self.experiments for run in runs)

    def places(self) -> list[tuple[str, str, str]]:
        """Each project, family and experiment; "" for the names that those above do not have."""
        above = [*((project, "", "") for project in self.projects), *((*family, "") for family in self.families)]
        return [*above, *(one[:3] for one in self.experiments)]


class PlacesScan:
    """Remembers what it listed.

    Args:
        data: the workspace's data directory.
    """

    def __init__(self, data: Path) -> None:
        self._projects = f"{data}/projects"
        self._folders: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._runs: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._tree = Tree()

    def look(self) -> Tree:
        """What there is now: the same object as before where nothing changed."""
        families: list[tuple[str, str]] = []
        experiments: list[tuple[str, str, str, tuple[str, ...]]] = []
        folders, runs = dict(self._folders), dict(self._runs)
        self._folders, self._runs = {}, {}  # refilled with what is still there
        projects = self._listed(self._projects, folders, self._folders, _directories)
        for project in projects:
            at = f"{self._projects}/{project}"
            for family in self._listed(at, folders, self._folders, _directories):
                families.append((project, family))
                below = f"{at}/{family}"
                for name in self._listed(below, folders, self._folders, _directories):
                    found = self._listed(f"{below}/{name}", runs, self._runs, run_names)
                    experiments.append((project, family, name, found))
        tree = Tree(projects, tuple(families), tuple(experiments))
        if tree != self._tree:
            self._tree = tree
        return self._tree

    def _listed(
        self,
        path: str,
        before: dict[str, tuple[int, tuple[str, ...]]],
        now: dict[str, tuple[int, tuple[str, ...]]],
        names_in: Callable[[str], tuple[str, ...]],
    ) -> tuple[str, ...]:
        known = before.get(path)
        try:
            stamp = os.stat(path).st_mtime_ns
            if known is None or known[0] != stamp:
                settled = time.time_ns() - stamp > _SETTLED_NS
                known = (stamp if settled else 0, names_in(path))
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError:
            # A network file system that is away for a moment takes nothing away; what may not be read, shows nothing.
            if known is None:
                return ()
        now[path] = known
        return known[1]


def _directories(path: str) -> tuple[str, ...]:
    with os.scandir(path) as entries:
        return tuple(sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()))


def run_names(path: str | Path) -> tuple[str, ...]:
    """What counts as runs of an experiment, also where it is damaged: the newest first, then what is none and seems to
    be, such as a copy of a run.

    Raises:
        OSError: the experiment cannot be listed.
    """
    runs, odd = [], []
    with os.scandir(path) as entries:
        for entry in entries:
            name = entry.name
            if RUN_NAME.fullmatch(name):
                runs.append((int(name[4:]), name))
            elif name.startswith("run_"):
                odd.append(name)  # a copy or a backup of a run, which nobody may think is listed
    runs.sort(reverse=True)
    return (*(name for _, name in runs), *sorted(odd))
