"""What the workspace holds and which runs are live, out of the index: in threads only, the screen gets snapshots."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

from kladml_core.runs import queue_items
from kladml_core.workspace import index_process
from kladml_core.workspace.descriptions import Description, read_description
from kladml_core.workspace.index import Index
from kladml_core.workspace.places import Place
from kladml_core.workspace.places_scan import Tree
from kladml_core.workspace.workspace import Workspace
from kladml_tui.look import Experiment, Look, RunState

MANY = 400
"""So many runs that the index does not know are read by a process of their own."""
_WHOLE_SECONDS = 1.0
"""A look at everything that takes longer, as over a network, goes on with the next one."""


class Census:
    """Looks at the workspace again and again; a later look costs little.

    Args:
        workspace: what is looked at.
        elsewhere: have very many unknown runs read by another process.
    """

    def __init__(self, workspace: Workspace, *, elsewhere: bool = True) -> None:
        self._workspace = workspace
        self._elsewhere = elsewhere
        self._index: Index | None = None
        self._reader: subprocess.Popen[bytes] | None = None
        self._tree = Tree()
        self._experiments: tuple[Experiment, ...] = ()
        self._places: dict[str, int] = {}
        self._files: tuple[tuple[str, str], ...] = ()
        self._descriptions: dict[str, tuple[tuple[int, int, int], Description]] = {}
        self._titles: dict[str, str] = {}
        self._archived: frozenset[str] = frozenset()
        self._shown: object = None
        self._all: dict[str, RunState] = {}
        self._waited = False
        self._unfinished = False
        self._closed = False

    @property
    def fault(self) -> str:
        """Why the index's file is not kept."""
        return self._index.fault if self._index is not None else ""

    def names(self) -> Look:
        """Everything by name; the states are those of earlier looks, be it in an earlier session."""
        index = self._index
        if index is None:
            index = self._index = Index(self._workspace, breathe=True)
        tree = index.tree()
        if tree is not self._tree:
            projects = self._workspace.data / "projects"
            self._tree = tree
            self._experiments = tuple(
                Experiment(project, family, name, projects / project / family / name, runs)
                for project, family, name, runs in tree.experiments
            )
            places = [Place(tuple(name for name in names if name)) for names in tree.places()]
            self._files = tuple((place.key, str(place.file(self._workspace.data))) for place in places)
        self._describe()
        return self._look()

    def states(self, look: Look, *, everything: bool, also: frozenset[str] = frozenset()) -> Look:
        """The same look with the states brought up to date.

        Args:
            look: from `names`.
            everything: look at each run; otherwise at those that are new or live.
            also: references of further runs to look at.
        """
        index = self._index
        if index is None or self._closed:
            return look
        reading = self._is_read_elsewhere(index)
        everything = (everything or self._unfinished) and not reading
        done = index.look(self._tree, everything=everything, new=not reading, also=also, seconds=_WHOLE_SECONDS)
        self._unfinished = not done
        if everything and done:
            index.refresh_datasets()
        self._places = queue_items.places(self._workspace.data)
        return self._look()

    def close(self) -> None:
        """Gives up a look that is going on, and the reading elsewhere."""
        self._closed = True
        if self._index is not None:
            self._index.closed = True
        if self._reader is not None and self._reader.poll() is None:
            self._reader.terminate()
            self._reader.wait()

    def _is_read_elsewhere(self, index: Index) -> bool:
        """Whether another process reads what is unknown; it is started, once, where that is very much."""
        if self._reader is not None:
            return self._reader.poll() is None
        if not self._elsewhere or index.fault or index.missing(self._tree) < MANY:
            return False
        if not self._waited:
            self._waited = True
            return True  # the rows in sight come first
        try:
            self._reader = index_process.start(self._workspace.root)
        except OSError:
            self._elsewhere = False  # then it takes a little longer
            return False
        return True

    def _look(self) -> Look:
        workspace, tree = self._workspace, self._tree
        states = self._all_states()
        return Look(
            tree.projects,
            tree.families,
            self._experiments,
            tuple(workspace.configs()),
            tuple(workspace.datasets()),
            states,
            complete=len(states) >= len(tree.references),
            archived=self._archived,
            titles=self._titles,
            indexed=not self.fault,
        )

    def _describe(self) -> None:
        """Reads the titles and the archive flags of projects, families and experiments, where they have changed."""
        before, self._descriptions = self._descriptions, {}
        titles, archived = {}, set()
        for key, file in self._files:
            try:
                seen = os.stat(file)
            except OSError:
                continue
            stamp = (seen.st_mtime_ns, seen.st_ino, seen.st_size)
            known = before.get(file)
            if known is None or known[0] != stamp:
                known = (stamp, read_description(Path(file)))
            self._descriptions[file] = known
            if known[1].title:
                titles[key] = known[1].title
            if known[1].archived:
                archived.add(key)
        self._titles, self._archived = titles, frozenset(archived)

    def _all_states(self) -> dict[str, RunState]:
        index = self._index
        if index is None:
            return {}
        now = (id(index.seen), index.changes, tuple(self._places.items()))
        if now == self._shown:
            return self._all
        states = dict(index.seen)
        for reference, place in self._places.items():
            state = states.get(reference)
            if state is not None and state.status == "queued":
                states[reference] = replace(state, place=place)
        self._shown, self._all = now, states
        return states
